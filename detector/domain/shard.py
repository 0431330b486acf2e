"""Which of the 64 shards a thing belongs to; the same on every machine and in every version."""

from __future__ import annotations

from detector.domain.label import digest_parts

SHARDS = 64


def find_shard(*parts: str) -> int:
    """Shard 0..63 of a thing that these words name: an incident's id, a batch's key, a duty's name."""
    return int(digest_parts(list(parts)), 16) % SHARDS

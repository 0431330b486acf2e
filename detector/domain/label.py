"""Label sets: how a series, an alert and an incident are identified.

A label set is a tuple of (name, value) pairs sorted by name: hashable, ordered, cheap to compare, and the same for the same
labels wherever it was made. An empty value means "no such label", as in Prometheus, and is never stored.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Labels: TypeAlias = tuple[tuple[str, str], ...]

NO_LABELS: Labels = ()


def make_labels(mapping: Mapping[str, str]) -> Labels:
    """Return the label set of `mapping`: sorted, without empty values and without `__name__`."""
    return tuple(sorted((name, value) for name, value in mapping.items() if value and name != "__name__"))


def project_labels(labels: Labels, by: tuple[str, ...]) -> Labels:
    """Keep only the labels named in `by`; a label that is absent stays absent."""
    return tuple(pair for pair in labels if pair[0] in by)


def label_value(labels: Labels, name: str) -> str | None:
    """Value of the label `name`, or None where the set has no such label."""
    for key, value in labels:
        if key == name:
            return value
    return None


def format_labels(labels: Labels) -> str:
    """Prometheus notation, e.g. `{env="prod", service="checkout"}`; values are escaped as Prometheus escapes them."""
    return "{" + ", ".join(f"{name}={_quote(value)}" for name, value in labels) + "}"


def digest_parts(parts: Iterable[str]) -> str:
    """First 20 hex digits of SHA-256 over the parts, each closed by a NUL, so that ("a","b") and ("ab","") differ.

    80 bits: among a million identities the chance that any two collide is below 1e-12.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:20]


def digest_labels(first: str, labels: Labels) -> str:
    """Digest of a name with a label set; see `digest_parts`."""
    return digest_parts([first, *(text for pair in labels for text in pair)])


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

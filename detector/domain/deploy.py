"""A deploy that somebody told us of. Made by the API; the diagnosis looks for one shortly before an incident."""

from __future__ import annotations

from dataclasses import dataclass

from detector.domain.label import digest_parts


@dataclass(frozen=True, slots=True)
class Deploy:
    """`service` runs `version` since `at` (unix seconds); who did it and where to read more, where that was told."""

    service: str
    version: str
    at: float
    by: str = ""
    url: str = ""

    @property
    def id(self) -> str:
        """Identity: telling the same deploy again changes nothing."""
        return digest_parts([self.service, self.version, repr(self.at)])

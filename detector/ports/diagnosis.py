"""What a diagnosis asks beside Prometheus. Each raises TemporaryError or PermanentError, whose message is one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detector.domain.deploy import Deploy
from detector.domain.inquiry import Logs


@dataclass(frozen=True, slots=True)
class Condition:
    """How something outside says it is: well or not, in words."""

    good: bool
    message: str


class Surroundings(Protocol):
    """Third parties, databases, the environment, logs: one outside look a call."""

    async def read_statuspage(self, url: str) -> Condition:
        """What a Statuspage summary says."""

    async def probe(self, url: str) -> Condition:
        """Whether a plain GET is answered with a status below 400."""

    async def connect(self, address: str) -> Condition:
        """Whether a TCP connection to host:port can be made."""

    async def read_environment(self, file: str) -> Mapping[str, str]:
        """The environment of this process, or of a file of NAME=value lines. Only whether a name has a value is looked at."""

    async def read_errors(self, logs: Logs, at: float, limit: int) -> Sequence[str]:
        """The newest error lines before `at`, oldest first."""


class DeployLog(Protocol):
    """Deploys that were told."""

    async def list_deploys(self, service: str | None, since: float, until: float, limit: int) -> Sequence[Deploy]:
        """Those of a service (None: of all) in [since, until], newest first."""

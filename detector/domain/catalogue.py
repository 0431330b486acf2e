"""The service catalogue: who owns what, what depends on what, and what may be done to it. Parsed from rule files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

DEFAULT_ROUTE = "default"


@dataclass(frozen=True, slots=True)
class Responders:
    """Names or addresses of the people to gather; empty where the catalogue names none."""

    service_owner: str = ""
    on_call_engineer: str = ""
    on_call_manager: str = ""


@dataclass(frozen=True, slots=True)
class Mitigation:
    """One way to stop the bleeding: `name` as in the catalogue, `run` an argv list, never a shell line."""

    name: str
    summary: str
    run: tuple[str, ...]
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """One entry of the catalogue; the defaults are those of a service that the catalogue does not name."""

    name: str
    owner: str = ""
    core: bool = False
    customer_facing: bool = True
    workaround: bool = False
    depends_on: tuple[str, ...] = ()
    pagerduty: str = DEFAULT_ROUTE
    slack: str = ""
    runbook: str = ""
    dashboard: str = ""
    eta: str = ""
    responders: Responders = field(default_factory=Responders)
    mitigations: tuple[Mitigation, ...] = ()
    verify: tuple[Mapping[str, Any], ...] = ()
    diagnosis: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> dict[str, str]:
        """Who is gathered, by role: as the catalogue names them, and the owner where it names no person."""
        return {**asdict(self.responders), "service_owner": self.responders.service_owner or self.owner}

    @property
    def flags(self) -> dict[str, bool]:
        """The catalogue's booleans as conditions see them."""
        return {"core": self.core, "customer_facing": self.customer_facing, "workaround": self.workaround}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Services by name. `version`: digest of the rule files that it came with, which is that of every decision made with it."""

    services: Mapping[str, Service] = field(default_factory=dict)
    version: str = field(default="", compare=False)

    def find(self, name: str) -> Service:
        """The entry of `name`, or one with the defaults."""
        return self.services.get(name) or Service(name)

    def list_facing(self, names: Iterable[str]) -> list[str]:
        """Those of the services that customers face."""
        return [name for name in names if self.find(name).customer_facing]

"""What an incident's page draws: its signals over time, read from wherever samples lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from detector.domain.incident import Incident
from detector.domain.postmortem import Curve, Mark


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves and marks in [begin, end] (unix seconds). `fault`: why there are no samples; empty where there simply are none."""

    begin: float
    end: float
    curves: tuple[Curve, ...] = ()
    marks: tuple[Mark, ...] = ()
    fault: str = ""


class Plotter(Protocol):
    """Never raises for what Prometheus or a disk does; TemporaryError while the store cannot answer."""

    async def plot(self, incident: Incident) -> Plot:
        """The incident as it stands now. Answers within seconds, with what is known by then."""

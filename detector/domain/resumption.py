"""Alerts that an incident holds as firing while no state says so: what a replica that was cut off began, another must end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from detector.domain.alert import AlertState, Phase
from detector.domain.incident import Incident, JoinedAlert
from detector.domain.label import Labels


def resume(
    incidents: Iterable[Incident], rules: Collection[str], states: Callable[[str], Mapping[Labels, AlertState]]
) -> Iterator[tuple[str, AlertState]]:
    """States to take over, with their rules; only of `rules`. One without data is left alone: its series tell."""
    for incident in incidents:
        if not incident.status.active:
            continue
        for alert in incident.alerts.values():
            if alert.firing and not alert.absent and alert.rule in rules:
                known = states(alert.rule).get(alert.labels)
                if known is None or known.phase is not Phase.FIRING:
                    yield alert.rule, _make_state(alert)


def _make_state(alert: JoinedAlert) -> AlertState:
    return AlertState(
        alert.labels,
        Phase.FIRING,
        breached=alert.breached,
        fired=alert.fired,
        severity=alert.severity,
        signal=alert.signal,
        threshold=alert.threshold,
        blocked=alert.blocked,
        signals=alert.signals,
    )

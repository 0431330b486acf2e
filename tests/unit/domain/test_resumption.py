"""Alerts that an incident holds as firing and no state knows of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.domain.alert import AlertState, Phase
from detector.domain.incident import Incident, Status
from detector.domain.resumption import resume
from tests.kit.sample import make_incident


def _resume(incident: Incident, known: AlertState | None = None, rules: tuple[str, ...] = ("http-errors",)) -> list[AlertState]:
    states = {} if known is None else {known.labels: known}
    return [state for _, state in resume([incident], rules, lambda _rule: states)]


@pytest.mark.parametrize("known", [None, Phase.INACTIVE, Phase.PENDING])
def test_it_goes_on_as_the_incident_has_it(known: Phase | None) -> None:
    """Firing since then, with its severity and signals, so that its recovery is judged as if it had always been seen."""
    incident = make_incident()
    (alert,) = incident.alerts.values()
    (state,) = _resume(incident, None if known is None else AlertState(alert.labels, known))
    assert (state.phase, state.breached, state.fired, state.severity) == (Phase.FIRING, alert.breached, alert.fired, alert.severity)
    assert (state.signals, state.threshold, state.labels) == (alert.signals, alert.threshold, alert.labels)


def test_nothing_else_is_resumed() -> None:
    """What fires already, has ended, has no data, is another replica's, or belongs to an incident that is over."""
    incident = make_incident()
    (alert,) = incident.alerts.values()
    assert _resume(incident, AlertState(alert.labels, Phase.FIRING)) == []
    assert _resume(incident, rules=("other",)) == []
    assert _resume(replace(incident, status=Status.RESOLVED)) == []
    for changed in (replace(alert, ended=5.0), replace(alert, absent=True)):
        assert _resume(replace(incident, alerts={changed.key: changed})) == []

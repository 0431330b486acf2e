"""The oracle of the fault tests finds what it is there for: each harm, played to the stand-in's own ledger."""

from __future__ import annotations

import math
from typing import Any

import pytest

from detector.standin.ledger import Alert, Ledger
from tests.kit.oracle import Harm, Truth, judge

KEY = "k" * 32


class Account:
    """As much of the stand-in as the oracle looks at."""

    def __init__(self, *events: tuple[float, str, str]) -> None:
        self.ledger = Ledger()
        for at, action, key in events:
            payload = {"severity": "error", "summary": "s", "source": "checkout"}
            self.ledger.apply({"routing_key": KEY, "event_action": action, "payload": payload}, key, at)

    def alerts(self) -> tuple[Alert, ...]:
        """As the stand-in."""
        return self.ledger.alerts

    def duplicates(self) -> tuple[Any, ...]:
        """As the stand-in."""
        return self.ledger.duplicates()

    def drops(self) -> tuple[Any, ...]:
        """As the stand-in."""
        return self.ledger.drops


GOOD = ((11.0, "trigger", "a:1:default"), (21.0, "resolve", "a:1:default"))
OVER, OPEN = Truth("checkout", 10.0, 20.0), Truth("checkout", 10.0)
RELAPSE = {"kind": "relapse", "message": ""}


def _judge(
    truths: list[Truth], *events: tuple[float, str, str], status: str = "resolved", timeline: tuple[dict[str, str], ...] = ()
) -> list[Harm]:
    incidents = [{"id": each, "service": "checkout", "status": status} for each in ("a", "b")]
    found = judge(truths, Account(*events), incidents, {"a": timeline, "b": ()})  # type: ignore[arg-type]  # an Account is enough
    return [finding.harm for finding in found]


def test_what_is_as_it_should_be_is_no_finding() -> None:
    """Paged and resolved; paged and still broken; a second page that the timeline explains."""
    assert _judge([OVER], *GOOD) == []
    assert _judge([OPEN], GOOD[0], status="open") == []
    again = [(31.0, "trigger", "a:2:default"), (41.0, "resolve", "a:2:default")]
    assert _judge([OVER, Truth("checkout", 30.0, 40.0)], *GOOD, *again, timeline=(RELAPSE,)) == []
    rise = {"kind": "severity", "message": "severity medium -> high"}
    assert _judge([OVER], *GOOD, timeline=({"kind": "muted", "message": ""}, rise, {"kind": "unmuted", "message": ""})) == []
    assert _judge([OVER], *GOOD, timeline=(rise,)) == [Harm.LOST]


@pytest.mark.parametrize(
    ("truths", "events", "status", "harm"),
    [
        ([OVER], (), "resolved", Harm.LOST),
        ([OVER, Truth("checkout", 30.0, 40.0)], GOOD, "resolved", Harm.LOST),
        ([OVER], (*GOOD, (22.0, "trigger", "b:1:default"), (23.0, "resolve", "b:1:default")), "resolved", Harm.SECOND),
        ([OVER], (*GOOD, (22.0, "trigger", "a:1:other"), (23.0, "resolve", "a:1:other")), "resolved", Harm.SECOND),
        ([OVER], (*GOOD, (22.0, "trigger", "a:1:default"), (23.0, "resolve", "a:1:default")), "resolved", Harm.SECOND),
        ([OVER], (GOOD[0], (19.0, "resolve", "a:1:default")), "resolved", Harm.FALSE_RESOLVE),
        ([Truth("checkout", 10.0, 20.0, ((20.0, 30.0),))], GOOD, "resolved", Harm.FALSE_RESOLVE),
        ([OPEN], GOOD, "open", Harm.FALSE_RESOLVE),
        ([OPEN], GOOD[:1], "resolved", Harm.FALSE_RESOLVE),
        ([OVER], GOOD[:1], "resolved", Harm.LEFT_OPEN),
        ([OVER], GOOD, "open", Harm.LEFT_OPEN),
        ([], GOOD, "resolved", Harm.WITHOUT_CAUSE),
        ([Truth("checkout", 12.0, 20.0)], GOOD, "resolved", Harm.WITHOUT_CAUSE),
        ([OVER], (*GOOD, (22.0, "trigger", "x:1:default")), "resolved", Harm.WITHOUT_CAUSE),
        ([OVER], (*GOOD, (22.0, "resolve", "x:1:default")), "resolved", Harm.WITHOUT_CAUSE),
    ],
)
def test_each_harm_is_found(truths: list[Truth], events: tuple[tuple[float, str, str], ...], status: str, harm: Harm) -> None:
    """Lost, second, false resolve, left open, without a cause."""
    assert harm in _judge(truths, *events, status=status)


def test_an_open_truth_has_no_end() -> None:
    """Forbids a resolve for ever."""
    assert OPEN.healed == math.inf
    assert OPEN.forbids(1e12)

"""The daemon's own blindness: every query fails, or every series seen before is gone.

Judged after each evaluation from the health of all rules; its transition goes to `correlate` like any alert's, under a fixed id. A
rule that never returned a series is idle: neither blind nor seeing.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from detector.domain.ailment import Ailment
from detector.domain.alert import AlertState, Change, EndReason, Phase, Transition
from detector.domain.incident import OWN_SERVICE
from detector.domain.label import NO_LABELS
from detector.domain.severity import Severity

BLIND_RULE = Ailment.BLIND.value
LONGEST_GAP_SECONDS = 30.0


class RuleHealth(StrEnum):
    """What the last evaluation of a rule brought."""

    OK = "ok"
    FAILED = "failed"
    GONE = "gone"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class BlindState:
    """`since`: first evaluation at which nothing was seen, None while something is; `seconds`: how long that was observed."""

    active: bool = False
    since: float | None = None
    evaluated: float | None = None
    seconds: float = 0.0


def advance_blind(
    state: BlindState, health: AbstractSet[RuleHealth], now: float, blind_after_seconds: float, why: str = ""
) -> tuple[BlindState, Transition | None]:
    """Count how long nothing has been seen, by any rule. `why` is one line from the last failure; gaps over 30 s count as 30 s."""
    if not health:
        return state, None
    counted = health - {RuleHealth.IDLE}
    if RuleHealth.OK in counted or not counted:  # an idle rule's query was answered, and nothing that was seen is gone
        if not state.active:
            return (state if state.since is None else BlindState()), None
        return BlindState(), _tell(Change.ENDED, state, now, EndReason.RECOVERED.value)
    since = now if state.since is None else state.since
    gap = 0.0 if state.evaluated is None else min(max(0.0, now - state.evaluated), LONGEST_GAP_SECONDS)
    state = BlindState(state.active, since, now, state.seconds + gap)
    if state.active or state.seconds < blind_after_seconds:
        return state, None
    state = BlindState(active=True, since=since, evaluated=now, seconds=state.seconds)
    gone = counted == {RuleHealth.GONE}
    reason = why or ("every series seen before is gone" if gone else "every query fails")
    return state, _tell(Change.FIRED, state, now, reason)


def _tell(change: Change, state: BlindState, now: float, reason: str) -> Transition:
    alert = AlertState(NO_LABELS, Phase.FIRING, breached=state.since, fired=now, severity=Severity.HIGH)
    return Transition(
        change,
        BLIND_RULE,
        NO_LABELS,
        now,
        OWN_SERVICE,
        alert,
        summary=f"detector is blind: {reason}",
        reason=reason,
        watch_seconds=0.0,
    )

"""What may be asked to be kept quiet, and how long; what changes or renews what holds already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detector.domain.mute import MuteKind, parse_matchers
from detector.domain.response import ResponseError
from detector.domain.silence import KeptMute, MuteRequest, MuteStatus, SilenceError, UnknownMuteError, grant, parse_moment

NOW = 1_800_000_000.0
WISH = MuteRequest(("service=checkout",), "kim", "a deploy", duration="2h")


def _grant(known: KeptMute | None = None, now: float = NOW, **changes: Any) -> KeptMute:
    return grant(replace(WISH, **changes), now, known)


def test_a_silence_holds_from_now_until_its_end() -> None:
    """Two hours from now, with who and why; before, inside and after it stands as it should."""
    kept = _grant()
    assert (kept.mute.kind, kept.mute.starts, kept.mute.ends, kept.created) == (MuteKind.SILENCE, NOW, NOW + 7200, NOW)
    assert (kept.mute.author, kept.mute.reason) == ("kim", "a deploy")
    assert [kept.status(moment) for moment in (NOW - 1, NOW, NOW + 7199, NOW + 7200)] == [
        MuteStatus.PENDING,
        MuteStatus.ACTIVE,
        MuteStatus.ACTIVE,
        MuteStatus.ENDED,
    ]
    assert _grant().mute.id == kept.mute.id != _grant(reason="another").mute.id


@pytest.mark.parametrize(
    ("changes", "span"),
    [
        ({"starts": NOW + 60}, (60, 7260)),
        ({"starts": NOW - 3600}, (0, 7200)),
        ({"starts": "2027-01-15T08:10:00Z", "duration": "", "ends": "2027-01-15T10:00:00+01:00"}, (600, 3600)),
        ({"duration": "", "ends": NOW + 5}, (0, 5)),
    ],
)
def test_spans_may_be_given_in_every_way(changes: dict[str, Any], span: tuple[float, float]) -> None:
    """Seconds or ISO 8601, a duration or an end; a start in the past is now."""
    kept = _grant(**changes)
    assert (kept.mute.starts - NOW, kept.mute.ends - NOW) == span


WRONG = {
    "nobody": ({"author": " "}, "author is missing: say who mutes"),
    "no reason": ({"reason": ""}, "reason is missing: say why, for whoever wonders at the quiet"),
    "endless words": ({"reason": "x" * 1001}, "reason: at most 1000 characters, this has 1001"),
    "no end": ({"duration": ""}, "every mute has an end: give `duration`, e.g. 2h, or `ends`"),
    "two ends": ({"ends": NOW + 5}, "give either `duration` or `ends`, not both"),
    "bad duration": ({"duration": "two hours"}, "duration: 'two hours' is none; write e.g. 30m, 2h or 1d12h"),
    "nothing long": ({"duration": "0s"}, "duration: '0s' is none; write e.g. 30m, 2h or 1d12h"),
    "past": (
        {"duration": "", "ends": NOW},
        "ends: that has passed; give an end in the future, or `duration`, e.g. 2h",
    ),
    "backwards": ({"duration": "", "starts": NOW + 9, "ends": NOW + 5}, "ends: it would end before it starts"),
    "for ever": ({"duration": "367d"}, "a silence lasts 366d at most; what is never to be heard belongs out of the rules"),
    "long lease": ({"lease": True, "duration": "25h"}, "a lease lasts 1d at most; a job renews it by its id while it runs"),
    "far ahead": (
        {"starts": NOW + 400 * 86400},
        "starts: more than a year ahead; a maintenance window in the rule files can wait that long",
    ),
    "no matcher": ({"matchers": ()}, "matchers: no matcher; write for example service=checkout"),
    "word": (
        {"matchers": ("checkout",)},
        'matchers: \'checkout\' is not a matcher; write name=value, name!=value, name=~"regex" or name!~"regex"',
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_is_one_line(changes: dict[str, Any], message: str) -> None:
    """Every refusal says what would be right."""
    with pytest.raises(SilenceError) as told:
        _grant(**changes)
    assert str(told.value) == message


@pytest.mark.parametrize(
    "matchers",
    [
        ["service!=checkout"],
        ['env!="prod"', "team="],
        ['service=~".*"'],
        ['service=~".+"'],
        ['alertname!=""'],
        ['severity=~"low|medium|high|critical"'],
        ['severity!=""', 'rule=~"..*"'],
    ],
)
def test_matchers_that_cover_everything_are_refused(matchers: list[str]) -> None:
    """Every alert has a rule, a service and a severity: what singles out none of these, nor another label, would mute all."""
    with pytest.raises(ValueError, match="these matchers cover every alert"):
        parse_matchers(matchers)


@pytest.mark.parametrize(
    "matchers",
    [
        ["service=checkout"],
        ['severity=~"low|medium"'],
        ['{service=~".+", env="staging"}'],
        ['env=~".+"'],
        ['service=~".*checkout.*"', "env!=prod"],
    ],
)
def test_matchers_that_single_something_out_are_taken(matchers: list[str]) -> None:
    """One label that must have a certain value, or a label that not every alert has, is enough."""
    assert parse_matchers(matchers)


def test_a_lease_is_renewed_by_its_id() -> None:
    """The same request again moves the end and keeps the start; late, after it lapsed, it begins anew."""
    first = _grant(lease=True, id="deploy-7", duration="10m")
    assert (first.mute.id, first.mute.kind) == ("deploy-7", MuteKind.LEASE)
    renewed = _grant(first, NOW + 300, lease=True, id="deploy-7", duration="10m")
    assert (renewed.mute.starts, renewed.mute.ends, renewed.created) == (NOW, NOW + 900, NOW)
    late = _grant(renewed, NOW + 5000, lease=True, id="deploy-7", duration="10m")
    assert (late.mute.starts, late.mute.ends, late.created) == (NOW + 5000, NOW + 5600, NOW + 5000)


def test_a_silence_is_changed_while_it_holds() -> None:
    """A later end or an earlier one; one that is not there, has ended, was ended or is something else is refused."""
    kept = _grant()
    identity = kept.mute.id
    changed = _grant(kept, NOW + 60, id=identity, duration="1m")
    assert (changed.mute.starts, changed.mute.ends) == (NOW, NOW + 120)
    with pytest.raises(UnknownMuteError, match="no silence nope"):
        _grant(id="nope")
    with pytest.raises(ResponseError, match="has ended; add a new one"):
        _grant(kept, NOW + 7200, id=identity)
    with pytest.raises(ResponseError, match="was ended by lee; add a new one"):
        _grant(replace(kept, expired=NOW + 1, expired_by="lee"), NOW + 2, id=identity)
    with pytest.raises(ResponseError, match="is a silence, not a lease; take another id"):
        _grant(kept, id=identity, lease=True)


def test_what_was_ended_early_holds_no_longer() -> None:
    """The end that counts is the earlier one."""
    ended = replace(_grant(), expired=NOW + 60, expired_by="lee")
    assert ended.held.ends == NOW + 60
    assert not ended.held.covers({"service": "checkout"}, NOW + 60)
    assert ended.status(NOW + 60) is MuteStatus.ENDED


@pytest.mark.parametrize("given", ["soon", "2027-01-15T08:00:00", float("nan"), float("inf"), -1.0, 1e12])
def test_what_is_no_moment_is_refused(given: float | str) -> None:
    """Neither words nor a local time without its zone nor a number that no clock shows."""
    with pytest.raises(SilenceError, match="starts: "):
        parse_moment("starts", given)

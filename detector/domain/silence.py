"""What people and jobs ask to be kept quiet: silences and leases, from the request to what is kept. Pure.

Before it: the API, which read the request. After it: the board of mutes, which stores what is kept and hands it to `correlate`.
A silence is given by a person; a lease by a job, which renews it by its id and lets it lapse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from math import isfinite

from detector.domain.duration import format_duration, parse_duration
from detector.domain.incident import Incident
from detector.domain.label import digest_parts
from detector.domain.mute import Mute, MuteKind, parse_matchers
from detector.domain.response import ResponseError
from detector.domain.watch import label_alert

LONGEST_SECONDS = {MuteKind.SILENCE: 366 * 86400.0, MuteKind.LEASE: 86400.0}
AHEAD_SECONDS = 366 * 86400.0
MAXIMUM_NAME = 200
MAXIMUM_REASON = 1000
LATEST = 253402300799.0  # the last second that a calendar of four-digit years knows


class SilenceError(ValueError):
    """The request is wrong; the message says what would be right."""


class UnknownMuteError(LookupError):
    """Nothing has that id; the message says where ids are shown."""


class MuteStatus(StrEnum):
    """How a mute stands at a moment."""

    ACTIVE = "active"
    PENDING = "pending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class KeptMute:
    """A silence or lease as it is stored: when it was made and, if somebody ended it early, when (unix seconds) and who."""

    mute: Mute
    created: float
    expired: float | None = None
    expired_by: str = ""

    @property
    def held(self) -> Mute:
        """The mute with the end that counts."""
        if self.expired is None:
            return self.mute
        return replace(self.mute, ends=min(self.mute.ends, self.expired), ended_by=self.expired_by)

    def ended(self, now: float) -> bool:
        """Whether it is over for good."""
        return self.expired is not None or self.mute.ends <= now

    def status(self, now: float) -> MuteStatus:
        """How it stands."""
        if self.ended(now):
            return MuteStatus.ENDED
        return MuteStatus.ACTIVE if self.mute.starts <= now else MuteStatus.PENDING


@dataclass(frozen=True, slots=True)
class MuteRequest:
    """What was asked for. `starts` and `ends` are unix seconds or ISO 8601 with a zone; one of `ends` and `duration` is given.

    `id`: the silence to change or the lease to make or renew; empty for a new one.
    """

    matchers: tuple[str, ...]
    author: str
    reason: str
    duration: str = ""
    ends: float | str | None = None
    starts: float | str | None = None
    lease: bool = False
    id: str = ""

    @property
    def kind(self) -> MuteKind:
        """What it would become."""
        return MuteKind.LEASE if self.lease else MuteKind.SILENCE


def grant(request: MuteRequest, now: float, known: KeptMute | None) -> KeptMute:
    """Make what was asked for; `known` is what `request.id` names already.

    Raises SilenceError for a wrong request, UnknownMuteError for a silence that is not there, ResponseError where `known` does not
    allow it.
    """
    if known is not None:
        _check_known(request, known, now)
    elif request.id and not request.lease:
        raise UnknownMuteError(f"no silence {request.id}; `detector silence list --all` shows them; leave the id out for a new one")
    try:
        matchers = parse_matchers(request.matchers)
    except ValueError as fault:
        raise SilenceError(f"matchers: {fault}") from None
    author = _check_words("author", request.author, "say who mutes", MAXIMUM_NAME)
    reason = _check_words("reason", request.reason, "say why, for whoever wonders at the quiet", MAXIMUM_REASON)
    going = known if known is not None and not known.ended(now) else None
    starts, ends = _find_span(request, now, going)
    identity = request.id or digest_parts([*map(str, matchers), repr(starts), repr(ends), author, reason, repr(now)])
    return KeptMute(Mute(identity, request.kind, matchers, starts, ends, author, reason), going.created if going else now)


def list_muted(mute: Mute, incidents: Iterable[Incident], now: float) -> tuple[str, ...]:
    """Ids of the incidents that are muted, this mute covering one of their firing alerts."""
    return tuple(
        incident.id
        for incident in incidents
        if incident.muted
        and any(alert.firing and mute.covers(label_alert(incident, alert), now) for alert in incident.alerts.values())
    )


def parse_moment(name: str, given: float | str) -> float:
    """Unix seconds, or ISO 8601 with a zone, as unix seconds. Raises SilenceError."""
    wanted = f"{name}: {given!r} is no moment; write unix seconds or e.g. 2026-01-31T18:00:00Z"
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given.strip())
        except ValueError:
            raise SilenceError(wanted) from None
        if moment.tzinfo is None:
            raise SilenceError(f"{name}: {given!r} has no time zone; write e.g. {given.strip()}Z")
        given = moment.timestamp()
    if not isfinite(given) or not 0 <= given <= LATEST:
        raise SilenceError(wanted)
    return float(given)


def _check_known(request: MuteRequest, known: KeptMute, now: float) -> None:
    kind = known.mute.kind
    if kind is not request.kind:
        raise ResponseError(f"{known.mute.id} is a {kind.value}, not a {request.kind.value}; take another id")
    if known.expired is not None:
        raise ResponseError(f"{kind.value} {known.mute.id} was ended by {known.expired_by}; add a new one")
    if kind is MuteKind.SILENCE and known.ended(now):
        raise ResponseError(f"silence {known.mute.id} has ended; add a new one")


def _check_words(name: str, given: str, missing: str, most: int) -> str:
    words = given.strip()
    if not words:
        raise SilenceError(f"{name} is missing: {missing}")
    if len(words) > most:
        raise SilenceError(f"{name}: at most {most} characters, this has {len(words)}")
    return words


def _find_span(request: MuteRequest, now: float, going: KeptMute | None) -> tuple[float, float]:
    """When it starts and ends. What holds already goes on holding; nothing mutes the past."""
    starts = now if request.starts is None else max(now, parse_moment("starts", request.starts))
    if going is not None and (going.mute.starts <= now or request.starts is None):
        starts = going.mute.starts
    if starts > now + AHEAD_SECONDS:
        raise SilenceError("starts: more than a year ahead; a maintenance window in the rule files can wait that long")
    ends = _find_end(request, max(starts, now))
    if ends <= now:
        raise SilenceError("ends: that has passed; give an end in the future, or `duration`, e.g. 2h")
    if ends <= starts:
        raise SilenceError("ends: it would end before it starts")
    longest = LONGEST_SECONDS[request.kind]
    if ends - max(starts, now) > longest:
        raise SilenceError(f"a {request.kind.value} lasts {format_duration(longest)} at most; {_say_other(request.kind)}")
    return starts, ends


def _find_end(request: MuteRequest, begin: float) -> float:
    if request.duration and request.ends is not None:
        raise SilenceError("give either `duration` or `ends`, not both")
    if request.ends is not None:
        return parse_moment("ends", request.ends)
    if not request.duration:
        raise SilenceError("every mute has an end: give `duration`, e.g. 2h, or `ends`")
    seconds = parse_duration(request.duration.strip())
    if not seconds:
        raise SilenceError(f"duration: {request.duration!r} is none; write e.g. 30m, 2h or 1d12h")
    return begin + seconds


def _say_other(kind: MuteKind) -> str:
    if kind is MuteKind.LEASE:
        return "a job renews it by its id while it runs"
    return "what is never to be heard belongs out of the rules"

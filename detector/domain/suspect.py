"""Which service is the likely root cause: a walk down the call graph through the services that changed together.

Before it: `course`, the signals of every service over the last hours. After it: the diagnosis prints the ranking.

1. The onset is the moment at which the signals of the service that suffers changed most, all of them taken together.
2. A service is changed when one of its signals rose at the onset by at least `THRESHOLD` units of its own noise.
3. From the service that suffers the walk follows `depends_on` through changed services only. A service counts as much as the
   weakest link on its strongest path: a loud one behind a faint link explains little.
4. The deepest changed services come first; one whose own dependency changed too is explained by it. An endpoint (nothing is known
   below it) is seen only as its callers see it: it comes last, unless it accounts for most of what its caller lost.
5. Nothing changed: no suspect. "No service stands out" beats a guess.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from detector.domain.catalogue import Catalogue
from detector.domain.course import LEAST_POINTS, RECENT_STEPS, Change, Course, find_change, find_load, find_traffic, is_load
from detector.domain.quantity import format_number, format_signal

THRESHOLD = 3.0
LEAST_ONSET = 2.0  # the units that all signals of the suffering service together must have changed by
LARGEST = 20.0  # one signal gives no more units than this to the onset
MOST = 0.5  # the share of a caller's loss that an endpoint must account for
_EXPLAINED = 0.5
_SEEN_BY_CALLERS = 0.25


@dataclass(frozen=True, slots=True)
class Suspect:
    """One service that may be the cause; `score` in 0..1 orders them, `why` is one line in words and numbers."""

    service: str
    score: float
    why: str


@dataclass(slots=True)
class _Scene:
    """The courses by service, with their noise and their changes at the onset."""

    courses: Mapping[str, Sequence[tuple[Course, float]]]
    onset: int
    changes: dict[str, Change | None] = field(default_factory=dict)

    def largest(self, service: str) -> Change | None:
        """The change of the signal that rose most."""
        if service not in self.changes:
            found = _list_changes(self.courses.get(service, ()), self.onset)
            self.changes[service] = max(found, key=_size, default=None)
        return self.changes[service]

    def strength(self, service: str) -> float:
        """Units of the largest change; 0 where nothing rose."""
        change = self.largest(service)
        return max(0.0, change.size) if change else 0.0

    def loss(self, service: str, signal: str) -> float | None:
        """What the rise of a signal cost over all events of a step: failed requests, or seconds; None without traffic or change."""
        courses = [course for course, _ in self.courses.get(service, ())]
        traffic = find_traffic(courses, self.onset)
        found = [find_change(course, self.onset, 1.0) for course in courses if course.signal == signal]
        rise = max((change.size for change in found if change is not None), default=None)
        return None if traffic is None or rise is None else traffic * rise


def rank_suspects(catalogue: Catalogue, service: str, courses: Iterable[Course]) -> tuple[Suspect, ...]:
    """The services that may be the cause of what `service` shows at the end of the courses, likeliest first; empty: none found."""
    known: dict[str, list[tuple[Course, float]]] = defaultdict(list)
    for course in courses:
        noise = course.measure_noise()
        if noise is not None:
            known[course.service].append((course, noise))
    onset = find_onset(known.get(service, ()))
    if onset is None:
        return ()
    scene = _Scene(known, onset)
    reached = _walk(catalogue, service, scene)
    if len(reached) == 1 and scene.strength(service) < LEAST_ONSET:
        return ()
    suspects = [_judge(catalogue, service, name, reached, scene) for name in reached]
    return tuple(sorted(suspects, key=lambda suspect: (-suspect.score, -scene.strength(suspect.service), suspect.service)))


def explain_silence(service: str, courses: Iterable[Course]) -> str:
    """Why `rank_suspects` names nobody."""
    own = [course for course in courses if course.service == service]
    if not own:
        return "no rule has a signal of it"
    if all(course.measure_noise() is None for course in own):
        return "its signals have too little history to compare with"
    return "none of its signals changed beyond its usual spread in the last 25 minutes; what began before is seen with --at"


def find_onset(courses: Sequence[tuple[Course, float]]) -> int | None:
    """The step after which the signals changed most, of those in the last 25 minutes; None where nothing did.

    Each signal rises at most once: of several series of one signal the one that rose most counts.
    """
    length = max((len(course.values) for course, _ in courses), default=0)
    best, onset = LEAST_ONSET, None
    for step in range(length - 1 - LEAST_POINTS, max(0, length - 1 - RECENT_STEPS), -1):
        rises: dict[str, float] = {}
        for change in _list_changes(courses, step):
            rises[change.signal] = max(rises.get(change.signal, 0.0), min(change.size, LARGEST))
        total = sum(rises.values())
        if total > best:
            best, onset = total, step
    return onset


def _list_changes(courses: Sequence[tuple[Course, float]], step: int) -> list[Change]:
    """What the signals of a service did at a step, but for what is the traffic's own rise."""
    load = find_load([course for course, _ in courses], step)
    found = ((course, find_change(course, step, noise)) for course, noise in courses)
    return [change for course, change in found if change is not None and not is_load(course, change, load)]


@dataclass(frozen=True, slots=True)
class _Reached:
    """A changed service: the weakest link on its strongest path, and who calls it there."""

    link: float
    caller: str


def _walk(catalogue: Catalogue, service: str, scene: _Scene) -> dict[str, _Reached]:
    """Every changed service below, strongest paths first (the widest path of a graph)."""
    reached: dict[str, _Reached] = {}
    ahead: list[tuple[float, str, str]] = [(-inf, service, "")]
    while ahead:
        negative, name, caller = heappop(ahead)
        if name in reached:
            continue
        reached[name] = _Reached(-negative, caller)
        for callee in catalogue.find(name).depends_on:
            strength = scene.strength(callee)
            if callee not in reached and strength >= THRESHOLD:
                heappush(ahead, (-min(-negative, strength), callee, name))
    return reached


def _judge(catalogue: Catalogue, service: str, name: str, reached: Mapping[str, _Reached], scene: _Scene) -> Suspect:
    link = min(reached[name].link, scene.strength(name))
    score = link / (link + THRESHOLD)
    changed = [callee for callee in catalogue.find(name).depends_on if callee in reached and callee != name]
    blamed = [callee for callee in changed if not _is_endpoint(catalogue, callee) or _accounts(catalogue, callee, name, scene)]
    told = _tell(scene.largest(name))
    if blamed:
        culprit = max(blamed, key=scene.strength)
        return Suspect(name, _EXPLAINED * score, f"{told}; its dependency {culprit} changed at the same time")
    if name != service and _is_endpoint(catalogue, name):
        caller = reached[name].caller
        if not _accounts(catalogue, name, caller, scene):
            return Suspect(
                name, _SEEN_BY_CALLERS * score, f"{told}; only its callers see it, and it is not most of what {caller} lost"
            )
        return Suspect(name, score, f"{told}; accounts for most of what its caller {caller} lost")
    below = "nothing it depends on changed as much" if catalogue.find(name).depends_on else "no dependency of it is known"
    return Suspect(name, score, f"{told}; {below}")


def _is_endpoint(catalogue: Catalogue, name: str) -> bool:
    """Whether nothing is known below it: a database, a third party, or another service as its caller sees it."""
    return not catalogue.find(name).depends_on


def _accounts(catalogue: Catalogue, name: str, caller: str, scene: _Scene) -> bool:
    """Whether an endpoint explains most of what its caller lost, and more than any service beside it does."""
    change = scene.largest(caller)
    if change is None:
        return False
    lost, own = scene.loss(caller, change.signal), scene.loss(name, change.signal)
    if lost is None or own is None or lost <= 0 or own < MOST * lost:
        return False
    beside = (callee for callee in catalogue.find(caller).depends_on if not _is_endpoint(catalogue, callee))
    return all((scene.loss(callee, change.signal) or 0.0) < own for callee in beside)


def _tell(change: Change | None) -> str:
    if change is None:
        return "no signal of its own"
    before, after = (format_signal(change.signal, value, change.before, change.after) for value in (change.before, change.after))
    return f"{change.signal} went from {before} to {after}, {format_number(round(change.size, 1))} times its usual spread"


def _size(change: Change) -> float:
    return change.size

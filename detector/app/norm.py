"""The norm of a rule in one stretch of a past: its baselines at every step, computed from the loaded signal or asked of the source.

Before it: `stretch`, which says where they come from. After it: `survey`, which wants their limits and, where these do not rule a
breach out, all of them; and the baselines of single moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from detector.domain.baseline import find_floor, plan_baselines
from detector.domain.median import Track
from detector.domain.outcome import Matrix, Outcome, cut_moment
from detector.domain.rule import Rule

if TYPE_CHECKING:
    from detector.domain.label import Labels


class Norm(Protocol):
    """Baselines of one rule at the steps of a stretch; those of ratios not below their floor."""

    def find_limits(self, name: str, labels: Labels) -> Sequence[float]:
        """Numbers between whose least and greatest every baseline of an alert lies; empty where it has none."""

    def list_values(self, name: str, labels: Labels) -> Mapping[int, float]:
        """The baselines of an alert by step."""

    def answer(self, step: int, keys: Iterable[Labels]) -> dict[str, Outcome]:
        """What the baseline queries answered at a step, of the series that belong to these alerts."""


@dataclass(frozen=True, slots=True)
class ComputedNorm:
    """From the signal's own points. `slots`: the newest baseline slot of each step; `since`: the first point of the tracks."""

    rule: Rule
    slots: Sequence[float]
    tracks: Mapping[str, Track]
    since: int

    def find_limits(self, name: str, labels: Labels) -> Sequence[float]:
        """The limits of the points; the medians lie between them."""
        track = self.tracks[name]
        limits = [limit for series in track.index(self.rule.by).get(labels, ()) for limit in track.find_limits(series)]
        return _raise(self.rule, name, limits)

    def list_values(self, name: str, labels: Labels) -> Mapping[int, float]:
        """Medians of every step."""
        track = self.tracks[name]
        found: dict[int, float] = {}
        for series in track.index(self.rule.by).get(labels, ()):
            medians = track.list_medians(series, self.slots)
            found |= {step: median for step, median in enumerate(medians) if median is not None}
        return dict(zip(found, _raise(self.rule, name, found.values()), strict=True))

    def answer(self, step: int, keys: Iterable[Labels]) -> dict[str, Outcome]:
        """Medians of that step alone."""
        plan, wanted = plan_baselines(self.rule), list(keys)
        return {
            plan[name]: track.answer(
                self.slots[step], [series for key in wanted for series in track.index(self.rule.by).get(key, ())]
            )
            for name, track in self.tracks.items()
        }

    def list_leads(self, name: str, points: range) -> dict[Labels, dict[int, float]]:
        """What a following stretch needs of this one, by series."""
        track = self.tracks[name]
        found = {labels: track.read(labels, points) for labels in track.index(None)}
        return {labels: values for labels, values in found.items() if values}


@dataclass(frozen=True, slots=True)
class AskedNorm:
    """As the source answered. `places`: the step of the matrices that was the newest at each step; `matrices` by query."""

    rule: Rule
    places: Sequence[int]
    matrices: Mapping[str, Matrix]

    def find_limits(self, name: str, labels: Labels) -> Sequence[float]:
        """The least and the greatest."""
        values = self.list_values(name, labels).values()
        return (min(values), max(values)) if values else ()

    def list_values(self, name: str, labels: Labels) -> Mapping[int, float]:
        """As answered."""
        matrix = self.matrices[plan_baselines(self.rule)[name]]
        found: dict[int, float] = {}
        for series in matrix.index(self.rule.by).get(labels, ()):
            values = matrix.series[series].values
            found |= {step: values[place] for step, place in enumerate(self.places) if place in values}
        return dict(zip(found, _raise(self.rule, name, found.values()), strict=True))

    def answer(self, step: int, keys: Iterable[Labels]) -> dict[str, Outcome]:
        """As answered."""
        return cut_alerts(self.rule, self.matrices, self.places[step], keys)


def cut_alerts(rule: Rule, matrices: Mapping[str, Matrix], step: int, keys: Iterable[Labels] | None) -> dict[str, Outcome]:
    """What the queries answered at a step, of the series that belong to these alerts (None: all)."""
    outcomes: dict[str, Outcome] = {}
    wanted = None if keys is None else list(keys)
    for query, matrix in matrices.items():
        if wanted is None:
            outcomes[query] = cut_moment(matrix.series, step)
        else:
            index = matrix.index(rule.by)
            outcomes[query] = cut_moment({labels: matrix.series[labels] for key in wanted for labels in index.get(key, ())}, step)
    return outcomes


def _raise(rule: Rule, name: str, values: Iterable[float]) -> list[float]:
    floor = find_floor(rule, name)
    return [*values] if floor is None else [max(floor, value) for value in values]

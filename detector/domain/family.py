"""Queries that differ only in one label's value, asked as one query by that label and split again.

People generate a rule for each service, 5,000 of them; asked together they cost the metrics source about what one costs. An
adapter that knows PromQL says under which labels a query may be merged (`Candidate`); here the families are chosen, and the
answer of the merged query becomes each query's own. Before it: the rules were loaded. After it: `cache` asks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from detector.domain.label import label_value
from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from detector.domain.label import Labels

FEWEST = 2
MOST_NAMED = 200  # more values are not named in the query: any value is asked for, and what nobody wants is left out at the split
SLOT = "\x00"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to merge a query: every selector holds `label="value"`. `head` is the merged text with SLOT for that matcher.

    `strips`: the query's own answer does not carry the label, so that it is taken away again.
    """

    label: str
    value: str
    head: str
    strips: bool


@dataclass(frozen=True, slots=True)
class Family:
    """Queries that differ in one label's value, one of `values`, which are sorted. `quote` is that of `plan_families`."""

    label: str
    head: str
    values: tuple[str, ...]
    quote: Callable[[str, Sequence[str]], str] = field(repr=False, compare=False)

    def write(self, values: Sequence[str]) -> str:
        """The query that asks for these values, or for any where they are too many to be named."""
        return self.head.replace(SLOT, self.quote(self.label, values if len(values) <= MOST_NAMED else ()))


@dataclass(frozen=True, slots=True)
class Merged:
    """What is asked in a query's stead, and how its own answer is found in that: the series of `value`."""

    query: str
    value: str
    strips: bool
    family: Family

    @property
    def label(self) -> str:
        """The label whose value tells the relatives apart."""
        return self.family.label

    @property
    def members(self) -> int:
        """How many values are asked for at once."""
        return len(self.family.values)


Parts: TypeAlias = "Mapping[str, Samples | NoData]"
_Family: TypeAlias = tuple[str, str]


def plan_families(
    groups: Iterable[Iterable[str]], find: Callable[[str], Sequence[Candidate]], quote: Callable[[str, Sequence[str]], str]
) -> dict[str, Merged]:
    """For every query that has relatives in its group, what to ask instead. A group: queries asked at the same times.

    `find` gives the candidates of a query, none where it must stay as it is. `quote` writes the matcher of a label that takes
    these values, or any value where there are none.
    """
    plan: dict[str, Merged] = {}
    for group in groups:
        plan |= _plan_group({query: tuple(find(query)) for query in dict.fromkeys(group)}, quote)
    return plan


def cut_values(values: Sequence[str]) -> list[tuple[str, ...]]:
    """In halves, or in parts as large as can be named in a query."""
    size = min(MOST_NAMED, -(-len(values) // 2))
    return [tuple(values[first : first + size]) for first in range(0, len(values), size)]


def split_answer(outcome: Samples | NoData, label: str, *, strips: bool) -> Parts:
    """The answers of the single queries by value of the label; a value that is absent has no data."""
    series: dict[str, dict[Labels, float]] = defaultdict(dict)
    undefined: dict[str, set[Labels]] = defaultdict(set)
    if isinstance(outcome, Samples):
        for labels, number in outcome.series.items():
            value, own = _take_label(labels, label, strips=strips)
            series[value][own] = number
    for labels in outcome.undefined:
        value, own = _take_label(labels, label, strips=strips)
        undefined[value].add(own)
    parts: dict[str, Samples | NoData] = {}
    for value in {*series, *undefined}:
        without = frozenset(undefined.get(value, ()))
        own_series = series.get(value)
        parts[value] = Samples(own_series, len(without), without) if own_series else NoData(len(without), without)
    return parts


def blames_merging(outcome: Outcome) -> bool:
    """Whether the single queries may fare better than the merged one: not where nothing could be asked at all."""
    return isinstance(outcome, QueryFailed) and outcome.reason in _OF_THE_QUERY


def is_answered(outcome: Outcome) -> bool:
    """Whether the source had the time to work on the query, if only to find fault with it."""
    return not isinstance(outcome, QueryFailed) or outcome.reason in _OF_THE_DATA


_OF_THE_DATA = frozenset(
    {
        FailureReason.TOO_LARGE,
        FailureReason.BAD_QUERY,
        FailureReason.RESULT_TYPE,
        FailureReason.PARTIAL,
        FailureReason.DUPLICATE,
    }
)
_OF_THE_QUERY = frozenset(
    {
        FailureReason.TIMEOUT,
        FailureReason.TOO_LARGE,
        FailureReason.HTTP_STATUS,
        FailureReason.SERVER_ERROR,
        FailureReason.BAD_QUERY,
        FailureReason.RESULT_TYPE,
        FailureReason.PARTIAL,
        FailureReason.DUPLICATE,
        FailureReason.INTERNAL,
    }
)


@dataclass(slots=True)
class _Members:
    queries: dict[str, Candidate] = field(default_factory=dict)

    def count(self) -> int:
        return len({candidate.value for candidate in self.queries.values()})


def _plan_group(candidates: Mapping[str, tuple[Candidate, ...]], quote: Callable[[str, Sequence[str]], str]) -> dict[str, Merged]:
    families: dict[_Family, _Members] = defaultdict(_Members)
    for query, ways in candidates.items():
        for way in ways:
            families[way.label, way.head].queries[query] = way
    sizes = {name: family.count() for name, family in families.items()}
    chosen: dict[_Family, _Members] = defaultdict(_Members)
    for query, ways in candidates.items():
        if ways:
            way = min(ways, key=lambda each: (-sizes[each.label, each.head], each.label))
            chosen[way.label, way.head].queries[query] = way
    plan: dict[str, Merged] = {}
    for (label, head), family in chosen.items():
        values = sorted({way.value for way in family.queries.values()})
        if len(values) >= FEWEST:
            relatives = Family(label, head, tuple(values), quote)
            text = relatives.write(values)
            for query, way in family.queries.items():
                plan[query] = Merged(text, way.value, way.strips, relatives)
    return plan


def _take_label(labels: Labels, name: str, *, strips: bool) -> tuple[str, Labels]:
    value = label_value(labels, name) or ""
    return value, tuple(pair for pair in labels if pair[0] != name) if strips else labels

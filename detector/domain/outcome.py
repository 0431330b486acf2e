"""What one query brought: samples, nothing, or a failure with a closed reason.

Made by the Prometheus adapter, read by `reading`. "Nothing" and "failed" are different things and neither means "healthy".
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from detector.domain.label import Labels, project_labels


class FailureReason(StrEnum):
    """Why a query failed. Closed: each is a value of the `reason` label of `detector_query_errors_total`."""

    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    CUT = "cut"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    NOT_JSON = "not_json"
    SERVER_ERROR = "server_error"
    BAD_QUERY = "bad_query"
    RESULT_TYPE = "result_type"
    PARTIAL = "partial"
    DUPLICATE = "duplicate"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Samples:
    """Finite values by label set (without `__name__`); `dropped` counts the NaN and infinite ones that were left out.

    `undefined`: the series of those. They have no value, and yet they have not vanished.
    """

    series: Mapping[Labels, float]
    dropped: int = 0
    undefined: AbstractSet[Labels] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class NoData:
    """The query succeeded and held no finite value; `dropped` and `undefined` as of `Samples`."""

    dropped: int = 0
    undefined: AbstractSet[Labels] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class QueryFailed:
    """The query brought no answer that may be believed. `detail` is one line without secrets."""

    reason: FailureReason
    detail: str = ""


Outcome: TypeAlias = Samples | NoData | QueryFailed


@dataclass(frozen=True, slots=True)
class RangeSamples:
    """Points (unix seconds, finite value), oldest first, by label set."""

    series: Mapping[Labels, tuple[tuple[float, float], ...]] = field(default_factory=dict)


RangeOutcome: TypeAlias = RangeSamples | NoData | QueryFailed


class Row(Mapping[int, float]):
    """Finite values of all steps from 0 on, without a hole: a mapping by step over an array, which takes eight bytes a value.

    Its views go through the values as they lie, so that the greatest of a week is found as fast as in a list.
    """

    __slots__ = ("numbers",)

    def __init__(self, numbers: Sequence[float]) -> None:
        """Keep these; nobody may change them after."""
        self.numbers = numbers

    def __getitem__(self, step: int) -> float:
        """The value of a step."""
        if 0 <= step < len(self.numbers):
            return self.numbers[step]
        raise KeyError(step)

    def __len__(self) -> int:
        """How many steps there are."""
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        """The steps."""
        return iter(range(len(self.numbers)))

    def __contains__(self, step: object) -> bool:
        """Whether it is one of the steps."""
        return isinstance(step, int) and 0 <= step < len(self.numbers)

    def values(self) -> ValuesView[float]:
        """The values by step."""
        return _RowValues(self)

    def items(self) -> ItemsView[int, float]:
        """Steps with their values."""
        return _RowItems(self)


class _RowValues(ValuesView[float]):
    __slots__ = ()
    _mapping: Row

    def __iter__(self) -> Iterator[float]:
        return iter(self._mapping.numbers)


class _RowItems(ItemsView[int, float]):
    __slots__ = ()
    _mapping: Row

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return enumerate(self._mapping.numbers)


@dataclass(frozen=True, slots=True)
class Trace:
    """One series over the steps of a range, counted from 0: finite values, and steps at which it was there without one.

    `values` is a `Row` where every step has one, else a dict.
    """

    values: Mapping[int, float] = field(default_factory=dict)
    undefined: AbstractSet[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Everything one query says at each step of a range: what `Samples` is of one moment."""

    series: Mapping[Labels, Trace] = field(default_factory=dict)
    _indexes: dict[tuple[str, ...] | None, Mapping[Labels, tuple[Labels, ...]]] = field(default_factory=dict, compare=False)

    def index(self, by: tuple[str, ...] | None) -> Mapping[Labels, tuple[Labels, ...]]:
        """The series of each alert of a rule with that `by`."""
        if by not in self._indexes:
            found: dict[Labels, list[Labels]] = {}
            for labels in self.series:
                found.setdefault(labels if by is None else project_labels(labels, by), []).append(labels)
            self._indexes[by] = {key: tuple(series) for key, series in found.items()}
        return self._indexes[by]

    def join(self, later: Matrix, offset: int) -> Matrix:
        """This matrix followed by one whose step 0 is step `offset` here."""
        joined = dict(self.series)
        for labels, trace in later.series.items():
            values = {step + offset: value for step, value in trace.values.items()}
            undefined = {step + offset for step in trace.undefined}
            before = joined.get(labels, Trace())
            joined[labels] = Trace({**before.values, **values}, before.undefined | undefined)
        return Matrix(joined)


MatrixOutcome: TypeAlias = Matrix | QueryFailed


def cut_moment(series: Mapping[Labels, Trace], step: int) -> Samples | NoData:
    """What an instant query at that step would have answered, of these series."""
    values: dict[Labels, float] = {}
    undefined: set[Labels] = set()
    for labels, trace in series.items():
        value = trace.values.get(step)
        if value is not None:
            values[labels] = value
        elif step in trace.undefined:
            undefined.add(labels)
    if not values:
        return NoData(len(undefined), frozenset(undefined))
    return Samples(values, len(undefined), frozenset(undefined))

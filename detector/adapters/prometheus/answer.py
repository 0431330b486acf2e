"""From the bytes of a query answer to samples, or to the closed reason why they can't be believed.

Before it: `source`, which holds a whole HTTP reply. After it: `domain.outcome` values. Pure: no I/O; problems are values.
Formats: Prometheus HTTP API ("Expression query result formats"), with VictoriaMetrics' `isPartial`.

A poll asks for the same thousands of series every few seconds, so the label set of a series is decoded once and then found by the
bytes of its `metric` object. 20,000 series with that memory: 9 to 20 ms, by what else the machine does; without: about 50 ms.
"""

from __future__ import annotations

from itertools import compress
from math import isfinite
from operator import not_
from typing import TypeVar

import msgspec

from detector.adapters.prometheus.matrix import Point, Steps, TextPoint, make_steps
from detector.domain.label import NO_LABELS, Labels, format_labels, make_labels
from detector.domain.outcome import (
    FailureReason,
    Matrix,
    MatrixOutcome,
    NoData,
    Outcome,
    QueryFailed,
    RangeOutcome,
    RangeSamples,
    Samples,
    Trace,
)

_DETAIL_CHARACTERS = 300
_REMEMBERED_SETS = 50_000
_REMEMBERED_BYTES = 512
# An annotation of the PromQL engine quotes metric names, and a metric may be called store_requests_total.
_ENGINE_PREFIXES = ("promql info:", "promql warning:")
_PARTIAL_WORDS = ("store", "partial", "deadline")

_T = TypeVar("_T")


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: Point


class _TextSeries(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: TextPoint


class _Row(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    values: list[TextPoint] = []


class _RawRow(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _VectorData(msgspec.Struct, rename="camel"):
    result_type: str
    result: list[_Series]


class _AnyData(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Notes(msgspec.Struct, rename="camel"):
    """What every answer may carry beside its data."""

    status: str
    error_type: str = ""
    error: str = ""
    warnings: list[str] | None = None
    infos: list[str] | None = None
    is_partial: bool = False


class _VectorAnswer(_Notes, kw_only=True):
    data: _VectorData


class _AnyAnswer(_Notes):
    data: msgspec.Raw = msgspec.Raw(b"null")


_VECTOR_ANSWER = msgspec.json.Decoder(_VectorAnswer, strict=False)
_ANY_ANSWER = msgspec.json.Decoder(_AnyAnswer)
_ANY_DATA = msgspec.json.Decoder(_AnyData)
_TEXT_VECTOR = msgspec.json.Decoder(list[_TextSeries])
_MATRIX = msgspec.json.Decoder(list[_Row])
_RAW_MATRIX = msgspec.json.Decoder(list[_RawRow])
_SCALAR = msgspec.json.Decoder(TextPoint)
_METRIC = msgspec.json.Decoder(dict[str, str])
_SETS = msgspec.json.Decoder(list[dict[str, str]])
_NAMES = msgspec.json.Decoder(list[str])
_BUILD = msgspec.json.Decoder(dict[str, str])
# RecursionError: a body of 100,000 opening brackets. UnicodeDecodeError: invalid UTF-8 inside a string.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class _LabelMemory(dict[bytes, Labels]):
    """Label sets by the bytes they came as. Bounded by forgetting everything."""

    def __missing__(self, metric: bytes) -> Labels:
        labels = make_labels(_METRIC.decode(metric))
        if len(metric) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED_SETS:
                self.clear()
            self[metric] = labels
        return labels


class AnswerReader:
    """Reads the answers of one source; it remembers label sets from answer to answer and nothing else."""

    def __init__(self) -> None:
        self._labels = _LabelMemory()

    def read_instant(self, body: bytes) -> tuple[Outcome, tuple[str, ...]]:
        """Outcome of an instant query, with annotations that are no fault. Vector and scalar are taken, nothing else."""
        try:
            answer = _VECTOR_ANSWER.decode(body)
        except _UNREADABLE:
            return self._read_unusual(body)
        if problem := _find_problem(answer):
            return problem, ()
        if answer.data.result_type != "vector":
            return _refuse_type(answer.data.result_type, "vector or scalar"), ()
        return self._gather_vector(answer.data.result), _collect_annotations(answer)

    def read_range(self, body: bytes) -> tuple[RangeOutcome, tuple[str, ...]]:
        """Outcome of a range query (a matrix); points that are not finite are left out."""
        answer = _decode_any(body)
        if isinstance(answer, QueryFailed):
            return answer, ()
        try:
            data = _ANY_DATA.decode(answer.data)
            if data.result_type != "matrix":
                return _refuse_type(data.result_type, "matrix"), ()
            return self._gather_matrix(_MATRIX.decode(data.result)), _collect_annotations(answer)
        except (*_UNREADABLE, ValueError) as error:
            return _refuse_shape("the matrix", error), ()

    def read_matrix(self, body: bytes, start: float, count: int, step_seconds: float) -> tuple[MatrixOutcome, tuple[str, ...]]:
        """Outcome of a range query by step; a scalar expression is a matrix of one series without labels."""
        answer = _decode_any(body)
        if isinstance(answer, QueryFailed):
            return answer, ()
        try:
            data = _ANY_DATA.decode(answer.data)
            if data.result_type != "matrix":
                return _refuse_type(data.result_type, "matrix"), ()
            return self._lay_out(data.result, make_steps(start, count, step_seconds)), _collect_annotations(answer)
        except (*_UNREADABLE, ValueError) as error:
            return _refuse_shape("the matrix", error), ()

    def _lay_out(self, result: msgspec.Raw, steps: Steps) -> MatrixOutcome:
        series: dict[Labels, Trace] = {}
        for row in _RAW_MATRIX.decode(result):
            labels = self._labels[bytes(row.metric)]
            if labels in series:
                return _refuse_duplicate(labels)
            series[labels] = steps.read_trace(row.values)
        return Matrix(series)

    def _read_unusual(self, body: bytes) -> tuple[Outcome, tuple[str, ...]]:
        """Read what is not a plain vector: an error, a scalar, `+Inf` among the values, or something that is no answer."""
        answer = _decode_any(body)
        if isinstance(answer, QueryFailed):
            return answer, ()
        try:
            data = _ANY_DATA.decode(answer.data)
            match data.result_type:
                case "vector":
                    outcome: Outcome = self._gather_text_vector(_TEXT_VECTOR.decode(data.result))
                case "scalar":
                    value = float(_SCALAR.decode(data.result).value)
                    outcome = Samples({NO_LABELS: value}) if isfinite(value) else NoData(dropped=1)
                case other:
                    return _refuse_type(other, "vector or scalar"), ()
        except (*_UNREADABLE, ValueError) as error:
            return _refuse_shape("the vector or scalar", error), ()
        return outcome, _collect_annotations(answer)

    def _gather_vector(self, rows: list[_Series]) -> Outcome:
        try:
            labels = list(map(self._labels.__getitem__, map(bytes, [row.metric for row in rows])))
        except _UNREADABLE as error:
            return _refuse_shape("a label set", error)
        return _make_samples(labels, [row.value.value for row in rows])

    def _gather_text_vector(self, rows: list[_TextSeries]) -> Outcome:
        labels = [self._labels[bytes(row.metric)] for row in rows]
        return _make_samples(labels, [float(row.value.value) for row in rows])

    def _gather_matrix(self, rows: list[_Row]) -> RangeOutcome:
        series: dict[Labels, tuple[tuple[float, float], ...]] = {}
        seen: set[Labels] = set()
        dropped = 0
        for row in rows:
            labels = self._labels[bytes(row.metric)]
            if labels in seen:
                return _refuse_duplicate(labels)
            seen.add(labels)
            points = tuple((point.time, value) for point in row.values if isfinite(value := float(point.value)))
            dropped += len(row.values) - len(points)
            if points:
                series[labels] = points
        return RangeSamples(series) if series else NoData(dropped)


def read_error(status: int, body: bytes) -> QueryFailed:
    """Name the reason behind an answer whose HTTP status is not 200. Prometheus' own error text is kept."""
    try:
        told: _AnyAnswer | None = _ANY_ANSWER.decode(body)
    except _UNREADABLE:
        told = None
    text = _tell_error(told) if told is not None and told.status == "error" else ""
    detail = f"HTTP {status}: {text}" if text else f"HTTP {status} without an error text of the query API"
    match status:
        case 401 | 403:
            return QueryFailed(FailureReason.UNAUTHORIZED, f"HTTP {status}: check the credentials of the Prometheus URL")
        case 429:
            return QueryFailed(FailureReason.RATE_LIMITED, detail)
        case 422:
            return QueryFailed(FailureReason.BAD_QUERY, detail)
        case 400 if text:
            return QueryFailed(FailureReason.BAD_QUERY, detail)
        case 503 if text:
            return QueryFailed(FailureReason.SERVER_ERROR, detail)
        case _:
            return QueryFailed(FailureReason.HTTP_STATUS, detail)


def read_label_sets(body: bytes) -> tuple[dict[str, str], ...] | QueryFailed:
    """Label sets of a series request, `__name__` included."""
    sets = _read_data(body, _SETS, "the list of series")
    return sets if isinstance(sets, QueryFailed) else tuple(sets)


def read_names(body: bytes) -> tuple[str, ...] | QueryFailed:
    """Strings of a label-values request."""
    names = _read_data(body, _NAMES, "the list of label values")
    return names if isinstance(names, QueryFailed) else tuple(names)


def read_build(body: bytes) -> dict[str, str] | QueryFailed:
    """What a build-information request tells: version, revision and so on."""
    return _read_data(body, _BUILD, "the build information")


def _make_samples(labels: list[Labels], values: list[float]) -> Outcome:
    if not labels:
        return NoData()
    series = dict(zip(labels, values, strict=True))
    if len(series) < len(labels):
        return _refuse_duplicate(_find_duplicate(labels))
    finite = list(map(isfinite, values))
    if all(finite):
        return Samples(series)
    undefined = frozenset(compress(labels, map(not_, finite)))
    series = dict(compress(series.items(), finite))
    return Samples(series, len(undefined), undefined) if series else NoData(len(undefined), undefined)


def _find_duplicate(labels: list[Labels]) -> Labels:
    seen: set[Labels] = set()
    for entry in labels:
        if entry in seen:
            return entry
        seen.add(entry)
    return NO_LABELS


def _decode_any(body: bytes) -> _AnyAnswer | QueryFailed:
    try:
        answer = _ANY_ANSWER.decode(body)
    except _UNREADABLE:
        start = _shorten(body[:60].decode("utf-8", "replace"))
        return QueryFailed(FailureReason.NOT_JSON, f"the answer is not JSON of the query API; it begins with {start!r}")
    return _find_problem(answer) or answer


def _find_problem(answer: _Notes) -> QueryFailed | None:
    if answer.status != "success":
        return QueryFailed(FailureReason.SERVER_ERROR, f"status {_shorten(answer.status)!r}: {_tell_error(answer)}")
    if answer.is_partial:
        return QueryFailed(FailureReason.PARTIAL, "the answer says of itself that it is partial (isPartial)")
    for warning in answer.warnings or ():
        lowered = warning.lower()
        if not lowered.startswith(_ENGINE_PREFIXES) and any(word in lowered for word in _PARTIAL_WORDS):
            return QueryFailed(FailureReason.PARTIAL, f"warning of the server: {_shorten(warning)}")
    return None


def _collect_annotations(answer: _Notes) -> tuple[str, ...]:
    return tuple(_shorten(text) for text in (*(answer.warnings or ()), *(answer.infos or ())))


def _tell_error(answer: _Notes) -> str:
    return _shorten(": ".join(part for part in (answer.error_type, answer.error) if part) or "no error text")


def _shorten(text: str) -> str:
    """One line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _DETAIL_CHARACTERS else line[: _DETAIL_CHARACTERS - 3] + "..."


def _read_data(body: bytes, decoder: msgspec.json.Decoder[_T], shape: str) -> _T | QueryFailed:
    answer = _decode_any(body)
    if isinstance(answer, QueryFailed):
        return answer
    try:
        return decoder.decode(answer.data)
    except _UNREADABLE as error:
        return _refuse_shape(shape, error)


def _refuse_type(given: str, wanted: str) -> QueryFailed:
    return QueryFailed(
        FailureReason.RESULT_TYPE, f"the query gives a {_shorten(given) or 'nameless type'}, but a {wanted} is needed"
    )


def _refuse_shape(what: str, error: Exception) -> QueryFailed:
    if isinstance(error, UnicodeDecodeError):
        return QueryFailed(FailureReason.NOT_JSON, f"{what} in the answer is not UTF-8")
    return QueryFailed(FailureReason.RESULT_TYPE, f"{what} in the answer does not have the form of the query API")


def _refuse_duplicate(labels: Labels) -> QueryFailed:
    text = _shorten(format_labels(labels))
    return QueryFailed(FailureReason.DUPLICATE, f"several series have the labels {text} once __name__ is left out; aggregate them")

import json
import math
import time
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.prometheus import answer
from detector.adapters.prometheus.answer import AnswerReader
from detector.domain.label import make_labels
from detector.domain.outcome import Matrix, NoData, QueryFailed, Row, Samples, Trace

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LABELS = st.dictionaries(TEXT, TEXT, max_size=4)
VALUES = st.floats(allow_nan=True, allow_infinity=True)


def _write_vector(rows: list[tuple[dict[str, str], float]], *, escape: bool = True) -> bytes:
    result = [{"metric": labels, "value": [1_790_000_000.123, _write_value(value)]} for labels, value in rows]
    text = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}, ensure_ascii=escape)
    return text.encode()


def _write_value(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


@given(rows=st.lists(st.tuples(LABELS, VALUES), max_size=8, unique_by=lambda row: make_labels(row[0])), escape=st.booleans())
def test_every_finite_value_arrives_exactly(rows: list[tuple[dict[str, str], float]], *, escape: bool) -> None:
    """Whatever labels and doubles are written, the finite ones come back bit for bit, the others counted; a second time too."""
    reader = AnswerReader()
    finite = {make_labels(labels): value for labels, value in rows if math.isfinite(value)}
    dropped = len(rows) - len(finite)
    expected = Samples(finite, dropped) if finite else NoData(dropped)
    for _ in range(2):
        assert reader.read_instant(_write_vector(rows, escape=escape)) == (expected, ())


@given(body=st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    """Any bytes at all give a value, in every reader."""
    reader = AnswerReader()
    reader.read_instant(body)
    reader.read_range(body)
    reader.read_matrix(body, 1.0, 2, 1.0)
    answer.read_error(503, body)
    answer.read_label_sets(body)
    answer.read_names(body)
    answer.read_build(body)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
    )
)
def test_no_json_in_the_data_raises(body: object) -> None:
    """Any JSON where the result should stand gives a value."""
    reader = AnswerReader()
    for kind in ("vector", "scalar", "matrix", "other"):
        for data in (
            {"resultType": kind, "result": body},
            {"resultType": kind, "result": [{"metric": body, "value": [1, "1"]}]},
            body,
        ):
            text = json.dumps({"status": "success", "data": data}).encode()
            reader.read_instant(text)
            reader.read_range(text)
            reader.read_matrix(text, 1.0, 2, 1.0)


@given(
    st.lists(st.none() | VALUES, min_size=1, max_size=12),
    st.sampled_from([(1_790_000_000.0, 60.0), (1_790_000_000.5, 0.25), (1_790_000_001.3, 7.1)]),
)
def test_a_row_is_read_point_by_point(column: list[float | None], grid: tuple[float, float]) -> None:
    """With holes or without, NaN and infinities among the values: each step has its own value or none, bit for bit."""
    start, step_seconds = grid
    points = [
        [round(start + step * step_seconds, 3), _write_value(value)] for step, value in enumerate(column) if value is not None
    ]
    result = [{"metric": {"a": "b"}, "values": points}]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
    matrix, _ = AnswerReader().read_matrix(body, start, len(column), step_seconds)
    assert isinstance(matrix, Matrix)
    trace = matrix.series[make_labels({"a": "b"})]
    finite = {step: value for step, value in enumerate(column) if value is not None and math.isfinite(value)}
    assert dict(trace.values.items()) == finite
    assert trace.undefined == {step for step, value in enumerate(column) if value is not None} - finite.keys()
    if len(finite) == len(column) and math.isfinite(sum(finite.values())):
        assert isinstance(trace.values, Row)


@pytest.mark.parametrize(
    "values",
    [
        '[[60,"1"],[120,"2"],[180,"3"],[240,"4"]]',
        '[[0,"1"]]',
        '[[60,"1 2"],[120,"2"],[180,"3"]]',
        '[60,"1"]',
        '[[60,["1"]],[120,"2"]]',
        "7",
    ],
)
def test_a_row_that_is_none_fails_the_query(values: str) -> None:
    """Points beside the steps, and what is no list of points, are a failure and never a value."""
    body = f'{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}]}}}}'
    outcome, _ = AnswerReader().read_matrix(body.encode(), 60.0, 3, 60.0)
    assert isinstance(outcome, QueryFailed)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_a_row_is_a_mapping_like_any_other(values: list[float]) -> None:
    """It equals the dict of its steps, in every way in which a mapping can be asked."""
    row, plain = Row(array("d", values)), dict(enumerate(values))
    assert row == plain
    assert plain == row
    assert Trace(row) == Trace(plain)
    assert (list(row), list(row.values()), list(row.items()), len(row)) == (
        list(plain),
        values,
        list(plain.items()),
        len(values),
    )
    assert [row.get(step) for step in range(-2, 10)] == [plain.get(step) for step in range(-2, 10)]
    assert [step in row for step in range(-2, 10)] == [step in plain for step in range(-2, 10)]
    assert row.keys() & {0, 1} == plain.keys() & {0, 1}


def test_label_sets_are_the_same_objects_from_poll_to_poll() -> None:
    """The second answer shares the label sets of the first, so that 20,000 series are not held once a query."""
    reader = AnswerReader()
    first, _ = reader.read_instant(_write_vector([({"service": "a"}, 1.0)]))
    second, _ = reader.read_instant(_write_vector([({"service": "a"}, 2.0)]))
    assert isinstance(first, Samples)
    assert isinstance(second, Samples)
    assert next(iter(first.series)) is next(iter(second.series))


def test_memory_of_label_sets_is_bounded() -> None:
    """Series that never come back, and giant label sets, do not pile up."""
    reader = AnswerReader()
    for start in range(0, 120_000, 20_000):
        rows = [({"pod": f"p{start + number}"}, 1.0) for number in range(20_000)]
        outcome, _ = reader.read_instant(_write_vector(rows))
        assert isinstance(outcome, Samples)
        assert len(outcome.series) == 20_000
        assert len(reader._labels) <= 50_000
    held = len(reader._labels)
    reader.read_instant(_write_vector([({"pod": "x" * 10_000}, 1.0)]))
    assert len(reader._labels) == held


@pytest.mark.bench
def test_20_000_series_are_read_quickly() -> None:
    """Series seen before cost less than json.loads alone takes for the same bytes; compared in one run, as machines differ."""
    labels = [
        {"__name__": "up", "instance": f"10.0.{n >> 8}.{n & 255}:9100", "job": "node", "service": f"s{n}"} for n in range(20_000)
    ]
    body = _write_vector([(entry, number / 7) for number, entry in enumerate(labels)])

    def measure(read: Callable[[bytes], object]) -> float:
        started = time.process_time()
        read(body)
        return (time.process_time() - started) * 1000

    plain = min(measure(json.loads) for _ in range(9))
    cold = min(measure(AnswerReader().read_instant) for _ in range(9))
    reader = AnswerReader()
    reader.read_instant(body)
    warm = min(measure(reader.read_instant) for _ in range(31))
    text = f"20,000 series, {len(body) >> 10} KiB: known {warm:.1f} ms, new {cold:.1f} ms; json.loads alone {plain:.1f} ms"
    print(text)  # noqa: T201 - a bench prints
    assert warm <= plain
    assert cold <= 4 * plain

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from detector.adapters.prometheus import PrometheusSource
from detector.domain.outcome import FailureReason, NoData, Outcome, QueryFailed, RangeSamples, Samples
from detector.ports.source import SampleSource
from detector.transport.exchange import Exchange, ExchangeOption
from tests.kit import badprometheus as bad
from tests.kit import peer
from tests.kit.badprometheus import Answer, BadPrometheus
from tests.kit.certificate import Certificate, make_certificate
from tests.kit.peer import Conversation, Script, serve_peer
from tests.kit.port import free_port
from tests.kit.prometheus import Prometheus
from tests.kit.secret import assert_no_secret
from tests.kit.wait import HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until

AT = 1_790_000_000.0
SECRET = "s3cr3t-t0ken"
MEGABYTE = 1 << 20
ROW = ({"service": "checkout"}, "0.25")


@dataclass
class Asker:
    """Sources on one exchange, and the annotations they passed on."""

    exchange: Exchange
    heard: list[tuple[str, str]] = field(default_factory=list)

    def make_source(self, url: str, *, permits: int = 16, max_bytes: int = 4 * MEGABYTE) -> PrometheusSource:
        """Give a source that notes what it hears."""
        note: Callable[[str, str], None] = lambda query, text: self.heard.append((query, text))  # noqa: E731 - typed
        return PrometheusSource(self.exchange, url, permits=permits, max_bytes=max_bytes, on_warning=note)

    async def ask(self, answer: Answer, *, deadline_seconds: float = PATIENCE_SECONDS) -> Outcome:
        """One instant query answered that way."""
        async with BadPrometheus(answer) as server:
            return await _query(self.make_source(server.url), deadline_seconds)


async def _query(source: SampleSource, deadline_seconds: float) -> Outcome:
    return await source.query("up", AT, deadline_seconds=deadline_seconds)  # mypy: the adapter fits the port


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    """An asker with default options."""
    async with Exchange() as exchange:
        yield Asker(exchange)


def _failure(outcome: object) -> QueryFailed:
    assert isinstance(outcome, QueryFailed), outcome
    assert "\n" not in outcome.detail
    assert 0 < len(outcome.detail) < 500
    return outcome


async def test_request_form(asker: Asker) -> None:
    """The query goes as a POST form below the path prefix, with its time to the millisecond and our deadline as `timeout`."""
    async with BadPrometheus(bad.vector(ROW)) as server:
        source = asker.make_source(f"{server.url}/select/0/prometheus/")
        await source.query('sum(rate(x{a="b+c&d"}[5m]))', AT + 0.1234, deadline_seconds=8.0)
    query = server.queries[0]
    assert (query.method, query.path) == ("POST", "/select/0/prometheus/api/v1/query")
    assert query.parameters["query"] == 'sum(rate(x{a="b+c&d"}[5m]))'
    assert query.parameters["time"] == "1790000000.123"
    assert 7.0 < float(query.parameters["timeout"]) <= 8.0


async def test_vector_and_scalar_are_samples(asker: Asker) -> None:
    """Labels are sorted, __name__ and empty labels are gone; a scalar is one sample without labels."""
    got = await asker.ask(
        bad.vector(({"service": "a", "__name__": "up", "env": "x", "empty": ""}, "1e-3"), ({"service": "b"}, "2"))
    )
    assert got == Samples({(("env", "x"), ("service", "a")): 0.001, (("service", "b"),): 2.0})
    assert await asker.ask(bad.success([AT, "42.5"], "scalar")) == Samples({(): 42.5})


async def test_nothing_is_no_data(asker: Asker) -> None:
    """An empty vector of a successful query is no data: neither zero nor a failure."""
    assert await asker.ask(bad.vector()) == NoData()


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "Inf", "nan"])
async def test_values_that_are_no_numbers_are_left_out(asker: Asker, value: str) -> None:
    """NaN and infinities are counted and dropped; where nothing else is left there is no data."""
    assert await asker.ask(bad.vector(ROW, ({"service": "b"}, value))) == Samples({(("service", "checkout"),): 0.25}, dropped=1)
    assert await asker.ask(bad.vector(({"service": "b"}, value))) == NoData(dropped=1)
    assert await asker.ask(bad.success([AT, value], "scalar")) == NoData(dropped=1)


BROKEN_JSON = {
    "cut in a value": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b',
    "empty": b"",
    "HTML": b"<!doctype html>",
    "invalid UTF-8": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"\xff"},"value":[1,"1"]}]}}',
    "depth": b'{"x":' + b"[" * 200_000,
    "null": b"null",
    "no status": b"{}",
    "trailing": b'{"status":"success","data":{"resultType":"vector","result":[]}}{}',
}
BAD_SHAPES = {
    "no data": b'{"status":"success"}',
    "null result": b'{"status":"success","data":{"resultType":"vector","result":null}}',
    "no value": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
    "word": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}',
    "label number": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}}',
    "label list": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":[],"value":[1,"+Inf"]}]}}',
    "scalar word": b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}',
}
REASONS: list[tuple[str, Answer, FailureReason]] = [
    ("200 with status error", bad.error(200), FailureReason.SERVER_ERROR),
    ("503 with an error text", bad.error(503, "timeout", "query timed out"), FailureReason.SERVER_ERROR),
    ("422", bad.error(422, "execution", "many-to-many matching not allowed"), FailureReason.BAD_QUERY),
    ("400", bad.error(400, "bad_data", "parse error"), FailureReason.BAD_QUERY),
    ("400 of a proxy", bad.html(400), FailureReason.HTTP_STATUS),
    ("503", bad.unavailable(), FailureReason.HTTP_STATUS),
    ("404", bad.html(404), FailureReason.HTTP_STATUS),
    ("204", bad.whole(b"", 204), FailureReason.HTTP_STATUS),
    ("429", bad.throttled(), FailureReason.RATE_LIMITED),
    ("401", bad.html(401), FailureReason.UNAUTHORIZED),
    ("403", bad.error(403, "forbidden", "no"), FailureReason.UNAUTHORIZED),
    ("302", bad.whole(b"", 302, Location="http://127.0.0.1:1/"), FailureReason.REDIRECT),
    ("HTML with 200", bad.html(), FailureReason.NOT_JSON),
    ("cut JSON", bad.cut_json(), FailureReason.NOT_JSON),
    ("cut body", bad.cut_body(), FailureReason.CUT),
    ("matrix", bad.wrong_type(), FailureReason.RESULT_TYPE),
    ("empty matrix", bad.success([], "matrix"), FailureReason.RESULT_TYPE),
    ("string", bad.success([AT, "text"], "string"), FailureReason.RESULT_TYPE),
    ("isPartial", bad.is_partial(), FailureReason.PARTIAL),
    ("isPartial with data", bad.vector(ROW, isPartial=True), FailureReason.PARTIAL),
    ("partial warning", bad.partial_warning(), FailureReason.PARTIAL),
    ("warning in capitals", bad.vector(ROW, warnings=["harmless", "Deadline Exceeded"]), FailureReason.PARTIAL),
    ("warning beside a scalar", bad.success([AT, "1"], "scalar", warnings=["no STORE matched"]), FailureReason.PARTIAL),
    ("duplicate", bad.vector(({"__name__": "a", "x": "1"}, "1"), ({"__name__": "b", "x": "1"}, "2")), FailureReason.DUPLICATE),
    ("duplicate of NaN", bad.vector(({"__name__": "a"}, "NaN"), ({"__name__": "b"}, "2")), FailureReason.DUPLICATE),
    ("duplicate of Inf", bad.vector(({"__name__": "a"}, "+Inf"), ({"__name__": "b"}, "2")), FailureReason.DUPLICATE),
    ("silence", bad.silence(), FailureReason.TIMEOUT),
    ("drip", bad.drip(), FailureReason.TIMEOUT),
    ("huge", bad.huge(), FailureReason.TOO_LARGE),
    *((f"JSON: {name}", bad.whole(body), FailureReason.NOT_JSON) for name, body in BROKEN_JSON.items()),
    *((f"shape: {name}", bad.whole(body), FailureReason.RESULT_TYPE) for name, body in BAD_SHAPES.items()),
]


@pytest.mark.parametrize(("answer", "reason"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS])
async def test_every_bad_answer_has_its_own_reason(asker: Asker, answer: Answer, reason: FailureReason) -> None:
    """Each wrong answer is a failure with its reason within the deadline, asked once only, and never no data."""
    started, deadline_seconds = time.monotonic(), 1.0 if reason is FailureReason.TIMEOUT else PATIENCE_SECONDS
    async with BadPrometheus(answer) as server:
        outcome = await asker.make_source(server.url).query("up", AT, deadline_seconds=deadline_seconds)
        await asyncio.sleep(0)
        assert len(server.queries) == 1
    assert _failure(outcome).reason == reason
    assert time.monotonic() - started < 1.0 + HELD_UP_SECONDS


async def test_reasons_below_http(asker: Asker, tmp_path: Path) -> None:
    """No listener, no name, no trust, RST in the body and something that is not HTTP are told apart."""
    certificate = make_certificate(tmp_path)

    async def ask(url: str) -> FailureReason:
        return _failure(await asker.make_source(url).query("up", AT, deadline_seconds=5.0)).reason

    async def ask_script(script: Script) -> FailureReason:
        async with serve_peer(script) as server:
            return await ask(server.url)

    assert await ask(f"http://127.0.0.1:{free_port()}") == FailureReason.CONNECT
    assert await ask("http://169.254.169.254") == FailureReason.CONNECT
    assert await ask("not a url") == FailureReason.CONNECT
    assert await ask("http://no-such-host.invalid") == FailureReason.DNS
    async with serve_peer(peer.hang, certificate.make_server_context()) as server:
        assert await ask(server.url) == FailureReason.TLS
    assert await ask_script(peer.once(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", reset=True)) == FailureReason.CUT
    assert await ask_script(peer.once(b"220 smtp.example ESMTP\r\n\r\n")) == FailureReason.NOT_JSON


async def test_endless_headers_are_cut(asker: Asker) -> None:
    """Headers that never end stop at the header limit or the deadline, whichever comes first."""
    outcome = await asker.ask(bad.endless_headers(), deadline_seconds=1.0)
    assert _failure(outcome).reason in {FailureReason.NOT_JSON, FailureReason.TIMEOUT}


async def test_huge_answer_leaves_memory_flat(asker: Asker) -> None:
    """200 MB are cut at the cap of 4 MB without being held."""
    before = psutil.Process().memory_info().rss
    assert _failure(await asker.ask(bad.huge())).reason == FailureReason.TOO_LARGE
    assert psutil.Process().memory_info().rss - before < 48 * MEGABYTE


async def test_error_texts_of_prometheus_are_kept(asker: Asker) -> None:
    """What Prometheus says about a query stands in the detail, on one line and bounded."""
    text = 'parse error: unexpected <by>\nin "sum"' + "x" * 10_000
    detail = _failure(await asker.ask(bad.error(400, "bad_data", text))).detail
    assert detail.startswith('HTTP 400: bad_data: parse error: unexpected <by> in "sum"')


async def test_harmless_annotations_are_passed_on(asker: Asker) -> None:
    """Other warnings and infos fail nothing and are heard, and the engine may name a metric that is called store or partial."""
    infos = ['PromQL info: metric might not be a counter: "store_partial_total" (1:6)']
    warnings = ["PromQL warning: bucket label missing for metric name partial_seconds", "slow down"]
    outcome = await asker.ask(bad.vector(ROW, warnings=warnings, infos=infos))
    assert outcome == Samples({(("service", "checkout"),): 0.25})
    assert asker.heard == [("up", text) for text in (*warnings, *infos)]


async def test_retry_after_of_hours_changes_nothing(asker: Asker) -> None:
    """The query after a 429 is asked at once and answered."""
    async with BadPrometheus(bad.vector(ROW)) as server:
        server.answers = [bad.throttled(7200)]
        source = asker.make_source(server.url)
        assert _failure(await source.query("up", AT, deadline_seconds=PATIENCE_SECONDS)).reason == FailureReason.RATE_LIMITED
        assert isinstance(await source.query("up", AT, deadline_seconds=PATIENCE_SECONDS), Samples)


async def test_one_hung_query_delays_no_other(asker: Asker) -> None:
    """While one query hangs, 49 others are asked and answered."""
    async with BadPrometheus(bad.vector(ROW)) as server:
        server.answers = [bad.silence()]
        source = asker.make_source(server.url)
        hung = asyncio.create_task(source.query("hangs", AT, deadline_seconds=PATIENCE_SECONDS))
        await wait_until(lambda: bool(server.queries), "the query hangs")
        outcomes = await asyncio.gather(*(source.query(f"q{n}", AT, deadline_seconds=PATIENCE_SECONDS) for n in range(49)))
        assert all(isinstance(outcome, Samples) for outcome in outcomes)
        assert not hung.done()
        hung.cancel()


async def test_wait_for_a_permit_counts_in_the_deadline(asker: Asker) -> None:
    """Behind as many hung queries as there are permits another one ends at its own deadline and was never sent."""
    async with BadPrometheus(bad.silence()) as server:
        source = asker.make_source(server.url, permits=2)
        hung = [asyncio.create_task(source.query("hangs", AT, deadline_seconds=PATIENCE_SECONDS)) for _ in range(2)]
        await wait_until(lambda: len(server.queries) == 2, "both hang")
        detail = _failure(await source.query("late", AT, deadline_seconds=0.2)).detail
        assert "behind other queries" in detail
        assert not any(each.done() for each in hung)
        for each in hung:
            each.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        server.answer = bad.vector(ROW)
        assert isinstance(await source.query("after", AT, deadline_seconds=PATIENCE_SECONDS), Samples), "every permit came back"
    assert "late" not in [query.parameters["query"] for query in server.queries]


async def test_range_is_read_and_failures_are_told(asker: Asker) -> None:
    """A matrix becomes points without NaN and infinities; a vector, a cut and an empty matrix are told apart."""
    rows = [
        {"metric": {"__name__": "up", "a": "1"}, "values": [[1, "1"], [2.5, "NaN"], [3, "3"]]},
        {"metric": {"a": "2"}, "values": [[1, "+Inf"]]},
    ]
    async with BadPrometheus() as server:
        source = asker.make_source(server.url)
        server.answers = [bad.success(rows, "matrix"), bad.success([], "matrix"), bad.vector(ROW), bad.cut_json(), bad.error(422)]
        server.answers += [bad.success([rows[1]], "matrix"), bad.success([rows[0], rows[0]], "matrix"), bad.is_partial()]
        outcomes = [await source.query_range("up", AT, AT + 60, 15.0, deadline_seconds=PATIENCE_SECONDS) for _ in range(8)]
    assert server.queries[0].parameters["step"] == "15.000"
    assert outcomes[0] == RangeSamples({(("a", "1"),): ((1.0, 1.0), (3.0, 3.0))})
    assert (outcomes[1], outcomes[5]) == (NoData(), NoData(dropped=1))
    assert [_failure(outcomes[n]).reason.value for n in (2, 3, 4, 6, 7)] == [
        "result_type",
        "not_json",
        "bad_query",
        "duplicate",
        "partial",
    ]


async def test_secrets_stay_out_of_details() -> None:
    """Neither the user of the URL, nor a token, nor the path stands in any detail, whatever failed."""
    option = ExchangeOption(bearer_token=SECRET, headers={"X-Key": SECRET})
    async with Exchange(option) as exchange, BadPrometheus() as server:
        base = f"http://me:{SECRET}@127.0.0.1:{server.port}/{SECRET}"
        dead = base.replace(str(server.port), str(free_port()))
        server.answers = [bad.html(401), bad.cut_body(), bad.html(), bad.silence(), bad.huge(), bad.whole(b"", 302, Location=base)]
        source = PrometheusSource(exchange, base, max_bytes=MEGABYTE)
        deadlines = [PATIENCE_SECONDS] * 3 + [1.0] + [PATIENCE_SECONDS] * 2  # the fourth is the one that hangs
        outcomes = [await source.query("up", AT, deadline_seconds=each) for each in deadlines]
        outcomes.append(await PrometheusSource(exchange, dead).query("up", AT))
        outcomes.append(await PrometheusSource(exchange, f"http://me:{SECRET}@[bad").query("up", AT))
    assert len({_failure(outcome).reason for outcome in outcomes}) == 7
    assert_no_secret([SECRET], *map(repr, outcomes), repr(source), repr(exchange))


def _guard(upstream: int, prefix: str, password: str) -> Script:
    """Stand before a Prometheus as an ingress does: under a path prefix and behind basic auth."""
    credentials = ExchangeOption(basic_auth=("reader", password))
    expected = f"authorization: {_basic(credentials)}".lower().encode()

    async def script(talk: Conversation) -> None:
        while request := await talk.read_request():
            if expected not in request.lower():
                await talk.write(peer.answer(b"denied", "401 Unauthorized"))
                continue
            reader, writer = await asyncio.open_connection("127.0.0.1", upstream)
            plain = request.replace(prefix.encode(), b"", 1).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            writer.write(plain)
            await talk.write(await reader.read())
            writer.close()
            return

    return script


def _basic(option: ExchangeOption) -> str:
    return Exchange(option)._headers["Authorization"]


def _write_history() -> str:
    """Ten minutes of a busy service, an idle one, and a gauge that is NaN."""
    lines = ["# TYPE requests counter"]
    for service, rate in (("busy", 10), ("idle", 0)):
        for code, share in (("200", 0.75), ("500", 0.25)):
            lines += [
                f'requests_total{{service="{service}",code="{code}"}} {number * rate * share} {AT - 600 + number * 15:.0f}'
                for number in range(41)
            ]
    lines.append("# TYPE broken gauge")
    lines += [f'broken{{service="odd"}} NaN {AT - 600 + number * 15:.0f}' for number in range(41)]
    return "\n".join(lines)


async def test_real_prometheus(start_prometheus: Callable[..., Prometheus], tmp_path: Path) -> None:
    """Through TLS of an own authority, a path prefix and basic auth, a real Prometheus gives what its history holds."""
    server = start_prometheus(history=_write_history())
    certificate: Certificate = make_certificate(tmp_path / "tls")
    option = ExchangeOption(ca_file=certificate.ca_file, basic_auth=("reader", SECRET))
    script = _guard(server.port, "/prom", SECRET)
    ratio = 'sum by (service) (increase(requests_total{code="500"}[5m])) / sum by (service) (increase(requests_total[5m]))'
    async with serve_peer(script, certificate.make_server_context()) as front, Exchange(option) as exchange:
        source = PrometheusSource(exchange, f"{front.url}/prom/")
        assert await source.query(ratio, AT) == Samples({(("service", "busy"),): 0.25}, dropped=1), "0/0 of the idle one is dropped"
        assert await source.query("broken", AT) == NoData(dropped=1)
        assert await source.query("1/0 * (requests_total > 0)", AT) == NoData(dropped=2)
        assert await source.query("scalar(sum(requests_total))", AT) == Samples({(): 400.0})
        assert await source.query("absent_metric", AT) == NoData()
        assert await source.query("requests_total", AT + 3600) == NoData(), "stale after five minutes"
        await _check_failures(source)
        await _check_ranges(source)
        async with Exchange(ExchangeOption(ca_file=certificate.ca_file, basic_auth=("reader", "wrong"))) as stranger:
            outcome = await PrometheusSource(stranger, f"{front.url}/prom").query("up", AT)
        assert _failure(outcome).reason == FailureReason.UNAUTHORIZED
    assert all(b"POST /prom/api/v1/" in request or b"GET /prom/api/v1/" in request for request in front.requests)


async def _check_failures(source: PrometheusSource) -> None:
    syntax = _failure(await source.query("sum(", AT))
    assert (syntax.reason, "parse error" in syntax.detail) == (FailureReason.BAD_QUERY, True)
    clash = _failure(await source.query("requests_total * on(service) requests_total", AT))
    assert (clash.reason, "many-to-many" in clash.detail) == (FailureReason.BAD_QUERY, True)
    assert _failure(await source.query("requests_total[5m]", AT)).reason == FailureReason.RESULT_TYPE
    assert _failure(await source.query('"text"', AT)).reason == FailureReason.RESULT_TYPE
    assert _failure(await source.query_range("up", AT - 1e6, AT, 1.0)).reason == FailureReason.BAD_QUERY, "over 11,000 points"


async def _check_ranges(source: PrometheusSource) -> None:
    got = await source.query_range("sum by (service) (requests_total)", AT - 60, AT, 30.0)
    assert isinstance(got, RangeSamples)
    assert got.series[(("service", "busy"),)] == ((AT - 60, 360.0), (AT - 30, 380.0), (AT, 400.0))
    assert await source.query_range("broken", AT - 60, AT, 30.0) == NoData(dropped=3)
    found = await source.series(['requests_total{code="500"}', "broken"], AT - 600, AT)
    assert not isinstance(found, QueryFailed)
    assert {"__name__": "broken", "service": "odd"} in found
    assert len(found) == 3
    assert await source.label_values("service", AT - 600, AT) == ("busy", "idle", "odd")
    build = await source.build_info()
    assert not isinstance(build, QueryFailed)
    assert build["version"]

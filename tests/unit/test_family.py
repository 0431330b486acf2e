"""Queries that differ in one label's value: which are merged, which never, how the cache asks them and splits the answer."""

from __future__ import annotations

import pytest

from detector.adapters.family import explain_refusal, find_candidates, plan_merging, quote_matcher
from detector.app.cache import QueryCache
from detector.app.division import REST_SECONDS
from detector.app.slot import make_batches
from detector.domain.family import split_answer
from detector.domain.label import make_labels
from detector.domain.outcome import FailureReason, NoData, QueryFailed, Samples
from tests.kit.clock import VirtualClock
from tests.kit.stage import ScriptedSource, make_rule

RATIO = 'sum(rate(errors{service="SERVICE"}[5m])) / sum(rate(requests{service="SERVICE"}[5m]))'


def queries_of(*services: str, form: str = RATIO) -> list[str]:
    """The query of each service."""
    return [form.replace("SERVICE", service) for service in services]


@pytest.mark.parametrize(
    ("query", "merged"),
    [
        ('x{service="a"}', "x{#}"),
        ('sum(x{service="a", code=~"5.."})', 'sum by (service) (x{code=~"5..",#})'),
        ('sum by (pod) (x{service="a"})', "sum by (pod,service) (x{#})"),
        ('a{service="a"} / on (pod) b{service="a"}', "((a{#}) / on (pod,service) (b{#}))"),
        ('rate(x{service="a"}[5m] offset 1h) > 2', "((rate(x{#}[300000ms] offset 3600000ms)) > (2.0))"),
        ('max_over_time((-x{service="a"})[1h:30s])', "max_over_time((((-(x{#}))))[3600000ms:30000ms])"),
    ],
)
def test_what_qualifies_is_written_with_the_label_open(query: str, merged: str) -> None:
    """Matcher left open, every grouping and matching by the label."""
    (found,) = find_candidates(query)
    assert (found.label, found.value, found.head.replace("\x00", "#")) == ("service", "a", merged)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("x", 'no label="value" stands in every selector'),
        ('x{service=~"a"}', 'no label="value" stands in every selector'),
        ('x{service=""}', 'no label="value" stands in every selector'),
        ('a{service="a"} + b{service="b"}', 'no label="value" stands in every selector'),
        ('a{service="a", service="a"}', 'no label="value" stands in every selector'),
        ('a{service="a"} + b', 'no label="value" stands in every selector'),
        ('x_bucket{le="0.5"}', 'no label="value" stands in every selector'),
        ('sum without (pod) (x{service="a"})', "`without` keeps labels that are not named"),
        ('topk(3, x{service="a"})', "topk looks across all series"),
        ('quantile(0.5, x{service="a"})', "quantile looks across all series"),
        ('count_values("n", x{service="a"})', "count_values looks across all series"),
        ('absent(x{service="a"})', "absent() is not one that leaves each series to itself"),
        ('absent_over_time(x{service="a"}[5m])', "absent_over_time() is not one that leaves each series to itself"),
        ('scalar(x{service="a"})', "scalar() is not one that leaves each series to itself"),
        ('sum(x{service="a"}) or vector(0)', "vector() is not one that leaves each series to itself"),
        ('label_replace(x{service="a"}, "b", "$1", "c", "(.*)")', "label_replace() is not one that leaves each series to itself"),
        ('a{service="a"} / ignoring (pod) b{service="a"}', "`ignoring` keeps labels that are not named"),
        ('a{service="a"} / on (pod) group_left b{service="a"}', "group_left and group_right take labels from the other side"),
        ('x{service="a"} @ 1600000000', "@ fixes a time"),
        ('sum(a{service="a"}) / a{service="a"}', "its two sides do not carry the same labels"),
        ('sum(a{service="a"}) or on (pod) a{service="a"}', "its two sides do not carry the same labels"),
        ('a{service="a"} atan2 b{service="a"}', "the operator atan2 is not taken apart"),
    ],
)
def test_what_does_not_is_asked_alone_and_the_reason_is_told(query: str, reason: str) -> None:
    """Whatever looks across the label, or is not known not to."""
    assert find_candidates(query) == ()
    assert explain_refusal(query) == reason


def test_what_is_not_understood_is_asked_alone() -> None:
    """A grammar newer than the parser's."""
    assert find_candidates("sum(") == ()
    assert explain_refusal("sum(").startswith("its PromQL is not understood: ")


def test_values_are_quoted_for_the_regular_expression() -> None:
    """Each value means itself."""
    assert quote_matcher("a", ["x.y", "b|c", 'q"']) == 'a=~"x\\\\.y|b\\\\|c|q\\""'


def test_the_larger_family_wins_and_a_lone_query_stays_alone() -> None:
    """Of two labels the one with more relatives; what has none is asked as it is; times of asking are kept apart."""
    form = 'x{env="ENV",service="SERVICE"}'
    asked = [form.replace("ENV", env).replace("SERVICE", service) for env in ("p", "t") for service in ("a", "b", "c")]
    plan = plan_merging([[*asked, 'y{service="a"}']])
    assert {merged.query for merged in plan.values()} == {'x{env="p",service=~"a|b|c"}', 'x{env="t",service=~"a|b|c"}'}
    assert 'y{service="a"}' not in plan
    assert plan_merging([[each] for each in asked]) == {}


def test_an_answer_is_split_by_value() -> None:
    """Series without a value go to whom they belong; the label is taken away where alone it would not be there."""
    answer = Samples({make_labels({"service": "a", "pod": "p"}): 1.0}, 1, frozenset({make_labels({"service": "b"})}))
    parts = split_answer(answer, "service", strips=True)
    assert parts == {"a": Samples({make_labels({"pod": "p"}): 1.0}), "b": NoData(1, frozenset({()}))}
    assert parts["b"].undefined == {()}
    assert split_answer(answer, "service", strips=False)["a"] == Samples({make_labels({"service": "a", "pod": "p"}): 1.0})


def make_cache(clock: VirtualClock, source: ScriptedSource, queries: list[str]) -> QueryCache:
    """A cache whose rules ask these."""
    cache = QueryCache(source, clock, plan_merging)
    cache.set_rules([make_rule(f"rule-{number}", query) for number, query in enumerate(queries)])
    return cache


async def test_relatives_are_asked_once_and_share_their_slots() -> None:
    """One request; each gets its part, a service without series no data; all of them are one batch."""
    clock = VirtualClock()
    source, queries = ScriptedSource(clock), queries_of("a", "b", "c")
    cache = make_cache(clock, source, queries)
    merged = cache.name_query(queries[0])
    source.answers[merged] = Samples({make_labels({"service": "a"}): 0.5, make_labels({"service": "b"}): 0.25})
    answers = await cache.ask_all(queries, 100.0, 5.0)
    assert list(answers.values()) == [Samples({(): 0.5}), Samples({(): 0.25}), NoData()]
    assert await cache.ask(queries[1], 100.0, 5.0) == Samples({(): 0.25})
    assert source.asked == [(merged, 100.0)]
    rules = [make_rule(f"rule-{number}", query) for number, query in enumerate(queries)]
    assert [len(batch.rules) for batch in make_batches(rules, cache.name_query)] == [3]
    assert len(make_batches(rules)) == 3
    await cache.close()


async def test_relatives_that_carry_the_label_and_those_that_do_not_share_a_request_and_keep_their_labels() -> None:
    """`sum(x)` and `sum by (service) (x)` are one query once merged: each gets what it would get alone, whoever comes first."""
    clock = VirtualClock()
    bare, named = 'sum(rate(x{service="a"}[5m]))', 'sum by (service) (rate(x{service="b"}[5m]))'
    source = ScriptedSource(clock)
    cache = make_cache(clock, source, [bare, named])
    merged = cache.name_query(bare)
    series = {service: make_labels({"service": service}) for service in ("a", "b")}
    source.answers[merged] = Samples({series["a"]: 1.0, series["b"]: 2.0})
    for moment, queries in ((100.0, (bare, named)), (105.0, (named, bare))):
        answers = await cache.ask_all(queries, moment, 5.0)
        assert answers == {bare: Samples({(): 1.0}), named: Samples({series["b"]: 2.0})}
    assert source.asked == [(merged, 100.0), (merged, 105.0)]
    await cache.close()


async def test_a_merged_query_that_fails_is_asked_one_by_one_for_a_minute() -> None:
    """Too large together: each by itself at once, and together again a minute later."""
    clock = VirtualClock()
    source, queries = ScriptedSource(clock), queries_of("a", "b")
    cache = make_cache(clock, source, queries)
    merged = cache.name_query(queries[0])
    source.answers[merged] = QueryFailed(FailureReason.TOO_LARGE, "over 16 MiB")
    source.answers |= {query: Samples({(): 0.5}) for query in queries}
    assert await cache.ask_all(queries, 100.0, 5.0) == {query: source.answers[query] for query in queries}
    assert [query for query, _ in source.asked] == [merged, *queries]
    await cache.ask_all(queries, 105.0, 5.0)
    assert [query for query, _ in source.asked[3:]] == queries
    clock.advance(REST_SECONDS + 1)
    await cache.ask_all(queries, 170.0, 5.0)
    assert source.asked[5] == (merged, 170.0)
    await cache.close()


async def test_where_nothing_can_be_asked_nothing_more_is() -> None:
    """A Prometheus that refuses connections is not asked a second time for each rule."""
    clock = VirtualClock()
    source, queries = ScriptedSource(clock), queries_of("a", "b")
    cache = make_cache(clock, source, queries)
    source.answers[cache.name_query(queries[0])] = refused = QueryFailed(FailureReason.CONNECT, "refused")
    assert set((await cache.ask_all(queries, 100.0, 5.0)).values()) == {refused}
    assert len(source.asked) == 1
    await cache.close()

"""Series of a rule are written as prometheus_client writes the same numbers, whatever the rule is called."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from detector.web.series import RuleSeries, RuleTiming, name_series

NAMES = ("plain", 'quoted "x"', "back\\slash", "two\nlines", "100% {rule}", "naïve ☃", '"} 1\nfake{rule="y')


def test_a_counter_reads_as_that_of_the_library() -> None:
    """Line by line, help and type included."""
    registry = CollectorRegistry()
    theirs = Counter("things_total", "Things.", ["rule", "outcome"], registry=registry)
    ours = RuleSeries("things_total", "counter", "Things.", [name_series(outcome=word) for word in ("ok", "bad")])
    for number, name in enumerate(NAMES):
        for index, word in enumerate(("ok", "bad")):
            theirs.labels(name, word).inc(number + index)
            ours.numbers(name)[index] += number + index
    assert _lines(ours.write()) == _lines(generate_latest(registry).decode())


def test_a_histogram_reads_as_that_of_the_library() -> None:
    """Buckets are cumulative, a value on a bound counts in that bucket; a removed rule is gone."""
    registry = CollectorRegistry()
    bounds = (0.01, 0.5, 2.5)
    theirs = Histogram("times_seconds", "Times.", ["rule"], buckets=bounds, registry=registry)
    ours = RuleTiming("times_seconds", "Times.", bounds)
    for name in NAMES:
        for seconds in (0.0, 0.01, 0.25, 2.5, 7.0):
            theirs.labels(name).observe(seconds)
            ours.observe(name, seconds)
    ours.numbers("gone")
    ours.remove("gone")
    assert _lines(ours.write()) == _lines(generate_latest(registry).decode())


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "_created" not in line]

"""What the page says, and that it always fits: held against the documented rules as the stand-in reads them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.pagerduty.event import build_event, build_least_event
from detector.adapters.pagerduty.limit import MAX_EVENT_BYTES, Part, fit_event, fit_key
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from detector.standin.event import read_event
from tests.kit.delivery import make_delivery

KEY = "0123456789abcdef0123456789abcdef"
HOSTILE = "a\x00b\r\nc<!channel>{{7*7}}#+/🔥\ud800\u202e"


def fit(**about: Any) -> tuple[dict[str, Any], tuple[Part, ...]]:
    """The event of a delivery as it leaves, after the stand-in found no rule broken."""
    fitted = fit_event(build_event(make_delivery(**about), KEY))
    reading = read_event(fitted.body, frozenset({KEY}))
    assert reading.errors == ()
    assert reading.unknown_keys == ()
    event: dict[str, Any] = msgspec.json.decode(fitted.body)
    return event, fitted.cuts


def test_the_page_says_what_the_engineer_needs() -> None:
    """Summary, severity, service, value against threshold, since when, affected services, links and runbook."""
    event, cuts = fit()
    payload, details = event["payload"], event["payload"]["custom_details"]
    assert cuts == ()
    assert (event["event_action"], event["dedup_key"], event["client"]) == ("trigger", "abc:1:default", "detector")
    assert payload["summary"] == "[HIGH] checkout: fails 10.2% of its requests"
    assert (payload["source"], payload["severity"], payload["class"]) == ("checkout", "error", "http-errors")
    assert payload["timestamp"] == "2023-11-14T22:13:20.000+00:00"
    assert details["breach"] == "error_rate 10.2% > 1%"
    assert details["since"] == "2023-11-14 22:13:20 UTC"
    assert details["affected_services"] == "checkout, basket"
    assert (details["peak"], details["value"], details["threshold"]) == ("12%", 0.102, 0.01)
    assert details["labels"] == {"env": "prod", "service": "checkout"}
    assert details["notes"] == ["core service"]
    assert event["links"] == [
        {"href": "https://wiki.example/checkout", "text": "runbook"},
        {"href": "https://grafana.example/d/x", "text": "dashboard"},
        {"href": "https://trace.example/?q=1", "text": "trace"},
    ]
    assert event["client_url"] == "https://detector.example/incidents/abc"
    assert "value_at_recovery" not in details


def test_the_summary_brings_the_numbers_where_the_title_has_none() -> None:
    """A title without the value gets it appended; without any title the rules speak."""
    event, _ = fit(title="checkout: requests fail")
    assert event["payload"]["summary"] == "[HIGH] checkout: requests fail (error_rate 10.2% > 1%)"
    event, _ = fit(title="", signal=None, value=None, threshold=None)
    assert event["payload"]["summary"] == "[HIGH] checkout: http-errors, http-latency"


def test_a_resolve_carries_the_value_at_recovery() -> None:
    """The resolve names the value at recovery, the peak and the threshold, in words and as numbers."""
    event, _ = fit(kind=NoticeKind.RESOLVE, value_at_recovery=0.0005, value=0.0005, status="resolved", end_reason="recovered")
    details = event["payload"]["custom_details"]
    assert (event["event_action"], event["dedup_key"]) == ("resolve", "abc:1:default")
    assert details["recovery"] == "error_rate 0.05% (peak 12%, threshold 1%)"
    assert (details["value_at_recovery"], details["peak_value"], details["threshold"]) == (0.0005, 0.12, 0.01)
    assert details["end_reason"] == "recovered"


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (NoticeKind.TRIGGER, "trigger"),
        (NoticeKind.RISE, "trigger"),
        (NoticeKind.RELAPSE, "trigger"),
        (NoticeKind.UPDATE, "trigger"),
        (NoticeKind.ACKNOWLEDGE, "acknowledge"),
        (NoticeKind.RESOLVE, "resolve"),
    ],
)
def test_every_kind_has_its_action(kind: NoticeKind, action: str) -> None:
    """Rises, relapses and updates are triggers; each is a valid event, also in its least form."""
    event, _ = fit(kind=kind)
    least = fit_event(build_least_event(make_delivery(kind), KEY))
    reading = read_event(least.body, frozenset({KEY}))
    assert (event["event_action"], reading.text("event_action"), reading.errors) == (action, action, ())
    assert reading.text("dedup_key") == event["dedup_key"]
    payload = msgspec.json.decode(least.body).get("payload", {})
    assert set(payload) == ({"summary", "source", "severity"} if action == "trigger" else set())


@pytest.mark.parametrize(
    ("severity", "word"),
    [(Severity.CRITICAL, "critical"), (Severity.HIGH, "error"), (Severity.MEDIUM, "warning"), (Severity.LOW, "info")],
)
def test_severities(severity: Severity, word: str) -> None:
    """Each severity has PagerDuty's word for it."""
    event, _ = fit(severity=severity)
    assert event["payload"]["severity"] == word


def test_only_web_addresses_become_links() -> None:
    """Scripts, files, spaces and broken addresses are left out of what a person could click."""
    links = {
        "a": "javascript:alert(1)",
        "b": "file:///etc/passwd",
        "c": "https://x y",
        "d": "https://[::1",
        "e": 7,
        "ok": "http://x/",
    }
    event, _ = fit(links=links, runbook="", dashboard="data:text/html,x", incident_url="javascript:1")
    assert event["links"] == [{"href": "http://x/", "text": "ok"}]
    assert "client_url" not in event


def test_600_kb_of_labels_fit() -> None:
    """Labels are cut, biggest first; what a person needs stays whole, and the cut is named."""
    labels = {f"label{n}": "x" * 300 for n in range(1000)} | {"huge": "y" * 300_000, "env": "prod"}
    event, cuts = fit(labels=labels)
    details = event["payload"]["custom_details"]
    assert cuts == (Part.DETAILS,)
    assert details["breach"] == "error_rate 10.2% > 1%"
    assert details["labels"]["env"] == "prod"
    size = len(msgspec.json.encode(event))
    assert MAX_EVENT_BYTES // 4 < size <= MAX_EVENT_BYTES


def test_long_names_are_cut_and_the_key_stays_stable() -> None:
    """300-character names, a 3,000-character title and a key over 255 characters all end within their limits."""
    key = f"{'k' * 300}:1:default"
    event, cuts = fit(key=key, title="t" * 3000, service="s" * 2000, links={f"l{n}": f"https://x/{n}" for n in range(100)})
    assert set(cuts) == {Part.SUMMARY, Part.KEY, Part.FIELD, Part.LINKS}
    assert (len(event["payload"]["summary"]), len(event["links"])) == (1024, 20)
    assert event["payload"]["summary"].endswith(" [cut]")
    assert event["dedup_key"] == fit_key(key) != fit_key(key + "x")
    assert len(event["dedup_key"].encode()) <= 255


def test_hostile_text_is_valid_and_inert() -> None:
    """NUL, CRLF, half an emoji, `<!channel>` and `{{7*7}}` arrive as text; the key with them in it is still stable."""
    event, _ = fit(title=HOSTILE, labels={HOSTILE: HOSTILE}, service=HOSTILE, route=HOSTILE, notes=[HOSTILE])
    summary = event["payload"]["summary"]
    assert "\n" not in summary
    assert "<!channel>{{7*7}}#+/🔥" in summary
    assert event["payload"]["custom_details"]["notes"] == ["a\ufffdb\nc<!channel>{{7*7}}#+/🔥\ufffd\ufffd"]
    again, _ = fit(route=HOSTILE)
    assert again["dedup_key"] == event["dedup_key"]
    assert event["dedup_key"].isascii()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50) | st.just(HOSTILE) | st.just("z" * 9000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=20,
)
NAMES = ["title", "service", "services", "rules", "signal", "value", "threshold", "peak_value", "value_at_recovery", "opened"]
NAMES += ["labels", "links", "runbook", "dashboard", "incident_url", "notes", "alerts", "condition", "detected", "status"]


@given(facts=st.dictionaries(st.sampled_from(NAMES), JUNK), key=st.text(min_size=1, max_size=400), kind=st.sampled_from(NoticeKind))
def test_whatever_the_facts_the_event_is_valid(facts: dict[str, Any], key: str, kind: NoticeKind) -> None:
    """No facts, however odd, make an event that PagerDuty would refuse."""
    fit(kind=kind, key=key, **facts)


def test_a_deep_value_cannot_break_the_encoder() -> None:
    """Facts nested a thousand deep, and integers of 5,000 digits, still make an event."""
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    event, _ = fit(labels={"deep": deep, "big": 10**5000})
    assert event["payload"]["custom_details"]["labels"]["big"] == "a very large number"

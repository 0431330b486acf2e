"""What outsiders may know of an incident, as a pure function: addresses of the inside stay inside."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.domain.disclosure import disclose, format_clock, read_state, redact
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
ANYTHING = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3))
NAMES = (
    "title",
    "service",
    "services",
    "message",
    "actor",
    "eta",
    "next_update",
    "root_cause",
    "opened",
    "resolved",
    "state",
    "labels",
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see https://wiki.internal/x?y=1 now", "see (removed) now"),
        ("db-7.prod.internal:5432 is full", "(removed) is full"),
        ("10.1.2.3 and 10.1.2.3:9100 fail", "(removed) and (removed) fail"),
        ("fe80::1:2:3 fails", "(removed) fails"),
        ("redis:6379 fails", "(removed) fails"),
        ("write to jane@example.org", "write to (removed)"),
        (
            "since 10:30:15, version 1.2.3, e.g. half of them; 99.5% fail",
            "since 10:30:15, version 1.2.3, e.g. half of them; 99.5% fail",
        ),
        ("two\r\nlines\x00", "two lines\ufffd"),
    ],
)
def test_addresses_are_taken_out_of_what_people_write(text: str, told: str) -> None:
    """URLs, host names, addresses and mail addresses are removed; times, versions and numbers stay."""
    assert redact(text) == told


def test_only_services_that_customers_face_are_named() -> None:
    """The database behind them is nobody's business; where none is faced by customers, none is named."""
    facts = {"service": "ledger-db", "services": ["ledger-db", "checkout"]}
    assert disclose(NoticeKind.TRIGGER, Severity.HIGH, {**facts, "facing": ["checkout"]}).services == ("checkout",)
    assert disclose(NoticeKind.TRIGGER, Severity.HIGH, {**facts, "facing": []}).affected == "our services"


def test_a_long_text_is_cut_in_short_time() -> None:
    """A megabyte of anything ends as at most 1,000 characters."""
    for text in ("a" * 1_000_000, "a." * 500_000, "a@" * 500_000, "1:" * 500_000):
        assert len(redact(text)) <= 1_000


@pytest.mark.parametrize(
    ("kind", "said", "status", "state"),
    [
        (NoticeKind.TRIGGER, "", "open", "investigating"),
        (NoticeKind.TRIGGER, "resolved", "resolved", "investigating"),
        (NoticeKind.RISE, "identified", "open", "identified"),
        (NoticeKind.RELAPSE, "resolved", "open", "investigating"),
        (NoticeKind.UPDATE, "identified", "open", "identified"),
        (NoticeKind.UPDATE, "", "resolved", "resolved"),
        (NoticeKind.ACKNOWLEDGE, "nonsense", "acknowledged", "investigating"),
        (NoticeKind.RESOLVE, "", "resolved", "resolved"),
        (NoticeKind.RESOLVE, "monitoring", "resolved", "monitoring"),
        (NoticeKind.RESOLVE, "investigating", "resolved", "resolved"),
        (NoticeKind.CLOSE, "investigating", "closed", "resolved"),
        (NoticeKind.REMINDER, "monitoring", "open", "monitoring"),
    ],
)
def test_the_state_follows_the_notice(kind: NoticeKind, said: str, status: str, state: str) -> None:
    """Nothing opens as resolved and nothing resolves as investigating, whatever the fact says."""
    assert read_state(kind, {"state": said, "status": status}) == state


@pytest.mark.parametrize("actor", ["", "detector", " Detector ", None, 3])
def test_only_people_are_quoted(actor: object) -> None:
    """Lines that the daemon wrote name rules and values: they are not told."""
    facts = {"message": "http-errors: error_rate 10%", "actor": actor}
    assert disclose(NoticeKind.UPDATE, Severity.HIGH, facts).message == ""
    assert disclose(NoticeKind.UPDATE, Severity.HIGH, facts | {"actor": "jane"}).message == "http-errors: error_rate 10%"
    assert disclose(NoticeKind.ACKNOWLEDGE, Severity.HIGH, facts | {"actor": "jane"}).message == ""


@given(
    kind=st.sampled_from(NoticeKind),
    severity=st.sampled_from(Severity),
    facts=st.fixed_dictionaries(dict.fromkeys(NAMES, ANYTHING)),
)
def test_any_facts_give_clean_lines(kind: NoticeKind, severity: Severity, facts: dict[str, object]) -> None:
    """Whatever the facts hold, each public one is a single line of bounded length, and the title is never among them."""
    secret = "zq-internal-title"
    told = asdict(disclose(kind, severity, facts | {"title": secret, "labels": {"host": secret}}))
    services = told.pop("services")
    for text in (*told.values(), *services):
        assert isinstance(text, str)
        assert len(text) <= 1_000
        assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
        assert secret not in text


@pytest.mark.parametrize(("at", "text"), [(0, "00:00 UTC"), (1e300, ""), (float("nan"), ""), (None, ""), (True, ""), ("3", "")])
def test_moments_that_are_none_say_nothing(at: object, text: str) -> None:
    """What is no moment is left out instead of failing."""
    assert format_clock(at) == text

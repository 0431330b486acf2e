"""Slack's markup and wording, without a network."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.slack.memory import Handle, Journal
from detector.adapters.slack.mrkdwn import cut_text, escape_text, make_link, mention
from detector.adapters.slack.wording import TEMPLATES, word_notice
from detector.adapters.template import TemplateRenderer
from detector.domain.incident import NoticeKind
from detector.domain.severity import Severity
from tests.kit.delivery import OPENED, make_delivery

RESOLVED = "Incident resolved at 2023-11-14 22:13:20 UTC, root cause not known yet"
HOSTILE = st.text(alphabet=st.sampled_from("<>&!@#|:;ltgamp{}%U0AB12CD\n\r\x00\ud800\u202e x"), max_size=60)


@given(HOSTILE, st.integers(2, 40))
def test_no_text_is_live_however_it_is_cut(text: str, limit: int) -> None:
    """Escaped and cut, a text holds no control character, no half entity, and undone it is what was written."""
    escaped = escape_text(text)
    cut = cut_text(escaped, limit)
    assert len(cut) <= limit
    assert not set("<>\x00\ud800\u202e") & set(cut)
    assert re.sub(r"&(?:amp|lt|gt);", "", cut).count("&") == 0
    undone = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert undone == re.sub("[\x00\ud800\u202e]", "\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def test_a_cut_never_ends_inside_a_link() -> None:
    """What a template wrote as a link is whole or gone."""
    text = "see <https://x.example|the page> now"
    assert {cut_text(text, limit) for limit in range(6, 32)} == {"see \u2026"}
    assert cut_text(text, 33).startswith("see <https://x.example|the page>")


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://x.example/a?b=1&c=2", "<https://x.example/a?b=1&amp;c=2|a/b>"),
        ("https://x.example/>|<!here>", "<https://x.example/%3E%7C%3C!here%3E|a/b>"),
        ("javascript:alert(1)", ""),
        ("https://", ""),
        ("https://x.example/a b", ""),
        ("https://[x", ""),
        ("https://x.example/" + "a" * 3000, ""),
    ],
)
def test_links_lead_to_web_addresses_only(url: str, link: str) -> None:
    """With nothing in them that ends the link early."""
    assert make_link(url, "a|b") == link


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("U0AB12CD34", "<@U0AB12CD34>"),
        (" W0AB12CD34 ", "<@W0AB12CD34>"),
        ("U0AB12", "U0AB12"),
        ("u0ab12cd34", "u0ab12cd34"),
        ("U0AB12CD34> <!here", "U0AB12CD34&gt; &lt;!here"),
        ("U0AB12CD34\n", "<@U0AB12CD34>"),
        ("Ana\nRuiz", "Ana Ruiz"),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_only_an_id_is_mentioned(who: object, shown: str) -> None:
    """A name stays a name."""
    assert mention(who) == shown


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_kind_says_something_without_any_fact(kind: NoticeKind) -> None:
    """No template needs a fact that a notice may lack; a failed template would come back raw, with its braces."""
    failures: list[str] = []
    renderer = TemplateRenderer(on_failure=lambda template, _: failures.append(template))
    wording = word_notice(make_delivery(kind), renderer, TEMPLATES)
    assert failures == []
    assert wording.reply
    assert "{" not in wording.reply + wording.headline


@pytest.mark.parametrize(
    ("severity", "facts", "headline"),
    [
        (Severity.CRITICAL, {"eta": "10 min"}, "Service checkout down, investigating. ETA 10 min"),
        (Severity.LOW, {"state": "monitoring"}, "Service checkout degraded, monitoring."),
        (Severity.HIGH, {"next_update": OPENED}, "Service checkout down, investigating. Next update by 22:13 UTC"),
        (
            Severity.HIGH,
            {"status": "resolved", "resolved": OPENED},
            "Incident resolved at 2023-11-14 22:13:20 UTC, root cause not known yet",
        ),
        (Severity.HIGH, {"service": "storm", "subject": "12 services"}, "12 services down, investigating."),
    ],
)
def test_the_headline_says_state_and_what_comes_next(severity: Severity, facts: dict[str, Any], headline: str) -> None:
    """An ETA only where one was given, else the next update where that is known."""
    delivery = make_delivery(NoticeKind.UPDATE, severity=severity, **facts)
    assert word_notice(delivery, TemplateRenderer(), TEMPLATES).headline == headline


def test_a_late_summons_mentions_only_who_was_not_called() -> None:
    """The owner is not called twice because the manager was found later."""
    responders = {"service_owner": "U0OW1234", "on_call_engineer": "Erin", "on_call_manager": "U0MO1234"}
    first = make_delivery(NoticeKind.SUMMON, responders=responders)
    late = make_delivery(NoticeKind.SUMMON, responders=responders, summoned=["on_call_manager"])
    texts = [word_notice(each, TemplateRenderer(), TEMPLATES).reply for each in (first, late)]
    assert ["<@U0OW1234>" in text for text in texts] == [True, False]
    assert ["<@U0MO1234>" in text for text in texts] == [True, True]


@pytest.mark.parametrize(("count", "called"), [(1, "Erin"), (2, "Erin &lt;@U0MO1234&gt;"), (3, "Erin &lt;@U0MO1234&gt; Olu")])
def test_an_escalation_mentions_one_responder_more_each_time(count: int, called: str) -> None:
    """The engineer first; the manager and the owner are left alone until it is their turn."""
    responders = {"service_owner": "Olu", "on_call_engineer": "Erin", "on_call_manager": "U0MO1234"}
    delivery = make_delivery(NoticeKind.ESCALATE, responders=responders, escalations=count)
    reply = word_notice(delivery, TemplateRenderer(), TEMPLATES).reply
    assert reply.partition(": service")[0] == called.replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("credential", [None, "", ":", "C1", "C1:", ":1"])
def test_what_is_no_handle_is_none(credential: str | None) -> None:
    """A credential from elsewhere is not taken for a message."""
    assert Handle.parse(credential) is None
    assert Handle.parse(str(Handle("C1", "1.2"))) == Handle("C1", "1.2")


def test_the_journal_doubts_what_it_did_not_see() -> None:
    """A first claim is sure; a refusal keeps it so; an answer that never came, or another's claim, does not."""
    journal, delivery = Journal(), make_delivery()
    assert not journal.is_doubtful(delivery)
    assert journal.is_doubtful(replace(delivery, attempts=1))
    journal.settle(delivery)
    assert not journal.is_doubtful(replace(delivery, attempts=1))
    assert journal.is_doubtful(replace(delivery, attempts=2))
    journal.doubt(delivery)
    assert journal.is_doubtful(delivery)


@pytest.mark.parametrize(
    ("kind", "facts", "reply"),
    [
        (
            NoticeKind.SUMMON,
            {"message": "high: owner and manager are asked to join"},
            "service checkout down (HIGH), the service owner and the manager are called in.",
        ),
        (
            NoticeKind.ACKNOWLEDGE,
            {"message": "acknowledged by Ana: on my way", "acknowledged_by": "Ana", "eta": "10 min"},
            "Acknowledged by Ana, investigating. on my way. ETA 10 min",
        ),
        (
            NoticeKind.ACKNOWLEDGE,
            {"message": "acknowledged by Ana", "acknowledged_by": "Ana"},
            "Acknowledged by Ana, investigating.",
        ),
        (
            NoticeKind.RISE,
            {"message": "severity medium -> high; errors joined: web fails"},
            "Severity rose to *HIGH*: service checkout down, investigating. errors joined: web fails",
        ),
        (
            NoticeKind.RELAPSE,
            {"message": "relapse, episode 2: 3%"},
            "Relapse: service checkout down again, investigating. episode 2: 3%",
        ),
        (NoticeKind.UPDATE, {"message": "diagnosis: 3 <b>", "eta": "10 min"}, "diagnosis: 3 &lt;b&gt;. ETA 10 min"),
        (
            NoticeKind.RESOLVE,
            {
                "message": "resolved (recovered) (error_rate 0% at recovery, peak 20%)",
                "signal": "error_rate",
                "value_at_recovery": 0.0,
            },
            f"{RESOLVED}\nAt recovery: error_rate 0% (peak 12%, threshold 1%)",
        ),
        (
            NoticeKind.RESOLVE,
            {"message": "resolved by hand while metrics are still bad"},
            f"{RESOLVED}\nresolved by hand while metrics are still bad",
        ),
    ],
)
def test_a_reply_says_nothing_twice(kind: NoticeKind, facts: dict[str, Any], reply: str) -> None:
    """What the shipped text of a kind says already is left out of the message, and what remains is a sentence of its own."""
    given = {"status": "resolved", "resolved": OPENED, **facts} if kind is NoticeKind.RESOLVE else facts
    wording = word_notice(make_delivery(kind, severity=Severity.HIGH, **given), TemplateRenderer(), TEMPLATES)
    assert wording.reply == reply

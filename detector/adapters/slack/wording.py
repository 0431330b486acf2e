"""What a Slack message says of a notice: templates, and the values they may use.

Before it: the outbox row. After it: `message` puts the texts into blocks. Every value is escaped before a template sees it: a
template may use Slack's markup and a value cannot. Wording: state, then when to expect more; systems, never people.

A template is overridden by its name: "headline" (the state now, first line of the message) or a kind of notice (its reply in
the thread). Beside all facts of the notice it may use: headline, subject ("service checkout", for a storm "12 services"),
condition ("down" or "degraded"), outlook ("ETA 10 min", "Next update by 10:40 UTC" or nothing), remark (the message without what
the shipped text of its kind says already), breach, recovery, resolved_at, who, mentions, called, everyone, summoned (whether it
calls those whom the first summons could not name), kind, incident, over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detector.adapters.slack.mrkdwn import escape_text, escape_values, mention
from detector.domain.escalation import RANKS
from detector.domain.incident import NoticeKind
from detector.domain.quantity import MISSING, format_breach, format_signal, format_time
from detector.domain.response import SUMMONED
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from detector.ports.store import Delivery
    from detector.ports.template import Renderer

HEADLINE = "headline"
_TAIL = (
    "{% if remark %} {{ remark }}{% if outlook and remark[-1:] not in '.!?' %}.{% endif %}{% endif %}"
    "{% if outlook %} {{ outlook }}{% endif %}"
)
TEMPLATES: Mapping[str, str] = {
    HEADLINE: (
        "{% if over %}Incident resolved at {{ resolved_at }}, root cause {{ root_cause or 'not known yet' }}"
        "{% else %}{{ subject[:1] | upper }}{{ subject[1:] }} {{ condition }}, {{ state }}."
        "{% if outlook %} {{ outlook }}{% endif %}{% endif %}"
    ),
    NoticeKind.TRIGGER.value: "{{ headline }}",
    NoticeKind.RISE.value: "Severity rose to *{{ severity | upper }}*: {{ subject }} {{ condition }}, {{ state }}." + _TAIL,
    NoticeKind.UPDATE.value: "{% if message %}" + _TAIL + "{% else %}{{ headline }}{% endif %}",
    NoticeKind.ACKNOWLEDGE.value: "Acknowledged{% if who %} by {{ who }}{% endif %}, {{ state }}." + _TAIL,
    NoticeKind.RESOLVE.value: (
        "{{ headline }}{% if recovery %}\nAt recovery: {{ recovery }}{% endif %}{% if remark %}\n{{ remark }}{% endif %}"
    ),
    NoticeKind.RELAPSE.value: "Relapse: {{ subject }} {{ condition }} again, {{ state }}." + _TAIL,
    NoticeKind.CLOSE.value: "Incident closed: the watch passed without a relapse.{% if remark %} {{ remark }}{% endif %}",
    NoticeKind.REMINDER.value: "{{ subject[:1] | upper }}{{ subject[1:] }} still {{ condition }}, {{ state }}." + _TAIL,
    NoticeKind.SUMMON.value: (
        "{% if mentions %}{{ mentions }}: {% endif %}{{ subject }} {{ condition }} ({{ severity | upper }}), "
        "{% if summoned %}called in as well.{% else %}the service owner and the manager are called in.{% endif %}" + _TAIL
    ),
    NoticeKind.ESCALATE.value: "{% if called %}{{ called }}: {% endif %}{{ subject }} still {{ condition }}." + _TAIL,
}
_TEXTS = (
    "title",
    "status",
    "peak_severity",
    "owner",
    "message",
    "actor",
    "eta",
    "root_cause",
    "end_reason",
    "runbook",
    "dashboard",
)
_TIMES = ("opened", "detected", "acknowledged", "resolved", "closed", "next_update", "watch_until")
_OVER = frozenset({"resolved", "closed"})
_MARKS = {Severity.CRITICAL: "\U0001f534", Severity.HIGH: "\U0001f7e0", Severity.MEDIUM: "\U0001f7e1", Severity.LOW: "\U0001f535"}
_DOWN = frozenset({Severity.CRITICAL, Severity.HIGH})


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts of one notice, escaped; `values` are what the templates saw."""

    mark: str
    headline: str
    reply: str
    values: Mapping[str, Any]


def word_notice(delivery: Delivery, renderer: Renderer, templates: Mapping[str, str]) -> Wording:
    """Render the headline and the reply of a notice; `templates` has every name."""
    values = list_values(delivery)
    values["headline"] = headline = renderer.render(templates[HEADLINE], values).strip()
    reply = renderer.render(templates[delivery.kind.value], values).strip()
    mark = "\u2705" if values["over"] else _MARKS[delivery.severity]
    return Wording(mark, headline, reply, values)


def list_values(delivery: Delivery) -> dict[str, Any]:
    """Everything a template may ask for; what the notice does not say is empty, so that no template fails on it."""
    facts = delivery.values
    values: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_TIMES) | {"services": [], "notes": [], "mitigations": []}
    values |= {name: value for name, value in escape_values(facts).items() if value is not None}
    over = is_over(delivery)
    responders = facts.get("responders")
    named = values.get("service") or ", ".join(map(str, values["services"])) or "unknown"
    summoned = facts.get("summoned")
    values |= {
        "kind": delivery.kind.value,
        "incident": escape_text(delivery.incident),
        "severity": delivery.severity.value,
        "service": named,
        "subject": values.get("subject") or f"service {named}",
        "summoned": bool(summoned),
        "over": over,
        "state": "resolved" if over else _choose_state(values.get("state")),
        "condition": "down" if delivery.severity in _DOWN else "degraded",
        "remark": escape_text(_find_remark(delivery)),
        "outlook": "" if over else _describe_outlook(values),
        "breach": _describe_breach(facts),
        "recovery": _describe_recovery(facts),
        "resolved_at": format_time(facts.get("resolved") or delivery.created),
        "who": values.get("acknowledged_by") or ("" if values.get("actor") == "detector" else values.get("actor", "")),
        "mentions": _list_mentions(responders, *(summoned if isinstance(summoned, list | tuple) else SUMMONED)),
        "called": _list_mentions(responders, *_list_called(facts.get("escalations"))),
        "everyone": _list_mentions(responders, "on_call_engineer", "on_call_manager", "service_owner"),
    }
    return values


def is_over(delivery: Delivery) -> bool:
    """Whether the incident has recovered as of this notice."""
    if delivery.kind in {NoticeKind.RESOLVE, NoticeKind.CLOSE}:
        return True
    return delivery.kind is not NoticeKind.RELAPSE and delivery.values.get("status") in _OVER


def _find_remark(delivery: Delivery) -> str:
    """What the message says beyond the shipped text of its kind."""
    found = delivery.values.get("message")
    message = found.strip() if isinstance(found, str) else ""
    match delivery.kind:
        case NoticeKind.SUMMON if not delivery.values.get("summoned"):
            return ""
        case NoticeKind.ACKNOWLEDGE:
            message = _cut_words(r"acknowledged by .*?(?:: |$)", message)
        case NoticeKind.RISE:
            message = _cut_words(r"severity \w+ -> \w+(?:; |$)", message)
        case NoticeKind.RELAPSE:
            message = _cut_words(r"relapse, ", message)
        case NoticeKind.RESOLVE if delivery.values.get("value_at_recovery") is not None:
            message = _cut_words(r"resolved \(recovered\)(?: \([^()]*\))?", message)
        case _:
            pass
    return message


def _cut_words(pattern: str, message: str) -> str:
    return re.sub(rf"\A{pattern}", "", message).strip()


def _choose_state(state: object) -> str:
    return str(state) if state in {"investigating", "identified", "monitoring"} else "investigating"


def _describe_outlook(values: Mapping[str, Any]) -> str:
    """An ETA only where one was given, else when the next update comes, where that is known."""
    if eta := str(values["eta"]).strip():
        return f"ETA {eta}"
    moment = format_time(values["next_update"])
    return "" if moment == MISSING else f"Next update by {moment[11:16]} UTC"


def _describe_breach(facts: Mapping[str, Any]) -> str:
    signal = facts.get("signal")
    if not isinstance(signal, str) or not signal or format_signal("", facts.get("value")) == MISSING:
        return ""
    condition = facts.get("condition")
    return escape_text(
        format_breach(signal, facts["value"], facts.get("threshold"), condition if isinstance(condition, str) else "")
    )


def _describe_recovery(facts: Mapping[str, Any]) -> str:
    """`error_rate 0.05% (peak 12%, threshold 1%)`, once a value at recovery is known."""
    signal = facts.get("signal")
    name = signal if isinstance(signal, str) else ""
    beside = [facts.get("peak_value"), facts.get("threshold")]
    shown = format_signal(name, facts.get("value_at_recovery"), *beside)
    if shown == MISSING:
        return ""
    known = [(word, format_signal(name, value, *beside)) for word, value in zip(("peak", "threshold"), beside, strict=True)]
    rest = ", ".join(f"{word} {text}" for word, text in known if text != MISSING)
    return escape_text(f"{name or 'value'} {shown}") + (f" ({rest})" if rest else "")


def _list_called(escalations: object) -> list[str]:
    """Whom an escalation calls by now: one more each time."""
    count = escalations if isinstance(escalations, int) else len(RANKS)
    return [role for role, _ in RANKS[:count]]


def _list_mentions(responders: object, *roles: str) -> str:
    known = responders if isinstance(responders, Mapping) else {}
    wanted = (mention(known.get(role)) for role in roles)
    return " ".join(dict.fromkeys(filter(None, wanted)))

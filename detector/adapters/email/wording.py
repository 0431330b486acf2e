"""The words of a mail: a template for each kind and audience, and the values they may name.

Before it: the facts of a notice. After it: `message`. A template's first line is the subject, the rest is the body. Every name is
always there and every value one clean line (lists aside), so that no template fails on a fact that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.domain.disclosure import MONITORING, Disclosure, disclose, format_clock
from detector.domain.exercise import KIND as DRILL
from detector.domain.incident import NoticeKind
from detector.domain.quantity import MISSING, format_breach, format_signal, format_time
from detector.domain.text import clean_line, cut_text

if TYPE_CHECKING:
    from detector.ports.store import Delivery

Templates: TypeAlias = Mapping[str, str]

_MAX_LINE_CHARACTERS = 500
_MAX_LIST = 50

_ON_CALL_BODY = """
{% if message %}{{ message }}
{% endif %}{% if breach %}Value: {{ breach }}
{% endif %}{% if recovery %}At recovery: {{ recovery }}
{% endif %}Severity: {{ severity }} (peak {{ peak_severity }})
State: {{ state }}
Services: {{ services }}
{% if owner %}Owner: {{ owner }}
{% endif %}Since: {{ opened }}
{% if acknowledged %}Acknowledged: {{ acknowledged }}{% if acknowledged_by %} by {{ acknowledged_by }}{% endif %}
{% endif %}{% if resolved %}Resolved: {{ resolved }}
{% endif %}{% if root_cause %}Root cause: {{ root_cause }}
{% endif %}{% if end_reason %}End: {{ end_reason }}
{% endif %}{% if eta %}ETA: {{ eta }}
{% elif next_update %}Next update by {{ next_update }}
{% endif %}{% if runbook %}Runbook: {{ runbook }}
{% endif %}{% if dashboard %}Dashboard: {{ dashboard }}
{% endif %}{% if incident_url %}Incident: {{ incident_url }}
{% endif %}{% if mitigations %}
To stop the bleeding:
{% for each in mitigations %}- {{ each }}
{% endfor %}{% endif %}{% if notes %}
Notes:
{% for each in notes %}- {{ each }}
{% endfor %}{% endif %}{% if responders %}
Responders:
{% for each in responders %}- {{ each }}
{% endfor %}{% endif %}{% if labels %}
Labels: {{ labels }}
{% endif %}Rules: {{ rules }}
Incident id: {{ incident }}
"""

_HEAD = "[{{ severity }}] {% if instead_of %}{{ instead_of }} fails: {% endif %}"

ON_CALL: Templates = {
    "trigger": _HEAD + "{{ title }}" + _ON_CALL_BODY,
    "rise": _HEAD + "Severity rose: {{ title }}" + _ON_CALL_BODY,
    "update": _HEAD + "Update: {{ title }}" + _ON_CALL_BODY,
    "acknowledge": _HEAD + "Acknowledged: {{ title }}" + _ON_CALL_BODY,
    "resolve": _HEAD + "Resolved: {{ title }}" + _ON_CALL_BODY,
    "relapse": _HEAD + "Again: {{ title }}" + _ON_CALL_BODY,
    "close": _HEAD + "Closed: {{ title }}" + _ON_CALL_BODY,
    "reminder": _HEAD + "Still {{ state }}: {{ title }}" + _ON_CALL_BODY,
    "summon": _HEAD + "You are called: {{ title }}" + _ON_CALL_BODY,
    "escalate": _HEAD + "Nobody has acknowledged: {{ title }}" + _ON_CALL_BODY,
}

_PUBLIC_BODY = """
{% if message %}{{ message }}

{% endif %}Status: {{ state }}
Affected: {{ services }}
{% if opened %}Since: {{ opened }}
{% endif %}{% if eta %}ETA: {{ eta }}
{% elif next_update %}Next update by {{ next_update }}
{% endif %}"""

_PUBLIC_END = """
Incident resolved{% if resolved %} at {{ resolved }}{% endif %}{% if root_cause %}, root cause: {{ root_cause }}{% endif %}.

Affected: {{ services }}
{% if opened %}Since: {{ opened }}
{% endif %}"""

STAKEHOLDERS: Templates = {
    "trigger": "{{ services }} {{ impact }}, {{ state }}" + _PUBLIC_BODY,
    "rise": "{{ services }} {{ impact }}, {{ state }}" + _PUBLIC_BODY,
    "update": "{{ services }}: update, {{ state }}" + _PUBLIC_BODY,
    "acknowledge": "{{ services }} {{ impact }}, we are working on it" + _PUBLIC_BODY,
    "resolve": "{{ services }}: resolved" + _PUBLIC_END,
    # recovered, and watched before it is called resolved
    "monitoring": "{{ services }}: recovered, monitoring" + _PUBLIC_BODY,
    "relapse": "{{ services }} {{ impact }} again, {{ state }}" + _PUBLIC_BODY,
    "close": "{{ services }}: resolved" + _PUBLIC_END,
    "reminder": "{{ services }}: still {{ state }}" + _PUBLIC_BODY,
}


def choose_public(delivery: Delivery) -> tuple[str, Mapping[str, Any]] | None:
    """Name of the stakeholders' template and its values; None where the notice is nothing to tell them."""
    if delivery.kind in {NoticeKind.SUMMON, NoticeKind.ESCALATE}:
        return None
    told = disclose(delivery.kind, delivery.severity, delivery.values)
    is_watched = delivery.kind is NoticeKind.RESOLVE and told.state == MONITORING
    return ("monitoring" if is_watched else delivery.kind.value), _list_public(told)


def list_internal(delivery: Delivery) -> Mapping[str, Any]:
    """Every fact of the notice in the names of the on-call templates."""
    facts = delivery.values
    services = _join(facts.get("services")) or _line(facts, "service") or "unknown service"
    signal, beside = _line(facts, "signal"), (facts.get("threshold"), facts.get("peak_value"))
    return {
        "kind": delivery.kind.value,
        "severity": delivery.severity.name,
        "peak_severity": (_line(facts, "peak_severity") or delivery.severity.value).upper(),
        "state": _line(facts, "state") or _line(facts, "status") or "open",
        "title": _name(facts, services),
        "services": services,
        "breach": _describe_breach(facts, signal),
        "recovery": _show(signal, facts.get("value_at_recovery"), *beside),
        "opened": format_time(facts.get("opened")),
        "acknowledged": _moment(facts, "acknowledged"),
        "resolved": _moment(facts, "resolved"),
        "next_update": format_clock(facts.get("next_update")),
        "labels": _pair(facts.get("labels")),
        "rules": _join(facts.get("rules")) or "none",
        "mitigations": [f"{_line(way, 'name')}: {_line(way, 'summary')}" for way in _maps(facts.get("mitigations"))],
        "notes": [_cut(each) for each in _texts(facts.get("notes"))],
        "responders": _list_responders(facts.get("responders")),
        "incident": clean_line(delivery.incident),
        "instead_of": "" if facts.get("fallback_for") == DRILL else _line(facts, "fallback_for"),
        **{name: _line(facts, name) for name in ("message", "actor", "owner", "service", "acknowledged_by", "root_cause")},
        **{name: _line(facts, name) for name in ("end_reason", "eta", "runbook", "dashboard", "incident_url", "condition")},
    }


def _list_public(told: Disclosure) -> Mapping[str, Any]:
    return {
        "kind": told.kind,
        "state": told.state,
        "impact": told.impact,
        "services": told.affected,
        "message": told.message,
        "root_cause": told.root_cause,
        "eta": told.eta,
        "next_update": told.next_update,
        "opened": told.opened,
        "resolved": told.resolved,
    }


def _name(facts: Mapping[str, Any], services: str) -> str:
    title = _line(facts, "title") or _join(facts.get("rules")) or "incident"
    return title if services.partition(",")[0].lower() in title.lower() else f"{services}: {title}"


def _describe_breach(facts: Mapping[str, Any], signal: str) -> str:
    if not signal or format_signal(signal, facts.get("value")) == MISSING:
        return ""
    value, threshold = facts.get("value"), facts.get("threshold")
    breach = format_breach(signal, value, threshold, _line(facts, "condition"))
    if _show(signal, facts.get("value_at_recovery")):  # over: the comparison is no longer true
        limit = _show(signal, threshold, value)
        breach = f"{signal} {_show(signal, value, threshold)}" + (f", threshold {limit}" if limit else "")
    peak = _show(signal, facts.get("peak_value"), facts.get("threshold"))
    return f"{breach}, peak {peak}" if peak else breach


def _show(signal: str, value: object, *beside: object) -> str:
    shown = format_signal(signal, value, *beside)
    return "" if shown == MISSING else shown


def _moment(facts: Mapping[str, Any], name: str) -> str:
    text = format_time(facts.get(name))
    return "" if text == MISSING else text


def _list_responders(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    return [f"{clean_line(str(role)).replace('_', ' ')}: {_cut(str(who))}" for role, who in value.items() if who][:_MAX_LIST]


def _pair(value: object) -> str:
    if not isinstance(value, Mapping):
        return ""
    pairs = [f"{cut_text(clean_line(str(name)), 100)}={cut_text(clean_line(str(each)), 100)}" for name, each in value.items()]
    return ", ".join(pairs[:_MAX_LIST])


def _join(value: object) -> str:
    return cut_text(", ".join(clean_line(each) for each in _texts(value)), _MAX_LINE_CHARACTERS)


def _line(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return _cut(value) if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return cut_text(clean_line(text), _MAX_LINE_CHARACTERS)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value][:_MAX_LIST] if isinstance(value, (list, tuple)) else []


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)][:_MAX_LIST] if isinstance(value, (list, tuple)) else []

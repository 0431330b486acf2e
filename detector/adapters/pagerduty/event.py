"""The Events v2 event of a delivery: what the on-call engineer reads, made from the facts of the notice.

Before it: `correlate` wrote the facts into the outbox. After it: `limit` makes the event fit. Pure.
Field names and meanings: PagerDuty developer documentation, "Send an Alert Event". A resolve carries the payload too, which the
documentation neither asks for nor forbids and Alertmanager has always sent: the alert's log then holds the value at recovery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never
from urllib.parse import urlsplit

from detector.domain.incident import NoticeKind, name_key
from detector.domain.quantity import MISSING, format_breach, format_signal, format_time, format_timestamp
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from detector.ports.store import Delivery

CLIENT = "detector"

Facts: TypeAlias = Mapping[str, Any]
Event: TypeAlias = dict[str, Any]


_ENDING = frozenset({NoticeKind.RESOLVE, NoticeKind.CLOSE})


def choose_action(kind: NoticeKind) -> str:
    """The event_action of a notice; an update is one more trigger, which adds a line to the open alert's log."""
    match kind:
        case NoticeKind.TRIGGER | NoticeKind.RISE | NoticeKind.RELAPSE:
            return "trigger"
        case NoticeKind.UPDATE | NoticeKind.REMINDER | NoticeKind.SUMMON | NoticeKind.ESCALATE:
            return "trigger"
        case NoticeKind.ACKNOWLEDGE:
            return "acknowledge"
        case NoticeKind.RESOLVE | NoticeKind.CLOSE:
            return "resolve"
        case _:
            assert_never(kind)


def choose_severity(severity: Severity) -> str:
    """PagerDuty's word for a severity."""
    match severity:
        case Severity.CRITICAL:
            return "critical"
        case Severity.HIGH:
            return "error"
        case Severity.MEDIUM:
            return "warning"
        case Severity.LOW:
            return "info"
        case _:
            assert_never(severity)


def build_event(delivery: Delivery, routing_key: str) -> Event:
    """The whole event, of any size and with any text in it."""
    facts = delivery.values
    event = _address(delivery, routing_key)
    event["payload"] = {
        "summary": _summarise(delivery),
        "source": _text(facts, "service") or CLIENT,
        "severity": choose_severity(delivery.severity),
        "timestamp": format_timestamp(facts.get("opened")) or format_timestamp(delivery.created),
        "component": _text(facts, "service"),
        "group": _label(facts, "namespace") or _label(facts, "env") or _text(facts, "owner"),
        "class": next(iter(_texts(facts, "rules")), ""),
        "custom_details": _detail(delivery),
    }
    event["payload"] = {name: value for name, value in event["payload"].items() if value not in ("", None)}
    event["links"] = _link(facts)
    event["client"] = CLIENT
    if _is_web(url := _text(facts, "incident_url")):
        event["client_url"] = url
    return event


def build_least_event(delivery: Delivery, routing_key: str) -> Event:
    """The event of the same effect with the least in it: what is sent once after a 400."""
    event = _address(delivery, routing_key)
    if event["event_action"] == "trigger":
        event["payload"] = {
            "summary": _summarise(delivery),
            "source": _text(delivery.values, "service") or CLIENT,
            "severity": choose_severity(delivery.severity),
        }
    return event


def _address(delivery: Delivery, routing_key: str) -> Event:
    # Without a dedup_key PagerDuty invents one, and every retry would open another alert.
    key = delivery.key or name_key(delivery.incident, delivery.episode, delivery.route)
    return {"routing_key": routing_key, "event_action": choose_action(delivery.kind), "dedup_key": key}


def _summarise(delivery: Delivery) -> str:
    """`[HIGH] checkout: fails 10.2% of its requests (error_rate 10.2% > 1%)`, at the end `[RESOLVED] checkout: ...`."""
    facts = delivery.values
    service = _text(facts, "service") or ", ".join(_texts(facts, "services")) or "unknown service"
    title = _text(facts, "title") or ", ".join(_texts(facts, "rules"))
    for prefix in (f"{service}: ", f"{service} "):
        title = title.removeprefix(prefix)
    if delivery.kind in _ENDING:
        return f"[RESOLVED] {service}: {_describe_recovery(facts, _text(facts, 'signal')) or title}"
    text = f"[{delivery.severity.name}] {service}: {title}" if title else f"[{delivery.severity.name}] {service}"
    breach, value = _measure(facts)
    return f"{text} ({breach})" if breach and value not in text else text


def _detail(delivery: Delivery) -> dict[str, Any]:
    """For people first: the texts they need stand on top; the plain numbers follow under the names of the API."""
    facts = delivery.values
    breach, _ = _measure(facts)
    signal = _text(facts, "signal")
    services = _texts(facts, "services")
    detail: dict[str, Any] = {
        "breach": "" if delivery.kind in _ENDING else breach,
        "recovery": _describe_recovery(facts, signal),
        "since": _moment(facts, "opened"),
        "detected_at": _moment(facts, "detected"),
        "severity": delivery.severity.value,
        "status": _text(facts, "status"),
        "service": _text(facts, "service"),
        "affected_services": ", ".join(services),
        "peak": format_signal(signal, facts.get("peak_value"), facts.get("threshold")) if _has(facts, "peak_value") else "",
        "end_reason": _text(facts, "end_reason"),
        "runbook": _text(facts, "runbook"),
        "dashboard": _text(facts, "dashboard"),
        "incident": delivery.incident,
        "incident_url": _text(facts, "incident_url"),
        "diagnosis": list(_texts(facts, "diagnosis")),
        "mitigations": [] if delivery.kind in _ENDING else _list_mitigations(delivery),
        "notes": list(_texts(facts, "notes")),
        "rules": ", ".join(_texts(facts, "rules")),
        "condition": _text(facts, "condition"),
        "labels": facts.get("labels"),
        "links": facts.get("links"),
        "signal": signal,
    }
    for name in ("value", "threshold", "peak_value", "value_at_recovery"):
        detail[name] = facts.get(name)
    alerts = facts.get("alerts")
    if isinstance(alerts, (list, tuple)):
        detail["alerts"] = [_describe_alert(alert) for alert in alerts if isinstance(alert, Mapping)]
    return {name: value for name, value in detail.items() if value not in ("", None, [], {}, ())}


def _list_mitigations(delivery: Delivery) -> list[str]:
    """What can be done now, in the order to try, each with the command that does it."""
    ways = delivery.values.get("mitigations")
    found = [way for way in ways if isinstance(way, Mapping)] if isinstance(ways, (list, tuple)) else []
    command = f"detector incidents mitigate {delivery.incident}"
    return [f"{_text(way, 'summary')}: {command} {_text(way, 'name')} --by NAME --yes" for way in found]


def _describe_recovery(facts: Facts, signal: str) -> str:
    """`error_rate 0.05% (peak 12%, threshold 1%)`, once a value at recovery is known."""
    if not _has(facts, "value_at_recovery"):
        return ""
    beside = [facts.get("peak_value"), facts.get("threshold")]
    shown = f"{signal or 'value'} {format_signal(signal, facts['value_at_recovery'], *beside)}"
    known = [
        f"{word} {format_signal(signal, facts[name], *beside)}"
        for word, name in (("peak", "peak_value"), ("threshold", "threshold"))
        if _has(facts, name)
    ]
    return f"{shown} ({', '.join(known)})" if known else shown


def _describe_alert(alert: Facts) -> dict[str, Any]:
    breach, _ = _measure(alert)
    shown = {name: alert.get(name) for name in ("rule", "service", "severity", "labels")} | {"breach": breach}
    return {name: value for name, value in shown.items() if value not in ("", None, {})}


def _measure(facts: Facts) -> tuple[str, str]:
    """Value against threshold in words, and the value alone; both empty where there is no value."""
    signal = _text(facts, "signal")
    if not signal or not _has(facts, "value"):
        return "", ""
    value, threshold = facts["value"], facts.get("threshold")
    return format_breach(signal, value, threshold, _text(facts, "condition")), format_signal(signal, value, threshold)


def _link(facts: Facts) -> list[dict[str, str]]:
    """Runbook and dashboard first, then the rest by name; each address once, web addresses only."""
    named = {"runbook": facts.get("runbook"), "dashboard": facts.get("dashboard")}
    written = facts.get("links")
    if isinstance(written, Mapping):
        named = {**named, **{name: href for name, href in written.items() if name not in named or not named[name]}}
    links: dict[str, str] = {}
    for name, href in named.items():
        if isinstance(href, str) and _is_web(href):
            links.setdefault(href, str(name))
    return [{"href": href, "text": text} for href, text in links.items()]


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and address.isprintable() and " " not in address


def _text(facts: Facts, name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _texts(facts: Facts, name: str) -> Sequence[str]:
    value = facts.get(name)
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else []


def _label(facts: Facts, name: str) -> str:
    labels = facts.get("labels")
    return _text(labels, name) if isinstance(labels, Mapping) else ""


def _moment(facts: Facts, name: str) -> str:
    text = format_time(facts.get(name))
    return "" if text == MISSING else text


def _has(facts: Facts, name: str) -> bool:
    return format_signal("", facts.get(name)) != MISSING

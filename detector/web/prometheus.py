"""Prometheus's shapes of rules and alerts, as Grafana's alert list and vmalert's tools read them.

Before it: `wire`. Shapes: Prometheus's HTTP API, `rules` and `alerts`. A group is a rule file; a rule whose condition does not lie
in its query shows the condition where Prometheus has the query.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from detector.domain.rule import Instant
from detector.web.exchange import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.ports.wire import Exhibit, ShownAlert, ShownRule

_NEVER = "0001-01-01T00:00:00Z"  # as Go spells a moment that has not been
_HEALTH = {"ok": "ok", "no_data": "ok", "error": "err", "idle": "unknown"}


def answer(path: str, parameters: Mapping[str, Sequence[str]], exhibit: Exhibit) -> dict[str, Any]:
    """The content for a path below /prometheus/. Raises Problem."""
    match path.rstrip("/"):
        case "/prometheus/api/v1/alerts":
            alerts = [_view_alert(alert) for alert in exhibit.alerts()]
            return {"status": "success", "data": {"alerts": alerts}}
        case "/prometheus/api/v1/rules":
            return {"status": "success", "data": {"groups": _view_groups(exhibit.rules(), parameters)}}
        case _:
            raise Problem(HTTPStatus.NOT_FOUND, f"nothing is at {path}; api/v1/rules and api/v1/alerts are")


def _view_groups(rules: Sequence[ShownRule], parameters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    if parameters.get("type", ["alert"])[-1] != "alert":  # there are no recording rules
        return []
    groups: dict[str, list[ShownRule]] = {}
    for shown in rules:
        if _is_asked(shown, parameters):
            groups.setdefault(shown.rule.source.file, []).append(shown)
    bare = parameters.get("exclude_alerts", ["false"])[-1].lower() in {"true", "1"}
    return [_view_group(file, members, bare=bare) for file, members in groups.items()]


def _is_asked(shown: ShownRule, parameters: Mapping[str, Sequence[str]]) -> bool:
    names = parameters.get("rule_name[]", ())
    file = shown.rule.source.file
    asked = [(file.rsplit("/", 1)[-1], parameters.get("rule_group[]", ())), (file, parameters.get("file[]", ()))]
    return (not names or shown.rule.name in names) and all(not places or place in places for place, places in asked)


def _view_group(file: str, members: Sequence[ShownRule], *, bare: bool) -> dict[str, Any]:
    reports = [shown.report for shown in members]
    return {
        "name": file.rsplit("/", 1)[-1],
        "file": file,
        "interval": min(report.every_seconds for report in reports),
        "limit": 0,
        "evaluationTime": sum(report.evaluation_seconds for report in reports),
        "lastEvaluation": _spell(max((report.last_evaluation or 0.0 for report in reports), default=0.0)),
        "rules": [_view_rule(shown, bare=bare) for shown in members],
    }


def _view_rule(shown: ShownRule, *, bare: bool) -> dict[str, Any]:
    rule, report = shown.rule, shown.report
    policy = rule.policy
    texts = {"summary": policy.summary, "description": policy.description}
    signal = rule.signals[0] if rule.vector else None
    return {
        "state": _find_state(shown.alerts),
        "name": rule.name,
        "query": signal.query if isinstance(signal, Instant) else policy.open.text,
        "duration": policy.for_seconds,
        "keepFiringFor": policy.keep_open_seconds,
        "labels": dict(policy.labels),
        "annotations": {name: text for name, text in texts.items() if text} | dict(policy.links),
        "alerts": [] if bare else [_view_alert(alert) for alert in shown.alerts],
        "health": _HEALTH.get(report.health, "unknown"),
        "lastError": report.last_error if report.health == "error" else "",
        "evaluationTime": report.evaluation_seconds,
        "lastEvaluation": _spell(report.last_evaluation or 0.0),
        "type": "alerting",
    }


def _find_state(alerts: Sequence[ShownAlert]) -> str:
    if any(alert.firing for alert in alerts):
        return "firing"
    return "pending" if alerts else "inactive"


def _view_alert(alert: ShownAlert) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": "firing" if alert.firing else "pending",
        "activeAt": _spell(alert.starts),
        "value": "" if alert.value is None else _spell_value(alert.value),
    }


def _spell_value(value: float) -> str:
    if math.isfinite(value):
        return f"{value:e}"
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _spell(moment: float) -> str:
    if not moment:
        return _NEVER
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

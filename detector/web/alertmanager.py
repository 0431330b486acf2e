"""Alertmanager's API v2: alerts, groups, silences, receivers, status, as amtool, Grafana and Prometheus use it.

Before it: `wire`, which read the request. Silences are those of the board of mutes; what a Prometheus posts goes to the inbox.
Shapes and names: Alertmanager's api/v2/openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.domain.label import digest_parts, make_labels
from detector.domain.mute import Matcher, Operator, parse_filter
from detector.domain.reception import ReceivedAlert
from detector.domain.silence import MuteRequest, MuteStatus, parse_moment
from detector.web.exchange import Problem

if TYPE_CHECKING:
    from detector.domain.mute import Mute
    from detector.ports.query import Desk, MuteReport, Query
    from detector.ports.wire import Exhibit, Inbox, ShownAlert

ROOT = "/api/v2/"
RECEIVER = "detector"
HOLD_SECONDS = 300.0
MOST_MUTES = 10_000
MOST_LABELS = 64
LONGEST_LABEL = 2048
LONGEST_ANNOTATION = 8192
AUTHOR = "alertmanager api"
_CONFIG = f"route:\n  receiver: {RECEIVER}\nreceivers:\n- name: {RECEIVER}\n"
_STATES = {MuteStatus.ACTIVE: "active", MuteStatus.PENDING: "pending", MuteStatus.ENDED: "expired"}

Answer: TypeAlias = tuple[int, object]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as `wire` read it; `body` is parsed JSON, None where there was none."""

    method: str
    path: str
    parameters: Mapping[str, Sequence[str]]
    body: object = field(default=None)


class Alertmanager:
    """Answers one call: status and JSON content. Raises Problem, and what the desk raises."""

    def __init__(self, query: Query, desk: Desk, inbox: Inbox, exhibit: Exhibit, version: str) -> None:
        self._query = query
        self._desk = desk
        self._inbox = inbox
        self._exhibit = exhibit
        self._version = version
        self._started = exhibit.now()

    async def answer(self, call: Call) -> Answer:
        """Find the route and do it."""
        route = call.path.removeprefix(ROOT).rstrip("/").split("/")
        content = await (self._show(call, route) if call.method == "GET" else self._change(call, route))
        if content is not None:
            return HTTPStatus.OK, content
        if route[0] in {"alerts", "silences", "silence", "status", "receivers"}:
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{call.path} does not answer {call.method}")
        raise Problem(HTTPStatus.NOT_FOUND, f"nothing is at {call.path}; there are alerts, silences, receivers, status")

    async def _show(self, call: Call, route: list[str]) -> object:
        match route:
            case ["status"]:
                return self._view_status()
            case ["receivers"]:
                return [{"name": RECEIVER}]
            case ["alerts"]:
                return [view for _, view in await self._list_alerts(call)]
            case ["alerts", "groups"]:
                return _group(await self._list_alerts(call))
            case ["silences"]:
                return await self._list_silences(call)
            case ["silence", identity]:
                return await self._find_silence(identity)
            case _:
                return None

    async def _change(self, call: Call, route: list[str]) -> object:
        match call.method, route:
            case "POST", ["alerts"]:
                await self._inbox.receive([_read_alert(item, number) for number, item in enumerate(_read_list(call.body))])
                return {}
            case "POST", ["silences"]:
                return {"silenceID": (await self._desk.add_mute(_read_silence(call.body))).mute.id}
            case "DELETE", ["silence", identity]:
                await self._desk.expire_mute(identity, AUTHOR)
                return {}
            case _:
                return None

    async def _list_alerts(self, call: Call) -> list[tuple[ShownAlert, dict[str, Any]]]:
        matchers = _read_filter(call)
        now = self._exhibit.now()
        mutes = [report.kept.held for report in await self._query.list_mutes({MuteStatus.ACTIVE}, MOST_MUTES)]
        active, silenced = _read_flag(call, "active"), _read_flag(call, "silenced")
        found = []
        for alert in self._exhibit.alerts():
            if not alert.firing or not all(matcher.covers(alert.matched) for matcher in matchers):
                continue
            by = [mute.id for mute in mutes if mute.covers(alert.matched, now)]
            if silenced if by else active:
                found.append((alert, _view_alert(alert, by, now)))
        return found

    async def _list_silences(self, call: Call) -> list[dict[str, Any]]:
        matchers = _read_filter(call)
        reports = await self._query.list_mutes(set(MuteStatus), MOST_MUTES)
        return [_view_silence(report) for report in reports if _is_asked(report.kept.held, matchers)]

    async def _find_silence(self, identity: str) -> dict[str, Any]:
        for report in await self._query.list_mutes(set(MuteStatus), MOST_MUTES):
            if report.kept.mute.id == identity:
                return _view_silence(report)
        raise Problem(HTTPStatus.NOT_FOUND, f"no silence {identity}")

    def _view_status(self) -> dict[str, Any]:
        return {
            "cluster": {"status": "disabled", "peers": []},
            "versionInfo": {
                "version": self._version,
                "branch": "",
                "revision": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
            },
            "config": {"original": _CONFIG},
            "uptime": _spell(self._started),
        }


def _view_alert(alert: ShownAlert, silenced_by: Sequence[str], now: float) -> dict[str, Any]:
    content = {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": _spell(alert.starts),
        "endsAt": _spell(now + HOLD_SECONDS if alert.ends is None else alert.ends),
        "updatedAt": _spell(alert.updated),
        "fingerprint": digest_parts(text for pair in sorted(alert.labels.items()) for text in pair)[:16],
        "receivers": [{"name": RECEIVER}],
        "status": {"state": "suppressed" if silenced_by else "active", "silencedBy": list(silenced_by), "inhibitedBy": []},
    }
    return content | ({"generatorURL": alert.generator} if alert.generator else {})


def _group(alerts: Sequence[tuple[ShownAlert, dict[str, Any]]]) -> list[dict[str, Any]]:
    """By service, as incidents are."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for alert, view in alerts:
        groups.setdefault(alert.matched["service"], []).append(view)
    return [
        {"labels": {"service": service}, "receiver": {"name": RECEIVER}, "alerts": views}
        for service, views in sorted(groups.items())
    ]


def _view_silence(report: MuteReport) -> dict[str, Any]:
    kept = report.kept
    held = kept.held
    updated = kept.created if kept.expired is None else kept.expired
    return {
        "id": held.id,
        "status": {"state": _STATES[report.status]},
        "matchers": [_view_matcher(matcher) for matcher in held.matchers],
        "startsAt": _spell(held.starts),
        "endsAt": _spell(held.ends),
        "updatedAt": _spell(updated),
        "createdBy": held.author,
        "comment": held.reason,
    }


def _view_matcher(matcher: Matcher) -> dict[str, Any]:
    return {
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matcher.operator in {Operator.MATCHES, Operator.NOT_MATCHES},
        "isEqual": matcher.operator in {Operator.EQUAL, Operator.MATCHES},
    }


def _is_asked(mute: Mute, matchers: Sequence[Matcher]) -> bool:
    """Whether the values that the silence's own matchers name satisfy the filter, as Alertmanager compares them."""
    named = {matcher.name: matcher.value for matcher in mute.matchers}
    return all(matcher.covers(named) for matcher in matchers)


def _read_filter(call: Call) -> tuple[Matcher, ...]:
    try:
        return parse_filter(call.parameters.get("filter", ()))
    except ValueError as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, f"filter: {fault}") from None


def _read_flag(call: Call, name: str) -> bool:
    return call.parameters.get(name, ["true"])[-1].lower() != "false"


def _read_list(body: object) -> list[object]:
    if not isinstance(body, list):
        raise Problem(HTTPStatus.BAD_REQUEST, "send a list of alerts")
    return body


def _read_alert(item: object, number: int) -> ReceivedAlert:
    where = f"alert {number + 1}"
    given = _read_object(item, where)
    labels = _read_texts(given, "labels", where, LONGEST_LABEL)
    if not make_labels(labels):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: it has no label")
    generator = given.get("generatorURL") or ""
    if not isinstance(generator, str):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: generatorURL is no text")
    starts, ends = _read_moment(given, "startsAt", where), _read_moment(given, "endsAt", where)
    if starts is not None and ends is not None and ends < starts:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: endsAt lies before startsAt")
    annotations = {name: text[:LONGEST_ANNOTATION] for name, text in _read_texts(given, "annotations", where, None).items()}
    return ReceivedAlert(make_labels(labels), annotations, starts, ends, generator[:LONGEST_LABEL])


def _read_silence(body: object) -> MuteRequest:
    given = _read_object(body, "silence")
    matchers = given.get("matchers")
    if not isinstance(matchers, list):
        raise Problem(HTTPStatus.BAD_REQUEST, "silence: matchers are missing")
    ends = _read_moment(given, "endsAt", "silence")
    if ends is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "silence: endsAt is missing")
    return MuteRequest(
        matchers=tuple(str(_read_matcher(item)) for item in matchers),
        author=_read_text(given, "createdBy"),
        reason=_read_text(given, "comment"),
        starts=_read_moment(given, "startsAt", "silence"),
        ends=ends,
        id=_read_text(given, "id"),
    )


def _read_matcher(item: object) -> Matcher:
    given = _read_object(item, "matcher")
    regex, equal = given.get("isRegex", False) is True, given.get("isEqual", True) is not False
    operator = (Operator.MATCHES if equal else Operator.NOT_MATCHES) if regex else (Operator.EQUAL if equal else Operator.NOT_EQUAL)
    return Matcher(_read_text(given, "name"), operator, _read_text(given, "value"))


def _read_object(item: object, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: it is no object")
    return item


def _read_text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} is no text")
    return found


def _read_texts(given: Mapping[str, Any], name: str, where: str, longest: int | None) -> dict[str, str]:
    found = given.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: {name} are names with texts")
    if len(found) > MOST_LABELS:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: at most {MOST_LABELS} {name}, these are {len(found)}")
    if longest is not None and any(len(text) > longest for pair in found.items() for text in pair):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: a name or value in {name} has over {longest} characters")
    return found


def _read_moment(given: Mapping[str, Any], name: str, where: str) -> float | None:
    """Unix seconds; None where it is left out, which Go spells as the year 1."""
    found = given.get(name)
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: {name} is no text")
    if found.startswith("0001-01-01"):
        return None
    try:
        return parse_moment(name, found)
    except ValueError as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{where}: {fault}") from None


def _spell(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

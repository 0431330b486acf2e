"""What stands on each page, as plain values for its template. Reads through the ports, changes nothing."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from detector.domain import examination, mitigation
from detector.domain.check import Verdict
from detector.domain.incident import Status
from detector.domain.response import STATES, ResponseError
from detector.domain.silence import MuteStatus
from detector.domain.view import merge_live, view_event, view_incident
from detector.ports.error import OutsideError
from detector.ports.store import IncidentFilter
from detector.web.exchange import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.domain.incident import Incident
    from detector.ports.aid import Aid
    from detector.ports.plot import Plotter
    from detector.ports.query import Pulse, Query
    from detector.web.news import News

NOW_LIMIT, HISTORY_LIMIT, MUTE_LIMIT = 200, 50, 200
MAX_CURSOR = 200
LEAST_FOLDED = 3
SEVERITIES = ("critical", "high", "medium", "low")
STATUSES = ("open", "acknowledged", "resolved", "closed")
DONE = {
    "acknowledge": "Acknowledged: it is yours.",
    "resolve": "Resolved.",
    "note": "The note stands in the timeline.",
    "cause": "The cause is recorded.",
    "update": "Everybody who was told has the news.",
    "tick": "Ticked.",
    "mitigate": "The mitigation was started.",
    "silence": "The silence holds.",
    "expire": "The silence has ended.",
}


class Pages:
    """Gathers the values of every page."""

    def __init__(self, query: Query, pulse: Pulse, news: News, aid: Aid | None, plotter: Plotter | None) -> None:
        self._query = query
        self._pulse = pulse
        self._news = news
        self._aid = aid
        self._plotter = plotter

    def frame(self) -> dict[str, Any]:
        """What stands around every page: whether the daemon is well, what it cannot see or send."""
        reports = self._query.rule_reports()
        return {
            "sickness": self._pulse.sickness() or self._pulse.unreadiness(),
            "blind_rules": sum(report.health == "error" for report in reports),
            "ill_channels": [channel.name for channel in self._news.channels if channel.ill],
            "revision": self._news.revision,
        }

    async def incidents(self) -> dict[str, Any]:
        """Incidents that are not closed: those with work first, by severity, then the longest-running."""
        wanted = IncidentFilter(status=("open", "acknowledged", "resolved"), limit=NOW_LIMIT)
        page = await self._query.list_incidents(wanted)
        found = [self._view(incident) for incident in page.incidents]
        found.sort(key=lambda each: (each["status"] == "resolved", SEVERITIES.index(each["severity"]), each["opened"]))
        reports = self._query.rule_reports()
        active = [each for each in found if each["status"] != "resolved"]
        return {
            "active": active,
            "watched": [each for each in found if each["status"] == "resolved"],
            "more": page.cursor is not None,
            "pending": sum(alert.state.phase.value == "pending" for alert in self._query.live_alerts()),
            "rules": len(reports),
            "blind": sum(report.health != "ok" for report in reports),
        }

    async def incident(self, identity: str) -> dict[str, Any]:
        """One incident with its timeline, newest first, and what can be done about it."""
        found = await self._query.find_incident(identity)
        if found is None:
            raise Problem(404, f"no incident {identity}")
        plot = await self._plotter.plot(found) if self._plotter is not None else None
        offers = list(await self._aid.list_offers(identity)) if self._aid is not None else []
        document, picture = await self._read_postmortem(identity) if found.resolved is not None else (None, None)
        timeline = [_split_output(view_event(event)) for event in reversed(await self._query.timeline(identity))]
        shown = self._view(found)
        told = [check for check in shown["checks"] if check["verdict"] != Verdict.UNKNOWN]
        return {
            "told": sorted(told, key=lambda check: check["verdict"] != Verdict.BAD),
            "unsure": [check for check in shown["checks"] if check["verdict"] == Verdict.UNKNOWN],
            "document": document,
            "plot": plot if plot is not None and (plot.curves or plot.fault or picture is None) else None,
            "plotted": picture is not None,
            "incident": shown,
            "still_bad": found.status is Status.RESOLVED and any(alert.firing for alert in found.alerts.values()),
            "timeline": _fold_checks(timeline),
            "outputs": {(event["at"], event["actor"]): event["output"] for event in timeline if event["output"]},
            "offers": offers,
            "ran": {(run.ended, run.by) for offer in offers for run in offer.runs},
            "states": STATES,
        }

    async def plot(self, identity: str) -> str:
        """The signals of an incident that is over, as SVG. Problem 404 where nobody drew them."""
        _, plot = await self._read_postmortem(identity)
        if plot is None:
            raise Problem(404, f"no plot of {identity}; one is drawn when an incident is resolved")
        return plot

    async def _read_postmortem(self, identity: str) -> tuple[str | None, str | None]:
        """Text and plot, None where there is none; a disk that fails takes no page away."""
        if self._aid is None:
            return None, None
        try:
            text, plot, _ = await self._aid.read_postmortem(identity)
        except (OutsideError, ResponseError):
            return None, None
        return text, plot

    async def rules(self) -> dict[str, Any]:
        """Every rule: what cannot be evaluated first, then what fires or is about to, then what has no data."""
        reports = sorted(
            self._query.rule_reports(),
            key=lambda each: (
                each.health != "error",
                not each.alerts.get("firing"),
                not each.alerts.get("pending"),
                each.health != "no_data",
            ),
        )
        trails = {report.name: self._query.rule_trail(report.name) for report in reports}
        return {"reports": reports, "trails": trails}

    async def silences(self) -> dict[str, Any]:
        """What is muted now or will be; the ended ones below."""
        going = await self._query.list_mutes({MuteStatus.ACTIVE, MuteStatus.PENDING}, MUTE_LIMIT)
        ended = await self._query.list_mutes({MuteStatus.ENDED}, 20)
        return {"going": going, "ended": ended}

    async def deliveries(self) -> dict[str, Any]:
        """How each channel fares, the failing ones first."""
        return {"channels": sorted(self._news.channels, key=lambda channel: (not channel.ill, not channel.depth, channel.name))}

    async def history(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Incidents by filter, newest first, page by page; those that are over where none is asked for."""
        status = asked.get("status", "")
        severity = asked.get("severity", "")
        service = asked.get("service", "").strip()[:200]
        wanted = IncidentFilter(
            status=(status,) if status in STATUSES else ("resolved", "closed"),
            severity=(severity,) if severity in SEVERITIES else (),
            service=service or None,
            limit=HISTORY_LIMIT,
            cursor=asked.get("cursor", "")[:MAX_CURSOR] or None,
        )
        try:
            page = await self._query.list_incidents(wanted)
        except ValueError:
            raise Problem(400, "this page of the history does not exist; begin at its start") from None
        return {
            "incidents": [self._view(incident) for incident in page.incidents],
            "cursor": page.cursor,
            "asked": {"status": status, "severity": severity, "service": service},
            "first": not asked.get("cursor"),
            "statuses": STATUSES,
            "severities": SEVERITIES,
        }

    def _view(self, incident: Incident) -> dict[str, Any]:
        shown = cast("dict[str, Any]", view_incident(merge_live(incident, self._query.live_state)))
        worst = max(shown["opened"], shown["resolved"] or 0.0)
        return shown | {"own": incident.own, "lasted": worst - shown["opened"] if shown["resolved"] else None}


def _fold_checks(timeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of checks that follow each other become one line, which holds them; they stand under "Diagnosis" as well."""
    folded: list[dict[str, Any]] = []
    for is_check, events in groupby(timeline, key=lambda event: event["kind"] == examination.KIND):
        group = list(events)
        folds = is_check and len(group) >= LEAST_FOLDED
        folded += [group[0] | {"checks": group}] if folds else [event | {"checks": ()} for event in group]
    return folded


def _split_output(event: dict[str, Any]) -> dict[str, Any]:
    """What a mitigation wrote stands apart from the words about it."""
    if event["kind"] != mitigation.KIND:
        return event | {"output": ""}
    words, _, output = str(event["message"]).partition(mitigation.OUTPUT_MARK)
    return event | {"message": words, "output": output}

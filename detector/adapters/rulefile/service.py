"""The catalogue and the maintenance windows of a rule file."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from detector.adapters.rulefile.diagnosis import build_diagnosis
from detector.adapters.rulefile.reader import quote
from detector.domain.catalogue import DEFAULT_ROUTE, Mitigation, Responders, Service
from detector.domain.maintenance import MaintenanceWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.adapters.rulefile.reader import Fields, Reader

_ROUTING_KEY = re.compile(r"[0-9a-zA-Z]{32}")


def build_service(reader: Reader, name: str, fields: Fields) -> Service:
    """One entry of the catalogue."""
    route = fields.get("pagerduty", DEFAULT_ROUTE)
    if _ROUTING_KEY.fullmatch(route):
        message = (
            "`pagerduty` looks like a routing key itself; write its NAME, the key belongs into DETECTOR_PAGERDUTY__ROUTING_KEYS"
        )
        reader.fault(fields.places["pagerduty"], message)
    if name in fields.get("depends_on", ()):
        reader.fault(fields.places["depends_on"], f"service {quote(name)} depends on itself; leave it out")
    responders = fields.get("responders")
    return Service(
        name=name,
        owner=fields.get("owner", ""),
        core=fields.get("core", False),
        customer_facing=fields.get("customer_facing", True),
        workaround=fields.get("workaround", False),
        depends_on=fields.get("depends_on", ()),
        pagerduty=route,
        slack=fields.get("slack", ""),
        runbook=fields.get("runbook", ""),
        dashboard=fields.get("dashboard", ""),
        eta=fields.get("eta", ""),
        responders=Responders(**responders.values) if responders is not None else Responders(),
        mitigations=tuple(
            Mitigation(key, found.get("summary"), found.get("run"), found.get("timeout", 60.0))
            for key, found in fields.get("mitigations", {}).items()
            if found.get("summary") is not None and found.get("run") is not None
        ),
        verify=_build_verifications(reader, fields),
        diagnosis=build_diagnosis(reader, fields.get("diagnosis")),
    )


def _build_verifications(reader: Reader, fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """The items of `verify`; names tell them apart in the ticket, one for each environment."""
    seen: set[tuple[str, str]] = set()
    for item in fields.get("verify", ()):
        for key in ("expect", "contains", "environment"):
            if item.has(key) and not item.has("url"):
                reader.fault(item.places[key], f"`{key}` belongs to a probe; give the `url` that is asked, or leave it out")
        identity = (item.get("name", ""), item.get("environment", ""))
        if identity in seen and identity[0]:
            reader.fault(item.places["name"], f"{quote(identity[0])} stands twice in `verify`; give each item a name of its own")
        seen.add(identity)
    return tuple(dict(item.values) for item in fields.get("verify", ()) if item.get("name"))


def build_maintenance(reader: Reader, fields: Fields) -> MaintenanceWindow:
    """One window: `rrule` with `lasts`, or `from` with `until`."""
    place = fields.node.place
    recurring, single = fields.has("rrule"), fields.has("from") or fields.has("until")
    if recurring == single:
        reader.fault(place, "a maintenance window needs either `rrule` with `lasts`, or `from` with `until`")
    elif recurring:
        _check_recurrence(reader, fields)
    elif not (fields.has("from") and fields.has("until")):
        reader.fault(place, "a single maintenance window needs both `from` and `until`")
    elif fields.get("from", 0.0) >= fields.get("until", float("inf")):
        reader.fault(fields.places["until"], "`until` is not after `from`")
    if fields.has("match") and not fields.get("match"):
        reader.fault(fields.places["match"], "`match` names no label, so it would mute everything; write e.g. `{service: reports}`")
    return MaintenanceWindow(
        match=fields.get("match", {}),
        rrule=fields.get("rrule", ""),
        lasts_seconds=fields.get("lasts", 0.0),
        tz=fields.get("tz", "UTC"),
        start=fields.get("from"),
        end=fields.get("until"),
        reason=fields.get("reason", ""),
    )


def _check_recurrence(reader: Reader, fields: Fields) -> None:
    if not fields.has("lasts"):
        reader.fault(fields.node.place, "a recurring maintenance window needs `lasts`, e.g. `lasts: 2h`")
    elif fields.get("lasts") == 0.0:
        reader.fault(fields.places["lasts"], "`lasts` is 0; a duration above 0 is needed, e.g. 2h")
    if fields.get("tz") is not None:
        try:
            ZoneInfo(fields.get("tz"))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            reader.fault(
                fields.places["tz"], f"`tz` is {quote(fields.get('tz'))}, no IANA time zone; write e.g. Europe/Rome or UTC"
            )
    rule = fields.get("rrule")
    if rule is None:
        return
    from dateutil.rrule import rrulestr  # noqa: PLC0415  few files have windows, and `check` has a CPU budget

    try:
        rrulestr(rule, dtstart=datetime(2000, 1, 1, tzinfo=UTC))
    except Exception as error:  # noqa: BLE001  dateutil raises what its internals raise
        reason = str(error).splitlines()[0] if str(error) else "cannot be read"
        reader.fault(fields.places["rrule"], f"`rrule` is {quote(rule)}: {reason}; write e.g. FREQ=WEEKLY;BYDAY=SU;BYHOUR=3")

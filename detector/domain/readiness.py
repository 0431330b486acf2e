"""The readiness checklist: what an incident will need and what is missing of it. Pure; what had to be looked at outside is given.

Before it: `cli/doctor` loaded the rules and asked around. After it: it prints the list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from detector.domain.catalogue import DEFAULT_ROUTE, Catalogue, Service
from detector.domain.check import Verdict
from detector.domain.quantity import format_span

DRILL_SECONDS = 30 * 86_400.0
_ERRORS = re.compile(r"error|fail|availab|success", re.IGNORECASE)
_LATENCY = re.compile(r"(?:^|_)p\d+|latency|duration|seconds|slow", re.IGNORECASE)
_FLAG = re.compile(r"flag|toggle|feature|disable|switch", re.IGNORECASE)
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list. Unknown is never OK."""

    name: str
    verdict: Verdict
    message: str


def check_runbooks(catalogue: Catalogue, faults: Mapping[str, str]) -> Item:
    """`faults`: why a runbook could not be reached, by service."""
    missing = [service.name for service in catalogue.services.values() if not service.runbook]
    wrong = [f"{name}: no runbook" for name in missing] + [f"{name}: {fault}" for name, fault in faults.items()]
    good = f"{len(catalogue.services)} services"
    return _judge("runbooks", wrong, good if catalogue.services else "", "no services: add `services:` to the rule files")


def check_flags(catalogue: Catalogue) -> Item:
    """A core service has a mitigation that turns a feature off."""
    core = list_core(catalogue)
    wrong = [
        f"{service.name}: no mitigation turns a feature off"
        for service in core
        if not any(_FLAG.search(f"{way.name} {way.summary}") for way in service.mitigations)
    ]
    return _judge("flag mitigations", wrong, f"{len(core)} core services" if core else "", NO_CORE)


def check_programs(faults: Mapping[str, str], count: int, how: str) -> Item:
    """`faults`: why a mitigation can't be run, by `service mitigation`; `count` of all mitigations; `how` that was found out."""
    wrong = [f"{name}: {fault}" for name, fault in faults.items()]
    item = _judge("mitigation commands", wrong, f"{count} can be started" if count else "", "no service has a mitigation")
    return replace(item, message=f"{item.message} ({how})") if count else item


def check_coverage(catalogue: Catalogue, seen: Mapping[str, Collection[str]] | None) -> Item:
    """`seen`: names of the signals that have a value for a service now, by service; None: nobody could be asked."""
    core = list_core(catalogue)
    if seen is None:
        return Item("rule coverage", Verdict.UNKNOWN, "Prometheus could not be asked which services the rules see")
    wrong = []
    for service in core:
        names = seen.get(service.name, ())
        lacks = [what for what, form in (("error rate", _ERRORS), ("latency", _LATENCY)) if not any(map(form.search, names))]
        if lacks:
            wrong.append(f"{service.name}: no rule sees its {' and '.join(lacks)}")
    return _judge("rule coverage", wrong, f"error rate and latency of {len(core)} core services" if core else "", NO_CORE)


def check_routing(catalogue: Catalogue, routes: Collection[str]) -> Item:
    """Every service's routing key is there, and the default one for what the catalogue does not name."""
    if not routes:
        return Item("on-call routing", Verdict.BAD, "nobody is paged: set DETECTOR_PAGERDUTY__ROUTING_KEYS")
    wrong = [] if DEFAULT_ROUTE in routes else ["no routing key named default: what the catalogue does not name goes nowhere"]
    wrong += [
        f"{service.name}: no routing key named {service.pagerduty}"
        for service in catalogue.services.values()
        if service.pagerduty not in routes and service.pagerduty != DEFAULT_ROUTE
    ]
    return _judge("on-call routing", wrong, f"{len(routes)} routing keys for {len(catalogue.services)} services", "")


def check_drill(last: float | None, now: float, fault: str = "") -> Item:
    """`fault`: why the daemon could not be asked."""
    if fault:
        return Item("drill", Verdict.UNKNOWN, fault)
    if last is None:
        return Item("drill", Verdict.BAD, "none has passed yet; run `detector drill`")
    verdict = Verdict.OK if now - last <= DRILL_SECONDS else Verdict.BAD
    return Item(
        "drill",
        verdict,
        f"passed {format_span(max(0.0, now - last))} ago" + ("" if verdict is Verdict.OK else "; run `detector drill`"),
    )


def list_core(catalogue: Catalogue) -> tuple[Service, ...]:
    """The core services."""
    return tuple(service for service in catalogue.services.values() if service.core)


NO_CORE = "no service is marked `core: true` in the catalogue"


def _judge(name: str, wrong: Iterable[str], good: str, nothing: str) -> Item:
    found = list(wrong)
    if found:
        more = f"; and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
        return Item(name, Verdict.BAD, "; ".join(found[:_MOST_NAMES]) + more)
    return Item(name, Verdict.OK, good) if good else Item(name, Verdict.UNKNOWN, nothing)

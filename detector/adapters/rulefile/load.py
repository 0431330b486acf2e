"""Compiles the text of all rule files into one set: what is unique over files is checked here, and the digest made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from detector.adapters.rulefile.build import build_rule
from detector.adapters.rulefile.group import GroupRule, build_group
from detector.adapters.rulefile.key import FILE, GROUPS_FILE
from detector.adapters.rulefile.node import NodeError, Place, Table, parse_yaml, plain_value
from detector.adapters.rulefile.reader import WHOLE, Fields, Query, Reader, quote
from detector.adapters.rulefile.service import build_maintenance, build_service
from detector.domain.ailment import OWN_RULES
from detector.domain.catalogue import Catalogue, Service
from detector.domain.label import digest_parts
from detector.domain.maintenance import MaintenanceWindow
from detector.domain.reception import RECEIVED
from detector.domain.rule import Location, Rule, RuleSet
from detector.domain.storm import STORM_RULE
from detector.ports.rulefile import Finding

if TYPE_CHECKING:
    from detector.adapters.rulefile.node import Node

RESERVED_NAMES = OWN_RULES | {STORM_RULE}
_RECEIVED = f"{RECEIVED}/"


@dataclass(slots=True)
class Compilation:
    """What the files hold, file by file; `finish` joins it."""

    every_seconds: float
    routes: Collection[str] = ()  # names of routing keys; empty: not known
    rules: dict[str, Rule] = field(default_factory=dict)
    group_rules: list[GroupRule] = field(default_factory=list)
    services: dict[str, Service] = field(default_factory=dict)
    maintenance: list[MaintenanceWindow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    service_places: dict[str, Location] = field(default_factory=dict)

    def add(self, file: str, text: str) -> None:
        """Compile one file; `file` is its path as messages show it."""
        reader = Reader(file, text)
        try:
            root, faults = parse_yaml(text)
        except NodeError as error:
            reader.fault(error.place, error.message)
        else:
            for fault in faults:
                reader.fault(fault.place, fault.message)
            self._add_root(reader, root)
        self.findings += reader.findings
        self.notes += reader.notes
        self.queries += reader.queries

    def finish(self) -> RuleSet:
        """The set, rules by name, so that files may move."""
        rules = {**self.rules, **self._name_group_rules()}
        digest = digest_parts(sorted(self.contents))
        return RuleSet(
            rules=tuple(rules[name] for name in sorted(rules)),
            catalogue=Catalogue(dict(sorted(self.services.items())), digest),
            digest=digest,
            notes=tuple(self.notes),
            maintenance=tuple(self.maintenance),
        )

    def _add_root(self, reader: Reader, root: Node | None) -> None:
        if root is None or (not isinstance(root, Table) and getattr(root, "empty", False)):
            return
        if isinstance(root, Table) and root.find("groups") is not None:
            reader.lenient = True
            fields = reader.read_section(GROUPS_FILE, root, WHOLE)
            for group in fields.get("groups", ()) if isinstance(fields, Fields) else ():
                self.group_rules += build_group(reader, group, self.every_seconds)
            return
        fields = reader.read_section(FILE, root, WHOLE)
        if not isinstance(fields, Fields):
            return
        for rule in fields.get("rules", ()):
            self._add_rule(reader, rule)
        for name, service in fields.get("services", {}).items():
            self._add_service(reader, name, service)
        for window in fields.get("maintenance", ()):
            self.maintenance.append(build_maintenance(reader, window))
            self._remember("maintenance", "", window.node)

    def _add_rule(self, reader: Reader, fields: Fields) -> None:
        rule = build_rule(reader, fields, self.every_seconds)
        if rule is None:
            return
        if rule.name in RESERVED_NAMES:
            reader.fault(_place_of(fields, "name"), f"{quote(rule.name)} is a name of the daemon's own alerts; choose another")
            return
        if rule.name.startswith(_RECEIVED):
            message = f"{quote(rule.name)}: `{_RECEIVED}` begins the names of alerts that others send here; choose another"
            reader.fault(_place_of(fields, "name"), message)
            return
        if (first := self.rules.get(rule.name)) is not None:
            message = f"duplicate rule name {quote(rule.name)}, also at {_show(first.source)}; rename one of them"
            reader.fault(_place_of(fields, "name"), message)
            return
        self.rules[rule.name] = rule
        self._remember("rule", rule.name, fields.node)

    def _add_service(self, reader: Reader, name: str, fields: Fields) -> None:
        if (first := self.service_places.get(name)) is not None:
            reader.fault(fields.node.place, f"duplicate service {quote(name)}, also at {_show(first)}; keep one of them")
            return
        self.service_places[name] = reader.locate(fields.node.place)
        service = self.services[name] = build_service(reader, name, fields)
        if self.routes and "pagerduty" in fields.places and service.pagerduty not in self.routes:
            known = ", ".join(sorted(self.routes))
            message = f"no routing key named {quote(service.pagerduty)} in DETECTOR_PAGERDUTY__ROUTING_KEYS; there are: {known}"
            reader.fault(fields.places["pagerduty"], message)
        self._remember("service", name, fields.node)

    def _name_group_rules(self) -> dict[str, Rule]:
        """Prometheus lets names repeat, so a repeated one gets its severity, then a digest of its query and labels appended."""
        taken = set(self.rules) | RESERVED_NAMES
        names = [_clear(found.rule.name) for found in self.group_rules]
        severities = [found.rule.policy.labels.get("severity", "none") for found in self.group_rules]
        detailed = [f"{name}/{severity}" for name, severity in zip(names, severities, strict=True)]
        plain, severe = Counter(names), Counter(detailed)
        rules: dict[str, Rule] = {}
        for found, name, longer in zip(self.group_rules, names, detailed, strict=True):
            content = json.dumps([plain_value(found.fields.node), found.group.values.get("name"), found.rule.every_seconds])
            chosen = name
            if plain[name] > 1 or name in taken:
                chosen = longer if severe[longer] == 1 and longer not in taken else f"{longer}/{digest_parts([content])[:6]}"
            if chosen in rules:
                self.notes.append(
                    f"{_show(found.rule.source)}: `{name}` repeats {_show(rules[chosen].source)} word for word; skipped"
                )
                continue
            rules[chosen] = replace(found.rule, name=chosen)
            self.contents.append(json.dumps(["group", chosen, content]))
        return rules

    def _remember(self, kind: str, name: str, node: Node) -> None:
        self.contents.append(json.dumps([kind, name, plain_value(node)]))


def _place_of(fields: Fields, key: str) -> Place:
    return fields.places.get(key, fields.node.place)


def _show(location: Location) -> str:
    return f"{location.file}:{location.line}:{location.column}"


def _clear(name: str) -> str:
    """The name of a Prometheus alert, out of the way of those that others send here."""
    return f"rule/{name}" if name.startswith(_RECEIVED) else name

"""Rule tests (`*.test.yaml`): found, and read with the place of every value into `domain.trial` values, all faults at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.adapters.rulefile.discover import TEST_SUFFIXES, read_file
from detector.adapters.rulefile.key import SERVICE, Choice, Key, Kind, ListOf, MapOf, Section
from detector.adapters.rulefile.node import NodeError, Scalar, Table, parse_yaml
from detector.adapters.rulefile.reader import WHOLE, Fields, Reader
from detector.adapters.rulefile.service import build_service
from detector.domain.duration import format_duration
from detector.domain.incident import NoticeKind, Status
from detector.domain.notation import NotationError, Series, read_series, read_values
from detector.domain.severity import Severity
from detector.domain.trial import Expectation, Trial
from detector.ports.rulefile import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.domain.catalogue import Service

DEFAULT_INTERVAL_SECONDS = 15.0
LONGEST_SECONDS = 6 * 86_400.0
_SEVERITY = Choice(tuple(severity.value for severity in Severity))
_NUMBERS = tuple(Key(name, Kind.PLAIN, "A number, compared with a tolerance.") for name in ("value", "peak_value", "threshold"))
_TOLERANCE = Key("tolerance", Kind.PLAIN, "How far numbers may be off, as a share. Default 0.01.")
_LABELS = Key("labels", MapOf(Kind.TEXT), "Labels that it must have; others do not matter.")
_SUMMARY = Key("summary", Kind.TEXT, "Text that its summary must contain.")
_RULE = Key("rule", Kind.TEXT, "Name of the rule.")
_SERVICE = Key("service", Kind.TEXT, "The service that it is about.")

ALERT = Section(
    "an expected alert",
    (
        *(_RULE, _SERVICE, _LABELS, Key("severity", _SEVERITY, "Its severity."), _SUMMARY, *_NUMBERS, _TOLERANCE),
        Key("state", Choice(("pending", "firing")), "Pending alerts are compared only where one is expected."),
        Key("signal", Kind.TEXT, "The signal that breaches."),
        Key("since", Kind.DURATION, "When the breach was first seen, from the beginning of the test."),
        Key("fired", Kind.DURATION, "When it fired."),
    ),
)
INCIDENT = Section(
    "an expected incident",
    (
        *(_RULE, _SERVICE, _LABELS, Key("severity", _SEVERITY, "Its severity now."), _SUMMARY, *_NUMBERS, _TOLERANCE),
        Key("status", Choice(tuple(status.value for status in Status)), "Where it stands."),
        Key("peak_severity", _SEVERITY, "The worst it ever was."),
        Key("rules", ListOf(Kind.TEXT, single=True), "All rules whose alerts are in it."),
        Key("services", ListOf(Kind.TEXT, single=True), "All affected services."),
        Key("value_at_recovery", Kind.PLAIN, "The value when recovery was verified."),
        Key("signal", Kind.TEXT, "The signal that breaches."),
        Key("opened", Kind.DURATION, "When the breach was first seen, from the beginning of the test."),
        Key("detected", Kind.DURATION, "When it was opened."),
        Key("resolved", Kind.DURATION, "When it was resolved."),
        Key("closed", Kind.DURATION, "When it was closed."),
        Key("end_reason", Kind.TEXT, "Why it ended: recovered, no data, ..."),
    ),
)
NOTICE = Section(
    "an expected notice",
    (
        Key("kind", Choice(tuple(kind.value for kind in NoticeKind)), "What it tells."),
        Key("channel", Kind.TEXT, "Where it goes."),
        Key("route", Kind.TEXT, "Name of the routing key."),
        Key("severity", _SEVERITY, "Severity of its incident then."),
        _SERVICE,
        _SUMMARY,
        Key("at", Kind.DURATION, "When it was queued, from the beginning of the test."),
    ),
)
EXPECTATION = Section(
    "an expectation",
    (
        Key("at", Kind.DURATION, "The moment, from the beginning of the test.", required=True),
        Key("alerts", ListOf(ALERT), "All alerts that fire then."),
        Key("incidents", ListOf(INCIDENT), "All incidents that there are then, resolved ones too."),
        Key("notices", ListOf(NOTICE), "All notices so far."),
        Key("texts", ListOf(Kind.TEXT, single=True), "Texts that a summary contains."),
        Key("severity", Choice((*_SEVERITY.words, "none")), "The worst severity of what is open then."),
        Key("pages", Kind.PLAIN, "How many pages went out so far."),
    ),
)
TRIAL = Section(
    "a test",
    (
        Key("name", Kind.TEXT, "What it shows, in a sentence.", required=True),
        Key("series", MapOf(Kind.TEXT), 'Input: `name{label="value"}` -> values such as `0+10x30`.', required=True),
        Key("expect", ListOf(EXPECTATION, least=1), "What must hold when.", required=True),
        Key("interval", Kind.DURATION, "Between samples, and between evaluations; default that of the file."),
    ),
)
TEST_FILE = Section(
    "a rule test file",
    (
        Key("rules", ListOf(Kind.TEXT, single=True, least=1), "Rule files, relative to this one. Default: x.yaml for x.test.yaml."),
        Key("interval", Kind.DURATION, "Between samples, and between evaluations. Default 15s."),
        Key("services", MapOf(SERVICE), "A catalogue for the tests."),
        Key("tests", ListOf(TRIAL, least=1), "The tests.", required=True),
    ),
)


def find_trials(paths: Iterable[Path]) -> tuple[list[Path], list[Finding]]:
    """Test files below the paths; hidden files and directories are passed over."""
    found: dict[Path, None] = {}
    findings = []
    for path in paths:
        if path.is_dir():
            below = [each for each in sorted(_walk(path)) if each.name.endswith(TEST_SUFFIXES)]
            if not below:
                findings.append(Finding(str(path), 1, 1, "no rule tests here; their names end with .test.yaml"))
            found |= dict.fromkeys(below)
        elif not path.exists():
            findings.append(Finding(str(path), 1, 1, "no such file or directory; name a rule test or a directory with *.test.yaml"))
        elif not path.name.endswith(TEST_SUFFIXES):
            findings.append(Finding(str(path), 1, 1, "this is no rule test; the name of one ends with .test.yaml"))
        else:
            found[path] = None
    return list(found), findings


def read_trials(path: Path) -> tuple[list[Trial], list[Finding]]:
    """The tests of a file, and its faults."""
    text = read_file(path)
    if isinstance(text, Finding):
        return [], [text]
    reader = Reader(str(path), text)
    try:
        root, faults = parse_yaml(text)
    except NodeError as error:
        return [], [Finding(str(path), error.place.line, error.place.column, error.message)]
    for fault in faults:
        reader.fault(fault.place, fault.message)
    if root is None:
        return [], [Finding(str(path), 1, 1, "the file is empty; write `tests:`")]
    fields = reader.read_section(TEST_FILE, root, WHOLE)
    trials = _build_file(reader, path, fields) if isinstance(fields, Fields) else []
    return trials, reader.findings


def _walk(root: Path) -> Iterable[Path]:
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(directory, name) for name in names if not name.startswith("."))


def _build_file(reader: Reader, path: Path, fields: Fields) -> list[Trial]:
    own = path.name
    for suffix in TEST_SUFFIXES:
        own = own.removesuffix(suffix)
    rules = fields.get("rules", (f"{own}.yaml",))
    if not fields.has("rules") and not (path.parent / rules[0]).exists():
        reader.fault(
            fields.node.place, f"`rules` is missing, and there is no {rules[0]} beside this file; write `rules: [web.yaml]`"
        )
    services = {name: build_service(reader, name, service) for name, service in fields.get("services", {}).items()}
    interval = _check_interval(reader, fields, DEFAULT_INTERVAL_SECONDS)
    paths = tuple(str(path.parent / rule) for rule in rules)
    return [_build_trial(reader, each, paths, interval, services) for each in fields.get("tests", ())]


def _check_interval(reader: Reader, fields: Fields, default: float) -> float:
    interval: float = fields.get("interval", default)
    if interval < 1.0:
        reader.fault(fields.places["interval"], f"`interval` is {format_duration(interval)}; write at least 1s")
        return default
    return interval


def _build_trial(reader: Reader, fields: Fields, rules: tuple[str, ...], interval: float, services: dict[str, Service]) -> Trial:
    return Trial(
        name=fields.get("name", ""),
        source=reader.locate(fields.node.place),
        rules=rules,
        interval_seconds=_check_interval(reader, fields, interval),
        series=tuple(_build_series(reader, fields)),
        expectations=tuple(
            sorted((_build_expectation(reader, each) for each in fields.get("expect", ())), key=lambda each: each.at_seconds)
        ),
        services=services,
    )


def _build_series(reader: Reader, fields: Fields) -> Iterable[Series]:
    table = fields.node.find("series")
    seen: dict[object, str] = {}
    for key, value in table.entries if isinstance(table, Table) else ():
        if not isinstance(value, Scalar):
            continue
        try:
            name, labels = read_series(key.text)
        except NotationError as error:
            reader.fault_inside(key, error.offset, f"series: {error.message}")
            continue
        if (name, labels) in seen:
            reader.fault(key.place, f"the same series as {seen[name, labels]}; write all its values in one line")
            continue
        seen[name, labels] = key.text
        try:
            yield Series(name, labels, read_values(value.text))
        except NotationError as error:
            reader.fault_inside(value, error.offset, f"values: {error.message}")


def _build_expectation(reader: Reader, fields: Fields) -> Expectation:
    place = reader.locate(fields.node.place)
    at_seconds: float = fields.get("at", 0.0)
    if at_seconds > LONGEST_SECONDS:
        reader.fault(
            fields.places["at"], f"`at` is {format_duration(at_seconds)}; the longest test is {format_duration(LONGEST_SECONDS)}"
        )
    pages = fields.get("pages")
    if fields.has("pages") and (isinstance(pages, bool) or not isinstance(pages, int) or pages < 0):
        reader.fault(fields.places["pages"], "`pages` is no count; write e.g. `pages: 1`")
        pages = None
    if len(fields.places) == 1 and fields.has("at"):
        reader.fault(fields.node.place, "nothing is expected here; write e.g. `incidents: []`")
    return Expectation(
        at_seconds=at_seconds,
        source=place,
        alerts=_list_items(reader, fields, "alerts"),
        incidents=_list_items(reader, fields, "incidents"),
        notices=_list_items(reader, fields, "notices"),
        texts=fields.get("texts"),
        severity=fields.get("severity"),
        pages=pages,
    )


def _list_items(reader: Reader, fields: Fields, name: str) -> tuple[dict[str, Any], ...] | None:
    if not fields.has(name):
        return None
    found = []
    for item in fields.get(name, ()):
        for key in ("value", "peak_value", "threshold", "value_at_recovery", "tolerance"):
            value = item.get(key)
            if item.has(key) and (isinstance(value, bool) or not isinstance(value, int | float | None)):
                reader.fault(item.places[key], f"`{key}` is no number; write e.g. `{key}: 0.02`")
        found.append({key: list(value) if isinstance(value, tuple) else value for key, value in item.values.items()})
    return tuple(found)

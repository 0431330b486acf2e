"""A rule test: input series, and what is expected of rules at moments after their beginning. Matching is partial and pure.

The rule file adapter reads it; `app.trial` runs it over a real Prometheus; this module says whether what came is what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose

from detector.domain.catalogue import Service
from detector.domain.label import Labels, make_labels
from detector.domain.notation import Series
from detector.domain.rule import Location
from detector.domain.view import Json

TOLERANCE = 0.01
WITHIN = ("summary", "description")  # texts that need only be contained
MOMENTS = ("opened", "detected", "resolved", "closed", "since", "fired", "at")  # counted from the beginning of the test

Item = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must hold `at_seconds` after the beginning. None: nothing is said about it; an empty list: there is none.

    `notices`, `pages` and `texts` count from the beginning of the test up to that moment.
    """

    at_seconds: float
    source: Location
    alerts: tuple[Item, ...] | None = None
    incidents: tuple[Item, ...] | None = None
    notices: tuple[Item, ...] | None = None
    texts: tuple[str, ...] | None = None
    severity: str | None = None
    pages: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One test. `rules`: files or directories; `interval_seconds` lies between samples and between evaluations."""

    name: str
    source: Location
    rules: tuple[str, ...]
    interval_seconds: float
    series: tuple[Series, ...]
    expectations: tuple[Expectation, ...]
    services: Mapping[str, Service] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Situation:
    """How things stand at a moment, as the API would tell it; times of items are counted from the beginning of the test."""

    alerts: tuple[Item, ...]
    incidents: tuple[Item, ...]
    notices: tuple[Item, ...]
    severity: str
    pages: int


@dataclass(frozen=True, slots=True)
class Miss:
    """One expectation that was not met. `what` is the key in the file."""

    at_seconds: float
    source: Location
    what: str
    expected: Json
    got: Json
    alerts: tuple[tuple[str, Labels], ...] = ()


def judge(expectation: Expectation, situation: Situation) -> list[Miss]:
    """Everything that is not as expected."""
    found = []
    for what in ("alerts", "incidents", "notices"):
        wanted: tuple[Item, ...] | None = getattr(expectation, what)
        if wanted is None:
            continue
        items: tuple[Item, ...] = getattr(situation, what)
        if what == "alerts":  # what is only pending need not be told
            told = {"pending"} & {str(item.get("state", "")).lower() for item in wanted}
            items = tuple(item for item in items if told or item["state"] != "pending")
        if not match_all(wanted, items):
            keys = dict.fromkeys(key for item in wanted for key in item) or _BRIEF[what]
            found.append(
                _miss(expectation, what, [dict(item) for item in wanted], [_cut(item, list(keys)) for item in items], items)
            )
    texts = [str(item.get(name, "")) for item in (*situation.incidents, *situation.alerts) for name in WITHIN]
    absent = [text for text in expectation.texts or () if not any(text in shown for shown in texts)]
    if absent:
        found.append(_miss(expectation, "texts", list(absent), [text for text in texts if text], situation.incidents))
    if expectation.severity is not None and expectation.severity != situation.severity:
        found.append(_miss(expectation, "severity", expectation.severity, situation.severity, situation.incidents))
    if expectation.pages is not None and expectation.pages != situation.pages:
        found.append(_miss(expectation, "pages", expectation.pages, situation.pages, situation.incidents))
    return found


_BRIEF: Mapping[str, tuple[str, ...]] = {
    "alerts": ("rule", "labels", "state", "severity"),
    "incidents": ("rule", "service", "severity", "status"),
    "notices": ("kind", "channel", "route", "severity"),
}


def match_all(wanted: Sequence[Item], items: Sequence[Item]) -> bool:
    """Whether every wanted item is met by an item of its own, and none is left over."""
    if len(wanted) != len(items):
        return False
    if not wanted:
        return True
    rest = wanted[1:]
    return any(
        match_item(wanted[0], item) and match_all(rest, [*items[:index], *items[index + 1 :]]) for index, item in enumerate(items)
    )


def match_item(wanted: Item, item: Item) -> bool:
    """Whether the item has every wanted key with that value; other keys are not compared."""
    tolerance = wanted.get("tolerance", TOLERANCE)
    share = float(tolerance) if isinstance(tolerance, int | float) else TOLERANCE
    return all(_match_key(key, value, item, share) for key, value in wanted.items() if key != "tolerance")


def _match_key(key: str, value: Json, item: Item, tolerance: float) -> bool:
    got = item.get(key)
    if key == "rule" and isinstance(rules := item.get("rules"), list):
        return value in rules
    if isinstance(value, dict) and isinstance(got, dict):
        return all(str(got.get(name, "")) == str(text) for name, text in value.items())
    if isinstance(value, list) and isinstance(got, list):
        return sorted(map(str, value)) == sorted(map(str, got))
    if isinstance(value, bool) or value is None or got is None:
        return value == got
    if isinstance(value, int | float) and isinstance(got, int | float):
        return isclose(value, got, rel_tol=0.0 if key in MOMENTS else tolerance, abs_tol=1.0 if key in MOMENTS else 1e-9)
    return str(value) in str(got) if key in WITHIN else str(value).lower() == str(got).lower()


def _cut(item: Item, keys: Sequence[str]) -> Json:
    """The item with the keys that were asked for; what was asked as `rule` is told so where there is but one."""
    shown: dict[str, Json] = {}
    for key in keys:
        if key == "rule" and "rule" not in item:
            rules = item.get("rules")
            shown |= {"rule": rules[0]} if isinstance(rules, list) and len(rules) == 1 else {"rules": rules}
        elif key != "tolerance":
            shown[key] = item.get(key)
    return shown


def _miss(expectation: Expectation, what: str, expected: Json, got: Json, items: Sequence[Item]) -> Miss:
    concerned: dict[tuple[str, Labels], None] = {}
    for item in items:
        labels = item.get("labels")
        rules = item.get("rules")
        names = rules if isinstance(rules, list) else [item.get("rule")]
        if isinstance(labels, dict):
            concerned |= dict.fromkeys((str(name), make_labels({key: str(text) for key, text in labels.items()})) for name in names)
    return Miss(expectation.at_seconds, expectation.source, what, expected, got, tuple(concerned))

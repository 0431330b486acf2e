"""What keeps an alert quiet: silences, maintenance windows and leases, all with matchers, an end, an author and a reason.

The shell works out which of them hold now and hands them to `correlate`. A muted page is withheld, not discarded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from detector.domain import pattern

_MATCHER = re.compile(r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,{}"']*)\s*""")
_MOST_MATCHERS = 50
_SEVERITIES = ("low", "medium", "high", "critical")
_ANY_NAMES = ("zqxj", "Zqxj-7_k", "0/zq.é j")  # what covers all of these by name singles out nothing


class Operator(Enum):
    """How a matcher compares; regular expressions match the whole value, as in Alertmanager."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison of a label with a value; a label that is absent has the value ""."""

    name: str
    operator: Operator
    value: str

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it."""
        actual = labels.get(self.name, "")
        match self.operator:
            case Operator.EQUAL:
                return actual == self.value
            case Operator.NOT_EQUAL:
                return actual != self.value
            case Operator.MATCHES:
                return pattern.fullmatch(self.value, actual)
            case Operator.NOT_MATCHES:
                return not pattern.fullmatch(self.value, actual)

    def __str__(self) -> str:
        """As it is written: `service="checkout"`."""
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator.value}"{escaped}"'


class MuteKind(Enum):
    """Where a mute comes from."""

    SILENCE = "silence"
    WINDOW = "window"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class Mute:
    """One reason to stay quiet between `starts` and `ends` (unix seconds). `ended_by`: who ended it before its time."""

    id: str
    kind: MuteKind
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float
    author: str
    reason: str
    ended_by: str = ""

    @property
    def words(self) -> str:
        """What timelines say of it."""
        return f"{self.kind.value} {self.id} by {self.author}: {self.reason}"

    def covers(self, labels: Mapping[str, str], now: float) -> bool:
        """Whether it holds now and every matcher is satisfied."""
        return self.starts <= now < self.ends and all(matcher.covers(labels) for matcher in self.matchers)


def find_mute(mutes: Iterable[Mute], labels: Mapping[str, str], now: float) -> Mute | None:
    """The mute that covers the labels and lasts longest, None where none does."""
    return max((mute for mute in mutes if mute.covers(labels, now)), key=lambda mute: mute.ends, default=None)


def parse_matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Read matchers as amtool takes them: `service=checkout`, `severity=~"low|medium"`, `{a="b", c!="d"}`.

    Raises ValueError with what would be right. A set that matches everything, the empty label set included, is refused: so is
    one that any alert satisfies by its rule, service and severity alone.
    """
    found: list[Matcher] = []
    for text in texts:
        found.extend(_parse(text))
    if not found:
        raise ValueError("no matcher; write for example service=checkout")
    if len(found) > _MOST_MATCHERS:
        raise ValueError(f"at most {_MOST_MATCHERS} matchers, these are {len(found)}")
    if all(matcher.covers({}) for matcher in found):
        raise ValueError("these matchers cover every alert; name at least one label that must have a value")
    if _cover_everything(found):
        raise ValueError("these matchers cover every alert, whatever its rule, service and severity; name what is to be quiet")
    return tuple(found)


def parse_filter(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Read matchers that choose what is shown: as `parse_matchers`, and none at all will do. Raises ValueError."""
    found = tuple(matcher for text in texts for matcher in _parse(text))
    if len(found) > _MOST_MATCHERS:
        raise ValueError(f"at most {_MOST_MATCHERS} matchers, these are {len(found)}")
    return found


def _cover_everything(matchers: list[Matcher]) -> bool:
    """Every alert has a rule, a service and a severity: `service=~".+"` would leave none to be heard."""
    alerts = [
        {"rule": name, "alertname": name, "service": name, "severity": severity} for name in _ANY_NAMES for severity in _SEVERITIES
    ]
    return all(matcher.covers(labels) for matcher in matchers for labels in alerts)


def _parse(text: str) -> list[Matcher]:
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    found = []
    at = 0
    while at < len(inner):
        match = _MATCHER.match(inner, at)
        if match is None:
            raise ValueError(f'{text!r} is not a matcher; write name=value, name!=value, name=~"regex" or name!~"regex"')
        name, operator, value = match.groups()
        found.append(Matcher(name, Operator(operator), _check(Operator(operator), _unquote(value))))
        at = match.end()
        if at < len(inner) and inner[at] == ",":
            at += 1
    return found


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value[1:-1])
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    return value


def _check(operator: Operator, value: str) -> str:
    if operator in {Operator.MATCHES, Operator.NOT_MATCHES}:
        pattern.check(value)
    return value

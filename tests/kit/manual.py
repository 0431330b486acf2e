"""The parts of docs/ that are made from the program: tables of rule keys, own metrics, and who hears of what.

A block stands between `<!-- made: NAME -->` and `<!-- /made -->`. `python -m tests.kit.manual` writes all of them anew;
tests/unit/test_docs.py fails while one is out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from prometheus_client.parser import text_string_to_metric_families

from detector.adapters.pagerduty.event import choose_action
from detector.adapters.rulefile import key, trial
from detector.adapters.rulefile.key import Choice, Either, Kind, ListOf, MapOf, Section
from detector.cli.command import COMMANDS
from detector.domain import audience
from detector.domain.deploy import Deploy
from detector.domain.incident import NoticeKind
from detector.web.metrics import Metrics
from tests.kit.surface import list_routes, list_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from detector.adapters.rulefile.key import Shape

ROOT = Path(__file__).resolve().parents[2]
_WRITTEN_BY_THE_DAEMON = "postmortem-demo.md"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(each for each in (ROOT / "docs").glob("*.md") if each.name != _WRITTEN_BY_THE_DAEMON),
)
_BLOCK = re.compile(r"<!-- made: ([^>]+?) -->\n(.*?)<!-- /made -->", re.DOTALL)
_DESTINATIONS = (
    ("slack", audience.SLACK, ""),
    ("email, on call", audience.EMAIL, audience.ON_CALL),
    ("email, stakeholders", audience.EMAIL, audience.STAKEHOLDERS),
    ("statuspage", audience.STATUSPAGE, ""),
    ("mqtt", audience.MQTT, ""),
    ("webhook", audience.WEBHOOK, ""),
)
_TO_PAGERDUTY = {NoticeKind.TRIGGER, NoticeKind.RISE, NoticeKind.ACKNOWLEDGE, NoticeKind.RESOLVE, NoticeKind.RELAPSE}
_MOMENTS = {
    NoticeKind.TRIGGER: "opened",
    NoticeKind.RISE: "severity rose",
    NoticeKind.UPDATE: "anything else that is new, and what a person writes",
    NoticeKind.ACKNOWLEDGE: "somebody has it",
    NoticeKind.RESOLVE: "verified, or by hand",
    NoticeKind.RELAPSE: "the same incident again within the watch",
    NoticeKind.CLOSE: "the watch passed",
    NoticeKind.REMINDER: "no update for `update_every`",
    NoticeKind.SUMMON: "HIGH or CRITICAL: owner and manager are called",
    NoticeKind.ESCALATE: "nobody acknowledged for `escalate_after`, and PagerDuty was not paged or refuses the page",
}


def find_blocks(text: str) -> dict[str, str]:
    """Made blocks of a page, by name."""
    return {match[1]: match[2] for match in _BLOCK.finditer(text)}


def list_sections() -> dict[str, Section]:
    """Every section of rule files and rule tests by what it is, in reading order."""
    found: dict[str, Section] = {}

    def walk(shape: Shape) -> None:
        match shape:
            case Kind() | Choice():
                return
            case ListOf(item=inner) | MapOf(value=inner):
                walk(inner)
            case Either(section=section):
                walk(section)
            case Section():
                if shape.what not in found:
                    found[shape.what] = shape
                    for known in shape.keys:
                        walk(known.shape)
            case _:
                assert_never(shape)

    walk(key.FILE)
    walk(key.GROUPS_FILE)
    walk(trial.TEST_FILE)
    return found


def make_block(name: str) -> str:
    """The text of one block. KeyError for a name that nothing makes."""
    if name.startswith("keys of "):
        section = list_sections()[name.removeprefix("keys of ")]
        rows = [
            (f"`{known.name}`{' (required)' if known.required else ''}", _say(known.shape), known.about) for known in section.keys
        ]
        return _table(("key", "value", "meaning"), rows)
    return {
        "metrics": _make_metrics,
        "notices": _make_notices,
        "commands": _make_commands,
        "routes": _make_routes,
        "secrets": _make_secrets,
    }[name]()


def rewrite(text: str) -> str:
    """The page with every block as it should be."""
    return _BLOCK.sub(lambda match: f"<!-- made: {match[1]} -->\n{make_block(match[1])}<!-- /made -->", text)


def list_metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and help of the daemon's own metrics."""
    metrics = Metrics("1", ["pagerduty"])
    metrics._add_rule("x")  # the labels of a rule's series are seen on a sample only
    metrics.deploy_told(Deploy("x", "1", 0.0))
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith("detector_"):
            suffix = "_total" if family.type == "counter" else ""
            labels = {name: None for sample in family.samples for name in sample.labels if name != "le"}
            yield family.name + suffix, family.type, tuple(labels), family.documentation


def _make_metrics() -> str:
    rows = [(f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), about) for name, kind, labels, about in list_metrics()]
    return _table(("metric", "type", "labels", "what"), rows)


def _make_commands() -> str:
    return _table(("command", "what"), [(f"`detector {name}`", about) for name, about in COMMANDS.items()])


def _make_routes() -> str:
    guards: dict[str, list[str]] = {}
    for method, path, guard in list_routes():
        guards.setdefault(guard, []).append(f"`{method} {path}`")
    return _table(("what guards it", "routes"), [(guard, ", ".join(routes)) for guard, routes in guards.items()])


def _make_secrets() -> str:
    return ", ".join(f"`{name}`" for name in list_secrets()) + "\n"


def _make_notices() -> str:
    rows = []
    for kind in NoticeKind:
        heard = [choose_action(kind) if kind in _TO_PAGERDUTY else ""]
        heard += [_listens(channel, route, kind) for _, channel, route in _DESTINATIONS]
        rows.append((f"`{kind.value}`", _MOMENTS[kind], *heard))
    return _table(("notice", "when", "pagerduty", *(name for name, _, _ in _DESTINATIONS)), rows)


def _listens(channel: str, route: str, kind: NoticeKind) -> str:
    if kind is NoticeKind.TRIGGER or audience._listens(channel, route, kind, human=False):
        return "yes"
    return "a person's" if audience._listens(channel, route, kind, human=True) else ""


def _say(shape: Shape) -> str:
    match shape:
        case Kind():
            return shape.value
        case Choice(words=words):
            return " \\| ".join(f"`{word}`" for word in words)
        case Either(scalar=scalar, section=section):
            return f"{scalar.value}, or {section.what}"
        case MapOf(value=value):
            return f"by name: {_say(value)}"
        case ListOf(item=item, single=single):
            return f"{'one or ' if single else ''}a list: {_say(item)}"
        case Section():
            return shape.what
        case _:
            assert_never(shape)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_fit(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _fit(cell: str) -> str:
    """A cell without bars that end it, and with `<signal>` where a page would take it for a tag."""
    return re.sub(r"(?<![`\w])(<\w+>\w*)", r"`\1`", re.sub(r"(?<!\\)\|", r"\|", cell))


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewrite(page.read_text()))

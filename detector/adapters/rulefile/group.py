"""Prometheus rule files (`groups:`): alerting rules as rules whose condition lies in their query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.adapters.condition import Present, Scope
from detector.adapters.rulefile.gotemplate import translate
from detector.adapters.rulefile.query import check_query, read_threshold
from detector.adapters.rulefile.reader import Fields
from detector.domain.condition import Comparison
from detector.domain.rule import Instant, Policy, Recovery, Rule, Rung
from detector.domain.severity import read_severity

if TYPE_CHECKING:
    from detector.adapters.rulefile.node import Scalar
    from detector.adapters.rulefile.reader import Reader

SIGNAL = "value"
_SUMMARIES = ("summary", "message", "title", "description")
_LINKS = {"runbook_url": "runbook", "runbook": "runbook", "dashboard_url": "dashboard", "dashboard": "dashboard"}


@dataclass(frozen=True, slots=True)
class GroupRule:
    """An alerting rule, and what its group adds to its identity."""

    rule: Rule
    fields: Fields
    group: Fields


def build_group(reader: Reader, group: Fields, every_seconds: float) -> list[GroupRule]:
    """The alerting rules of a group; recording rules are noted."""
    found = []
    for fields in group.get("rules", ()):
        if fields.has("record"):
            reader.note(
                fields.node.place, f"recording rule `{fields.get('record', '?')}` is skipped; Prometheus has to evaluate it"
            )
        elif not fields.has("alert"):
            reader.fault(fields.node.place, "a Prometheus rule needs `alert` (or `record`)")
        elif fields.get("alert") is not None and fields.get("expr") is not None:
            found.append(GroupRule(_build(reader, group, fields, every_seconds), fields, group))
    return found


def _build(reader: Reader, group: Fields, fields: Fields, every_seconds: float) -> Rule:
    query: Scalar = fields.get("expr")
    text = query.text.strip()
    check_query(reader, query, every_seconds, foreign=True)
    labels = {**group.get("labels", {}), **fields.get("labels", {})}
    annotations = fields.get("annotations", {})
    recovery = "!open"
    policy = Policy(
        open=Present(text, comparisons=_compare(text)),
        recover=Recovery(recovery, Scope((SIGNAL,)).split(recovery)),
        severity=(Rung(read_severity(labels.get("severity", "")), Present("true")),),
        summary=next((translate(annotations[key]) for key in _SUMMARIES if key in annotations), ""),
        description=translate(annotations.get("description", "")),
        for_seconds=fields.get("for", 0.0),
        keep_open_seconds=fields.get("keep_firing_for", 0.0),
        recover_for_seconds=0.0,
        labels={name: translate(value) for name, value in labels.items()},
        links={_LINKS[name]: translate(value) for name, value in annotations.items() if name in _LINKS},
    )
    return Rule(
        name=fields.get("alert"),
        signals=(Instant(SIGNAL, text),),
        policy=policy,
        source=reader.locate(fields.node.place),
        by=None,
        every_seconds=group.get("interval", every_seconds) or every_seconds,
        offset_seconds=group.get("query_offset", 0.0),
        vector=True,
        limit=max(0, round(group.get("limit") or 0)) or None,
    )


def _compare(query: str) -> tuple[Comparison, ...]:
    """What the value is compared with inside the query, so that a page can say value and threshold."""
    found = read_threshold(query)
    return (Comparison(SIGNAL, *found),) if found else ()

"""The post-mortem as Markdown. Whatever came from outside stands in code spans and fences, where Markdown and HTML mean nothing.

Facts only; what people have to think about is left as empty sections. Wording is blameless: systems, not people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from detector.domain.check import Verdict
from detector.domain.quantity import format_signal, format_span, format_time
from detector.domain.response import CAUSE, CAUSE_WORDS
from detector.domain.text import clean_line, clean_text, cut_text
from detector.domain.ticket import lead_alert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from detector.domain.incident import Event
    from detector.domain.postmortem import Facts

FOLLOW_UP = "## Follow-up"
_TIMELINE, _ACTIONS, _ROOT_CAUSE = "## Timeline (UTC)", "## Actions", "## Root cause"
_NOBODY = "Nobody acted on the incident through the detector."
LINE_CHARACTERS = 500
_MARKS = {Verdict.OK: "✅", Verdict.BAD: "🔴", Verdict.UNKNOWN: "❔"}
_FILL_IN = (
    ("Root cause", "What in the system made this possible? Describe mechanisms, not people."),
    ("Why it happened", "Ask why until the answer is something that can be changed."),
    ("What we're doing to prevent this", "Changes that make it impossible, seen sooner, or harmless."),
)


def render_document(facts: Facts, picture: str) -> str:
    """The document; `picture` is the file name of the plot."""
    return "\n".join((*_head(facts, picture), *_story(facts), *_sections(facts), *_annex(facts))) + "\n"


def amend_document(text: str, events: Sequence[Event]) -> str:
    """The document with what people said after it was drafted, each line once; a cause stands in its section too."""
    lines = text.split("\n")
    for event in events:
        _append(lines, _TIMELINE, _tell_event(event))
        _append(lines, _ACTIONS, _tell_action(event))
        if event.kind == CAUSE:
            _append(lines, _ROOT_CAUSE, f"Noted afterwards: {code(event.message.removeprefix(CAUSE_WORDS))}")
    return "\n".join(lines)


def _append(lines: list[str], title: str, line: str) -> None:
    """Put a line at the end of the section of that title, where it does not stand there."""
    if title not in lines:
        return
    begin = lines.index(title) + 1
    end = next((place for place in range(begin, len(lines)) if lines[place].startswith("## ")), len(lines))
    section = [each for each in lines[begin:end] if each != _NOBODY]
    if line not in section:
        while section and not section[-1]:
            section.pop()
        lines[begin:end] = [*section, line, ""] if section else ["", line, ""]


def code(text: str) -> str:
    """A code span that holds exactly this, in one line: nothing in it is markup, a link, or a mention."""
    line = cut_text(clean_line(text), LINE_CHARACTERS)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line or ' '}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """A fenced block that nothing inside can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{clean_text(text).rstrip()}\n{fence}"


def _head(facts: Facts, picture: str) -> Iterator[str]:
    incident = facts.incident
    yield f"# Post-mortem: {code(incident.summary)}"
    yield ""
    yield f"Drafted from recorded facts; the empty sections are to be filled in by {format_time(facts.due)}."
    yield "We look for causes in systems and processes; everybody acted on what they could know at the time."
    yield ""
    yield f"- Incident: {code(incident.id)}, service {code(incident.service)}"
    if len(incident.services) > 1:
        yield f"- Affected services: {', '.join(code(name) for name in incident.services)}"
    yield f"- Severity at its peak: {incident.peak_severity.value}"
    yield f"- Rules: {', '.join(code(name) for name in incident.rules)}"
    if incident.labels:
        yield f"- Labels: {', '.join(code(f'{name}={value}') for name, value in incident.labels)}"
    for role, name in facts.responders:
        yield f"- {role}: {code(name)}"
    if incident.end_reason:
        yield f"- Ended: {code(incident.end_reason)}"
    if incident.relapses:
        yield f"- Relapses: {', '.join(format_time(at) for at in incident.relapses)}"
    yield ""
    yield "## Times"
    yield ""
    yield "From the first breach, at " + format_time(incident.opened) + "."
    yield ""
    yield "| to | took |"
    yield "| --- | --- |"
    for word, seconds in facts.spans:
        yield f"| {word} | {'not done' if seconds is None else format_span(seconds)} |"
    yield ""
    yield "## Signals"
    yield ""
    yield f"![Signals over the incident]({picture})"
    yield ""
    yield from _numbers(facts)


def _numbers(facts: Facts) -> Iterator[str]:
    lead = lead_alert(facts.incident)
    for name, track in ({} if lead is None else lead.signals).items():
        words = [
            f"{word} {format_signal(name, value)}"
            for word, value in (("peak", track.peak), ("at recovery", track.at_recovery))
            if value is not None
        ]
        if words:
            yield f"- {code(name)}: {', '.join(words)}"
    for curve in facts.curves:
        if not curve.points:
            yield f"- {code(f'{curve.rule}: {curve.signal}')} could not be drawn: {code(curve.fault or 'no samples')}"
    yield ""


def _story(facts: Facts) -> Iterator[str]:
    yield _TIMELINE
    yield ""
    for event in facts.events:
        yield _tell_event(event)
    yield ""
    yield "## Checks"
    yield ""
    for result in facts.incident.checks:
        yield f"- {_MARKS[result.verdict]} {result.check.value}: {code(result.message)}"
    if not facts.incident.checks:
        yield "No diagnosis was recorded."
    for suspect in facts.incident.suspects[:3]:
        yield f"- suspect {code(suspect.service)}: {code(suspect.why)}"
    yield ""
    yield _ACTIONS
    yield ""
    for event in facts.actions:
        yield _tell_action(event)
    if not facts.actions:
        yield _NOBODY
    yield ""


def _tell_event(event: Event) -> str:
    return f"- {format_time(event.at)} {code(event.actor)} {event.kind}: {code(event.message)}"


def _tell_action(event: Event) -> str:
    return f"- {format_time(event.at)} {code(event.actor)}: {code(event.message)}"


def _sections(facts: Facts) -> Iterator[str]:
    for title, question in _FILL_IN:
        yield f"## {title}"
        yield ""
        yield f"<!-- {question} -->"
        if title == "Root cause" and facts.incident.root_cause:
            yield f"Noted during the incident: {code(facts.incident.root_cause)}"
        yield ""
    yield FOLLOW_UP
    yield ""
    yield "<!-- One line each, `- [ ] what, who, by when`; ticked when done. `detector incidents follow-ups` lists them all. -->"
    yield ""


def _annex(facts: Facts) -> Iterator[str]:
    yield "## Rules and reproduction"
    yield ""
    digest, before = facts.digest or "unknown", facts.digest_before
    same = f"Rule files: digest {code(digest)}"
    yield (
        f"{same}, from the opening to the end."
        if before == digest
        else (f"{same} at the end, {code(before)} at the opening." if before else f"{same} at the end.")
    )
    yield ""
    for rule in facts.rules:
        if rule.removed:
            yield f"- {code(rule.name)} was removed since it opened; it was open when {code(rule.condition or 'unknown')}"
        else:
            yield f"- {code(rule.name)} at {code(f'{rule.file}:{rule.line}')}: open when {code(rule.condition)}"
    yield ""
    changed = [rule for rule in facts.rules if rule.changes]
    yield "What changed in these rules since the incident opened:" if changed else "Nothing changed in these rules since it opened."
    yield ""
    for rule in changed:
        yield block("\n".join((f"  rule {clean_line(rule.name)}", *(clean_line(line) for line in rule.changes))), "diff")
        yield ""
    if facts.test:
        yield "A rule test that reproduces it: keep it beside that rule file as `<name>.test.yaml` and run `detector test`."
        yield ""
        yield block(facts.test, "yaml")
    else:
        yield "The samples behind the incident could not be read; there is no rule test."

"""What a backtest found, on standard output: a table, Markdown for a merge request, or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from detector.cli.table import clean, print_table, show_number, show_time
from detector.domain.label import format_labels
from detector.domain.quantity import format_count, format_span
from detector.domain.verdict import compare_verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.verdict import Change, Difference, Finding, Verdict

_COLUMNS = ("RULE", "SERVICE", "LABELS", "OPENED", "RESOLVED", "SEVERITY", "PEAK", "AT RECOVERY")
_MOST_ROWS = 50


def print_report(style: str, verdict: Verdict, before: Verdict | None, name: str) -> None:
    """Print in that style; with `before`, what differs from it."""
    difference = None if before is None else compare_verdicts(before, verdict)
    match style:
        case "json":
            print(json.dumps(_dump(verdict, before, difference, name), indent=2, ensure_ascii=False))
        case "markdown":
            print(write_markdown(verdict, before, difference, name))
        case _ if before is not None and difference is not None:
            _print_difference(verdict, before, difference, name)
        case _:
            print_table(*_lay_out(verdict))
            print(_summarise(verdict))


def dump_verdict(verdict: Verdict) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "from": _whole(verdict.begin),
        "to": _whole(verdict.end),
        "step": _whole(verdict.step_seconds),
        "pages_per_week": round(verdict.pages_per_week, 4),
        "flaps": verdict.flaps,
        "incidents": [_dump_finding(finding) for finding in verdict.findings],
    }


def write_markdown(verdict: Verdict, before: Verdict | None, difference: Difference | None, name: str) -> str:
    """A comment for a merge request."""
    span = f"{show_time(verdict.begin)} to {show_time(verdict.end)}, a step of {format_span(verdict.step_seconds)}"
    if before is None or difference is None:
        opened = format_count(len(verdict.findings), "incident")
        lines = [f"### Backtest: {opened}, {verdict.pages_per_week:.1f} pages a week", "", span, ""]
        lines += _write_table(*_lay_out(verdict))
        return "\n".join(lines)
    lines = [
        f"### Backtest: what changes against `{clean(name).replace('`', '')}`",
        "",
        span,
        "",
        *_write_table(("", "before", "after"), _list_figures(before, verdict)),
        "",
    ]
    rows = _list_changes(difference)
    lines += _write_table(_CHANGE_COLUMNS, rows) if rows else ["No incident is gained, lost, moved or of another severity."]
    return "\n".join(lines)


_CHANGE_COLUMNS = ("CHANGE", "RULE", "SERVICE", "LABELS", "OPENED", "RESOLVED", "SEVERITY")


def _print_difference(verdict: Verdict, before: Verdict, difference: Difference, name: str) -> None:
    rows = _list_changes(difference)
    print_table(_CHANGE_COLUMNS, rows)
    if not rows:
        print(f"no incident is gained, lost, moved or of another severity than with {clean(name)}")
    for title, old, new in _list_figures(before, verdict):
        print(f"{title}: {old} -> {new}")


def _list_figures(before: Verdict, after: Verdict) -> list[tuple[str, str, str]]:
    return [
        ("incidents", str(len(before.findings)), str(len(after.findings))),
        ("pages a week", f"{before.pages_per_week:.1f}", f"{after.pages_per_week:.1f}"),
        ("flaps", str(before.flaps), str(after.flaps)),
        ("time in incident", format_span(before.open_seconds), format_span(after.open_seconds)),
    ]


def _list_changes(difference: Difference) -> list[tuple[str, ...]]:
    shifted = set(map(id, difference.shifted))
    both = [change for change in difference.moved if id(change) in shifted]
    return [
        *(("gained", *_describe(finding)) for finding in difference.gained),
        *(("lost", *_describe(finding)) for finding in difference.lost),
        *(("moved", *_describe_change(change)) for change in difference.moved if change not in both),
        *(("severity changed", *_describe_change(change)) for change in difference.shifted),
    ]


def _describe(finding: Finding) -> tuple[str, ...]:
    resolved = "open" if finding.resolved is None else show_time(finding.resolved)
    return (
        finding.rule,
        finding.service,
        format_labels(finding.labels),
        show_time(finding.opened),
        resolved,
        finding.severity.value,
    )


def _describe_change(change: Change) -> tuple[str, ...]:
    pairs = zip(_describe(change.before), _describe(change.after), strict=True)
    return tuple(new if old == new else f"{old} -> {new}" for old, new in pairs)


def _lay_out(verdict: Verdict) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows; what muted an incident has a column where any was."""
    rows = [(*_describe(finding), show_number(finding.peak), show_number(finding.at_recovery)) for finding in verdict.findings]
    if not any(finding.muted for finding in verdict.findings):
        return _COLUMNS, rows
    return (*_COLUMNS, "PAGE WITHHELD BY"), [(*row, each.muted or "-") for row, each in zip(rows, verdict.findings, strict=True)]


def _summarise(verdict: Verdict) -> str:
    withheld = sum(bool(finding.muted) for finding in verdict.findings)
    muted = f"{withheld} under a maintenance window, " if withheld else ""
    return (
        f"{format_count(len(verdict.findings), 'incident')}, {muted}{verdict.pages_per_week:.1f} pages a week, "
        f"{format_count(verdict.flaps, 'flap')}, "
        f"{format_span(verdict.open_seconds)} in incident, from {show_time(verdict.begin)} to {show_time(verdict.end)}"
    )


def _dump(verdict: Verdict, before: Verdict | None, difference: Difference | None, name: str) -> dict[str, Any]:
    shown = dump_verdict(verdict)
    if before is not None and difference is not None:
        shown["compare"] = {
            "with": name,
            "pages_per_week": round(before.pages_per_week, 4),
            "flaps": before.flaps,
            "gained": [_dump_finding(finding) for finding in difference.gained],
            "lost": [_dump_finding(finding) for finding in difference.lost],
            "moved": [_dump_change(change) for change in difference.moved],
            "severity_changed": [_dump_change(change) for change in difference.shifted],
        }
    return shown


def _dump_finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "service": finding.service,
        "labels": dict(finding.labels),
        "opened": _whole(finding.opened),
        "resolved": None if finding.resolved is None else _whole(finding.resolved),
        "severity": finding.severity.value,
        "peak": finding.peak,
        "affected": list(finding.affected),
        **({"muted": finding.muted} if finding.muted else {}),
    }


def _dump_change(change: Change) -> dict[str, Any]:
    return {"before": _dump_finding(change.before), "after": _dump_finding(change.after)}


def _whole(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [_join(columns), _join(["---"] * len(columns)), *(_join([_escape(cell) for cell in row]) for row in rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines += ["", f"... and {len(rows) - _MOST_ROWS} more"]
    return lines


def _join(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Labels come from outside: no markup, no new row."""
    escaped = clean(text)
    for character in "\\`*_[]|~":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")

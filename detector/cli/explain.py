"""`detector explain RULE`: what a rule will do, minute by minute, in words. Needs the rule files only."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.cli.completion import complete_rule
from detector.cli.exit import USAGE, fail
from detector.cli.table import format_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.domain.explanation import Explanation
    from detector.domain.rule import Rule, RuleSet

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Say what a rule will do, minute by minute: signals, when it opens, who is paged, when it ends. Exit code 2: no such rule."
)
def explain(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its name.", autocompletion=complete_rule)],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; default: `rules` of the settings, else ./rules."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Explain a rule."""
    from detector.cli.setting import choose_rules, read_settings
    from detector.domain.explanation import explain_rule
    from detector.domain.severity import Severity

    rules = _load(choose_rules(paths))
    found = rules.find(rule)
    if found is None:
        near = get_close_matches(rule, [each.name for each in rules.rules], n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(each.name for each in rules.rules)}"
        raise typer.Exit(fail(f"no rule is named {rule}; {hint}", USAGE))
    told = explain_rule(found, rules.catalogue, Severity(read_settings().pagerduty.page_from))
    told = replace(told, notes=(*told.notes, *_describe_merging(rules, found)))
    print(format_json(lay_out(told)) if as_json else "\n".join(_write(told)))


def lay_out(told: Explanation) -> dict[str, Any]:
    """The explanation as JSON shows it."""
    return {
        "rule": told.rule,
        "signals": {name: list(lines) for name, lines in told.signals.items()},
        "slo": list(told.expansion),
        "open": told.open,
        "recover": told.recover,
        "severity": [{"severity": severity.value, "when": when, "pages": pages} for severity, when, pages in told.ladder],
        "moments": [
            {"since": "recovery" if moment.recovering else "breach", "after_seconds": moment.after_seconds, "text": moment.text}
            for moment in told.moments
        ],
        "routes": dict(told.routes),
        "notes": list(told.notes),
    }


def _describe_merging(rules: RuleSet, rule: Rule) -> Iterator[str]:
    """Which of its queries are asked together with those of other rules, as the daemon will."""
    from detector.adapters.family import explain_refusal, plan_merging
    from detector.domain.reading import plan_queries

    when = (rule.every_seconds, rule.offset_seconds)
    others = [each for each in rules.rules if (each.every_seconds, each.offset_seconds) == when]
    plan = plan_merging([[query for each in others for query in plan_queries(each)]])
    for query in plan_queries(rule):
        if merged := plan.get(query):
            yield f"asked as one query for {merged.members} values of {merged.label}: {merged.query[:200]}"
        elif len(others) > 1 and not (why := explain_refusal(query)).startswith("no label"):
            yield f"asked by itself: {why or 'no other rule asks the same of another value'}: {query[:200]}"


def _load(paths: list[Path]) -> RuleSet:
    from detector.adapters.rulefile import RuleDirectory
    from detector.ports.rulefile import RuleFilesError

    try:
        return RuleDirectory(*paths).load().rules
    except RuleFilesError as fault:
        for finding in fault.findings:
            fail(str(finding))
        raise typer.Exit(USAGE) from None


def _write(told: Explanation) -> Iterator[str]:
    from detector.cli.table import clean
    from detector.domain.catalogue import DEFAULT_ROUTE

    yield clean(told.rule)
    yield "\nsignals"
    for name, lines in told.signals.items():
        yield f"  {name} = {clean(lines[0])}"
        yield from (f"      {clean(line)}" for line in lines[1:])
    if told.expansion:
        yield "\nobjective, expanded to burn rates"
        yield from (f"  {line}" for line in told.expansion)
    yield f"\nopens when    {clean(told.open)}"
    yield f"recovers when {clean(told.recover)}"
    yield "\nseverity: the first that holds"
    for severity, when, pages in told.ladder:
        yield f"  {severity.value:<9} {clean(when)}{'  -> page' if pages else ''}"
    yield "\nminute by minute, from the first breach"
    yield from (_write_moment(moment.after_seconds, moment.text) for moment in told.moments if not moment.recovering)
    yield "\nminute by minute, from the recovery"
    yield from (_write_moment(moment.after_seconds, moment.text) for moment in told.moments if moment.recovering)
    yield "\nwho is paged: the routing key of the service"
    for service, route in told.routes.items():
        yield f"  {clean(service)}: {clean(route)}"
    yield f"  {'every other service' if told.routes else 'every service'}: {DEFAULT_ROUTE}"
    yield "\nalso"
    yield from (f"  {clean(line)}" for line in told.notes)


def _write_moment(after_seconds: float, text: str) -> str:
    from detector.domain.duration import format_duration

    return f"  +{format_duration(after_seconds):<7} {text}"

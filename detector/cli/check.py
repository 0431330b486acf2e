"""`detector check`: validates rule files, all faults at once. Findings go to stdout, the rest to stderr; 0 good, 1 findings."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.exit import DONE, FAILURE
from detector.cli.table import clean
from detector.domain.quantity import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.adapters.rulefile import Examination
    from detector.ports.rulefile import Finding

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@app.command(help="Validate rule files: every fault with file:line:column and what would be right. Exit code 1 with findings.")
def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or directories; default: `rules` of the settings, else ./rules."),
    ] = None,
    style: Annotated[Format, typer.Option("--format", help="How findings are written.")] = Format.TEXT,
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Also try every query there.")] = "",
) -> None:
    """Validate rule files."""
    from detector.cli.setting import choose_rules

    raise typer.Exit(check_rules(choose_rules(paths), style, prometheus))


def check_rules(paths: Sequence[Path], style: Format = Format.TEXT, prometheus: str = "") -> int:
    """Check, print, and return the exit code."""
    from detector.adapters.rulefile import RuleDirectory
    from detector.cli.setting import read_settings_if_right
    from detector.domain.catalogue import DEFAULT_ROUTE

    examination = RuleDirectory(*paths).examine()
    if any(service.pagerduty != DEFAULT_ROUTE for service in examination.rules.catalogue.services.values()):
        settings = read_settings_if_right()  # only here: reading them costs more than the check of a small directory
        routes = settings.pagerduty.routing_keys if settings is not None else ()
        examination = RuleDirectory(*paths, routes=routes).examine(routed=True)
    findings, warnings = list(examination.findings), list(examination.notes)
    if prometheus:
        from detector.cli.setting import choose_prometheus, find_access
        from detector.cli.tryout import try_rules

        url, settings = choose_prometheus(prometheus)
        tried = try_rules(examination.queries, examination.rules, url, find_access(settings, url))
        findings = sorted([*findings, *tried.findings])
        warnings += tried.warnings
    _print_findings(findings, style)
    for warning in dict.fromkeys(warnings):  # queries that rules share by an alias stand in one place
        print(f"note: {clean(warning)}", file=sys.stderr)
    print(_summarise(examination, findings), file=sys.stderr)
    return FAILURE if findings else DONE


def _print_findings(findings: Sequence[Finding], style: Format) -> None:
    match style:
        case Format.JSON:
            rows = [{"file": item.file, "line": item.line, "column": item.column, "message": item.message} for item in findings]
            print(json.dumps(rows, indent=2))
        case Format.GITHUB:
            for item in findings:
                place = f"file={_escape_property(item.file)},line={item.line},col={item.column}"
                print(f"::error {place}::{_escape(clean(item.message))}")
        case Format.TEXT:
            for item in findings:
                print(clean(str(item)))


def _summarise(examination: Examination, findings: Sequence[Finding]) -> str:
    files = format_count(len(examination.files), "file")
    if findings:
        return f"{format_count(len(findings), 'finding')} in {files}"
    rules, services = len(examination.rules.rules), len(examination.rules.catalogue.services)
    return f"ok: {format_count(rules, 'rule')}, {format_count(services, 'service')} in {files}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")

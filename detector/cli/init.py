"""`detector init`: looks into a Prometheus and writes the rules that fit, a catalogue of the services found, and their tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.cli.exit import FAILURE, USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from detector.adapters.discovery import Found

CATALOGUE = "catalogue.yaml"
_SCHEMA = "schema.json"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help="Find known instrumentation in a Prometheus and write starting rules, tests and a catalogue. Exit code 1: Prometheus "
    "cannot be asked, or nothing known is there; 2: files are there already (see --force)."
)
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write; default ./rules.")] = Path("rules"),
    prometheus: Annotated[str, typer.Option("--prometheus", metavar="URL", help="Default: that of the settings.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Write starting rules."""
    from detector.adapters.discovery import discover
    from detector.cli.setting import choose_prometheus, find_access
    from detector.ports.error import TemporaryError

    url, settings = choose_prometheus(prometheus)
    try:
        found = discover(url, access=find_access(settings, url))
    except TemporaryError as fault:
        raise typer.Exit(fail(f"cannot ask Prometheus at {url}: {fault}", FAILURE)) from None
    _tell(found)
    if not found.services:
        if not found.metrics:
            raise typer.Exit(
                fail(f"Prometheus at {url} holds no metrics yet; run this again once it has scraped something", FAILURE)
            )
        message = f"none of the {found.metrics} metrics there is known; write rules by hand, `detector schema` helps an editor"
        raise typer.Exit(fail(message, FAILURE))
    raise typer.Exit(_write(folder, plan_files(found), force=force))


def plan_files(found: Found) -> dict[str, Path | str]:
    """What to write, by file name: the shipped file to copy, or the text."""
    shipped = _find_shipped()
    files: dict[str, Path | str] = {}
    for known in found.services:
        source = shipped / known.file
        for path in (source, source.with_suffix(".test.yaml")):
            if path.is_file():
                files[path.name] = path
    files[_SCHEMA] = shipped / _SCHEMA
    files[CATALOGUE] = "\n".join(_write_catalogue({name for names in found.services.values() for name in names})) + "\n"
    return files


def _find_shipped() -> Path:
    """The rules of the wheel, or those of the source tree."""
    package = Path(__file__).resolve().parents[1]
    return next(path for path in (package / "_rules", package.parent / "rules") if (path / "http.yaml").is_file())


def _write_catalogue(names: set[str]) -> Iterator[str]:
    import json

    yield "# Who owns what, and how much it matters. Written by `detector init`: each service found, with nothing known of it yet."
    yield "# Fill in owner, core (the business stops when it does), customer_facing, depends_on, pagerduty, runbook."
    if not names:
        yield "services: {}"
        return
    yield "services:"
    for name in sorted(names):
        yield f"  {json.dumps(name, ensure_ascii=False)}: {{core: false, customer_facing: true}}"


def _tell(found: Found) -> None:
    from detector.cli.table import clean

    for known, services in found.services.items():
        shown = f": {', '.join(services[:10])}{' ...' if len(services) > 10 else ''}" if services else ""  # noqa: PLR2004 - a line
        count = f", {len(services)} service{'s' * (len(services) != 1)}" if known.labels else ""
        print(clean(f"found {known.name}{count}{shown}"))
        for metric in found.missing[known]:
            print(f"  not found: {metric}; the rules that ask for it stay idle until it is there")


def _write(folder: Path, files: Mapping[str, Path | str], *, force: bool) -> int:
    standing = [name for name in files if (folder / name).exists()]
    if standing and not force:
        return fail(f"{folder / standing[0]} is there already, and nothing was written; give another folder, or --force", USAGE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if isinstance(content, str):
                (folder / name).write_text(content)
            else:
                shutil.copyfile(content, folder / name)
            print(f"wrote {folder / name}")
    except OSError as error:
        return fail(f"cannot write into {folder}: {error.strerror or error}", FAILURE)
    print(f"next: detector check {folder} && detector test {folder} && detector backtest {folder} --last 7d", file=sys.stderr)
    return 0

"""docs/reliability.md: what became of each fault, from the runs of its tests.

`python -m tests.kit.reliability run` plays the quick tests of the running process, `run --soak` the long ones, either with
arguments of pytest behind it; what they came to is kept in docs/reliability-results.json, test by test, and the page is written.
`write` makes the page anew from what is kept. What the peers did under the same faults is read from docs/reliability-peers.json.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.domain.quantity import format_count
from tests.faults import ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
PAGE, RESULTS, PEERS = (ROOT / "docs" / f"reliability{end}" for end in (".md", "-results.json", "-peers.json"))
PRODUCTS = {"detector": "detector", "alertmanager": "Prometheus + Alertmanager", "vmalert": "vmalert + Alertmanager"}
SOAK = "soak/"

_HEAD = """\
# Reliability: what was done to it, and what became of it

Made by `make reliability` (the quick tests), `make reliability ARGS=--soak` (the long ones) and `make bench ARGS=sidebyside` (the
peers; `ARGS="sidebyside --fault 29"` plays one fault); do not edit. The tests run the real daemon, with real parts around it where
the fault lies in one. Each ends with the same oracle: every true incident was paged; there is exactly one alert for each, and one
more for each rise or relapse that its timeline records; nothing is left open without a cause; nothing was resolved while it was
broken or its state unknown (where a test judges otherwise, tests/unit/test_faults.py says why). The column of a peer says what it
did under the same fault, judged by its alerts alone; it is empty where the fault was not played to the peers.

"""


@dataclass
class Collector:
    """A plugin of pytest that hears how every test ended. `found` is by name as tests/faults.py has it."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Cases of one function are one result: failed where one failed."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.partition("[")[0].removeprefix("tests/")
        result = self.found.setdefault(name, {"outcome": "passed", "cases": 0, "seconds": 0.0, "at": time.strftime("%Y-%m-%d")})
        result["cases"] += report.when == "call"
        result["seconds"] = round(result["seconds"] + report.duration, 1)
        if not report.passed:
            result["outcome"] = "failed" if report.failed else report.outcome
        result |= {key: str(value) for key, value in report.user_properties}


def make_page() -> str:
    """The page, from the list of faults and what is kept."""
    results, peers = _read(RESULTS), _read(PEERS)
    rows = [_make_row(row, results, peers.get(str(row.number), {})) for row in ROWS]
    table = _table(("#", "fault", "expected", *PRODUCTS.values()), rows)
    figures = [
        f"- {row.number}: {results[name]['figures']}{_name_seed(results[name])}"
        for row in ROWS
        for name in row.real
        if "figures" in results.get(name, {})
    ]
    parts = [_HEAD, table, "\n## Figures of the runs\n\n", *(f"{each}\n" for each in figures), "\n"]
    parts += ["## Side by side, in detail\n\n", *_tell_peers(peers), "## Which tests\n\n"]
    parts += [f"{row.number}. {row.fault}: {'; '.join(_tell_test(name, results) for name in row.tests)}\n" for row in ROWS]
    return "".join(parts)


def _make_row(row: Row, results: Mapping[str, Any], peers: Mapping[str, Any]) -> tuple[str, ...]:
    beside = (_name_result(peers[product]) if product in peers else "" for product in list(PRODUCTS)[1:])
    return (str(row.number), row.fault, row.expected, _sum_up(row, results), *beside)


def _sum_up(row: Row, results: Mapping[str, Any]) -> str:
    ran = [results[name] for name in row.real if name in results]
    missing = len(row.real) - len(ran)
    if not ran:
        return "not run"
    word = "holds" if all(each["outcome"] == "passed" for each in ran) else "**fails**"
    cases, seconds = sum(each["cases"] for each in ran), sum(each["seconds"] for each in ran)
    rest = f"; {format_count(missing, 'test')} not run" if missing else ""
    return f"{word} ({format_count(cases, 'case')}, {seconds:.0f} s{rest})"


def _name_result(peer: Mapping[str, Any]) -> str:
    word = str(peer.get("result", ""))
    return f"**{word}**" if word.startswith("fail") else word


def _name_seed(result: Mapping[str, Any]) -> str:
    seed = result.get("seed", "")
    return f"; seed {seed}" if seed and seed not in result["figures"] else ""


def _tell_peers(peers: Mapping[str, Any]) -> Iterator[str]:
    faults = {row.number: row.fault for row in ROWS}
    if about := peers.get("about"):
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        yield f"Seed {about['seed']}; {versions}; {about['settings']}.\n\n"
    for number in sorted((each for each in peers if each.isdigit()), key=int):
        found = peers[number]
        yield f"### {number}: {faults[int(number)]}\n\n"
        if played := found.get("played"):
            yield f"Played at {played['at']}, load of the machine before it {played['load']}.\n\n"
        told = [(PRODUCTS[each], _name_result(found[each]), str(found[each].get("what", ""))) for each in PRODUCTS if each in found]
        yield _table(("product", "result", "what happened"), told) + "\n"


def _tell_test(name: str, results: Mapping[str, Any]) -> str:
    result = results.get(name)
    state = f" ({result['outcome']} {result['at']})" if result else ""
    return f"`tests/{name}`{state}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def run(words: Sequence[str]) -> int:
    """Play the tests of the running process, keep what became of them, write the page; the exit code of pytest."""
    soak = "--soak" in words
    names = sorted({name for row in ROWS for name in row.real if name.startswith(SOAK) is soak})
    options = ["-m", "soak", "--timeout", "3600"] if soak else ["-n", "3", "--maxschedchunk", "2"]
    collector = Collector()
    arguments = [*(f"{ROOT}/tests/{name}" for name in names), *options, *(word for word in words if word != "--soak")]
    code = pytest.main(arguments, plugins=[collector])
    known = {name for row in ROWS for name in row.real}
    kept = {name: result for name, result in (_read(RESULTS) | collector.found).items() if name in known}
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=1, ensure_ascii=False) + "\n")
    write()
    return int(code)


def write() -> None:
    """The page anew."""
    PAGE.write_text(make_page())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", *rest]:
            sys.exit(run(rest))
        case ["write"]:
            write()
        case _:
            sys.exit("usage: python -m tests.kit.reliability run [--soak] [arguments of pytest] | write")

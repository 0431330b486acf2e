"""`detector backtest` as a process: what it finds in the past of a real Prometheus, how it compares, limits, draws and fails."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from tests.kit.history import History, switch
from tests.kit.port import free_port
from tests.kit.prometheus import Prometheus

START = 1_790_000_100.0
END = START + 6 * 3600
SHIPPED = Path(__file__).parents[2] / "rules"
BREACH = START + 7200
HEAL = BREACH + 1200
RULE = """
services:
  checkout: {{core: true}}
rules:
  - name: http-errors
    summary: "{{{{ service }}}} fails {{{{ error_rate | percent }}}} of its requests"
    by: [service]
    signals:
      error_rate:
        ratio: ['sum by (service) (increase(http_requests_total{{code=~"5.."}}[$window]))',
                'sum by (service) (increase(http_requests_total[$window]))']
        min_total: 20
    open: error_rate > {threshold}
{more}"""
MISPLACED = """
  - name: nobody
    signals: {level: sum by (service) (no_such_metric)}
    open: level > 1
"""


def _requests(history: History, service: str, *steps: tuple[float, float]) -> None:
    share = switch(0.0, *steps)
    labels = {"job": "shop", "service": service}
    history.add_counter("http_requests_total", {**labels, "code": "200"}, lambda at: 20.0 * (1 - (share(at) or 0.0)))
    history.add_counter("http_requests_total", {**labels, "code": "500"}, lambda at: 20.0 * (share(at) or 0.0))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus: cart fails 2%, checkout 10%, search 0.6% and twice, everything an hour later is gone for half an hour."""
    history = History(START, END)
    _requests(history, "cart", (BREACH, 0.02), (HEAL, 0.0))
    _requests(history, "checkout", (BREACH + 600, 0.1), (HEAL + 600, 0.0))
    _requests(history, "search", (BREACH, 0.006), (HEAL, 0.0), (HEAL + 900, 0.006), (HEAL + 1500, 0.0))
    _requests(history, "well", (BREACH, 0.0005))
    folder = tmp_path_factory.mktemp("past")
    prometheus = Prometheus(folder / "prometheus")
    prometheus.load_openmetrics(history.render())
    with prometheus:
        yield prometheus.url


def _write(folder: Path, threshold: str = "0.01", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "web.yaml").write_text(RULE.format(threshold=threshold, more=more))
    return folder


def _run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "detector", "backtest", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False, cwd=cwd)


def _span(url: str) -> tuple[object, ...]:
    return ("--from", START + 1800, "--to", END, "--prometheus", url)


def _judge(*words: object, cwd: Path | None = None) -> Any:
    done = _run(*words, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_finds_known_incidents(url: str, tmp_path: Path) -> None:
    """Exactly the broken services, opened within two minutes of the breach, resolved after the repair, with severity and peak."""
    found = _judge(_write(tmp_path), *_span(url))
    assert set(found) == {"from", "to", "step", "pages_per_week", "flaps", "incidents"}
    assert (found["step"], found["flaps"]) == (60, 0)
    by_service = {incident["service"]: incident for incident in found["incidents"]}
    assert set(by_service) == {"cart", "checkout"}
    cart, checkout = by_service["cart"], by_service["checkout"]
    assert set(cart) == {"rule", "service", "labels", "opened", "resolved", "severity", "peak", "affected"}
    assert (cart["rule"], cart["labels"], cart["severity"], cart["affected"]) == (
        "http-errors",
        {"service": "cart"},
        "medium",
        ["cart"],
    )
    assert BREACH < cart["opened"] <= BREACH + 240
    assert HEAL + 300 < cart["resolved"] <= HEAL + 900
    assert cart["peak"] == pytest.approx(0.02, rel=0.05)
    assert checkout["severity"] == "high"
    weeks = (found["to"] - found["from"]) / 604_800
    assert found["pages_per_week"] == pytest.approx(2 / weeks, rel=0.01)


def test_maintenance_windows_withhold_pages(url: str, tmp_path: Path) -> None:
    """As in the daemon: what begins and ends in its window is shown and pages nobody; what outlasts it pages then."""
    begin = datetime.fromtimestamp(BREACH - 600, ZoneInfo("Europe/Rome"))
    daily = f"'FREQ=DAILY;BYHOUR={begin:%H};BYMINUTE={begin:%M};BYSECOND=0'"
    windows = "maintenance:\n"
    for service, lasts in (("cart", "2h"), ("checkout", "25m")):
        windows += f"  - {{match: {{service: {service}}}, rrule: {daily}, lasts: {lasts}, tz: Europe/Rome}}\n"
    found = _judge(_write(tmp_path, more=windows), *_span(url))
    muted = {incident["service"]: incident.get("muted", "") for incident in found["incidents"]}
    assert set(muted) == {"cart", "checkout"}
    assert all("window" in text for text in muted.values())
    weeks = (found["to"] - found["from"]) / 604_800
    assert found["pages_per_week"] == pytest.approx(1 / weeks, rel=0.01)
    table = _run(tmp_path, *_span(url)).stdout
    assert "by rule files: maintenance window" in table.splitlines()[0]
    assert "2 incidents, 2 under a maintenance window, " in table


def test_table_in_a_pipe(url: str, tmp_path: Path) -> None:
    """One line an incident, then the sum; no bar, no heading."""
    done = _run(_write(tmp_path), *_span(url))
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines), done.stderr) == (0, 3, "")
    assert lines[0].split("\t")[:2] == ["http-errors", "cart"]
    assert lines[-1].startswith("2 incidents, ")


def test_flaps_and_open_incidents_are_counted(url: str, tmp_path: Path) -> None:
    """What comes back within its watch is a flap; what is open at the end has no `resolved`."""
    found = _judge(_write(tmp_path, "0.004"), *_span(url))
    (search,) = (incident for incident in found["incidents"] if incident["service"] == "search")
    assert found["flaps"] >= 1
    assert search["resolved"] > HEAL + 1500
    cut = _judge(_write(tmp_path), "--from", START + 1800, "--to", BREACH + 540, "--prometheus", url)
    assert [incident["resolved"] for incident in cut["incidents"]] == [None]


def test_over_the_limit(url: str, tmp_path: Path) -> None:
    """Exit code 3 and one line, beside the report."""
    done = _run(_write(tmp_path), *_span(url), "--max-pages", 2)
    assert done.returncode == 3
    assert "pages a week, more than the 2 of --max-pages" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "2 incidents" in done.stdout
    assert _run(_write(tmp_path), *_span(url), "--max-pages", 5000).returncode == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository whose last commit lowers a threshold; the working tree holds the new rules."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("no git here")
    root = tmp_path / "repository"

    def run(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
        subprocess.run([git, *identity, *words], cwd=root, check=True, capture_output=True)

    _write(root / "rules", "0.05")
    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "before")
    _write(root / "rules", "0.005")
    run("commit", "-qam", "after")
    return root


def test_compares_with_a_commit(url: str, repository: Path) -> None:
    """Gained, moved and what it costs, as lines; the repository is left as it was."""
    done = _run("rules", *_span(url), "--compare", "HEAD~1", cwd=repository)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert [(row[0], row[2]) for row in rows] == [("gained", "cart"), ("gained", "search"), ("moved", "checkout")]
    assert " -> " in rows[2][4]
    assert "incidents: 1 -> 3" in done.stdout
    status = subprocess.run(["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def test_rules_to_compare_with_that_are_wrong(url: str, repository: Path) -> None:
    """The place says at which commit, not where it was laid out."""
    (repository / "rules" / "web.yaml").write_text("rules:\n  - name: x\n    opens: 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, "commit", "-qam", "broken"], cwd=repository, check=True)
    _write(repository / "rules")
    done = _run("rules", *_span(url), "--compare", "HEAD", cwd=repository)
    assert done.returncode == 1
    assert "HEAD:rules/web.yaml:3:5: unknown key `opens`" in done.stderr
    assert all(line.startswith("HEAD:rules/web.yaml:") for line in done.stderr.splitlines()), done.stderr


def test_compares_as_markdown(url: str, repository: Path) -> None:
    """A comment for a merge request: the figures before and after, then a row for every change."""
    done = _run("rules", *_span(url), "--compare", "HEAD~1", "--markdown", cwd=repository)
    lines = done.stdout.splitlines()
    assert lines[0] == "### Backtest: what changes against `HEAD~1`"
    assert "| incidents | 1 | 3 |" in lines
    weeks = 604_800 / (int((END - START - 1800) / 60) * 60)
    assert any(line.startswith("| pages a week | ") and f" {weeks:.1f} " in line for line in lines)
    assert sum(line.startswith("| gained | http-errors | ") for line in lines) == 2


def test_compares_as_json_and_with_a_directory(url: str, repository: Path, tmp_path: Path) -> None:
    """The report as ever, with what changed beside it; the same rules change nothing."""
    other = _write(tmp_path / "other", "0.05")
    found = _judge("rules", *_span(url), "--compare", other, cwd=repository)
    assert [incident["service"] for incident in found["compare"]["gained"]] == ["cart", "search"]
    assert found["compare"]["lost"] == []
    same = _run("rules", *_span(url), "--compare", "rules", cwd=repository)
    assert "no incident is gained, lost, moved or of another severity" in same.stdout


def test_severity_and_losses_are_told(url: str, tmp_path: Path) -> None:
    """A ladder that calls 10% LOW, and a threshold that lets 2% pass."""
    before = _write(tmp_path / "before")
    after = _write(tmp_path / "after", "0.05", '    severity: {low: "true"}\n')
    found = _judge(after, *_span(url), "--compare", before)["compare"]
    assert [incident["service"] for incident in found["lost"]] == ["cart"]
    (change,) = found["severity_changed"]
    assert (change["before"]["severity"], change["after"]["severity"]) == ("high", "low")


@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_draws(url: str, tmp_path: Path, suffix: str) -> None:
    """Well-formed, without scripts: the signal's lines, the threshold, a band an incident; labels cannot become markup."""
    picture = tmp_path / f"plot.{suffix}"
    assert _run(_write(tmp_path), *_span(url), "--plot", picture).returncode == 0
    text = picture.read_text()
    assert "<script" not in text
    svg = text if suffix == "svg" else text[text.index("<svg") : text.index("</svg>") + 6]
    root = ET.fromstring(svg)  # noqa: S314 - our own picture
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("path") == 4
    assert len([element for element in root.iter() if element.get("class") == "limit"]) == 1
    assert len([element for element in root.iter() if element.get("fill-opacity")]) == 2
    words = {element.text for element in root.iter() if element.get("class") == "faint"}
    assert {"critical", "high", "medium", "low"} <= words


def test_warns_of_what_was_not_judged(url: str, tmp_path: Path) -> None:
    """A rule without series, and times without samples: one line each, exit code 0."""
    rules = _write(tmp_path, more=MISPLACED)
    done = _run(rules, "--from", START - 7200, "--to", START + 3600, "--prometheus", url)
    assert done.returncode == 0
    nobody, missing = done.stderr.splitlines()
    assert "web.yaml:15: rule nobody matched no series between" in nobody
    assert missing.startswith("warning: samples missing, nothing was judged there: 2026-09-21T1")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--last", "30y", "--step", "1s"), 2, "steps of 1s are too many"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), 2, "nothing lies between them"),
        (("--from", "yesterday"), 2, "--from yesterday: no time; write unix seconds"),
        (("--from", "1d", "--last", "2d"), 2, "--from or --last, not both"),
        (("--step", "0s"), 2, "--step 0s: write a duration of at least 1s"),
        (("--plot", "x.png"), 2, "must end with .svg or .html"),
        (("--plot", "no/such/x.svg"), 2, "--plot no/such/x.svg: there is no directory no/such"),
        (("--compare", "no-such-thing"), 2, "--compare no-such-thing: no such directory, and "),
    ],
)
def test_wrong_options(url: str, tmp_path: Path, words: tuple[str, ...], code: int, message: str) -> None:
    """One line that says what would be right."""
    done = _run(_write(tmp_path), "--prometheus", url, *words)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


def test_unreachable_prometheus() -> None:
    """Exit code 1 and one line with the address, however many queries fail."""
    url = f"http://127.0.0.1:{free_port()}"
    done = _run(SHIPPED, "--last", "1h", "--prometheus", url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"detector: Prometheus at {url}: connect: cannot connect")
    assert done.stderr.endswith("; is it there? --prometheus URL names another\n")


def test_a_prometheus_without_any_of_it(url: str, tmp_path: Path) -> None:
    """Not a line for each rule: that nothing was judged."""
    done = _run(SHIPPED, "--from", START - 7200, "--to", START - 3600, "--prometheus", url)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "rules matched a series between" in done.stderr


def test_query_that_prometheus_refuses(url: str, tmp_path: Path) -> None:
    """Many-to-many at run time: the reason, the query and its rule."""
    query = "http_requests_total * on () http_requests_total"
    _write(tmp_path, more=f'  - name: sick\n    signals: {{level: "{query}"}}\n    open: level > 1\n')
    done = _run(tmp_path, *_span(url))
    assert done.returncode == 1
    assert "bad_query" in done.stderr
    assert "; query: http_requests_total * on () http_requests_total, of rule sick (" in done.stderr
    assert done.stderr.endswith("/web.yaml:14)\n")


def test_wrong_rules(tmp_path: Path) -> None:
    """All findings with their places, as `check` has them."""
    (tmp_path / "web.yaml").write_text("rules:\n  - name: x\n    opens: 1\n")
    done = _run(tmp_path, "--last", "1h")
    assert done.returncode == 1
    assert "web.yaml:3:5: unknown key `opens`" in done.stderr

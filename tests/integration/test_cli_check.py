"""`detector check` and `detector schema`: output, exit codes, and queries tried on a real Prometheus."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detector.cli import main
from tests.kit.history import History, switch
from tests.kit.port import free_port
from tests.kit.prometheus import Prometheus

GOOD = "rules:\n  - name: good\n    signals: {x: up}\n    open: x < 1\n"
BAD = "rules:\n  - name: bad\n    signals: {x: up}\n    open: y < 1\n    fro: 5m\n"
FINDINGS = [
    ("bad.yaml", 4, 11, "unknown name `y`; known: x, x_baseline, core, customer_facing, workaround"),
    ("bad.yaml", 5, 5, "unknown key `fro` in a rule; did you mean `for`?"),
]
CPU_SHARE = 7.0  # times the processor time of three million turns of a loop: 0.6 s where those take 0.09 s


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DETECTOR_RULES", raising=False)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    code = main(["check", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_good_rules_are_zero_and_silence_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would be piped on is empty; the summary goes to stderr."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(GOOD)
    assert run(capsys) == (0, "", "ok: 1 rule, 0 services in 1 file\n")


def test_the_default_path_is_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DETECTOR_RULES names what the daemon would load."""
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.setenv("DETECTOR_RULES", "good.yaml")
    assert run(capsys)[0] == 0


@pytest.mark.parametrize("words", [["check"], ["explain", "good"], ["test"], ["backtest", "--prometheus", "http://127.0.0.1:9"]])
def test_the_rules_of_the_settings_file_are_the_default(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rules:` of detector.yaml is looked at by every command on rules, and DETECTOR_RULES before it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "a.yaml").write_text(GOOD)
    (folder / "a.test.yaml").write_text("nonsense")
    (tmp_path / "detector.yaml").write_text("rules: elsewhere\n")

    def find_missing() -> str:
        main(words)
        captured = capsys.readouterr()
        return next((name for name in ("nowhere", "rules:") if name in captured.out + captured.err), "")

    assert find_missing() == ""
    monkeypatch.setenv("DETECTOR_RULES", "nowhere")
    assert find_missing() == "nowhere"


def test_a_settings_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2: which rules were meant is not known. With a path it does not matter."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "detector.yaml").write_text("rules: [")
    assert run(capsys) == (2, "", "detector: detector.yaml:1:9 is not valid YAML\n")
    (tmp_path / "detector.yaml").write_text("rules: .\nsince: 2026-99-99\n")
    unreadable = "detector.yaml holds a date, a number or a nesting that cannot be read; quote what is text"
    assert run(capsys) == (2, "", f"detector: {unreadable}\n")
    monkeypatch.setenv("DETECTOR_CONFIG", "missing.yaml")
    assert run(capsys) == (2, "", "detector: missing.yaml cannot be read: No such file or directory\n")
    assert run(capsys, "good.yaml")[0] == 0


def test_findings_are_lines_with_their_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, one line each, as compilers write them; exit code 1."""
    (tmp_path / "bad.yaml").write_text(BAD)
    code, out, err = run(capsys, "bad.yaml")
    assert code == 1
    assert out == "".join(f"{file}:{line}:{column}: {message}\n" for file, line, column, message in FINDINGS)
    assert err == "2 findings in 1 file\n"


def test_findings_are_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bare array of file, line, column, message; an empty one where all is well."""
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "good.yaml").write_text(GOOD)
    code, out, _ = run(capsys, "bad.yaml", "--format", "json")
    assert code == 1
    assert json.loads(out) == [dict(zip(("file", "line", "column", "message"), finding, strict=True)) for finding in FINDINGS]
    code, out, _ = run(capsys, "good.yaml", "--format", "json")
    assert (code, json.loads(out)) == (0, [])


def test_findings_are_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GitHub shows them beside the line; what would end the command early is escaped."""
    (tmp_path / "bad.yaml").write_text(BAD.replace("y < 1", "x > 5%"))
    _, out, _ = run(capsys, "bad.yaml", "--format", "github")
    assert out.splitlines()[1] == "::error file=bad.yaml,line=5,col=5::unknown key `fro` in a rule; did you mean `for`?"
    assert out.startswith("::error file=bad.yaml,line=4,col=")
    assert "%" not in out.replace("%25", "")


def test_several_paths_are_one_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names are unique over all that is given."""
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    code, out, _ = run(capsys, "a.yaml", "b.yaml")
    assert (code, out) == (1, "b.yaml:2:5: duplicate rule name `good`, also at a.yaml:2:5; rename one of them\n")


def test_a_path_that_is_not_there_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names it."""
    code, out, _ = run(capsys, "none")
    assert code == 1
    assert out.startswith("none:1:1: no such file or directory")


def test_an_unknown_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    code, out, err = run(capsys, "--format", "xml")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_queries_are_tried_on_a_real_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the server refuses is a finding at the query; what matches nothing is a note; the rest is fine."""
    text = """rules:
  - name: tried
    signals:
      fine: vector(1)
      empty: sum(rate(no_such_metric[$window]))
      refused: brand_new_function(up)
    open: fine > 2
"""
    (tmp_path / "a.yaml").write_text(text)
    with Prometheus(tmp_path / "prometheus") as prometheus:
        code, out, err = run(capsys, "a.yaml", "--prometheus", prometheus.url)
    assert code == 1
    assert out.startswith("a.yaml:6:16: Prometheus: bad_query: ")
    assert 'unknown function with name "brand_new_function"' in out
    assert out.count("\n") == 1
    assert "note: a.yaml:5:14: the query matches no series there now\n" in err


def test_what_would_not_end_or_begin_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`recover` that held under half of the last day, and a rule without any series, with file and line; others are not named."""
    rule = "  - name: {0}\n    by: [service]\n    signals: {{x: '{1}'}}\n    open: x > 10.0\n    recover: x < {2}\n"
    texts = [
        rule.format("ends", "sum by (service) (load)", 6.0),
        rule.format("stays", "sum by (service) (load)", 4.0),
        rule.format("usual", "sum by (service) (load)", "4.0 || x <= 1.2 * x_baseline"),
        rule.format("idle", "sum by (service) (no_such)", 4.0),
    ]
    (tmp_path / "a.yaml").write_text("rules:\n" + "".join(texts))
    now = time.time()
    history = History(now - 90_000, now)
    history.add_gauge("load", {"service": "cart"}, switch(5.0, (now - 17_000, 1.0)))
    history.add_gauge("load", {"service": "search"}, switch(5.0, (now - 35_000, 1.0)))
    prometheus = Prometheus(tmp_path / "prometheus")
    prometheus.load_openmetrics(history.render())
    with prometheus:
        code, out, err = run(capsys, "a.yaml", "--prometheus", prometheus.url)
    warnings = [line for line in err.splitlines() if ": rule " in line]
    assert (code, out) == (0, "")
    assert len(warnings) == 2, err
    assert warnings[0].startswith("note: a.yaml:7: rule stays: `recover` held at ")
    assert ' of 48 moments of the last day for {service="cart"}, and of 1 more of 2 alerts under half; ' in warnings[0]
    assert warnings[1].startswith("note: a.yaml:17: rule idle matched no series in the last day")


def test_a_server_that_is_not_there_is_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one for each query."""
    (tmp_path / "a.yaml").write_text(GOOD.replace("{x: up}", "{x: up, y: sum(up), z: max(up)}"))
    code, out, _ = run(capsys, "a.yaml", "--prometheus", f"http://127.0.0.1:{free_port()}")
    assert (code, out.count("\n")) == (1, 1)
    assert "did not answer this query (connect" in out


def test_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on stdout, nothing else."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_check_stays_within_its_budget() -> None:
    """The shipped rules are checked in a fresh process in little CPU, without importing what only the daemon needs.

    What is little is measured beside it, as machines differ; the best of three runs, as their load does.
    """
    script = (  # pydantic itself comes with typer where it is installed
        "import resource, sys, time; began = time.process_time(); sum(n * n for n in range(3_000_000));"
        "loop = time.process_time() - began; from detector.cli import main; code = main(['check', sys.argv[1]]);"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "heavy = {'pydantic_settings', 'aiohttp', 'sqlalchemy', 'rich', 'fastapi'} & set(sys.modules);"
        "print(code, (used.ru_utime + used.ru_stime - loop) / loop, *heavy)"
    )
    rules = Path(__file__).resolve().parents[2] / "rules"
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script, rules], capture_output=True, text=True, check=True)
        runs.append(done.stdout.split())
    assert [(code, heavy) for code, _, *heavy in runs] == [("0", [])] * 3
    assert min(float(share) for _, share, *_ in runs) < CPU_SHARE, runs

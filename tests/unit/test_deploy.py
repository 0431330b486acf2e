"""What deploy/ ships agrees with the daemon: metrics that exist, a unit that is hardened, an image that is not root."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.web.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RULES = DEPLOY / "prometheus" / "detector-rules.yaml"
UNIT = DEPLOY / "detector.service"


def _served() -> set[str]:
    """Names of the samples that /metrics serves, of labelled ones too, which need no label to be declared."""
    names = set()
    for line in Metrics("1", ["pagerduty"]).render().decode().splitlines():
        if found := re.match(r"# TYPE (\S+) (\w+)", line):
            suffixes = ("_bucket", "_sum", "_count") if found[2] == "histogram" else ("",)
            names |= {found[1] + suffix for suffix in suffixes}
    return names


def _named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:detector|process|python)_[a-z_]+\b", expression))


def _expressions() -> dict[str, str]:
    panels: dict[str, str] = {}
    for path in DASHBOARDS:
        dashboard: dict[str, Any] = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            panels |= {f"{path.stem}: {panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
        panels |= {f"{path.stem}: {each['name']}": each["expr"] for each in dashboard.get("annotations", {}).get("list", [])}
    rules = {rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    return panels | rules


@pytest.mark.parametrize("name", _expressions())
def test_every_metric_that_deploy_names_is_served(name: str) -> None:
    """Panels and rules name only metrics that /metrics has, and each names one (or `up`)."""
    expression = _expressions()[name]
    assert _named(expression) <= _served()
    assert _named(expression) or "up{" in expression


def test_every_own_metric_is_on_a_dashboard() -> None:
    """The dashboards leave none of the daemon's metrics out."""
    shown = {name.removesuffix("_bucket") for expression in _expressions().values() for name in _named(expression)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in _served() if name.startswith("detector_")} <= shown


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_dashboard_is_importable(path: Path) -> None:
    """Panels have ids of their own and a datasource variable, lie within the grid and do not overlap."""
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_prometheus_accepts_the_rules(promtool_bin: Path) -> None:
    """The rules about the daemon have no fault by promtool."""
    done = subprocess.run([promtool_bin, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {sum('alert:' in line for line in RULES.read_text().splitlines())} rules found" in done.stdout


def test_the_unit_is_hardened() -> None:
    """The unit scores at most 2.0 by systemd's own measure."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze not found: sudo apt-get install systemd")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= 2.0


def test_the_unit_notifies_reloads_and_reads_credentials() -> None:
    """The parts of the contract with the daemon: notify from the main process, a watchdog, reload by SIGHUP, credentials, state."""
    lines = set(UNIT.read_text().splitlines())
    assert {
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=30",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "StateDirectory=detector",
        "RestartPreventExitStatus=2",
    } <= lines
    assert any(line.startswith("LoadCredential=detector:") for line in lines)


def test_the_image_is_small_and_not_root() -> None:
    """Two stages on a pinned slim Debian image, packages by hash, a number as user, a health check, no secret built in."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    stages = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert stages == ["python:3.11-slim", "python:3.11-slim"]
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert [line for line in final if line.startswith("USER ")] == ["USER 65532:65532"]
    assert not any(line.startswith(("ADD ", "RUN pip")) for line in final)
    assert any("--require-hashes" in line and "requirements.lock" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK ") and "/-/healthy" in line for line in final)
    assert any(line.startswith("LABEL ") for line in final)
    assert (final[-2], final[-1]) == ('ENTRYPOINT ["detector"]', 'CMD ["run"]')
    assert not re.search(r"(?i)(token|password|routing_key)\w*=", text)


def test_everything_that_the_image_copies_passes_dockerignore() -> None:
    """Each source of a COPY exists and is let through."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_keeps_what_the_daemon_needs() -> None:
    """Of the packages that the lock installs, those of development go and those of the daemon stay, through extras too."""
    done = subprocess.run([sys.executable, DEPLOY / "prune.py"], capture_output=True, text=True, check=True)
    gone = set(done.stdout.split())
    assert {"pytest", "mypy", "ruff", "hypothesis", "import-linter"} <= gone
    assert not gone & {
        "detector",
        "fastapi",
        "pydantic-settings",
        "greenlet",
        "psycopg-binary",
        "cel-expr-python",
        "uvicorn",
        "h11",
        "pip",
    }

"""The built wheel, installed as its users do, by `uv tool install` and by pipx, into a home of its own; then run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.web import is_answering

ROOT = Path(__file__).resolve().parents[2]

if os.environ.get("DETECTOR_TEST_WHEEL") != "1":
    pytest.skip("the built wheel: run `make test`", allow_module_level=True)


def _make_environment(home: Path) -> dict[str, str]:
    """What a user's shell has, with the cache of this machine: packages come from it, the registry is only asked what there is."""
    cache = subprocess.run([sys.executable, "-m", "uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DETECTOR_", "PYTHON", "VIRTUAL_ENV"))}
    places = {"UV_TOOL_DIR": "uv/tools", "UV_TOOL_BIN_DIR": "bin", "PIPX_HOME": "pipx", "PIPX_BIN_DIR": "bin"}
    return own | {"HOME": str(home), "UV_CACHE_DIR": cache, "UV_SYSTEM_CERTS": "1"} | {k: str(home / v) for k, v in places.items()}


def _run(words: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("installer", ["uv", "pipx"])
def test_the_wheel_installs_and_runs_from_there(installer: str, tmp_path: Path) -> None:
    """`detector` is a command with its shipped rules; they are good, and the daemon that runs them is ready."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    environment = _make_environment(tmp_path)
    order = {"uv": ["-m", "uv", "tool", "install"], "pipx": ["-m", "pipx", "install"]}[installer]
    _run([sys.executable, *order, "--python", sys.executable, str(wheel)], environment, tmp_path)
    command = str(tmp_path / "bin" / "detector")
    version = wheel.name.split("-")[1]
    assert _run([command, "--version"], environment, tmp_path) == f"detector {version}\n"
    (rules,) = tmp_path.rglob("site-packages/detector/_rules")
    told = _run([command, "check", str(rules)], environment, tmp_path)
    assert told.startswith("ok: ")
    port = free_port()
    settings = {
        "DETECTOR_RULES": str(rules),
        "DETECTOR_STATE_DIR": str(tmp_path / "state"),
        "DETECTOR_LISTEN": f"127.0.0.1:{port}",
        "DETECTOR_PROMETHEUS_URL": "http://127.0.0.1:9",
    }
    process = Process([command, "run"], log=tmp_path / "log", env={**environment, **settings, "PYTHONPATH": ""}, cwd=tmp_path)
    process.start()
    try:
        process.await_ready(lambda: is_answering(port, "/-/ready"))
    finally:
        assert process.stop() == 0

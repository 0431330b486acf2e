"""Completion as the shells ask for it: scripts that bash and zsh can read, and words from the daemon and the rule files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.server import WebServer
from detector.web.site import Site
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.port import free_port
from tests.kit.wait import wait_until
from tests.kit.web import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RULES = """rules:
  - name: http-errors   # a comment
    signals: {e: up}
    open: e > 1
  - {broken
  - name: "quoted"
groups:
  - name: g
    rules:
      - alert: DiskFull
"""


def _run(folder: Path, *words: str, url: str = "", **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR_") or name == "DETECTOR_TEST_WHEEL"}
    done = subprocess.run(
        [sys.executable, "-m", "detector", *words],
        env=clean | {"DETECTOR_URL": url} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.split("\n") if line]


def _complete(folder: Path, *words: str, url: str = "") -> list[str]:
    """What bash would offer for the last word."""
    asked = {"COMP_WORDS": " ".join(["detector", *words]), "COMP_CWORD": str(len(words)), "_DETECTOR_COMPLETE": "complete_bash"}
    return _run(folder, url=url, **asked)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server with three incidents."""
    daemon = MemoryDaemon()
    server = WebServer(
        Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=Access(), version="1"), "127.0.0.1", 0
    )
    server.bind()
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started, "the server started")
    await asyncio.to_thread(request, server.port, "GET", "/api/v1/rules")  # the API is imported at its first request
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    await task


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_reads(shell: str, tmp_path: Path) -> None:
    """The script names the command; the shell, where it is installed, finds no fault in it."""
    script = "\n".join(_run(tmp_path, _DETECTOR_COMPLETE=f"source_{shell}"))
    assert "detector" in script
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=script + "\n", text=True, check=True, capture_output=True)


def test_it_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    """`--install-completion` in bash writes the script below the home and has .bashrc read it."""
    line = f"HOME={tmp_path} {sys.executable} -m detector --install-completion; true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60)
    assert "bash completion installed" in done.stdout, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "_DETECTOR_COMPLETE" in path.read_text()]
    assert len(written) == 1
    assert str(written[0]) in (tmp_path / ".bashrc").read_text()


def test_commands_options_and_choices(tmp_path: Path) -> None:
    """As far as the program itself knows."""
    assert _complete(tmp_path, "in") == ["init", "incidents"]
    assert _complete(tmp_path, "incidents", "re") == ["resolve", "replay"]
    assert _complete(tmp_path, "check", "--form") == ["--format"]
    assert _complete(tmp_path, "check", "--format", "g") == ["github"]


async def test_ids_services_and_silences_come_from_the_daemon(url: str, tmp_path: Path) -> None:
    """What begins so, newest first; windows of rule files cannot be ended and are not offered."""
    assert await asyncio.to_thread(_complete, tmp_path, "incidents", "ack", "incident-", url=url) == [
        "incident-00003",
        "incident-00002",
        "incident-00001",
    ]
    assert await asyncio.to_thread(_complete, tmp_path, "incidents", "list", "--service", "ch", url=url) == ["checkout"]
    assert await asyncio.to_thread(_complete, tmp_path, "silence", "expire", "", url=url) == []


def test_rules_come_from_the_files_even_broken_ones(tmp_path: Path) -> None:
    """Names of our rules and of Prometheus's; tests of rules are none."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES)
    (tmp_path / "rules" / "a.test.yaml").write_text("tests:\n  - name: not-a-rule\n")
    assert _complete(tmp_path, "explain", "") == ["http-errors", "quoted", "g", "DiskFull"]
    assert _complete(tmp_path, "explain", "h") == ["http-errors"]


def test_nobody_there_is_silence(tmp_path: Path) -> None:
    """Without a daemon nothing is offered, and nothing is said into the prompt."""
    assert _complete(tmp_path, "incidents", "ack", "", url=f"http://127.0.0.1:{free_port()}") == []
    assert _complete(tmp_path, "explain", "x") == []

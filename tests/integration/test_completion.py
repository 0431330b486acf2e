"""Completion as the shells ask for it: scripts that bash and zsh can read, and words from the daemon and the rule files."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from detector.domain.mute import MuteKind
from detector.domain.silence import MuteRequest
from tests.kit.command import run_detector
from tests.kit.gallery import serve
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.port import free_port
from tests.kit.web import get_json

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
    code, told, errors = run_detector(*words, cwd=folder, settings={"DETECTOR_URL": url} | environment)
    assert (code, errors) == (0, "")
    return [line for line in told.split("\n") if line]


def _complete(folder: Path, *words: str, url: str = "") -> list[str]:
    """What bash would offer for the last word."""
    asked = {"COMP_WORDS": " ".join(["detector", *words]), "COMP_CWORD": str(len(words)), "_DETECTOR_COMPLETE": "complete_bash"}
    return _run(folder, url=url, **asked)


@pytest.fixture
async def daemon() -> MemoryDaemon:
    """Three incidents, a maintenance window and a silence."""
    made = MemoryDaemon()
    await made.add_mute(MuteRequest(("service=checkout",), "ann", "a move", "1h"))
    return made


@pytest.fixture
async def url(daemon: MemoryDaemon) -> AsyncIterator[str]:
    """Where it answers."""
    async with serve(daemon, now=None) as (address, _):
        await asyncio.to_thread(get_json, urlsplit(address).port or 0, "/api/v1/rules")  # the API is imported at its first request
        yield address


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
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=240)
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


async def test_ids_services_and_silences_come_from_the_daemon(daemon: MemoryDaemon, url: str, tmp_path: Path) -> None:
    """What begins so, newest first; windows of rule files cannot be ended and are not offered."""
    assert await asyncio.to_thread(_complete, tmp_path, "incidents", "ack", "incident-", url=url) == [
        "incident-00003",
        "incident-00002",
        "incident-00001",
    ]
    assert await asyncio.to_thread(_complete, tmp_path, "incidents", "list", "--service", "ch", url=url) == ["checkout"]
    silences = [identity for identity, kept in daemon.mutes.items() if kept.mute.kind is MuteKind.SILENCE]
    assert await asyncio.to_thread(_complete, tmp_path, "silence", "expire", "", url=url) == silences
    assert len(daemon.mutes) > len(silences) == 1


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

"""Runs one argument list as a process group of its own, with a timeout, a small environment and bounded output.

The daemon's own settings, secrets among them, are not handed on: PATH, HOME, the locale, what the facts say, and the names that
the settings list. At the timeout the whole group gets SIGTERM, and SIGKILL two seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING

from detector.ports.command import CommandOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTPUT_BYTES = 65_536
GRACE_SECONDS = 2.0
DRAIN_SECONDS = 1.0
_CHUNK = 16_384
_HANDED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")


class ProcessRunner:
    """Implements ports.command.CommandRunner. `names`: further environment variables to hand on, such as a tool's token."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = (*_HANDED_ON, *names)

    async def run(self, arguments: Sequence[str], facts: Mapping[str, str], *, timeout_seconds: float) -> CommandOutcome:
        """Run it; cancelling kills the group."""
        environment = {name: os.environ[name] for name in self._names if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment | {name: value.replace("\0", "") for name, value in facts.items()},
                start_new_session=True,
            )
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "strerror", None) or str(fault)
            return CommandOutcome(f"could not be started: {arguments[0]}: {reason}", ok=False)
        kept = _Output()
        reading = asyncio.create_task(kept.read(process.stdout))
        words = ""
        try:
            await asyncio.wait_for(process.wait(), timeout_seconds)
        except TimeoutError:
            words = f"timed out after {timeout_seconds:g} s and was killed"
        finally:
            if process.returncode is None:
                await asyncio.shield(_end(process))
            # a child that it left behind may hold the pipe open: what is written later is not waited for
            await asyncio.wait((reading,), timeout=DRAIN_SECONDS)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            _close_pipe(process)
        return CommandOutcome(words or _say_code(process.returncode), process.returncode == 0 and not words, kept.text())

    def find_fault(self, arguments: Sequence[str]) -> str:
        """Why its program can't be run."""
        program = arguments[0] if arguments else ""
        return "" if program and shutil.which(program) else f"{program or 'no program'}: not found or not executable"


class _Output:
    """What was written: the beginning and the end of it, once it is more than is kept."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._cut = 0

    async def read(self, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (chunk := await stream.read(_CHUNK)):
            self.take(chunk)

    def take(self, chunk: bytes) -> None:
        half = OUTPUT_BYTES // 2
        room = half - len(self._head)
        self._head += chunk[:room]
        rest = self._tail + chunk[max(0, room) :]
        self._cut += max(0, len(rest) - half)
        self._tail = rest[-half:]

    def text(self) -> str:
        middle = f"\n[... {self._cut} bytes left out ...]\n".encode() if self._cut else b""
        text = (self._head + middle + self._tail).decode(errors="replace").strip()
        return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM to the group, SIGKILL after the grace; returns when the process itself is gone."""
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _close_pipe(process: asyncio.subprocess.Process) -> None:
    transport = getattr(process, "_transport", None)  # asyncio gives no public way to let go of a pipe that others hold open
    if transport is not None:
        transport.close()


def _say_code(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}"

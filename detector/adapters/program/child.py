"""A real program of this machine: started with its output in a log file, watched, and always ended.

Before it: `prometheus` here, or the demo's stage, names the program. After it: the program runs in a session of its own, so that
Ctrl-C on the terminal reaches the command alone, which then ends its parts in order.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_GRACE_SECONDS = 8.0


class ProgramError(Exception):
    """A program failed; the message is one line that says which, what happened and where to look."""


class Child:
    """One program. `log` takes what it writes; `env` is its whole environment."""

    def __init__(self, name: str, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.name = name
        self.log = log
        self._argv = tuple(str(word) for word in argv)
        self._env = dict(env)
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it. Raises ProgramError when the system refuses."""
        with self.log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProgramError(f"{self.name} could not be started: {error}") from None

    def check(self) -> None:
        """Raise ProgramError where it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise ProgramError(f"{self.name} ended with exit code {self._process.returncode}: {self.last_line()}")

    async def stop(self) -> None:
        """End it politely, by force after a grace; returns when it is gone. Does nothing when it never ran."""
        if self._process is None or self._process.returncode is not None:
            return
        try:
            self._process.terminate()
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def wait(self) -> int:
        """Exit code, once it has ended by itself; -1 when it never ran."""
        return -1 if self._process is None else await self._process.wait()

    def last_line(self) -> str:
        """What it wrote last."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it wrote nothing"


class Port:
    """A port on 127.0.0.1 that is given to nobody else while this is open; a program that sets SO_REUSEADDR can listen on it.

    Go and Python set it. A port that was merely free a moment ago may be another's by the time the program has started.
    """

    def __init__(self) -> None:
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.number: int = self._place.getsockname()[1]

    def close(self) -> None:
        """Give it back; whoever listens goes on."""
        self._place.close()

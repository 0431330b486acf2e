"""The real daemon in a process whose surroundings the test commands: `python -m tests.kit.haunted run`.

What the operating system would answer is read from the folder in $HAUNT at every call, so that it changes while the daemon runs:
`clock` holds seconds that the wall clock is ahead, `names` an address for each name that resolves (all others do not). SIGUSR1
blocks the thread of the event loop for the seconds in `block`. The daemon's own code is untouched.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

_REAL_TIME, _REAL_LOOK_UP, _REAL_SLEEP = time.time, socket.getaddrinfo, time.sleep
_NUMERIC = frozenset("0123456789.:")


class Haunt:
    """The commanding side: what the process with this folder sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """For the settings of the daemon's process; a source tree beside the wheel must be found there."""
        return {"HAUNT": str(self._folder), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def set_clock(self, ahead_seconds: float) -> None:
        """The wall clock is that far ahead from now on; the monotonic one is not touched."""
        self._write("clock", repr(ahead_seconds))

    def set_names(self, **addresses: str) -> None:
        """Only these names resolve; underscores stand for dots."""
        self._write("names", "\n".join(f"{name.replace('_', '.')} {address}" for name, address in addresses.items()))

    def count_unresolved(self) -> int:
        """How many lookups have failed so far."""
        found = self._folder / "unresolved"
        return found.stat().st_size if found.exists() else 0

    def set_block(self, seconds: float) -> None:
        """How long SIGUSR1 blocks the loop."""
        self._write("block", repr(seconds))

    def _write(self, name: str, text: str) -> None:
        draft = self._folder / f".{name}"
        draft.write_text(text)
        draft.replace(self._folder / name)


def _haunt(folder: Path) -> None:
    def read(name: str) -> str:
        try:
            return (folder / name).read_text()
        except FileNotFoundError:
            return ""

    def tell_time() -> float:
        return _REAL_TIME() + float(read("clock") or 0.0)

    def look_up(host: Any, *words: Any, **named: Any) -> Any:
        if not isinstance(host, str) or set(host) <= _NUMERIC:
            return _REAL_LOOK_UP(host, *words, **named)
        known = dict(line.split() for line in read("names").splitlines())
        if host not in known:
            with (folder / "unresolved").open("a") as failed:
                failed.write("x")
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return _REAL_LOOK_UP(known[host], *words, **named)

    def block(_number: int, _frame: object) -> None:
        _REAL_SLEEP(float(read("block")))

    time.time = tell_time
    socket.getaddrinfo = look_up
    signal.signal(signal.SIGUSR1, block)


if __name__ == "__main__":
    _haunt(Path(os.environ["HAUNT"]))
    from detector.cli import main  # after the clock and the names are what they shall be

    sys.exit(main())

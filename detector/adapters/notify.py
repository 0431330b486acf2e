"""Tells the service manager how we are: systemd's sd_notify protocol, one datagram a message to $NOTIFY_SOCKET.

Without that variable every call does nothing. Nothing raises: a service manager that does not listen must not stop the daemon.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_MICROSECONDS = 1_000_000
EXTENSION_SECONDS = 60  # one opening of PostgreSQL may take a while itself


class ServiceManager:
    """The service manager of `environ`, which may be absent.

    `watchdog_seconds` is how often at the least `keep_alive` must be called, None when no watchdog waits for this process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _read_address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _read_watchdog(environ) if self._address else None

    def ready(self, status: str = "") -> None:
        """Say that the start is over: rules are loaded and the store is open."""
        self._send("READY=1", *([_status(status)] if status else []))

    def keep_alive(self) -> None:
        """Feed the watchdog; call only while the loop turns and the scheduler ticks."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    async def feed(self, find_fault: Callable[[], str], sleep: Callable[[float], Awaitable[None]]) -> None:
        """Keep alive three times in the watchdog's time, while no fault is found; returns at once where no watchdog waits."""
        while self.watchdog_seconds is not None:
            if not find_fault():
                self.keep_alive()
            await sleep(self.watchdog_seconds / 3)

    def wait(self, why: str) -> None:
        """The start takes longer: systemd would end it at TimeoutStartSec otherwise. Call again within half a minute."""
        self._send(f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * _MICROSECONDS}", _status(why))

    def stopping(self, status: str = "") -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1", *([_status(status)] if status else []))

    def say(self, status: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(status))

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as datagram:
                datagram.connect(self._address)
                datagram.send("\n".join(lines).encode())
        except OSError:
            return


def _read_address(text: str) -> str:
    if text.startswith("@"):
        return "\0" + text[1:]  # the abstract namespace
    return text if text.startswith("/") else ""


def _read_watchdog(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / _MICROSECONDS
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())

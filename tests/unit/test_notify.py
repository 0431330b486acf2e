"""What systemd hears: datagrams on $NOTIFY_SOCKET, and nothing where there is none."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.adapters.notify import ServiceManager


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(2)
        yield bound


def test_the_life_of_a_service_is_told(listener: socket.socket) -> None:
    """A start that takes longer, ready, alive, a status in one line, stopping: each is one datagram."""
    manager = ServiceManager(
        {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    )
    assert manager.watchdog_seconds == 30.0
    manager.wait("waiting for the store")
    manager.ready("8 rules")
    manager.keep_alive()
    manager.say("2 incidents\nopen")
    manager.stopping()
    told = [listener.recv(1024) for _ in range(5)]
    assert told.pop(0) == b"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting for the store"
    assert told == [b"READY=1\nSTATUS=8 rules", b"WATCHDOG=1", b"STATUS=2 incidents open", b"STOPPING=1"]


def test_an_abstract_socket_is_reached() -> None:
    """An address that begins with @ lies in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        name = f"detector-test-{os.getpid()}"
        bound.bind("\0" + name)
        bound.settimeout(2)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready()
        assert bound.recv(64) == b"READY=1"


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "30000000"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "vsock:2:3"},
    ],
)
def test_without_a_listener_or_a_watchdog_nothing_happens(environ: dict[str, str]) -> None:
    """No socket, a socket that is gone, a watchdog for another process, nonsense: no watchdog, and no call raises."""
    manager = ServiceManager(environ)
    assert manager.watchdog_seconds is None
    manager.ready()
    manager.keep_alive()
    manager.stopping()


def test_a_full_socket_does_not_block(listener: socket.socket) -> None:
    """A service manager that does not read costs messages, not time."""
    manager = ServiceManager({"NOTIFY_SOCKET": listener.getsockname()})
    for _ in range(2000):
        manager.say("x" * 1000)
    assert listener.recv(2048).startswith(b"STATUS=")

"""Free TCP ports for servers that must know theirs before they start and keep it over a restart.

Taken below the kernel's ephemeral range, so that no outgoing connection holds one, and from a slice of its own for every
pytest-xdist worker.
"""

import os
import secrets
import socket

FIRST, LAST, SLICE = 18_000, 32_000, 1_000
_given: set[int] = set()


def free_port() -> int:
    """Choose a port on 127.0.0.1 that nobody listens on and that this process has not given away."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    start = FIRST + int(worker) * SLICE % (LAST - FIRST)
    for _ in range(SLICE):
        port = start + secrets.randbelow(SLICE)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise AssertionError(f"no free port between {start} and {start + SLICE}")


def is_listening(port: int) -> bool:
    """Whether something accepts connections on 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

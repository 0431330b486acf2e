"""Names to addresses, bounded in time, remembering the last good answer.

Asked by the connector of `exchange` when its own short cache has expired. A page must still go out while DNS is broken, and a
lookup of the C library may block its thread for tens of seconds: so lookups have threads of their own (never the loop's default
executor, which files and others need), a deadline, and behind them the last addresses that were good.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUP_SECONDS = 3.0
_LOOKUP_THREADS = 4
_REMEMBERED_HOSTS = 256

LookUp: TypeAlias = Callable[[str, int, int], list[ResolveResult]]


class RememberingResolver(AbstractResolver):
    """getaddrinfo in own threads. Raises OSError where a name cannot be resolved and never could before."""

    def __init__(self, lookup_seconds: float = LOOKUP_SECONDS, look_up: LookUp | None = None) -> None:
        self._lookup_seconds = lookup_seconds
        self._look_up = look_up or look_up_host
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="resolver")
        self._last_good: dict[tuple[str, int], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of `host`, fresh if the lookup ends in time, else those of the last lookup that did."""
        key = (host, port)
        try:
            async with asyncio.timeout(self._lookup_seconds):
                found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port, family)
        except TimeoutError:
            if remembered := self._last_good.get(key):
                return remembered
            raise OSError(f"no answer within {self._lookup_seconds:g} s") from None
        except OSError:
            if remembered := self._last_good.get(key):
                return remembered
            raise
        if len(self._last_good) >= _REMEMBERED_HOSTS:
            self._last_good.clear()
        self._last_good[key] = found
        return found

    async def close(self) -> None:
        """Give the threads up; a lookup still blocked in the C library is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def look_up_host(host: str, port: int, family: int) -> list[ResolveResult]:
    """Ask the C library; blocks for as long as it likes. Raises OSError."""
    found: list[ResolveResult] = []
    for kind, _, protocol, _, address in socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    ):
        # A zone (fe80::1%eth0) is part of the address: without it a link-local one cannot be reached.
        numeric, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found.append(ResolveResult(hostname=host, host=numeric, port=port, family=kind, proto=protocol, flags=flags))
    return found

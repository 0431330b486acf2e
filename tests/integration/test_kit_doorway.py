"""Servers that the tests run in their own process leave no connection behind, whatever arrives while they end."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import TYPE_CHECKING, Protocol

import pytest
from aiohttp import web

from detector.standin.server import Server
from tests.kit.badprometheus import BadPrometheus
from tests.kit.faultproxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class _Listening(Protocol):
    port: int


SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[_Listening]]] = {
    "proxy": lambda: FaultProxy(9),
    "Prometheus": BadPrometheus,
    "stand-in": lambda: Server(web.Application()),
}


@pytest.mark.parametrize("name", SERVERS)
def test_who_comes_as_it_ends_is_not_left_behind(name: str) -> None:
    """Called at each turn of the loop before the end: an open transport would warn here, and in some other test otherwise."""

    async def call(turns: int) -> None:
        with socket.socket() as caller:
            caller.settimeout(0.0)
            async with SERVERS[name]() as server:
                caller.connect_ex(("127.0.0.1", server.port))
                for _ in range(turns):
                    await asyncio.sleep(0)

    for turns in range(8):
        asyncio.run(call(turns))
    gc.collect()

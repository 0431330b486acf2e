"""The end of a listening socket of this process: what was just accepted arrives before its server is closed.

asyncio drops a connection half made that arrives at a closed server, and never closes it: who asked hears nothing, and the
transport is left to the garbage collector.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from asyncio.trsock import TransportSocket
    from collections.abc import Iterable

_TURNS = 5  # of the loop, from an accepted socket to its handler: asyncio takes three


async def let_in(listeners: Iterable[socket.socket | TransportSocket]) -> None:
    """Accept no more, and give what was accepted its turns of the loop; close the server after it."""
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    await give_way()


async def give_way() -> None:
    """As many turns of the loop as an accepted connection takes to its handler."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)

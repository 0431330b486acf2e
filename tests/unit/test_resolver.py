import asyncio
import socket
import threading
from collections.abc import Callable

import pytest
from aiohttp.abc import ResolveResult

from detector.transport.resolver import RememberingResolver, look_up_host

FOUND = [ResolveResult(hostname="db", host="10.0.0.9", port=80, family=socket.AF_INET, proto=6, flags=0)]


def _play(*acts: Callable[[], list[ResolveResult]]) -> Callable[[str, int, int], list[ResolveResult]]:
    """Look up by the next act of a list."""
    rest = iter(acts)
    return lambda _host, _port, _family: next(rest)()


def _fail() -> list[ResolveResult]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def test_broken_dns_falls_back_to_the_last_good_answer() -> None:
    """Once a name was resolved it stays reachable while lookups fail."""
    resolver = RememberingResolver(look_up=_play(lambda: FOUND, _fail))
    assert await resolver.resolve("db", 80) == FOUND
    assert await resolver.resolve("db", 80) == FOUND
    await resolver.close()


async def test_a_name_never_resolved_is_an_error() -> None:
    """There is nothing to fall back to at first, and another name's answer is never used."""
    resolver = RememberingResolver(look_up=_play(lambda: FOUND, _fail))
    await resolver.resolve("db", 80)
    with pytest.raises(OSError, match="Temporary failure"):
        await resolver.resolve("other", 80)
    await resolver.close()


async def test_a_hung_lookup_is_cut_and_remembered_answers_go_on() -> None:
    """A lookup that blocks its thread costs its own deadline, then the last good answer or an error."""
    release = threading.Event()

    def block() -> list[ResolveResult]:
        release.wait(10)
        return FOUND

    resolver = RememberingResolver(lookup_seconds=0.5, look_up=_play(lambda: FOUND, block, block))
    try:
        assert await resolver.resolve("db", 80) == FOUND
        async with asyncio.timeout(8):
            assert await resolver.resolve("db", 80) == FOUND
            with pytest.raises(OSError, match=r"no answer within 0\.5 s"):
                await resolver.resolve("other", 80)
    finally:
        release.set()
        await resolver.close()


def test_the_real_lookup_gives_numeric_addresses() -> None:
    """The name localhost becomes loopback addresses with the port asked for."""
    found = look_up_host("localhost", 8080, socket.AF_UNSPEC)
    assert {entry["host"] for entry in found} <= {"127.0.0.1", "::1"}
    assert {entry["port"] for entry in found} == {8080}

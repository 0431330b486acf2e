"""Senders that mean no good, as a process of their own: `python -m tests.kit.abuse PORT SECONDS CONNECTIONS`.

All at once: connections that are held and say nothing or drip a byte a second, headers that never end, headers of a megabyte,
bodies of 300 KB, pipelined requests with garbage behind them. Prints what came of it as one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter

_KEPT_DESCRIPTORS = 200
_DRIPPERS = 40
_CHUNK = b"x" * 65536


async def abuse(port: int, seconds: float, connections: int) -> dict[str, object]:
    """Do it for so long; gives how many connections were opened, and the answers by kind and status."""
    end = time.monotonic() + seconds
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(connections, hard - _KEPT_DESCRIPTORS)
    if soft < wanted + _KEPT_DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + _KEPT_DESCRIPTORS, hard))
    answers: dict[str, Counter[str]] = {}
    async with asyncio.TaskGroup() as group:
        holding = group.create_task(_hold(port, wanted, end))
        for number in range(_DRIPPERS):
            group.create_task(_drip(port, end, ends_line=number % 2 == 0))
        for name, content in _make_contents().items():
            counted = answers[name] = Counter()
            group.create_task(_repeat(port, content, counted, end))
    return {"opened": holding.result(), "answers": answers}


def _make_contents() -> dict[str, bytes]:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n%s\r\n"
    body = b"{" + b" " * 300_000
    length = b"Content-Length: %d\r\n" % len(body)
    get = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return {
        "headers": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"X-Much: " + b"y" * 1_000_000,
        "many headers": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        "body": head % (b"/api/v1/deploys", length) + body,
        "webhook": head % (b"/webhooks/pagerduty", length) + body,
        "unsigned": head % (b"/webhooks/pagerduty", b"Content-Length: 2\r\n") + b"{}",
        "pipeline": get * 200 + b"\x00\xff garbage \r\n\r\n" + get,
        "two lengths": b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "smuggled": b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
    }


async def _hold(port: int, count: int, end: float) -> int:
    """Open that many and keep them, silent, until the end; how many the other side took."""
    held = []
    for _ in range(count):
        if time.monotonic() > end:
            break
        with contextlib.suppress(OSError):
            held.append(await asyncio.open_connection("127.0.0.1", port))
    await asyncio.sleep(max(0.0, end - time.monotonic()))
    for _, writer in held:
        writer.close()
    return len(held)


async def _drip(port: int, end: float, *, ends_line: bool) -> None:
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nX: ")
            while time.monotonic() < end and not writer.transport.is_closing():
                writer.write(b"y\r\nX: " if ends_line else b"y")
                await writer.drain()
                await asyncio.sleep(1.0)
            writer.close()
        await asyncio.sleep(0.1)


async def _repeat(port: int, content: bytes, answers: Counter[str], end: float) -> None:
    while time.monotonic() < end:
        answers[await _send(port, content)] += 1
        await asyncio.sleep(0.05)


async def _send(port: int, content: bytes) -> str:
    """The status of the last answer on the connection; `cut` where there was none."""
    read = b""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(OSError):
                for start in range(0, len(content), len(_CHUNK)):
                    writer.write(content[start : start + len(_CHUNK)])
                    await writer.drain()
            with contextlib.suppress(OSError):
                while more := await reader.read(65536):
                    read += more
            writer.close()
    statuses = [line.split()[1].decode() for line in read.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return statuses[-1] if statuses else "cut"


def main() -> None:
    """As the command line says."""
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(json.dumps(asyncio.run(abuse(port, seconds, connections))))


if __name__ == "__main__":
    main()

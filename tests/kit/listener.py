"""A plain MQTT reader of the test's own: what is retained now, and what arrives."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Self

import aiomqtt

from tests.kit.wait import PATIENCE_SECONDS, wait_until


class Listener:
    """Reads everything below a prefix while entered, what was retained before that first; `latest` has the last of each topic."""

    def __init__(self, port: int, prefix: str = "detector", **options: Any) -> None:
        self._port = port
        self._prefix = prefix
        self._options = options
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.latest: dict[str, bytes] = {}
        self.seen: list[tuple[str, bytes]] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def facts(self, incident: str) -> dict[str, Any]:
        """The JSON that stands for an incident; empty where none does."""
        payload = self.latest.get(f"{self._prefix}/incidents/{incident}", b"")
        found: dict[str, Any] = json.loads(payload) if payload else {}
        return found

    async def wait_for(self, topic: str, payload: bytes, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Until that is the latest under the topic."""
        await wait_until(lambda: self.latest.get(f"{self._prefix}/{topic}") == payload, f"{topic} {payload!r}", seconds=seconds)

    async def wait_incident(self, incident: str, *, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Until facts stand for the incident; gives them."""
        await wait_until(lambda: bool(self.facts(incident)), f"facts of {incident}", seconds=seconds)
        return self.facts(incident)

    async def _read(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port, timeout=PATIENCE_SECONDS, **self._options) as client:
            await client.subscribe(f"{self._prefix}/#", qos=1)
            end = f"{self._prefix}/listener-{secrets.token_hex(8)}"  # comes after everything that was retained
            await client.publish(end, qos=1)
            async for message in client.messages:
                if str(message.topic) == end:
                    self._ready.set()
                    continue
                payload = message.payload
                assert isinstance(payload, bytes)
                self.latest[str(message.topic)] = payload
                self.seen.append((str(message.topic), payload))


async def read_retained(port: int, prefix: str = "detector", **options: Any) -> dict[str, bytes]:
    """What a new reader is told at once."""
    async with Listener(port, prefix, **options) as listener:
        return {topic: payload for topic, payload in listener.latest.items() if payload}

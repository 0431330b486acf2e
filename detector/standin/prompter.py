"""What every stand-in does with its script: take the steps, in process or over HTTP, and play the reply that a request gets.

Before it: `pagerduty`, `slack`, `statuspage` or `webhook` received a request and knows its honest answer. After it: the caller.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from detector.standin.script import Reply, Script, Step
from detector.standin.server import answer_json, cut

if TYPE_CHECKING:
    from collections.abc import Callable


class Prompter:
    """The script of one stand-in and the news of its requests. `now` gives unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.script = Script()
        self._now = now
        self._changed = asyncio.Event()

    def play(self, *steps: Step) -> None:
        """Queue scripted answers; they are used up in this order."""
        for step in steps:
            self.script.add(step, self._now())

    def ring(self) -> None:
        """Something changed: whoever waits looks again."""
        self._changed.set()

    async def wait_until(self, condition: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once `condition` holds, looked at after every ring. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def add_routes(self, app: web.Application) -> None:
        """POST /script takes a list of steps, DELETE /script forgets them all."""
        app.router.add_post("/script", self._add_steps)
        app.router.add_delete("/script", self._clear_steps)

    async def _add_steps(self, http: web.Request) -> web.Response:
        try:
            steps = msgspec.json.decode(await http.read(), type=list[Step])
        except msgspec.MsgspecError as error:
            return answer_json(400, {"error": f'script: {error}; send a list like [{{"reply": {{"status": 500}}, "requests": 3}}]'})
        self.play(*steps)
        return answer_json(200, {"steps": len(steps)})

    async def _clear_steps(self, _http: web.Request) -> web.Response:
        self.script.clear()
        return answer_json(200, {"steps": 0})


async def perform(http: web.Request, reply: Reply, honest: web.Response) -> web.Response | None:
    """The answer that the reply makes of the honest one; None where the connection was cut instead. Hangs where it says so."""
    if reply.delay_seconds > 0:
        await asyncio.sleep(reply.delay_seconds)
    if reply.end == "hang":
        await asyncio.Event().wait()
    if reply.end in {"close", "reset"}:
        cut(http, with_reset=reply.end == "reset")
        return None
    if reply.status is None:
        return honest
    headers = {"Content-Type": "application/json"} | dict(reply.headers)
    return web.Response(status=reply.status, text=reply.body, headers=headers)

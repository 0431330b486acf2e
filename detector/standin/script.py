"""Scripted faults of a stand-in: which requests get another answer than the honest one, and which answer.

Before it: `pagerduty` received a request. After it: `pagerduty` plays the reply that a step names. Pure; time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

End = Literal["answer", "hang", "close", "reset"]
HTML_LOGIN = "<!doctype html><html><head><title>Sign in</title></head><body>Sign in to continue</body></html>"


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request gets.

    `status` None is the honest answer, only later by `delay_seconds`. `end` hang accepts and never answers, close ends the
    connection with FIN, reset with RST. `applied`: the event takes effect although the caller is not told so (the lost 202).
    """

    status: int | None = None
    body: str = ""
    headers: Mapping[str, str] = {}
    delay_seconds: float = 0.0
    end: End = "answer"
    applied: bool = False

    @property
    def takes_effect(self) -> bool:
        """Whether the event behind this reply reaches the ledger."""
        return self.applied or (self.status is None and self.end == "answer")


HONEST = Reply()


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reply and the requests it is for.

    The next `requests` of them (None: no bound), during `seconds` from when it was added (None: no bound), and only those of
    `path`, `routing_key` or `action` where given.
    """

    reply: Reply
    requests: int | None = 1
    seconds: float | None = None
    path: str | None = None
    routing_key: str | None = None
    action: str | None = None

    def matches(self, path: str, routing_key: str, action: str) -> bool:
        """Whether this step speaks about such a request."""
        wanted = ((self.path, path), (self.routing_key, routing_key), (self.action, action))
        return all(want is None or want == have for want, have in wanted)


def fail(status: int, *, requests: int | None = None, seconds: float | None = None, body: str = "") -> Step:
    """Answer `status` to the next `requests`, or for `seconds`; with neither, until the script is cleared."""
    return Step(reply=Reply(status=status, body=body), requests=requests, seconds=seconds)


def html_200() -> Reply:
    """What a proxy's login page answers: 200, and HTML."""
    return Reply(status=200, body=HTML_LOGIN, headers={"Content-Type": "text/html; charset=utf-8"})


def redirect_302(location: str) -> Reply:
    """A redirect, as a captive portal or a moved host answers."""
    return Reply(status=302, headers={"Location": location})


@dataclass(slots=True)
class _Pending:
    step: Step
    left: int | None
    until: float | None


@dataclass(slots=True)
class Script:
    """Steps waiting for their requests; the first one that is live and matches is taken."""

    _pending: list[_Pending] = field(default_factory=list)

    def add(self, step: Step, now: float) -> None:
        """Queue a step; its `seconds` count from `now` (unix seconds)."""
        until = None if step.seconds is None else now + step.seconds
        self._pending.append(_Pending(step, step.requests, until))

    def clear(self) -> None:
        """Forget every step: the honest answer again."""
        self._pending.clear()

    def take(self, path: str, routing_key: str, action: str, now: float) -> Reply:
        """The reply for one request, HONEST where no step speaks about it."""
        self._pending = [each for each in self._pending if each.until is None or now < each.until]
        for place, each in enumerate(self._pending):
            if not each.step.matches(path, routing_key, action):
                continue
            if each.left is not None:
                each.left -= 1
                if each.left <= 0:
                    del self._pending[place]
            return each.step.reply
        return HONEST

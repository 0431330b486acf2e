"""One GET, judged by its status and, where wanted, a text in the answer.

Before it: the verifier, when the metrics have recovered. A redirect is never followed: it passes only where a 3xx is expected.
Link-local addresses and metadata services are denied by the exchange's address policy, since the URL comes from a rule file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.quantity import format_span
from detector.ports.probe import ProbeResult, ProbeTarget
from detector.transport.exchange import Request
from detector.transport.fault import ExchangeError

if TYPE_CHECKING:
    from detector.transport.exchange import Exchange, Reply

DEADLINE_SECONDS = 10.0
MAX_BODY_BYTES = 4 * 1024 * 1024
_AGENT = "detector-probe"


class HttpProbe:
    """Implements ports.probe.Probe."""

    def __init__(self, exchange: Exchange, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._exchange = exchange
        self._deadline_seconds = deadline_seconds

    async def check(self, target: ProbeTarget) -> ProbeResult:
        """Ask once."""
        request = Request(
            method="GET",
            url=target.url,
            deadline_seconds=self._deadline_seconds,
            headers={"User-Agent": _AGENT, "Cache-Control": "no-cache"},
            max_bytes=MAX_BODY_BYTES,
            repeatable=True,
            keep_redirect=True,
        )
        try:
            reply = await self._exchange.send(request)
        except ExchangeError as error:
            return ProbeResult(ok=False, message=error.detail)
        return _judge(target, reply)

    async def close(self) -> None:
        """Close the connections."""
        await self._exchange.close()


def _judge(target: ProbeTarget, reply: Reply) -> ProbeResult:
    took = f"{reply.status} in {format_span(reply.elapsed_seconds)}"
    if reply.status not in target.expect:
        wanted = " or ".join(str(status) for status in target.expect)
        return ProbeResult(ok=False, message=f"answered {took}, expected {wanted}")
    if target.contains and target.contains.encode() not in reply.body:
        return ProbeResult(ok=False, message=f"answered {took}, without the text {target.contains[:60]!r}")
    return ProbeResult(ok=True, message=f"answered {took}")

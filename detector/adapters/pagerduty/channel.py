"""PagerDuty's Events API v2 as a channel: one delivery in, one accepted event out, or an error that says what to do next.

Before it: the dispatcher claimed the delivery. After it: PagerDuty. Only 202 is success, whatever its body says. A timeout is
unknown, not failed: the fixed dedup_key makes the repetition safe. Statuses: PagerDuty developer documentation, "Events API v2
Overview", response codes and retry logic; what stands in between (a proxy, a login page) answers the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias, assert_never

from detector.adapters.pagerduty.event import build_event, build_least_event, choose_action
from detector.adapters.pagerduty.limit import Fitted, Part, clean_line, fit_event
from detector.adapters.pagerduty.turnstile import Pressure, Turnstile
from detector.domain.incident import PAGERDUTY
from detector.domain.severity import Severity
from detector.ports.channel import BeforePost, Receipt
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError, ThrottledError
from detector.transport.exchange import Exchange, Reply, Request
from detector.transport.fault import ExchangeError, Fault
from detector.transport.retry import read_retry_after

if TYPE_CHECKING:
    from detector.ports.secret import Secret
    from detector.ports.store import Delivery

EVENTS_URL = "https://events.pagerduty.com"
DEFAULT_ROUTE = "default"
_PATH = "/v2/enqueue"
_DEADLINE_SECONDS = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 200
_SERVER_ERRORS = range(500, 600)

CountCut: TypeAlias = Callable[[Part], None]
TellUnknownRoute: TypeAlias = Callable[[str], None]


class PagerDutyEvents:
    """The channel "pagerduty".

    `routing_keys`: route name -> routing key; the route "default" stands in for names that have none. `events_url`: with or
    without /v2/enqueue at its end, any path before it is kept. `on_cut` and `on_unknown_route` count what had to be cut or
    rerouted. `before_send` is asked of each delivery when the connection exists; what it raises leaves nothing sent.
    """

    def __init__(
        self,
        exchange: Exchange,
        routing_keys: Mapping[str, Secret],
        *,
        events_url: str = EVENTS_URL,
        deadline_seconds: float = _DEADLINE_SECONDS,
        before_send: BeforePost | None = None,
        on_cut: CountCut | None = None,
        on_unknown_route: TellUnknownRoute | None = None,
    ) -> None:
        self._exchange = exchange
        self._routing_keys = dict(routing_keys)
        self._url = events_url.rstrip("/").removesuffix(_PATH) + _PATH
        self._deadline_seconds = deadline_seconds
        self._before_send = before_send
        self._on_cut = on_cut
        self._on_unknown_route = on_unknown_route
        self._turnstiles: dict[str, Turnstile] = {}

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return PAGERDUTY

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """Send the event of the delivery. Raises ThrottledError before anything left, else as the port says."""
        routing_key, note = self._find_key(delivery)
        try:
            return await self._send_through(delivery, routing_key, note, now)
        except PermanentError:
            # an attempt of unknown result pinned a key that was rotated meanwhile and is known no longer
            current, note = self._find_key(replace(delivery, credential=None))
            if not delivery.credential or current == routing_key or choose_action(delivery.kind) != "trigger":
                raise
            return await self._send_through(delivery, current, note, now)

    async def _send_through(self, delivery: Delivery, routing_key: str, note: str, now: float) -> Receipt:
        self._pass_turnstile(delivery, routing_key, now)
        fitted = fit_event(build_event(delivery, routing_key))
        reply = await self._post(fitted, routing_key, delivery)
        notes = [note, self._tell_cuts(fitted)]
        if reply.status == HTTPStatus.BAD_REQUEST:
            refusal = _quote(reply, routing_key)
            reply = await self._post(fit_event(build_least_event(delivery, routing_key)), routing_key, delivery)
            if reply.status == HTTPStatus.BAD_REQUEST:
                raise PermanentError(f"PagerDuty refused the event (400), and its least form too: {_quote(reply, routing_key)}")
            notes.append(f"PagerDuty refused the whole event and took its least form: {refusal}")
        if (error := _judge(reply, now, routing_key)) is not None:
            raise error
        return Receipt(credential=routing_key, note="; ".join(filter(None, notes)))

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._exchange.close()

    def _find_key(self, delivery: Delivery) -> tuple[str, str]:
        """The routing key and a note. A key that was opened stays with the credential that opened it, also after a rotation."""
        if delivery.credential:
            return delivery.credential, ""
        if (secret := self._routing_keys.get(delivery.route)) is not None and (key := secret.get_secret_value().strip()):
            return key, ""
        if (secret := self._routing_keys.get(DEFAULT_ROUTE)) is not None and (key := secret.get_secret_value().strip()):
            if self._on_unknown_route is not None:
                self._on_unknown_route(delivery.route)
            return key, f"no routing key named {delivery.route!r}: sent through {DEFAULT_ROUTE!r}"
        raise SettingsError(
            f"PagerDuty: no routing key named {delivery.route!r} and none named {DEFAULT_ROUTE!r}: "
            "set DETECTOR_PAGERDUTY__ROUTING_KEYS",
            attempted=False,
        )

    def _pass_turnstile(self, delivery: Delivery, routing_key: str, now: float) -> None:
        turnstile = self._turnstiles.setdefault(routing_key, Turnstile())
        wait_seconds = turnstile.pass_through(delivery.id, now, _find_pressure(delivery))
        if wait_seconds > 0:
            raise ThrottledError(
                f"PagerDuty: held back {wait_seconds:.1f} s by our own rate limit of this routing key",
                retry_after_seconds=wait_seconds,
                attempted=False,
            )

    def _tell_cuts(self, fitted: Fitted) -> str:
        if self._on_cut is not None:
            for part in fitted.cuts:
                self._on_cut(part)
        return f"cut to PagerDuty's limits: {', '.join(fitted.cuts)}" if fitted.cuts else ""

    async def _post(self, fitted: Fitted, routing_key: str, delivery: Delivery) -> Reply:
        request = Request(
            method="POST",
            url=self._url,
            deadline_seconds=self._deadline_seconds,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=fitted.body,
            max_bytes=_MAX_ANSWER_BYTES,
            before_send=partial(self._before_send, delivery) if self._before_send is not None else None,
            repeatable=True,  # the dedup_key makes a repetition one more line in the log of the same alert
        )
        try:
            return await self._exchange.send(request)
        except ExchangeError as error:
            raise _translate(error, routing_key) from None


def _judge(reply: Reply, now: float, routing_key: str) -> OutsideError | None:
    status = reply.status
    retry_after_seconds = read_retry_after(reply.headers.get("retry-after"), now)
    if status == HTTPStatus.ACCEPTED:
        return None
    if status == HTTPStatus.TOO_MANY_REQUESTS or status in _SERVER_ERRORS:
        return TemporaryError(f"PagerDuty answered {status}", retry_after_seconds=retry_after_seconds, credential=routing_key)
    return SettingsError(f"PagerDuty answered {status} where only 202 is success: check the events URL and any proxy on the way")


def _translate(error: ExchangeError, routing_key: str) -> OutsideError:
    match error.fault:
        case Fault.DNS | Fault.CONNECT | Fault.TIMEOUT | Fault.CUT | Fault.TOO_LARGE | Fault.PROTOCOL:
            return TemporaryError(f"PagerDuty: {error.detail}", attempted=error.sent, credential=routing_key)
        case Fault.REDIRECT | Fault.TLS | Fault.DENIED | Fault.INVALID:
            return SettingsError(f"PagerDuty: {error.detail}", attempted=error.sent)
        case _:
            assert_never(error.fault)


def _quote(reply: Reply, routing_key: str) -> str:
    """What the answer says, in one short line and without the routing key, should it be repeated there."""
    text = clean_line(reply.body.decode("utf-8", "replace").replace(routing_key, "<routing key>"))
    return text[:_SHOWN_CHARACTERS] or "no reason given"


def _find_pressure(delivery: Delivery) -> Pressure:
    if delivery.severity is Severity.CRITICAL or choose_action(delivery.kind) == "resolve":
        return Pressure.URGENT
    return Pressure.HIGH if delivery.severity is Severity.HIGH else Pressure.USUAL

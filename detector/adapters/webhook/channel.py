"""A signed JSON webhook as a channel: one delivery in, one accepted POST out, or an error that says what to do next.

Before it: the dispatcher claimed the delivery. After it: whatever the operator set up. Any 2xx is acceptance. A repetition carries
the same event id and the same bytes, so that a receiver can tell it. The URL of most receivers is itself a secret: no text of ours
names any part of it. Which addresses it may reach is the exchange's AddressPolicy.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, assert_never

from detector.adapters.webhook.body import build_body
from detector.ports.channel import BeforePost, Receipt
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError
from detector.transport.exchange import Exchange, Reply, Request
from detector.transport.fault import ExchangeError, Fault, describe_target
from detector.transport.retry import read_retry_after
from detector.transport.signature import sign_body

if TYPE_CHECKING:
    from detector.ports.secret import Secret
    from detector.ports.store import Delivery

WEBHOOK = "webhook"
SIGNATURE_HEADER = "X-Detector-Signature"
EVENT_ID_HEADER = "X-Detector-Event-Id"
_DEADLINE_SECONDS = 10.0
_MAX_ANSWER_BYTES = 64 * 1024
_SUCCESS = range(200, 300)
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_SETTINGS = {
    HTTPStatus.UNAUTHORIZED: "check DETECTOR_WEBHOOK__SECRET and any credentials in DETECTOR_WEBHOOK__URL",
    HTTPStatus.FORBIDDEN: "check DETECTOR_WEBHOOK__SECRET and what the receiver allows",
    HTTPStatus.NOT_FOUND: "check DETECTOR_WEBHOOK__URL",
    HTTPStatus.METHOD_NOT_ALLOWED: "the receiver takes no POST; check DETECTOR_WEBHOOK__URL",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "a proxy on the way wants credentials",
    HTTPStatus.GONE: "the receiver was removed; set a new DETECTOR_WEBHOOK__URL",
}


class SignedWebhook:
    """The channel "webhook".

    With a `secret` every body is signed: `X-Detector-Signature: v1=<hex HMAC-SHA256 over the raw body>`.
    `before_send` is asked of each delivery when the connection exists; what it raises leaves nothing sent. ValueError for an empty
    secret.
    """

    def __init__(
        self,
        exchange: Exchange,
        url: Secret,
        *,
        secret: Secret | None = None,
        deadline_seconds: float = _DEADLINE_SECONDS,
        before_send: BeforePost | None = None,
    ) -> None:
        self._exchange = exchange
        self._url = url
        self._secret = secret
        self._deadline_seconds = deadline_seconds
        self._before_send = before_send
        if secret is not None and not secret.get_secret_value():
            raise ValueError("webhook: the secret is empty; set DETECTOR_WEBHOOK__SECRET, or leave it out to send unsigned")

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return WEBHOOK

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:
        """POST the notice; raises as the port says."""
        url = self._url.get_secret_value()
        request = self._make_request(url, delivery)
        try:
            reply = await self._exchange.send(request)
        except ExchangeError as error:
            raise _translate(error, url) from None
        if (refusal := _judge(reply, now)) is not None:
            raise refusal
        return Receipt()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._exchange.close()

    def _make_request(self, url: str, delivery: Delivery) -> Request:
        body = build_body(delivery)
        headers = {"Content-Type": "application/json", "Accept": "*/*", EVENT_ID_HEADER: delivery.id}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = sign_body(self._secret.get_secret_value().encode(), body)
        return Request(
            method="POST",
            url=url,
            deadline_seconds=self._deadline_seconds,
            headers=headers,
            body=body,
            max_bytes=_MAX_ANSWER_BYTES,
            before_send=partial(self._before_send, delivery) if self._before_send is not None else None,
            repeatable=True,  # the event id tells the receiver of a repetition
        )


def _judge(reply: Reply, now: float) -> OutsideError | None:
    status = reply.status
    if status in _SUCCESS:
        return None
    if status in _PASSING or status in _SERVER_ERRORS:
        retry_after_seconds = read_retry_after(reply.headers.get("retry-after"), now)
        return TemporaryError(f"webhook: the receiver answered {status}", retry_after_seconds=retry_after_seconds)
    if (advice := _SETTINGS.get(HTTPStatus(status)) if status in set(HTTPStatus) else None) is not None:
        return SettingsError(f"webhook: the receiver answered {status}: {advice}")
    if status in _CLIENT_ERRORS:
        return PermanentError(f"webhook: the receiver answered {status}: it does not take this notice")
    return SettingsError(f"webhook: the receiver answered {status} where 2xx is success: check DETECTOR_WEBHOOK__URL")


def _translate(error: ExchangeError, url: str) -> OutsideError:
    # Of some receivers the host name alone identifies the tenant.
    detail = f"webhook: {error.detail.replace(describe_target(url), 'the URL of DETECTOR_WEBHOOK__URL')}"
    match error.fault:
        case Fault.TOO_LARGE:
            return SettingsError(f"{detail}; a webhook's answer should be short: check DETECTOR_WEBHOOK__URL", attempted=error.sent)
        case Fault.DNS | Fault.CONNECT | Fault.TIMEOUT | Fault.CUT | Fault.PROTOCOL:
            return TemporaryError(detail, attempted=error.sent)
        case Fault.REDIRECT | Fault.TLS | Fault.DENIED | Fault.INVALID:
            return SettingsError(detail, attempted=error.sent)
        case _:
            assert_never(error.fault)

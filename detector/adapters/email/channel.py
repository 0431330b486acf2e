"""Mail as a channel: one notice is one message in one SMTP transaction to all recipients of its audience.

Before it: the dispatcher claimed the delivery; its route names the audience. After it: the mail server. The server's acceptance is
the end of our part. A lost answer is unknown, not failed: the repetition bears the same Message-ID.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from detector.adapters.email.message import Letter, find_domain, fit_subject, name_message, write_letter
from detector.adapters.email.session import IMPLICIT_TLS_PORT, Server, deliver
from detector.adapters.email.wording import ON_CALL, STAKEHOLDERS, Templates, choose_public, list_internal
from detector.domain.incident import NoticeKind
from detector.ports.channel import Receipt
from detector.ports.error import SettingsError
from detector.transport.resolver import RememberingResolver

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from detector.ports.store import Delivery
    from detector.ports.template import Renderer

NAME = "email"
STAKEHOLDERS_ROUTE = "stakeholders"
_DEADLINE_SECONDS = 30.0
_CONNECTIONS = 4  # mail servers answer 421 to more from one client
_TEMPLATE_MARKS = ("{{", "{%")


class Secret(Protocol):
    """A value that does not show itself, as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value."""


class EmailSetting(Protocol):
    """The settings it reads, as EmailSettings has them."""

    @property
    def host(self) -> str:
        """The mail server."""

    @property
    def port(self) -> int:
        """25 or 587 (STARTTLS where offered), or 465 (TLS from the first byte)."""

    @property
    def sender(self) -> str:
        """The address mails come from."""

    @property
    def username(self) -> str | None:
        """None: no login."""

    @property
    def password(self) -> Secret | None:
        """The login's password."""

    @property
    def on_call(self) -> Sequence[str]:
        """Who gets every fact."""

    @property
    def stakeholders(self) -> Sequence[str]:
        """Who gets what customers may know."""


class Email:
    """The channel "email". The route "stakeholders" gets the public wording, every other route is internal.

    `on_call` and `stakeholders` override templates by kind ("monitoring" is a resolve that is still watched): subject in the first
    line, then the body. `tls` replaces the system's authorities; `implicit_tls` None means by port.
    """

    def __init__(
        self,
        setting: EmailSetting,
        renderer: Renderer,
        *,
        on_call: Templates | None = None,
        stakeholders: Templates | None = None,
        deadline_seconds: float = _DEADLINE_SECONDS,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool | None = None,
    ) -> None:
        self._setting = setting
        self._renderer = renderer
        self._on_call = dict(on_call or {})
        self._stakeholders = dict(stakeholders or {})
        self._deadline_seconds = deadline_seconds
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._resolver: RememberingResolver | None = None
        self._server = Server(
            host=setting.host,
            port=setting.port,
            username=setting.username,
            password=setting.password.get_secret_value() if setting.password else "",
            tls=tls,
            implicit_tls=setting.port == IMPLICIT_TLS_PORT if implicit_tls is None else implicit_tls,
        )

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return NAME

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:  # noqa: ARG002 - a mail is dated by its notice
        """Send one mail to the audience of the route. The credential is the Message-ID of the thread's first mail."""
        is_public = delivery.route == STAKEHOLDERS_ROUTE
        recipients = tuple(self._setting.stakeholders if is_public else self._setting.on_call)
        if not recipients:
            list_name = "STAKEHOLDERS" if is_public else "ON_CALL"
            raise SettingsError(f"mail: nobody to send to; set DETECTOR_EMAIL__{list_name}", attempted=False)
        text = self._word(delivery, is_public=is_public)
        if text is None:
            return Receipt(credential=delivery.credential or "", note=f"a {delivery.kind} is nothing to tell stakeholders")
        message = self._write(delivery, text, recipients, is_public=is_public)
        self._resolver = self._resolver or RememberingResolver()
        async with self._turns:
            refused = await deliver(
                self._server, self._resolver, self._setting.sender, recipients, message, deadline_seconds=self._deadline_seconds
            )
        first = delivery.credential or name_message(delivery.id, find_domain(self._setting.sender))
        note = f"{refused} of {len(recipients)} recipients were refused" if refused else ""
        return Receipt(credential=first, note=note)

    async def rehearse(self, delivery: Delivery, *, now: float) -> None:  # noqa: ARG002 - the port's
        """Word it for the route, connect and log in; no mail is handed over."""
        self._word(delivery, is_public=delivery.route == STAKEHOLDERS_ROUTE)
        self._resolver = self._resolver or RememberingResolver()
        async with self._turns:
            await deliver(self._server, self._resolver, self._setting.sender, (), None, deadline_seconds=self._deadline_seconds)

    async def close(self) -> None:
        """Release the lookup threads; idempotent."""
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()

    def _word(self, delivery: Delivery, *, is_public: bool) -> str | None:
        """Subject, line end, body; None where there is nothing to tell."""
        if not is_public:
            return self._render(delivery.kind.value, self._on_call, ON_CALL, list_internal(delivery))
        chosen = choose_public(delivery)
        return None if chosen is None else self._render(chosen[0], self._stakeholders, STAKEHOLDERS, chosen[1])

    def _render(self, name: str, own: Templates, shipped: Templates, values: Mapping[str, Any]) -> str:
        """An own template that fails comes back raw: then the shipped one speaks, so that nobody reads template source."""
        if (template := own.get(name)) is not None:
            text = self._renderer.render(template, values)
            is_raw = any(mark in template for mark in _TEMPLATE_MARKS) and template.startswith(text[:1000])
            if text.strip() and not is_raw:
                return text
        return self._renderer.render(shipped[name], values)

    def _write(self, delivery: Delivery, text: str, recipients: Sequence[str], *, is_public: bool) -> bytes:
        subject, _, body = text.strip().partition("\n")
        letter = Letter(
            notice=delivery.id,
            thread=f"{delivery.key}|{STAKEHOLDERS_ROUTE if is_public else 'on_call'}",
            sender=self._setting.sender,
            recipients=recipients,
            subject=subject,
            body=body or fit_subject(subject),
            at=delivery.created,
            is_first=delivery.kind is NoticeKind.TRIGGER and not delivery.credential,
            is_open_list=not is_public,
            answers=delivery.credential or "",
        )
        try:
            return write_letter(letter)
        except (ValueError, IndexError) as error:  # the standard library's header parser raises both
            raise SettingsError(
                f"mail: the sender or a recipient cannot stand in a header ({type(error).__name__}); "
                "check DETECTOR_EMAIL__SENDER, __ON_CALL and __STAKEHOLDERS",
                attempted=False,
            ) from None

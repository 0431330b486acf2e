"""A real SMTP server (aiosmtpd) in the test's own loop: it keeps what it took, and refuses or hangs where it is told to."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

HANG = "hang"
CLOSE = "close"


@dataclass(frozen=True)
class Mail:
    """One accepted mail."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    encrypted: bool
    login: str | None

    @property
    def message(self) -> EmailMessage:
        """As a mail reader parses it."""
        parsed = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def text(self) -> str:
        """Its body."""
        return str(self.message.get_content())


@dataclass
class MailServer:
    """`script`: step (CONNECT is not one; MAIL, RCPT, DATA, or RCPT:<address>) -> an answer such as "451 later", HANG or CLOSE.

    A step "DATA+" takes the mail and then does what the script says: the lost answer. `users`: offers login. `tls`: STARTTLS, or
    TLS from the first byte with `implicit_tls`. `host` is where it listens.
    """

    script: dict[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    greeting: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _transports: list[asyncio.BaseTransport] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self.host, self.port, ssl=self.tls if self.implicit_tls else None)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0.01)  # who was just accepted arrives
        for transport in self._transports:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
        await asyncio.sleep(0.01)

    def _accept(self) -> asyncio.Protocol:
        self.connections += 1
        protocol: asyncio.Protocol = _Conversation(
            self,
            hostname="mail.test",
            ident="test",
            tls_context=None if self.implicit_tls else self.tls,
            authenticator=self._check if self.users else None,
            auth_require_tls=False,
            auth_exclude_mechanism=None if self.users else ("LOGIN", "PLAIN"),
            enable_SMTPUTF8=False,
        )
        return protocol

    def _check(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        user, password = data.login.decode(), data.password.decode()
        self.commands.append(f"LOGIN {user}")
        if self.users.get(user) == password:
            return AuthResult(success=True, auth_data=user)
        return AuthResult(success=False, handled=False, message=self.script.get("AUTH", f"535 5.7.8 no {user} {password}"))

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's hook
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """MAIL FROM."""
        envelope.mail_from = address
        return await self._play(server, "MAIL") or "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's hook
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """RCPT TO."""
        self.commands.append(f"RCPT {address}")
        answer = await self._play(server, f"RCPT:{address}") or await self._play(server, "RCPT")
        if not answer:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's hook
        """The mail itself."""
        answer = await self._play(server, "DATA")
        if answer:
            return answer
        assert isinstance(envelope.content, bytes)
        who: object = session.auth_data  # what `_check` gave
        login = who if isinstance(who, str) else None
        self.mails.append(
            Mail(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                raw=envelope.content,
                encrypted=self.implicit_tls or bool(session.ssl),
                login=login,
            )
        )
        return await self._play(server, "DATA+") or "250 OK"

    async def _play(self, server: SMTP, step: str) -> str:
        said = self.script.get(step, "")
        if said == HANG:
            await asyncio.Event().wait()
        if said == CLOSE:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            await asyncio.Event().wait()
        return said


class _Conversation(SMTP):
    """aiosmtpd's session, with a greeting that may be refused and a transport that the test's end can cut."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self.event_handler
        assert isinstance(server, MailServer)
        server._transports.append(transport)
        server.most_at_once = max(server.most_at_once, sum(not each.is_closing() for each in server._transports))
        if server.greeting:
            assert isinstance(transport, asyncio.Transport)
            if server.greeting != HANG:
                transport.write(f"{server.greeting}\r\n".encode())
                transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._server_ended():
            super().connection_lost(error)

    def _server_ended(self) -> bool:
        """Whether the session never began: its greeting was scripted."""
        return getattr(self, "_handler_coroutine", None) is None

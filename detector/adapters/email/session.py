"""One SMTP transaction under one deadline: connect, TLS, login, envelope, data.

Before it: `message` made the bytes. After it: the mail server. What goes wrong comes out as the port's errors: codes of RFC 5321
and RFC 4954 (535, 530, 534 speak about the login), everything the network does is worth another try. Credentials never leave over
a connection without TLS, except to this machine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from email.utils import parseaddr
from typing import TYPE_CHECKING

import aiosmtplib

from detector.adapters.email.message import find_domain
from detector.domain.text import clean_line
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.transport.resolver import RememberingResolver

IMPLICIT_TLS_PORT = 465
_LOGIN_FAILED = 535
_AUTH_CODES = frozenset({530, 534, _LOGIN_FAILED})
_TEMPORARY = range(400, 500)
_PERMANENT = range(500, 600)
_QUIT_SECONDS = 1.0
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail goes, and as whom. `tls` None: the system's authorities. Nothing secret is in its repr."""

    host: str
    port: int
    username: str | None = None
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    implicit_tls: bool = False

    @property
    def place(self) -> str:
        """For messages."""
        return f"mail server {self.host}:{self.port}"


@dataclass(slots=True)
class _Progress:
    """What the server said so far, to be read after whatever ended the session."""

    data_sent: bool = False
    refusals: list[OutsideError] = field(default_factory=list)


async def deliver(
    server: Server,
    resolver: RememberingResolver,
    sender: str,
    recipients: Sequence[str],
    message: bytes | None,
    *,
    deadline_seconds: float,
) -> int:
    """Hand the message over, or with None only log in; how many recipients the server refused (never all).

    Raises as the port says.
    """
    progress = _Progress()
    client = aiosmtplib.SMTP(
        hostname=server.host,
        local_hostname=find_domain(sender),  # the machine's own name would stand in every mail that leaves
        use_tls=server.implicit_tls,
        start_tls=False,  # decided here, after the greeting
        tls_context=server.tls or _trust_system(),
        timeout=None,  # one deadline over everything instead of one an answer
    )
    try:
        async with asyncio.timeout(deadline_seconds):
            await _connect(client, server, resolver)
            if message is not None:
                await _transfer(client, server, sender, recipients, message, progress)
        await _take_leave(client)
    except TimeoutError:
        word = "no answer to the mail itself, which may have been accepted," if progress.data_sent else "not done"
        raise TemporaryError(f"{server.place}: {word} within {deadline_seconds:.3g} s", attempted=progress.data_sent) from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        # `from None`: the cause may quote a command that held the password.
        raise _translate(error, server, attempted=progress.data_sent) from None
    finally:
        transport = client.transport
        client.close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()  # closing TLS politely would wait for the other side
    return len(progress.refusals)


def may_show_credentials(peer: object, *, is_encrypted: bool) -> bool:
    """Whether a password may go over this connection: over TLS anywhere, in clear text only to this machine."""
    host = peer[0] if isinstance(peer, tuple) and peer else ""
    try:
        return is_encrypted or ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


async def _connect(client: aiosmtplib.SMTP, server: Server, resolver: RememberingResolver) -> None:
    await client.connect(sock=await _open_socket(server, resolver))
    await _greet(client)
    if not server.implicit_tls and client.supports_extension("starttls"):
        await client.starttls(server_hostname=server.host)
        await _greet(client)
    if server.username is None:
        return
    is_encrypted = client.get_transport_info("sslcontext") is not None
    if not may_show_credentials(client.get_transport_info("peername"), is_encrypted=is_encrypted):
        raise SettingsError(
            f"{server.place} offers no TLS, and the password is never sent in clear text: "
            "set DETECTOR_EMAIL__PORT to 465 or to a port with STARTTLS, or unset DETECTOR_EMAIL__USERNAME",
            attempted=False,
        )
    if not client.supported_auth_methods:
        raise SettingsError(
            f"{server.place} offers no login that is known here: unset DETECTOR_EMAIL__USERNAME or use another port",
            attempted=False,
        )
    await client.login(server.username, server.password)


@functools.cache
def _trust_system() -> ssl.SSLContext:
    """The system's authorities, read once: that takes milliseconds of the loop."""
    return ssl.create_default_context()


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


async def _open_socket(server: Server, resolver: RememberingResolver) -> socket.socket:
    """Try every address of the name, as asyncio does, but with lookups that cannot block the threads that others need."""
    fault: OSError = OSError("the name has no address")
    for found in await resolver.resolve(server.host, server.port):
        connection = socket.socket(found["family"], socket.SOCK_STREAM)
        connection.setblocking(False)  # noqa: FBT003 - the name of the method says it
        try:
            await asyncio.get_running_loop().sock_connect(connection, (found["host"], server.port))
        except OSError as error:
            connection.close()
            fault = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise fault


async def _transfer(
    client: aiosmtplib.SMTP, server: Server, sender: str, recipients: Sequence[str], message: bytes, progress: _Progress
) -> None:
    await client.mail(_bare(sender))
    for recipient in recipients:
        try:
            await client.rcpt(_bare(recipient))
        except aiosmtplib.SMTPRecipientRefused as error:
            progress.refusals.append(_judge(error.code, error.message, server, "a recipient"))
        except ValueError:  # no address that can be written: others still get their mail
            progress.refusals.append(PermanentError(f"{server.place}: a recipient is no mail address in ASCII"))
        if not client.is_connected:  # 421 in between: the library has closed
            raise progress.refusals[-1] if progress.refusals else aiosmtplib.SMTPServerDisconnected("connection lost")
    if len(progress.refusals) == len(recipients):
        raise _choose_refusal(progress.refusals)
    progress.data_sent = True
    try:
        await client.data(message)
    except aiosmtplib.SMTPDataError as error:
        progress.data_sent = False  # answered: it was not accepted
        raise _judge(error.code, error.message, server, "the mail") from None


async def _take_leave(client: aiosmtplib.SMTP) -> None:
    """QUIT, briefly. The mail was accepted: nothing that happens here may say otherwise."""
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, ValueError, TimeoutError):
        async with asyncio.timeout(_QUIT_SECONDS):
            await client.quit()


def _bare(address: str) -> str:
    """The address without a display name, its domain in ASCII. Raises ValueError where it is none."""
    local, at, domain = parseaddr(address)[1].rpartition("@")
    if not (local and at and domain and local.isascii() and local.isprintable()):
        raise ValueError("not a mail address")
    return f"{local}@{domain.encode('idna').decode('ascii')}"


def _choose_refusal(refusals: Sequence[OutsideError]) -> OutsideError:
    """Worth another try where one of them is; a login asked for comes first."""
    kinds = (SettingsError, TemporaryError)
    return next((error for kind in kinds for error in refusals if isinstance(error, kind)), refusals[0])


def _judge(code: int, text: str, server: Server, what: str) -> OutsideError:
    said = _quote(text, server)
    if code in _AUTH_CODES:
        return SettingsError(
            f"{server.place} refused the login or asks for one ({code} {said}): check DETECTOR_EMAIL__USERNAME and __PASSWORD"
        )
    if code in _PERMANENT:
        return PermanentError(f"{server.place} refused {what} for good: {code} {said}")
    if code in _TEMPORARY:
        return TemporaryError(f"{server.place} refused {what} for now: {code} {said}")
    return TemporaryError(f"{server.place} answered what SMTP does not foresee: {code} {said}")


def _translate(error: Exception, server: Server, *, attempted: bool) -> OutsideError:
    if isinstance(error, aiosmtplib.SMTPConnectError) and isinstance(error.__cause__, ssl.SSLError):
        error = error.__cause__
    if isinstance(error, aiosmtplib.SMTPResponseException):
        fault = _translate_answer(error, server)
    elif isinstance(error, ssl.SSLError):
        fault = _translate_tls(error, server)
    elif isinstance(error, aiosmtplib.SMTPServerDisconnected):
        fault = TemporaryError(f"{server.place}: the connection ended before the mail was accepted")
    elif isinstance(error, OSError):  # of which aiosmtplib's connect errors are some
        cause = error.__cause__ or error
        fault = TemporaryError(f"{server.place}: cannot connect ({getattr(cause, 'strerror', None) or type(cause).__name__})")
    elif isinstance(error, ValueError):
        fault = SettingsError(f"{server.place}: the sender or the login cannot be written; check DETECTOR_EMAIL__SENDER")
    else:
        fault = TemporaryError(f"{server.place}: {_quote(str(error), server)}")
    if isinstance(fault, TemporaryError):
        fault.attempted = attempted
    return fault


def _translate_answer(error: aiosmtplib.SMTPResponseException, server: Server) -> OutsideError:
    match error:
        case aiosmtplib.SMTPSenderRefused():
            return _judge(error.code, error.message, server, "the sender")
        case aiosmtplib.SMTPAuthenticationError() if error.code in _PERMANENT:
            return _judge(_LOGIN_FAILED, error.message, server, "the login")
        case _:
            return _judge(error.code, error.message, server, "the session")


def _translate_tls(error: ssl.SSLError, server: Server) -> OutsideError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return SettingsError(
            f"{server.place}: its certificate does not hold ({error.verify_message or 'not trusted'}); check DETECTOR_EMAIL__HOST"
        )
    return TemporaryError(f"{server.place}: TLS failed ({error.reason or type(error).__name__})")


def _quote(text: str, server: Server) -> str:
    """What the server said, in one short line and without the credentials, should it repeat them."""
    said = clean_line(text)
    user = server.username or ""
    for secret in (server.password, f"\0{user}\0{server.password}", user):
        if secret:
            encoded = base64.b64encode(secret.encode("utf-8", "replace")).decode("ascii")
            said = said.replace(encoded, "<removed>").replace(secret, "<removed>")
    return said[:_SHOWN_CHARACTERS] or "no reason given"

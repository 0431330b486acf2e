"""One connection to the broker, from its start to its end: opened, used, and always taken apart.

Before it: `channel` wants a connection. After it: aiomqtt and paho under it. A client is used once: paho's state after a fault is
not to be trusted. aiomqtt leaves the socket and a task behind when the broker accepts a connection and then stays silent, and
forgets them again when a farewell fails: `take_apart` reaches below it for these two cases.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiomqtt

from detector.adapters.mqtt.payload import OFFLINE, ONLINE
from detector.ports.error import SettingsError, TemporaryError

if TYPE_CHECKING:
    from detector.transport.resolver import RememberingResolver

_QOS = 1
_TURNS = 4
_HANDSHAKE_SECONDS = 3.0
# MQTT 3.1.1, 3.2.2.3: identifier refused, bad user name or password, not authorized; paho names them as MQTT 5 does
_REFUSALS = frozenset({133, 134, 135})

_LOG = logging.getLogger("detector.mqtt")
_LOG.addHandler(logging.NullHandler())
_LOG.setLevel(logging.CRITICAL)  # paho logs every packet, and what it warns of comes out as errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where to connect, and as whom. Nothing secret is in its repr."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    keepalive_seconds: int = 15

    @property
    def place(self) -> str:
        """For messages."""
        return f"MQTT broker {self.host}:{self.port}"


class _TidySocket(ssl.SSLSocket):
    """paho waits for a handshake as long as for a keepalive, and forgets the socket where it fails."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of the standard library
        """As ever, but bounded, and closed on failure."""
        self.settimeout(_HANDSHAKE_SECONDS)
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class Connection:
    """One connection; make another after it broke.

    `identity` is the same for all connections of a process: the broker then ends an old one before it admits the next, so that the
    last will of the old one cannot overtake the new one's "online".
    """

    def __init__(self, broker: Broker, status_topic: str, identity: str, deadline_seconds: float) -> None:
        self._broker = broker
        self._status_topic = status_topic
        self._identity = identity
        self._deadline_seconds = deadline_seconds
        self._client: aiomqtt.Client | None = None
        self.broken = asyncio.Event()

    async def open(self, resolver: RememberingResolver) -> None:
        """Connect. Raises TemporaryError, or SettingsError where the broker refuses the login."""
        broker = self._broker
        try:
            host = broker.host
            if broker.tls is not None:
                broker.tls.sslsocket_class = _TidySocket
            else:  # a certificate is checked against the name: with TLS paho looks it up by itself
                host = str((await resolver.resolve(broker.host, broker.port))[0]["host"])
            client = self._client = aiomqtt.Client(
                hostname=host,
                port=broker.port,
                username=broker.username,
                password=broker.password,
                identifier=self._identity,
                will=aiomqtt.Will(self._status_topic, OFFLINE, _QOS, retain=True),
                timeout=self._deadline_seconds / 2,
                keepalive=broker.keepalive_seconds,
                tls_context=broker.tls,
                logger=_LOG,
            )
            client._client.connect_timeout = self._deadline_seconds / 2  # noqa: SLF001 - aiomqtt has no option for it; paho's is 5 s
            await client.__aenter__()
        except aiomqtt.exceptions.MqttConnectError as error:
            raise _translate_refusal(error, broker) from None
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            if isinstance(cause := error.__context__, ssl.SSLCertVerificationError):
                detail = f"{broker.place}: its certificate does not hold ({cause.verify_message}); check DETECTOR_MQTT__HOST"
                raise SettingsError(detail, attempted=False) from None
            raise TemporaryError(f"{broker.place}: cannot connect ({error})", attempted=False) from None

    async def publish(self, topic: str, payload: bytes, *, deadline_seconds: float | None = None) -> None:
        """Publish retained and return once the broker acknowledged. Raises TemporaryError; the connection is broken then."""
        client = self._client
        if client is None or self.broken.is_set():
            raise TemporaryError(f"{self._broker.place}: not connected", attempted=False)
        seconds = self._deadline_seconds if deadline_seconds is None else deadline_seconds
        try:
            await client.publish(topic, payload, qos=_QOS, retain=True, timeout=seconds)
        except (aiomqtt.MqttError, OSError, ValueError, RuntimeError) as error:
            self.broken.set()
            raise TemporaryError(f"{self._broker.place}: not acknowledged within {seconds:.3g} s ({error})") from None

    async def watch(self) -> None:
        """Return when the connection is lost or broken. While it lasts, nobody may leave "offline" standing in our name."""
        watching = asyncio.create_task(self._defend_status())
        breaking = asyncio.create_task(self.broken.wait())
        try:
            await asyncio.wait((watching, breaking), return_when=asyncio.FIRST_COMPLETED)
            self.broken.set()
        finally:
            for task in (watching, breaking):
                task.cancel()
            await asyncio.gather(watching, breaking, return_exceptions=True)

    async def close(self) -> None:
        """Say goodbye (the last will is not sent then) and take everything apart, whatever state it is in."""
        self.broken.set()
        client, self._client = self._client, None
        if client is not None:
            await take_apart(client)

    async def _defend_status(self) -> None:
        """The last will of a connection that hung may come after our "online", and another daemon's end looks like ours."""
        client = self._client
        if client is None:
            return
        with contextlib.suppress(aiomqtt.MqttError):  # not allowed, or gone: the iterator below knows which
            await client.subscribe(self._status_topic, qos=_QOS)
        async for message in client.messages:
            if message.payload != ONLINE:
                await self.publish(self._status_topic, ONLINE)


async def take_apart(client: aiomqtt.Client) -> None:
    """End a client in any state: DISCONNECT if it can still be written, then socket, callbacks and the task that kept it alive."""
    paho = client._client  # noqa: SLF001 - see the module
    paho.disconnect()
    # The loop learns of the packet, writes it and closes. Closed at once, a writer would still be added, to a socket that is gone.
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    paho._sock_close()  # noqa: SLF001 - does nothing where the socket is closed
    await asyncio.sleep(0)
    task = client._misc_task  # noqa: SLF001
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for future in (client._connected, client._disconnected):  # noqa: SLF001 - else asyncio tells of errors nobody looked at
        if future.done() and not future.cancelled():
            future.exception()


def _translate_refusal(error: aiomqtt.exceptions.MqttConnectError, broker: Broker) -> TemporaryError:
    code = getattr(error.rc, "value", error.rc)
    if code in _REFUSALS:
        return SettingsError(
            f"{broker.place} refused the login ({error.rc}): check DETECTOR_MQTT__USERNAME and __PASSWORD", attempted=False
        )
    return TemporaryError(f"{broker.place} refused the connection ({error.rc})", attempted=False)

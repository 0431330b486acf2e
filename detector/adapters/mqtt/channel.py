"""MQTT as a channel: keeps one connection, tells every open incident anew on each, and publishes notices through it.

Before it: the dispatcher claimed the delivery. After it: the broker. `<prefix>/incidents/<id>` holds the facts of every incident
that is not closed, `<prefix>/status` holds "online" or "offline"; all retained, QoS 1. A publish counts when the broker has
acknowledged it: with QoS 0 a frozen broker would look like success.

A broker killed before it saved has forgotten what was retained, so all open incidents are published on every connection, before
any notice.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from detector.adapters.mqtt.connection import Broker, Connection
from detector.adapters.mqtt.payload import EMPTY, OFFLINE, ONLINE, Topic, encode_notice, encode_snapshot
from detector.domain.incident import NoticeKind
from detector.ports.channel import Receipt
from detector.ports.error import OutsideError, TemporaryError
from detector.transport.resolver import RememberingResolver

if TYPE_CHECKING:
    from detector.ports.store import Delivery

NAME = "mqtt"
TLS_PORT = 8883
_DEADLINE_SECONDS = 5.0
_LEAVE_SECONDS = 1.0
_TOGETHER = 20
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0

Snapshot: TypeAlias = Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]
Tell: TypeAlias = Callable[[str], None]


class Secret(Protocol):
    """A value that does not show itself, as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The value."""


class MqttSetting(Protocol):
    """The settings it reads, as MqttSettings has them."""

    @property
    def host(self) -> str:
        """The broker."""

    @property
    def port(self) -> int:
        """1883, or 8883 for TLS."""

    @property
    def topic_prefix(self) -> str:
        """Where topics begin."""

    @property
    def username(self) -> str | None:
        """None: no login."""

    @property
    def password(self) -> Secret | None:
        """The login's password."""


class Mqtt:
    """The channel "mqtt". `snapshot` gives id and facts of the incidents that are not closed; it is called in the loop's thread.

    `on_trouble` hears one line when a connection is lost or cannot be made, once until the next one stands. `tls` None means by
    port. Raises ValueError for a topic prefix that cannot be one.
    """

    def __init__(
        self,
        setting: MqttSetting,
        snapshot: Snapshot,
        *,
        deadline_seconds: float = _DEADLINE_SECONDS,
        keepalive_seconds: int = 15,
        pause_seconds: float = _FIRST_PAUSE_SECONDS,
        tls: ssl.SSLContext | None = None,
        on_trouble: Tell | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._topic = Topic(setting.topic_prefix)
        self._broker = Broker(
            host=setting.host,
            port=setting.port,
            username=setting.username,
            password=setting.password.get_secret_value() if setting.password else None,
            tls=tls or (ssl.create_default_context() if setting.port == TLS_PORT else None),
            keepalive_seconds=keepalive_seconds,
        )
        self._snapshot = snapshot
        self._deadline_seconds = deadline_seconds
        self._pause_seconds = pause_seconds
        self._on_trouble = on_trouble
        self._now = now
        self._identity = f"detector-{secrets.token_hex(6)}"
        self._resolver: RememberingResolver | None = None
        self._connection: Connection | None = None
        self._fault: OutsideError | None = None
        self._tried = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Name in the outbox and on metrics."""
        return NAME

    @property
    def connected(self) -> bool:
        """Whether notices can be published now."""
        return self._connection is not None and not self._connection.broken.is_set()

    def start(self) -> None:
        """Begin to connect; idempotent. `send` does it too."""
        if self._task is None and not self._stopping.is_set():
            self._task = asyncio.create_task(self._keep_connected(), name="mqtt connection")

    async def send(self, delivery: Delivery, *, now: float) -> Receipt:  # noqa: ARG002 - a message is dated by its notice
        """Publish the incident's facts, or nothing in their place once it is closed. Raises TemporaryError while not connected."""
        self.start()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                await self._tried.wait()
        except TimeoutError:
            raise TemporaryError(f"{self._broker.place}: still connecting", attempted=False) from None
        connection = self._connection
        if connection is None:
            raise self._fault or TemporaryError(f"{self._broker.place}: not connected", attempted=False)
        payload = EMPTY if delivery.kind is NoticeKind.CLOSE else encode_notice(delivery)
        await connection.publish(self._topic.name_incident(delivery.incident), payload)
        return Receipt()

    async def close(self) -> None:
        """Publish "offline", disconnect, end the task; idempotent and bounded."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            # not cancelled at once: a connect under way runs in a thread, and would leave its socket behind
            await asyncio.wait((task,), timeout=self._deadline_seconds + 2 * _LEAVE_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()

    async def _keep_connected(self) -> None:
        """One connection after the other, with pauses that grow while there is none."""
        pause_seconds = self._pause_seconds
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._hold_connection()
            except OutsideError as error:
                self._note(error)
            except Exception as error:  # noqa: BLE001 - this task's guard: a fault in a snapshot must not end the channel in silence
                self._note(TemporaryError(f"{self._broker.place}: a fault in the channel: {type(error).__name__}", attempted=False))
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause_seconds = self._pause_seconds
            await self._pause(pause_seconds * (0.5 + secrets.randbelow(1000) / 1000))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _hold_connection(self) -> None:
        """From connect to disconnect. Raises OutsideError with the reason where it was not our own wish."""
        self._resolver = self._resolver or RememberingResolver()
        connection = Connection(self._broker, self._topic.status, self._identity, self._deadline_seconds)
        try:
            await connection.open(self._resolver)
            if self._stopping.is_set():
                return
            await self._tell_everything(connection)
            await connection.publish(self._topic.status, ONLINE)
            self._connection, self._fault = connection, None
            self._tried.set()
            await self._watch(connection)
            if self._stopping.is_set():
                await connection.publish(self._topic.status, OFFLINE, deadline_seconds=_LEAVE_SECONDS)
        finally:
            self._connection = None
            await connection.close()

    async def _tell_everything(self, connection: Connection) -> None:
        """Publish every incident that is not closed, some at a time: one by one a far broker would take minutes for a storm."""
        incidents, now = list(self._snapshot()), self._now()
        for start in range(0, len(incidents), _TOGETHER):
            batch = incidents[start : start + _TOGETHER]
            messages = [(self._topic.name_incident(incident), encode_snapshot(incident, facts, now)) for incident, facts in batch]
            await asyncio.gather(*(connection.publish(topic, payload) for topic, payload in messages))

    async def _watch(self, connection: Connection) -> None:
        """Return when told to stop. Raises TemporaryError when the connection ended."""
        watching = asyncio.create_task(connection.watch())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                raise TemporaryError(f"{self._broker.place}: the connection was lost", attempted=False)
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)

    def _note(self, error: OutsideError) -> None:
        is_new = self._fault is None
        self._fault = error
        self._tried.set()
        if is_new and self._on_trouble is not None and not self._stopping.is_set():
            self._on_trouble(str(error))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

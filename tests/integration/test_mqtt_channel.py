"""The MQTT channel against a real mosquitto: retained facts, last will, a broker that forgets, freezes or refuses."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import ssl
import subprocess
import sys
import textwrap
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from pydantic import SecretStr

from detector.adapters.mqtt import Mqtt
from detector.adapters.mqtt.payload import MAX_PAYLOAD_BYTES, Topic
from detector.adapters.settings.model import MqttSettings
from detector.domain.incident import NoticeKind
from detector.ports.error import SettingsError, TemporaryError
from tests.kit.certificate import make_certificate
from tests.kit.delivery import FACTS, OPENED, make_delivery
from tests.kit.faultproxy import BlackHole, FaultProxy, Pass, Refuse
from tests.kit.listener import Listener, read_retained
from tests.kit.mosquitto import Mosquitto
from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.secret import assert_no_secret
from tests.kit.wait import BRIEF_SECONDS, HELD_UP_SECONDS, PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from detector.ports.store import Delivery

NOW = OPENED + 10
PASSWORD = "hunter2-hunter2"


def make_message(kind: NoticeKind = NoticeKind.TRIGGER, *, incident: str = "abc", **about: Any) -> Delivery:
    """A delivery of this channel; the key is the incident's id."""
    return replace(make_delivery(kind, key=incident, incident=incident, **about), channel="mqtt")


@asynccontextmanager
async def open_channel(port: int, incidents: Mapping[str, Any] | None = None, **options: Any) -> AsyncIterator[Mqtt]:
    """A started channel with quick retries, closed at the end; `incidents` are what is not closed."""
    given: dict[str, Any] = {
        name: options.pop(name) for name in ("host", "username", "password", "topic_prefix") if name in options
    }
    setting = MqttSettings(**{"host": "127.0.0.1", "port": port, **given})
    held: Mapping[str, Any] = incidents if incidents is not None else {}
    channel = Mqtt(setting, held.items, **{"deadline_seconds": 2.0, "pause_seconds": 0.05, **options})
    channel.start()
    try:
        yield channel
    finally:
        await channel.close()


async def wait_connected(channel: Mqtt, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Until notices can be published."""
    await wait_until(lambda: channel.connected, "connected", seconds=seconds)


async def test_an_incident_from_open_to_closed(mosquitto: Mosquitto) -> None:
    """Facts stand retained under the incident's id while it is not closed, and nothing after that."""
    async with Listener(mosquitto.port) as listener, open_channel(mosquitto.port) as channel:
        await channel.send(make_message(), now=NOW)
        facts = await listener.wait_incident("abc")
        assert facts["event"] == make_message().id
        assert (facts["kind"], facts["at"], facts["severity"], facts["service"]) == ("trigger", OPENED, "high", "checkout")
        assert facts["value"] == 0.102
        await channel.send(make_message(NoticeKind.RESOLVE, value_at_recovery=0.0005, state="monitoring"), now=NOW)
        await wait_until(lambda: listener.facts("abc").get("kind") == "resolve", "the resolve")
        assert listener.facts("abc")["value_at_recovery"] == 0.0005
        assert set(await read_retained(mosquitto.port)) == {"detector/incidents/abc", "detector/status"}
        await channel.send(make_message(NoticeKind.CLOSE), now=NOW)
        await listener.wait_for("incidents/abc", b"")
        assert await read_retained(mosquitto.port) == {"detector/status": b"online"}


async def test_a_clean_end_says_offline(mosquitto: Mosquitto) -> None:
    """`close` leaves "offline", keeps what is open, and may be called again; a send after it fails."""
    async with open_channel(mosquitto.port, {"abc": FACTS}) as channel:
        await wait_connected(channel)
        assert (await read_retained(mosquitto.port))["detector/status"] == b"online"
        await channel.close()
        await channel.close()
        retained = await read_retained(mosquitto.port)
        assert retained["detector/status"] == b"offline"
        assert "detector/incidents/abc" in retained
        with pytest.raises(TemporaryError):
            await channel.send(make_message(), now=NOW)


async def test_a_broker_that_forgot_is_told_everything_again(mosquitto: Mosquitto) -> None:
    """Killed and restarted without its data: open incidents and "online" stand again within seconds, without any notice."""
    incidents: dict[str, Any] = {"abc": FACTS, "def": {**FACTS, "service": "basket"}}
    async with open_channel(mosquitto.port, incidents) as channel:
        await wait_connected(channel)
        await channel.send(make_message(), now=NOW)
        mosquitto.kill()
        await wait_until(lambda: not channel.connected, "the loss is noticed")
        with pytest.raises(TemporaryError) as caught:
            await channel.send(make_message(), now=NOW)
        assert not caught.value.attempted
        del incidents["def"]
        incidents["ghi"] = FACTS
        mosquitto.start()
        await wait_connected(channel)
        retained = await read_retained(mosquitto.port)
    assert set(retained) == {"detector/status", "detector/incidents/abc", "detector/incidents/ghi"}
    assert retained["detector/status"] == b"online"
    facts = json.loads(retained["detector/incidents/ghi"])
    assert (facts["id"], facts["kind"], facts["service"]) == ("ghi", "snapshot", "checkout")
    assert facts["event"].startswith("ghi:snapshot:")
    assert facts["at"] == pytest.approx(time.time(), abs=60)


async def test_a_storm_of_open_incidents_is_told_at_once(mosquitto: Mosquitto) -> None:
    """Five hundred open incidents stand within seconds of the connection, all of them."""
    incidents = {f"i{number}": FACTS for number in range(500)}
    async with Listener(mosquitto.port) as listener, open_channel(mosquitto.port, incidents) as channel:
        await wait_connected(channel)
        await wait_until(lambda: len(listener.latest) == 501, "all of them")


async def test_a_frozen_broker_is_no_success_and_recovers(mosquitto: Mosquitto) -> None:
    """SIGSTOP: a publish that nobody acknowledged fails within its deadline; after SIGCONT sends succeed and status is online."""
    async with open_channel(mosquitto.port, {"abc": FACTS}, deadline_seconds=BRIEF_SECONDS) as channel:
        await wait_connected(channel)
        mosquitto.freeze()
        for number in range(4):
            began = time.monotonic()
            with pytest.raises(TemporaryError) as caught:
                await channel.send(make_message(NoticeKind.UPDATE, sequence=number), now=NOW)
            assert time.monotonic() - began < BRIEF_SECONDS + HELD_UP_SECONDS  # aiomqtt itself would wait for ten
            assert caught.value.attempted is (number == 0)
        await asyncio.sleep(1.5)  # several attempts to connect to it
        mosquitto.thaw()
        await wait_connected(channel)
        await channel.send(make_message(NoticeKind.UPDATE, sequence=9), now=NOW)
        async with Listener(mosquitto.port) as listener:
            await listener.wait_for("status", b"online")
            assert (await listener.wait_incident("abc"))["event"] == make_message(NoticeKind.UPDATE, sequence=9).id
            await asyncio.sleep(0.3)
            assert listener.latest["detector/status"] == b"online"


async def test_an_idle_frozen_broker_is_noticed_by_its_silence(mosquitto: Mosquitto) -> None:
    """With nothing to send, the keepalive finds out."""
    async with open_channel(mosquitto.port, deadline_seconds=0.6, keepalive_seconds=1) as channel:
        await wait_connected(channel)
        mosquitto.freeze()
        await wait_until(lambda: not channel.connected, "noticed")
        mosquitto.thaw()
        await wait_connected(channel)


async def test_online_is_said_again_when_somebody_says_offline(mosquitto: Mosquitto) -> None:
    """A last will that comes late, or the end of another daemon, does not leave "offline" standing while we live."""
    async with Listener(mosquitto.port) as listener, open_channel(mosquitto.port) as channel:
        await wait_connected(channel)
        async with open_channel(mosquitto.port) as other:
            await wait_connected(other)
        await wait_until(lambda: ("detector/status", b"offline") in listener.seen, "the other's end")
        await listener.wait_for("status", b"online")


PROGRAM = """
import asyncio, sys
from detector.adapters.mqtt import Mqtt
from detector.adapters.settings.model import MqttSettings

async def main():
    channel = Mqtt(MqttSettings(host="127.0.0.1", port=int(sys.argv[1])), lambda: [("abc", {"service": "checkout"})])
    channel.start()
    await asyncio.sleep(float(sys.argv[2]))
    await channel.close()

asyncio.run(main(), debug=True)
"""


async def test_kill_9_leaves_the_last_will(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Our process killed: the broker says "offline" for it, and what is open stays to be seen."""
    async with Listener(mosquitto.port) as listener:
        with Process([sys.executable, "-c", PROGRAM, str(mosquitto.port), "60"], log=tmp_path / "child.log") as child:
            await listener.wait_for("status", b"online")
            await listener.wait_incident("abc")  # told after it
            child.kill()
            await listener.wait_for("status", b"offline")
        assert listener.facts("abc")["service"] == "checkout"


@pytest.mark.parametrize("state", ["running", "frozen", "absent"])
def test_a_process_ends_without_a_word(mosquitto: Mosquitto, state: str) -> None:
    """Whatever the broker does, the end prints nothing: no warning, no lost task, no unclosed socket."""
    port = mosquitto.port if state != "absent" else free_port()
    if state == "frozen":
        mosquitto.freeze()
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(PROGRAM), str(port), "0.5"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={**os.environ, "PYTHONASYNCIODEBUG": "0"},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def count_connections(port: int) -> int:
    """Open connections of this process to that port."""
    return sum(1 for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port)


async def test_attempts_at_a_silent_broker_leave_nothing_behind(mosquitto: Mosquitto) -> None:
    """Connections that a frozen broker accepts and never answers: no socket and no task is left of them, and nobody complains."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    mosquitto.freeze()
    async with FaultProxy(mosquitto.port) as proxy, open_channel(proxy.port, deadline_seconds=0.1, pause_seconds=0.01):
        await proxy.switch(BlackHole())
        await wait_until(lambda: proxy.connections >= 6, "attempts")
        assert count_connections(proxy.port) <= 1
        assert sum("_misc_loop" in repr(task) for task in asyncio.all_tasks()) <= 1
    mosquitto.thaw()
    gc.collect()
    await asyncio.sleep(0.05)
    assert complaints == []


async def test_a_reset_connection_is_replaced(mosquitto: Mosquitto) -> None:
    """The network cuts the line: the next connection tells everything again, and trouble is told once."""
    troubles: list[str] = []
    async with (
        FaultProxy(mosquitto.port) as proxy,
        open_channel(proxy.port, {"abc": FACTS}, on_trouble=troubles.append) as channel,
    ):
        await wait_connected(channel)
        await proxy.switch(Refuse())
        await wait_until(lambda: not channel.connected, "noticed")
        await asyncio.sleep(0.5)
        await proxy.switch(Pass())
        await wait_connected(channel)
        await channel.send(make_message(), now=NOW)
        assert len(troubles) == 1
        assert "connection was lost" in troubles[0]


async def test_nobody_listens() -> None:
    """A refused connection and an unknown name fail at once, unattempted, naming the broker."""
    for host in ("127.0.0.1", "no-such-host.invalid"):
        async with open_channel(free_port(), host=host) as channel:
            with pytest.raises(TemporaryError, match=host) as caught:
                await channel.send(make_message(), now=NOW)
            assert not caught.value.attempted


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A password file of mosquitto with the user "ops"."""
    file = tmp_path / "passwords"
    file.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(file), "ops", PASSWORD], check=True, capture_output=True)
    return file


async def test_login_right_and_wrong(guarded: Path, tmp_path: Path) -> None:
    """The right login publishes; a wrong one is a settings fault that names the settings and tells no secret."""
    options = (f"password_file {guarded}",)
    with Mosquitto(tmp_path / "broker", options=("allow_anonymous false", *options)) as broker:
        async with open_channel(broker.port, username="ops", password=SecretStr(PASSWORD)) as channel:
            await channel.send(make_message(), now=NOW)
            assert_no_secret([PASSWORD], repr(channel), repr(channel._broker))
        wrong = "not-the-password"
        async with open_channel(broker.port, username="ops", password=SecretStr(wrong)) as channel:
            with pytest.raises(SettingsError, match="DETECTOR_MQTT__USERNAME") as caught:
                await channel.send(make_message(), now=NOW)
            assert_no_secret([wrong], str(caught.value), repr(caught.value))
        retained = await read_retained(broker.port, username="ops", password=PASSWORD)
        assert_no_secret([PASSWORD], *retained.values())


async def test_tls_with_an_authority_of_our_own(tmp_path: Path) -> None:
    """TLS to a broker whose certificate is trusted works; with the system's authorities it is a settings fault."""
    made = make_certificate(tmp_path / "tls")
    options = (f"cafile {made.ca_file}", f"certfile {made.certificate_file}", f"keyfile {made.key_file}")
    with Mosquitto(tmp_path / "broker", options=options) as broker:
        trusted = ssl.create_default_context(cafile=made.ca_file)
        async with open_channel(broker.port, host="localhost", tls=trusted) as channel:
            await channel.send(make_message(), now=NOW)
        async with open_channel(broker.port, host="localhost", tls=ssl.create_default_context()) as channel:
            with pytest.raises(SettingsError, match="certificate does not hold"):
                await channel.send(make_message(), now=NOW)


async def test_hostile_values_stay_inside_the_payload(mosquitto: Mosquitto) -> None:
    """Topic signs, NUL, half surrogates, NaN and 600 KB of labels: one topic of the id, valid JSON of bounded size."""
    hostile = "#+/\x00\r\n$SYS/{{7*7}}<!channel>🔥\ud800"
    labels = {f"{hostile}{number}": hostile * 20 for number in range(2000)}
    async with Listener(mosquitto.port) as listener, open_channel(mosquitto.port) as channel:
        about: dict[str, Any] = {"incident": "a/#+b", "title": hostile, "service": hostile, "labels": labels, "value": math.nan}
        await channel.send(make_message(**about), now=NOW)
        facts = await listener.wait_incident("a___b")
    assert [topic for topic, _ in listener.seen if "status" not in topic] == ["detector/incidents/a___b"]
    assert len(listener.latest["detector/incidents/a___b"]) <= MAX_PAYLOAD_BYTES
    assert facts["cut"] == ["labels"]
    assert facts["title"].startswith("#+/\ufffd\n$SYS/{{7*7}}<!channel>🔥")
    assert facts["value"] is None


async def test_a_fault_in_the_snapshot_does_not_end_the_channel(mosquitto: Mosquitto) -> None:
    """The task goes on: once the snapshot works, so does the channel."""
    broken = True

    def give() -> list[tuple[str, Mapping[str, Any]]]:
        if broken:
            raise KeyError("secret detail")
        return [("abc", FACTS)]

    channel = Mqtt(MqttSettings(host="127.0.0.1", port=mosquitto.port), give, deadline_seconds=2.0, pause_seconds=0.05)
    with pytest.raises(TemporaryError, match=r"KeyError$"):
        await channel.send(make_message(), now=NOW)
    broken = False
    await wait_connected(channel)
    await channel.send(make_message(), now=NOW)
    await channel.close()


@pytest.mark.parametrize("prefix", ["", "/", "a/+/b", "#", "a\x00b", "a\nb", "x" * 1001])
def test_a_prefix_that_is_no_topic_is_refused(prefix: str) -> None:
    """The error names the setting and what would be right."""
    with pytest.raises(ValueError, match="DETECTOR_MQTT__TOPIC_PREFIX: must be a topic such as"):
        Topic(prefix)


def test_slashes_around_a_prefix_do_not_matter() -> None:
    """`/ops/detector/` and `ops/detector` are the same place."""
    assert (
        Topic("/ops/detector/").name_incident("abc") == Topic("ops/detector").name_incident("abc") == "ops/detector/incidents/abc"
    )

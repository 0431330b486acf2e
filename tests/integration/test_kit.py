"""The kit itself: the real servers start, do what tests need of them, and leave nothing behind."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import psutil
import psycopg
import pytest

from tests.kit.alertmanager import Alertmanager
from tests.kit.mosquitto import Mosquitto
from tests.kit.port import is_listening
from tests.kit.postgres import Postgres
from tests.kit.process import Process
from tests.kit.prometheus import Prometheus, static_job
from tests.kit.wait import until
from tests.kit.web import is_answering

FORKING = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print('up', flush=True)
time.sleep(60)
"""
NEGLIGENT = """
import os, time
os.fork() or os._exit(0)
print('up', flush=True)
time.sleep(60)
"""


def _python(tmp_path: Path, code: str) -> Process:
    return Process([sys.executable, "-c", code], log=tmp_path / "log")


def test_a_kill_takes_the_whole_family(tmp_path: Path) -> None:
    """After `kill` neither the child nor its own children live on."""
    with _python(tmp_path, FORKING) as process:
        process.await_ready(lambda: "up" in process.read_log())
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.assert_nothing_left()
    assert family
    assert not any(child.is_running() for child in family)


def test_a_polite_stop_that_leaves_a_child_is_noticed(tmp_path: Path) -> None:
    """`assert_nothing_left` fails when a descendant outlives a polite stop."""
    process = _python(tmp_path, FORKING)
    process.start()
    process.await_ready(lambda: "up" in process.read_log())
    orphans = psutil.Process(process.pid).children(recursive=True)
    assert process.stop() == -signal.SIGTERM
    with pytest.raises(AssertionError, match="left behind"):
        process.assert_nothing_left(seconds=0.1)
    for orphan in orphans:
        orphan.kill()


def test_an_unreaped_child_is_noticed(tmp_path: Path) -> None:
    """`assert_no_zombies` fails for a process that does not wait for its children."""
    with _python(tmp_path, NEGLIGENT) as process:
        process.await_ready(lambda: "up" in process.read_log())
        (ended,) = psutil.Process(process.pid).children()
        until(lambda: ended.status() == psutil.STATUS_ZOMBIE, "the child ended")
        with pytest.raises(AssertionError, match="zombies"):
            process.assert_no_zombies()


async def test_an_early_end_is_told_with_its_log(tmp_path: Path) -> None:
    """Waiting for a process that ends first fails at once and shows what it wrote."""
    process = _python(tmp_path, "import sys; sys.exit('cannot begin')")
    process.start()
    with pytest.raises(AssertionError, match=r"ended with 1\ncannot begin"):
        await process.wait_ready(lambda: False)


def test_prometheus_scrapes_freezes_and_restarts_empty(start_prometheus: Callable[..., Prometheus]) -> None:
    """It scrapes itself, hangs when frozen, goes on when thawed, and knows nothing after an empty restart."""
    prometheus = start_prometheus()
    prometheus.configure(
        scrape_configs=[static_job("itself", f"127.0.0.1:{prometheus.port}", scrape_interval="200ms", scrape_timeout="200ms")]
    )
    prometheus.reload()
    until(lambda: prometheus.query('up{job="itself"} == 1') != [], "scraped")
    prometheus.freeze()
    assert is_listening(prometheus.port)
    assert not is_answering(prometheus.port, "/-/ready")
    prometheus.thaw()
    until(lambda: is_answering(prometheus.port, "/-/ready"), "thawed")
    prometheus.configure()
    prometheus.restart(empty=True)
    assert prometheus.query("up") == []


def test_prometheus_answers_for_loaded_history(start_prometheus: Callable[..., Prometheus]) -> None:
    """OpenMetrics text becomes samples at its own times."""
    at = int(time.time()) - 86_400
    history = f'# TYPE shop_requests counter\nshop_requests_total{{service="basket"}} 7 {at}\n'
    prometheus = start_prometheus(history=history)
    (series,) = prometheus.query("shop_requests_total", at=at + 1)
    assert (series["metric"]["service"], series["value"][1]) == ("basket", "7")


def test_prometheus_alerts_reach_alertmanager(
    start_prometheus: Callable[..., Prometheus], start_alertmanager: Callable[..., Alertmanager], tmp_path: Path
) -> None:
    """A rule file given to Prometheus fires into the Alertmanager given to it."""
    alertmanager = start_alertmanager()
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: Always, expr: vector(1)}]}]")
    # the first alert is sent before the Alertmanager is discovered (5 s); the default repeats it after a minute
    options = ["--rules.alert.resend-delay=1s"]
    start_prometheus(rule_files=[rules], alertmanagers=[alertmanager.target], options=options)
    until(lambda: [alert["labels"]["alertname"] for alert in alertmanager.list_alerts()] == ["Always"], "alerted")


def test_a_database_is_a_tests_own(postgres: Postgres, postgres_url: str) -> None:
    """A test's database starts empty and takes tables; the unix socket leads to the same server."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE TABLE t (n int)")
    assert tables == (0,)
    with psycopg.connect(postgres.socket_url(postgres_url.rpartition("/")[2])) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_postgres_comes_back_after_a_kill() -> None:
    """After SIGKILL the same cluster starts again on the same port with what was committed."""
    with Postgres() as server:
        name = server.create_database()
        server.kill()
        server.process.assert_nothing_left()
        server.start()
        with psycopg.connect(server.url(name)) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)
    assert not server.folder.exists()


async def test_mosquitto_keeps_a_retained_message(mosquitto: Mosquitto) -> None:
    """A message published as retained is there for who comes later."""
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        await client.publish("detector/test", b"kept", qos=1, retain=True)
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        await client.subscribe("detector/#")
        message = await anext(aiter(client.messages))
    assert message.payload == b"kept"

"""Hostile senders against the running daemon: answered or cut by the limits, while every slot is evaluated and a page goes out."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil

from detector.web.protocol import MAX_CONNECTIONS
from tests.kit.rule import PLAIN_RULES
from tests.kit.wait import wait_until
from tests.kit.web import request

if TYPE_CHECKING:
    from tests.kit.house import EnterBooth

CONNECTIONS = 10_000
SECONDS = 9.0
RULES = PLAIN_RULES.replace("every: 1s", "every: 2s")
# what each sender may hear as the last word; `cut` where room was made for others
ANSWERS = {
    "headers": {"400", "431", "cut"},
    "many headers": {"400", "431", "cut"},
    "body": {"413", "cut"},
    "webhook": {"413", "cut"},
    "unsigned": {"403", "cut"},
    "pipeline": {"400", "200", "cut"},
    "two lengths": {"400", "cut"},
    # a body by chunks, its announced length ignored (RFC 9112, 6.1), from a Host that is not ours
    "smuggled": {"400", "403", "cut"},
}


async def _is_well(port: int) -> bool:
    try:
        return (await asyncio.to_thread(request, port, "GET", "/-/healthy"))[0] == 200
    except OSError:
        return False


async def _read_metrics(booth: Any, name: str) -> float:
    """A metric, asked again where room was made for others meanwhile."""
    for _ in range(50):
        try:
            return float(await booth.daemon.metric(name))
        except OSError:
            await asyncio.sleep(0.1)
    raise AssertionError("fifty tries at /metrics, and none was answered")


async def test_ten_thousand_connections_and_worse_cost_no_slot_and_no_page(enter_booth: EnterBooth) -> None:
    """As many connections as the limit of descriptors allows, slow and oversized senders, garbage: the daemon does its work."""
    booth = await enter_booth(rules={"errors": RULES}, pagerduty__webhook_secret="webhook-secret-1234")
    booth.show(checkout=0.0)
    await booth.daemon.start()
    port, process = booth.daemon.port, psutil.Process(booth.daemon.process.pid)
    await booth.daemon.incidents()  # the API is imported at its first request
    evaluated = await booth.daemon.metric("detector_evaluations_total")
    descriptors = process.num_fds()
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kit.abuse", str(port), str(SECONDS), str(CONNECTIONS)), stdout=asyncio.subprocess.PIPE
    )
    began = time.monotonic()
    await asyncio.sleep(SECONDS / 3)
    booth.show(checkout=0.5)
    await booth.wait_open(1)
    most, answered = 0, 0
    while time.monotonic() < began + SECONDS - 1:
        most = max(most, process.num_fds())
        answered += await _is_well(port)
        await asyncio.sleep(0.02)
    told = json.loads((await attacker.communicate())[0])
    assert attacker.returncode == 0
    assert told["opened"] >= min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]) / 10, told
    wrong = {name: seen for name, seen in told["answers"].items() if not set(seen) <= ANSWERS[name] or not seen}
    assert not wrong, told["answers"]
    assert answered > 0, "nobody else was answered meanwhile"
    assert most < descriptors + 2 * MAX_CONNECTIONS + 20, f"{most} descriptors at once, {descriptors} before"
    assert await _read_metrics(booth, "detector_missed_evaluations_total") == 0
    assert await _read_metrics(booth, "detector_event_loop_lag_seconds") < 2.0
    assert await _read_metrics(booth, "detector_evaluations_total") - evaluated >= 3
    await wait_until(lambda: process.num_fds() <= descriptors + 5, "its descriptors are free again")
    assert await _is_well(port)
    assert "Traceback" not in booth.daemon.read()

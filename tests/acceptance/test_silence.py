"""Silences in the running daemon, set and ended by the command line: fault row 27, from the breach to PagerDuty."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from tests.kit.house import Booth, EnterBooth

QUIET_SECONDS = 4.0  # four evaluations: what was to be sent would have been


async def _run(booth: Booth, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "DETECTOR_URL": f"http://127.0.0.1:{booth.daemon.port}", "USER": "kim"}
    argv = [sys.executable, "-m", "detector", "silence", *words]
    done = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, check=False, env=env, cwd=booth.daemon.folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


async def _add(booth: Booth, duration: str = "1h") -> str:
    return await _run(booth, "add", "service=checkout", "--duration", duration, "--reason", "a deploy")


async def _wait_muted(booth: Booth, *, muted: bool) -> str:
    found = ""

    async def is_so() -> bool:
        nonlocal found
        incident = await booth.daemon.incident("checkout")
        found = incident["muted"] if incident else ""
        return incident is not None and bool(found) is muted

    await wait_until(is_so, f"the incident is {'' if muted else 'not '}muted")
    return found


async def test_a_silence_while_firing_lets_the_resolve_through(enter_booth: EnterBooth) -> None:
    """Paged, then silenced: nothing more is sent, and when it recovers the page is resolved."""
    booth = await enter_booth()
    await booth.daemon.start()
    booth.show(checkout=0.02)
    await booth.wait_open(1)
    identity = await _add(booth)
    assert await _wait_muted(booth, muted=True) == f"silence {identity} by kim: a deploy"
    assert identity in await _run(booth, "list")
    booth.show(checkout=0.5)  # a rise would page anew
    await asyncio.sleep(QUIET_SECONDS)
    assert booth.count_sent("trigger") == 1
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    assert len(booth.pagerduty.alerts()) == 1
    await booth.check_oracle()


async def test_a_page_withheld_by_a_silence_goes_out_at_its_end(enter_booth: EnterBooth) -> None:
    """Silenced before the breach: nothing while it holds, over a kill too; ended by hand it pages once, and resolves."""
    booth = await enter_booth()
    await booth.daemon.start()
    identity = await _add(booth)
    booth.show(checkout=0.1)
    await _wait_muted(booth, muted=True)
    await booth.daemon.kill()
    await booth.daemon.start()
    await asyncio.sleep(QUIET_SECONDS)
    assert booth.count_sent("trigger") == 0
    assert await _run(booth, "expire", identity) == f"ended silence {identity}"
    await booth.wait_open(1)
    await _wait_muted(booth, muted=False)
    booth.show(checkout=0.0)
    await booth.wait_open(0)
    assert len(booth.pagerduty.alerts()) == 1
    incident = await booth.daemon.wait_incident("checkout", "resolved")
    kinds = [event["kind"] for event in await booth.daemon.timeline(incident["id"])]
    assert [kind for kind in kinds if kind in {"muted", "unmuted", "resolved"}] == ["muted", "unmuted", "resolved"]
    await booth.check_oracle()


async def test_what_recovers_inside_a_silence_is_never_sent(enter_booth: EnterBooth) -> None:
    """Breach and recovery while it holds; it runs out, and nobody ever heard of it."""
    booth = await enter_booth()
    await booth.daemon.start()
    await _add(booth, "30s")  # breach and recovery take five seconds, on a crowded machine more
    booth.show(checkout=0.1)
    await _wait_muted(booth, muted=True)
    booth.show(checkout=0.0)
    await booth.daemon.wait_incident("checkout", "resolved")
    await wait_until(lambda: _is_over(booth), "the silence has run out")
    await asyncio.sleep(QUIET_SECONDS)
    assert booth.pagerduty.requests == []


async def _is_over(booth: Booth) -> bool:
    return await _run(booth, "list") == ""

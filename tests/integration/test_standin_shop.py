"""The demo shop over HTTP, as Prometheus and the demo use it."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import pytest

from tests.kit.port import free_port
from tests.kit.standin import SERVICES, Shop
from tests.kit.wait import PATIENCE_SECONDS


async def test_scrape_names_every_service() -> None:
    """GET /metrics carries counters, histograms, build and start of all five services in the text format."""
    async with Shop() as shop, aiohttp.ClientSession(shop.url) as session, session.get("/metrics") as answer:
        text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for service in SERVICES:
        assert f'http_requests_total{{code="200",service="{service.name}"}}' in text
        assert f'http_request_duration_seconds_bucket{{le="+Inf",service="{service.name}"}}' in text
        assert f'build_info{{service="{service.name}",version="1.0.0"}} 1.0' in text
        assert f'process_start_time_seconds{{service="{service.name}"}}' in text
    assert 'code="5' not in text


async def test_faults_are_set_and_cleared_over_http() -> None:
    """POST /faults breaks a service, /metrics/<service> answers 503 while it is down, DELETE /faults heals all."""
    async with Shop() as shop, aiohttp.ClientSession(shop.url) as session:
        answer = await session.post("/faults", json={"service": "search", "down": True})
        assert (answer.status, (await answer.json())["search"]["down"]) == (200, True)
        assert (await session.get("/metrics/search")).status == 503
        assert 'service="search"' not in await (await session.get("/metrics")).text()
        assert (await session.delete("/faults")).status == 200
        assert 'service="search"' in await (await session.get("/metrics/search")).text()


async def test_restart_over_http_is_a_deploy() -> None:
    """POST /restart with a version shows the new version and no trace of the old one."""
    async with Shop() as shop, aiohttp.ClientSession(shop.url) as session:
        await session.post("/restart", json={"service": "payments", "version": "2.0.0"})
        text = await (await session.get("/metrics/payments")).text()
    assert 'version="2.0.0"' in text
    assert 'version="1.0.0"' not in text


@pytest.mark.parametrize(
    ("path", "sent", "named"),
    [
        ("/faults", {"service": "basket"}, "no service 'basket' in this shop; there are frontend, checkout"),
        ("/faults", {"service": "search", "error_ratio": 2}, "$.error_ratio"),
        ("/faults", {"service": "search", "errors": 1}, "errors"),
        ("/restart", {"version": "2"}, "service"),
    ],
)
async def test_wrong_fault_is_refused_and_named(path: str, sent: dict[str, object], named: str) -> None:
    """A service that does not exist, a ratio above 1 and an unknown key are answered 400 with what is wrong."""
    async with Shop() as shop, aiohttp.ClientSession(shop.url) as session, session.post(path, json=sent) as answer:
        assert answer.status == 400
        assert named in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("module", "options", "path"),
    [
        ("detector.standin.shop", [], "/metrics"),
        ("detector.standin.pagerduty", ["--routing-key", "k" * 32], "/alerts"),
    ],
)
async def test_stand_in_runs_as_a_process(module: str, options: list[str], path: str) -> None:
    """`python -m` serves on the given port until it is told to stop."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, "--port", str(port), *options)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        assert answer.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
    finally:
        process.terminate()
        await process.wait()

"""The exporter serves exactly what it was told, to a client and to a real Prometheus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from detector.standin.shop import Shop
from tests.kit.exporter import Exporter
from tests.kit.prometheus import Prometheus, static_job
from tests.kit.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_text_is_served_as_set() -> None:
    """Each scrape gets the text and status of now, and is counted."""
    async with Exporter("a 1") as exporter, aiohttp.ClientSession(exporter.url) as session:
        assert await (await session.get("/metrics")).text() == "a 1\n"
        exporter.set_samples(errors_total=3, ratio=float("nan"))
        assert await (await session.get("/metrics")).text() == "errors_total 3\nratio nan\n"
        exporter.set_status(500)
        assert (await session.get("/metrics")).status == 500
        assert exporter.scrapes == 3


async def test_prometheus_reads_exporter_and_shop(start_prometheus: Callable[..., Prometheus]) -> None:
    """A real Prometheus takes NaN from the exporter and all five services from the shop."""
    async with Exporter() as exporter, Shop() as shop:
        exporter.set_text('errors_total{service="checkout"} 3\nratio NaN\n')
        jobs = [static_job("exporter", exporter.target), static_job("shop", shop.target)]
        prometheus = await asyncio.to_thread(start_prometheus, scrape_configs=jobs)

        def is_seen() -> bool:
            services = prometheus.query("count by (service) (http_requests_total)")
            return len(services) == 5 and bool(prometheus.query("ratio"))

        await wait_until(lambda: asyncio.to_thread(is_seen), "five services and the exporter in Prometheus")
        (ratio,) = await asyncio.to_thread(prometheus.query, "ratio")
        (errors,) = await asyncio.to_thread(prometheus.query, "errors_total")
        await exporter.wait_for_scrapes()
        await asyncio.to_thread(prometheus.stop)
    assert ratio["value"][1] == "NaN"
    assert (errors["metric"]["service"], errors["value"][1]) == ("checkout", "3")

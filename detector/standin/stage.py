"""The stage of the demo: shop, PagerDuty stand-in, a real Prometheus and the daemon itself, on free ports of this machine.

Before it: `detector demo` enters it. After it: the demo breaks a service and looks at what every part says. Everything lies in one
folder under the temporary directory; the daemon is a process of its own with its settings in the environment, as in production.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec
import yaml

import detector
from detector.adapters.binary import find_binary
from detector.standin.child import Child, Port, StageError
from detector.standin.ledger import Alert
from detector.standin.pagerduty import PagerDuty
from detector.standin.rulebook import WINDOW_SECONDS, Rulebook, write_rules
from detector.standin.shop import SERVICES, Fault, Shop

if TYPE_CHECKING:
    from types import TracebackType

ROUTING_KEY = "demo".ljust(32, "0")
# settings of this machine's own daemon (a real routing key among them) and of the service manager stay out of the demo
_FOREIGN = ("DETECTOR_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "STATE_DIRECTORY", "LISTEN_")
_ERRORS = f'sum by (service) (increase(http_requests_total{{code=~"5.."}}[{WINDOW_SECONDS}s]))'
_TOTAL = f"sum by (service) (increase(http_requests_total[{WINDOW_SECONDS}s]))"
SCRAPE_SECONDS = 1
_SCRAPE_TAKES_SECONDS = 0.1
_EXCHANGE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Picture:
    """What the parts say at one moment. `ratios`: share of failed requests by service, as Prometheus answers it."""

    ratios: Mapping[str, float]
    incidents: tuple[Mapping[str, Any], ...]
    alerts: tuple[Alert, ...]


class Stage:
    """Enter it to start all parts, in any order they like; leave it and all are gone.

    The folder is removed only by `clear`, so that the logs outlive a failure. Raises StageError, and BinaryMissingError at
    construction.
    """

    def __init__(self) -> None:
        binary = find_binary("prometheus")
        self.folder = Path(tempfile.mkdtemp(prefix="detector-demo-"))
        self.shop = Shop()
        self.pagerduty = PagerDuty({"default": ROUTING_KEY})
        self.rulebook: Rulebook = write_rules(self.folder / "rules")
        self._prometheus_port, self._daemon_port = Port(), Port()
        self._binary = binary
        self._parts = AsyncExitStack()
        self._children: list[Child] = []
        self._session: aiohttp.ClientSession | None = None

    @property
    def prometheus_url(self) -> str:
        """Base URL of Prometheus."""
        return f"http://127.0.0.1:{self._prometheus_port.number}"

    @property
    def daemon_url(self) -> str:
        """Base URL of the daemon."""
        return f"http://127.0.0.1:{self._daemon_port.number}"

    async def __aenter__(self) -> Self:
        try:
            self._session = await self._parts.enter_async_context(
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_EXCHANGE_SECONDS))
            )
            await self._parts.enter_async_context(self.shop)
            await self._parts.enter_async_context(self.pagerduty)
            for port in (self._prometheus_port, self._daemon_port):
                self._parts.callback(port.close)
            self._parts.push_async_callback(self._stop_children)
            for service in SERVICES:  # counters that begin at zero, so that the first error counts
                self.shop.set_fault(Fault(service=service.name, never_failed=False))
            await self._start(self._describe_prometheus())
            await self._start(self._describe_daemon())
        except BaseException:
            await self._parts.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._parts.aclose()

    def check(self) -> None:
        """Raise StageError where a program ended by itself."""
        for child in self._children:
            child.check()

    async def is_answering(self, url: str) -> bool:
        """Whether GET `url` answers 200. Raises StageError where a program ended by itself."""
        self.check()
        try:
            await self._read(url)
        except StageError:
            return False
        return True

    async def wait_scrape(self) -> None:
        """Return a moment after Prometheus read the shop. Raises StageError where it doesn't answer."""
        ages = await self._query('time() - timestamp(up{job="shop"})')
        age = min(ages.values(), default=0.0)
        await asyncio.sleep(max(0.0, SCRAPE_SECONDS - age) + _SCRAPE_TAKES_SECONDS)

    async def look(self) -> Picture:
        """Ask Prometheus, the daemon and PagerDuty. Raises StageError when one does not answer."""
        self.check()
        errors, total, incidents = await asyncio.gather(
            self._query(_ERRORS),
            self._query(_TOTAL),
            self._get(f"{self.daemon_url}/api/v1/incidents"),
        )
        ratios = {service: errors.get(service, 0.0) / count for service, count in total.items() if count > 0}
        return Picture(ratios, tuple(incidents), self.pagerduty.alerts())

    async def _query(self, expression: str) -> dict[str, float]:
        answer = await self._get(f"{self.prometheus_url}/api/v1/query", query=expression)
        return {each["metric"].get("service", ""): float(each["value"][1]) for each in answer["data"]["result"]}

    async def _get(self, url: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON of another program
        return msgspec.json.decode(await self._read(url, **parameters))

    async def _read(self, url: str, **parameters: str) -> bytes:
        if self._session is None:
            raise StageError("the stage was not entered")
        try:
            async with self._session.get(url, params=parameters) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.check()
            raise StageError(f"{url} does not answer: {str(error) or type(error).__name__}") from None
        if answer.status != 200:  # noqa: PLR2004 - HTTP OK
            raise StageError(f"{url} answered {answer.status}: {body[:120].decode(errors='replace')}")
        return body

    async def _start(self, child: Child) -> None:
        self._children.append(child)
        await child.start()

    async def _stop_children(self) -> None:
        await asyncio.gather(*(child.stop() for child in self._children))

    def _describe_prometheus(self) -> Child:
        folder = self.folder / "prometheus"
        folder.mkdir()
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": [self.shop.target]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        argv = (
            self._binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._prometheus_port.number}",
        )
        return Child("prometheus", argv, log=self.folder / "prometheus.log", env=_clean_environment(), cwd=folder)

    def _describe_daemon(self) -> Child:
        folder = self.folder / "detector"
        folder.mkdir()
        package = str(Path(detector.__file__).parent.parent)
        env = _clean_environment() | {
            "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
            "DETECTOR_PROMETHEUS_URL": self.prometheus_url,
            "DETECTOR_RULES": str(self.rulebook.folder),
            "DETECTOR_STATE_DIR": str(folder / "state"),
            "DETECTOR_LISTEN": f"127.0.0.1:{self._daemon_port.number}",
            "DETECTOR_PAGERDUTY__ROUTING_KEYS": msgspec.json.encode({"default": ROUTING_KEY}).decode(),
            "DETECTOR_PAGERDUTY__EVENTS_URL": self.pagerduty.url,
        }
        argv = (sys.executable, "-m", "detector", "run")
        return Child("detector", argv, log=self.folder / "detector.log", env=env, cwd=folder)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}

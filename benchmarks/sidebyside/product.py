"""The three that are compared, each as one or two nodes of processes that can be killed, frozen and started again.

Before it: `world` has a fleet, the Prometheus that scrapes it and a PagerDuty account. After it: `row` breaks the parts.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from benchmarks.daemon import ROUTING_KEY, Daemon
from benchmarks.sidebyside.condition import EVERY, FOR_SECONDS, LIMIT, RATIO
from detector.adapters.binary import find_binary
from tests.kit.alertmanager import Alertmanager
from tests.kit.port import free_port
from tests.kit.postgres import Postgres
from tests.kit.process import Process
from tests.kit.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESEND = "1m"  # the default of Prometheus, given to vmalert too: an alert that is no longer renewed lives some of these
_DEBIAN = Path(".cache/debian")


class Product(Protocol):
    """`nodes`: per replica the processes that alert, the evaluator first. `sources`: every Prometheus that holds samples."""

    nodes: list[list[Process]]
    sources: list[Prometheus]

    async def start(self) -> None:
        """Start all and wait until they are ready."""

    async def stop(self) -> None:
        """End all."""


class Detector:
    """`detector run`; several of them share one real PostgreSQL, as vmalerts share the store of their state."""

    def __init__(self, folder: Path, job: Mapping[str, object], events_url: str, *, replicas: int = 1) -> None:
        folder.mkdir(parents=True)
        self._postgres = Postgres() if replicas > 1 else None
        self._opened = ExitStack()
        source = Prometheus(folder / "prometheus", scrape_configs=[job], scrape_interval=EVERY)
        rules = folder / "rules"
        rules.mkdir()
        rule = {
            "name": "errors",
            "summary": "{{ service }} fails",
            "by": ["service"],
            "signals": {"errors": RATIO},
            "open": f"errors > {LIMIT}",
            "recover": f"errors <= {LIMIT}",
            "for": f"{FOR_SECONDS:g}s",
            "recover_for": "0s",
        }
        (rules / "errors.yaml").write_text(yaml.safe_dump({"rules": [rule]}))
        extra = {"DETECTOR_DATABASE_URL": self._postgres.url()} if self._postgres else {}
        self._daemons = [
            Daemon(folder / str(number), rules, prometheus=source.url, pagerduty=events_url, every=EVERY, settings=extra)
            for number in range(replicas)
        ]
        self.nodes = [[daemon.process] for daemon in self._daemons]
        self.sources = [source]

    async def start(self) -> None:
        """The database, Prometheus, then the daemons one after the other."""
        if self._postgres:
            await asyncio.to_thread(self._opened.enter_context, self._postgres)
        await asyncio.to_thread(self.sources[0].start)
        for daemon in self._daemons:
            await daemon.__aenter__()

    async def stop(self) -> None:
        """End all."""
        await _stop([process for node in self.nodes for process in node], self.sources)
        await asyncio.to_thread(self._opened.close)


class Peer:
    """An evaluator and an Alertmanager a node; the Alertmanagers gossip, every evaluator tells all of them."""

    def __init__(self, folder: Path, job: Mapping[str, object], events_url: str, *, vmalert: bool, replicas: int = 1) -> None:
        folder.mkdir(parents=True)
        self._alertmanagers = _make_alertmanagers(folder, events_url, replicas)
        told = [each.target for each in self._alertmanagers]
        rule = folder / "rule.yml"
        rule.write_text(yaml.safe_dump(_write_alert()))
        self._store: list[Process] = []
        if vmalert:
            self.sources = [Prometheus(folder / "prometheus", scrape_configs=[job], scrape_interval=EVERY)]
            store, state = _make_store(folder / "store")
            self._store = [store]
            resend = [f"-rule.resendDelay={RESEND}"]
            evaluators = [
                make_vmalert(folder / f"vmalert-{number}", rule, self.sources[0].url, told, state=state, options=resend)
                for number in range(replicas)
            ]
        else:
            own = partial(Prometheus, scrape_configs=[job], scrape_interval=EVERY, rule_files=[rule], alertmanagers=told)
            self.sources = [own(folder / f"prometheus-{number}") for number in range(replicas)]
            evaluators = [source.process for source in self.sources]
        self.nodes = [list(pair) for pair in zip(evaluators, [each.process for each in self._alertmanagers], strict=True)]

    async def start(self) -> None:
        """Alertmanagers first: who is told must be there."""
        for alertmanager in self._alertmanagers:
            await asyncio.to_thread(alertmanager.start)
        for source in self.sources:
            await asyncio.to_thread(source.start)
        for process in (*self._store, *(node[0] for node in self.nodes)):
            if not process.is_running:
                await asyncio.to_thread(process.start)

    async def stop(self) -> None:
        """End all."""
        await _stop([*(process for node in self.nodes for process in node), *self._store], self.sources)


def make_vmalert(
    folder: Path,
    rule: Path,
    source: str,
    told: Sequence[str],
    *,
    port: int | None = None,
    state: str = "",
    every: str = EVERY,
    options: Sequence[str] = (),
) -> Process:
    """A vmalert on that Prometheus; `state` is where it writes and restores its alerts, as its manual recommends."""
    folder.mkdir(parents=True)
    kept = [f"-remoteWrite.url={state}", f"-remoteRead.url={state}"] if state else []
    return Process(
        [
            find_vmalert(),
            f"-rule={rule}",
            f"-datasource.url={source}",
            *(f"-notifier.url=http://{target}" for target in told),
            f"-evaluationInterval={every}",
            f"-httpListenAddr=127.0.0.1:{port or free_port()}",
            *kept,
            *options,
        ],
        log=folder / "vmalert.log",
        cwd=folder,
    )


def find_vmalert(name: str = "vmalert") -> Path:
    """PATH, else where `.ci/provide vmalert` unpacks Debian's package. RuntimeError where there is none."""
    found = shutil.which(name) or next((path for path in [(_DEBIAN / "usr/bin" / name).absolute()] if path.is_file()), None)
    if found is None:
        raise RuntimeError(f"{name} is not installed: .ci/provide vmalert, or install the package victoria-metrics")
    return Path(found)


def list_versions() -> dict[str, str]:
    """Versions of the peers: what the binary says, else what its package says."""
    versions = {}
    for name in ("prometheus", "alertmanager"):
        done = subprocess.run([find_binary(name), "--version"], capture_output=True, text=True, check=False, timeout=30)
        versions[name] = (done.stdout + done.stderr).split("version ")[1].split()[0]
    package = _DEBIAN / "victoria-metrics.version"
    versions["vmalert"] = package.read_text().strip() if package.is_file() else "of PATH"
    return versions


def write_route(events_url: str) -> dict[str, object]:
    """Alertmanager's configuration: PagerDuty, an alert a service, as fast as its documentation allows without load."""
    pager = {
        "routing_key": ROUTING_KEY,
        "url": f"{events_url}/v2/enqueue",
        "component": "{{ .CommonLabels.service }}",
        "severity": "error",
    }
    route = {"receiver": "pager", "group_by": ["alertname", "service"], "group_wait": "1s", "group_interval": "10s"}
    return {"route": route, "receivers": [{"name": "pager", "pagerduty_configs": [pager]}]}


def _make_alertmanagers(folder: Path, events_url: str, replicas: int) -> list[Alertmanager]:
    ports = [free_port() for _ in range(replicas)]
    members = [f"--cluster.peer=127.0.0.1:{port}" for port in ports]
    made = []
    for number, port in enumerate(ports):
        alone = replicas == 1
        gossip = [f"--cluster.listen-address={'' if alone else f'127.0.0.1:{port}'}", *([] if alone else members)]
        made.append(Alertmanager(folder / f"alertmanager-{number}", config=write_route(events_url), cluster=gossip))
    return made


def _make_store(folder: Path) -> tuple[Process, str]:
    """A VictoriaMetrics for vmalert's state; its URL."""
    folder.mkdir(parents=True)
    port = free_port()
    argv = [str(find_vmalert("victoria-metrics")), f"-storageDataPath={folder}", f"-httpListenAddr=127.0.0.1:{port}"]
    return Process([*argv, "-memory.allowedBytes=64MiB"], log=folder / "store.log", cwd=folder), f"http://127.0.0.1:{port}"


def _write_alert() -> dict[str, object]:
    rule = {"alert": "Errors", "expr": f"{RATIO} > {LIMIT}", "for": f"{FOR_SECONDS:g}s", "annotations": {"summary": "fails"}}
    return {"groups": [{"name": "fleet", "rules": [rule]}]}


async def _stop(processes: Sequence[Process], sources: Sequence[Prometheus]) -> None:
    """The end of a trial: nobody needs to end politely."""
    for process in dict.fromkeys([*processes, *(source.process for source in sources)]):
        if process.is_running:
            process.thaw()
            await asyncio.to_thread(process.kill)

"""A real Alertmanager on a free port, alone or gossiping with others, with the configuration a test gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from detector.adapters.binary import find_binary
from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.server import Server
from tests.kit.web import get_json, is_answering


class Alertmanager(Server):
    """As a context manager it runs within the block. Without `config` it receives alerts and tells nobody.

    `cluster` are its options of the gossip; alone by default.
    """

    def __init__(
        self,
        folder: Path,
        *,
        config: Mapping[str, object] | None = None,
        port: int | None = None,
        cluster: Sequence[str] = ("--cluster.listen-address=",),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        path = folder / "alertmanager.yml"
        path.write_text(yaml.safe_dump(dict(config or {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]})))
        process = Process(
            [
                find_binary("alertmanager"),
                f"--config.file={path}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                *cluster,
            ],
            log=folder / "alertmanager.log",
            cwd=folder,
        )
        super().__init__(process, lambda: is_answering(self.port, "/-/ready"))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """`host:port`, as Prometheus's configuration names it."""
        return f"127.0.0.1:{self.port}"

    def list_alerts(self) -> list[dict[str, Any]]:
        """Its alerts, as its API v2 gives them."""
        alerts: list[dict[str, Any]] = get_json(self.port, "/api/v2/alerts")
        return alerts

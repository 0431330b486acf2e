"""A real Prometheus on a free port, with scrape jobs, rule files, Alertmanagers and history as a test asks for them."""

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from detector.adapters.binary import find_binary
from tests.kit.port import free_port
from tests.kit.process import Process
from tests.kit.server import Server
from tests.kit.web import get_json, is_answering


def static_job(name: str, *targets: str, **settings: object) -> dict[str, object]:
    """A scrape job over fixed `host:port` targets."""
    return {"job_name": name, "static_configs": [{"targets": list(targets)}], **settings}


class Prometheus(Server):
    """Configured at construction, changed by `configure`; as a context manager it runs within the block.

    Prometheus takes up to 5 s to discover targets and Alertmanagers after a start or a reload. `load_openmetrics` before
    `start` gives it history; samples scraped at times before the end of a loaded block are refused by Prometheus, so history
    should end before now.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scrape_configs: Sequence[Mapping[str, object]] = (),
        scrape_interval: str = "1s",
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port or free_port()
        self._config = folder / "prometheus.yml"
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(
            scrape_configs=scrape_configs,
            scrape_interval=scrape_interval,
            rule_files=rule_files,
            alertmanagers=alertmanagers,
        )
        process = Process(
            [
                find_binary("prometheus"),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self.data}",
                "--storage.tsdb.retention.time=20y",  # loaded history may be old
                f"--web.listen-address=127.0.0.1:{self.port}",
                *options,
            ],
            log=folder / "prometheus.log",
            cwd=folder,
        )
        super().__init__(process, lambda: is_answering(self.port, "/-/ready"))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def configure(
        self,
        *,
        scrape_configs: Sequence[Mapping[str, object]] = (),
        scrape_interval: str = "1s",
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
    ) -> None:
        """Write the configuration; a running server reads it on `reload`."""
        config: dict[str, object] = {
            "global": {
                "scrape_interval": scrape_interval,
                "scrape_timeout": scrape_interval,
                "evaluation_interval": scrape_interval,
            },
            "scrape_configs": [dict(job) for job in scrape_configs],
            "rule_files": [str(path) for path in rule_files],
        }
        if alertmanagers:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]}
        self._config.write_text(yaml.safe_dump(config))

    def restart(self, *, empty: bool = False) -> None:
        """Stop and start on the same port; `empty` throws its data away in between."""
        self.stop()
        if empty:
            shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    def reload(self) -> None:
        """Read the configuration and rule files again (SIGHUP); does not wait."""
        self.process.signal(signal.SIGHUP)

    def load_openmetrics(self, text: str) -> None:
        """Put history into the data folder while the server is stopped; `# EOF` is added when absent."""
        assert not self.process.is_running, "load history before the start: a running Prometheus finds new blocks late"
        source = self.folder / "history.om"
        source.write_text(text if text.rstrip().endswith("# EOF") else f"{text.rstrip()}\n# EOF\n")
        run_promtool("tsdb", "create-blocks-from", "openmetrics", source, self.data)

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query at `at` (unix seconds; default its own now), as the API gives it."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        answer = get_json(self.port, "/api/v1/query", query=expression, **when)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def run_promtool(*words: str | Path) -> str:
    """Run promtool; its output. AssertionError with that output when it does not end with 0."""
    argv = [str(find_binary("promtool")), *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"promtool {' '.join(argv[1:])}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout

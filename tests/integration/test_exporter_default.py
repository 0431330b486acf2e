"""Default queries of the diagnosis, asked of a real Prometheus that holds what an exporter would tell."""

from pathlib import Path

from detector.domain.check import Check
from detector.domain.exporter import DEFAULTS
from detector.domain.measurement import fill
from tests.kit.history import History, switch
from tests.kit.prometheus import Prometheus

END = 1_700_000_000.0


def test_an_autoscaler_is_no_deploy(tmp_path: Path) -> None:
    """A changed generation counts only where the replicas did not change; without their number each change does."""
    history = History(END - 7200.0, END, 60.0)
    for name in ("released", "scaled", "bare"):
        labels = {"job": "kube-state-metrics", "namespace": "shop", "deployment": name}
        changed = switch(7.0, (END - 600.0, 8.0))
        history.add_gauge("kube_deployment_status_observed_generation", labels, changed)
        if name != "bare":
            history.add_gauge("kube_deployment_spec_replicas", labels, switch(2.0, (END - 600.0, 4.0 if name == "scaled" else 2.0)))
    prometheus = Prometheus(tmp_path)
    prometheus.load_openmetrics(history.render())
    (deployments,) = [item for item in DEFAULTS[Check.DEPLOY] if item.name == "deployments in the last hour"]
    with prometheus:
        answers = {
            name: prometheus.query(fill(deployments.query, name, "5m"), at=END) for name in ("released", "scaled", "bare", "none")
        }
    values = {name: [float(sample["value"][1]) for sample in found] for name, found in answers.items()}
    assert values == {"released": [1.0], "scaled": [0.0], "bare": [1.0], "none": []}


def test_memory_without_a_limit_is_not_judged(tmp_path: Path) -> None:
    """What Go says where there is no limit (2^64) and what others say (-1) is no limit, so there is no share of it."""
    history = History(END - 120.0, END, 60.0)
    for name, limit in (("limited", 1e9), ("endless", 2.0**64), ("unset", -1.0)):
        history.add_gauge("process_virtual_memory_bytes", {"service": name}, switch(5e8))
        history.add_gauge("process_virtual_memory_max_bytes", {"service": name}, switch(limit))
    prometheus = Prometheus(tmp_path)
    prometheus.load_openmetrics(history.render())
    (memory,) = [item for item in DEFAULTS[Check.RESOURCES] if item.name == "memory of the process"]
    with prometheus:
        answers = [prometheus.query(fill(memory.query, name, "5m"), at=END) for name in ("limited", "endless", "unset")]
    assert [[float(sample["value"][1]) for sample in found] for found in answers] == [[0.5], [], []]

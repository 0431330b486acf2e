"""The Kubernetes manifests and the compose file of deploy/: valid, hardened, whole, and in step with the image."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from detector.adapters.rulefile import RuleDirectory

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUSTOMIZATIONS = sorted(KUBERNETES.glob("*/kustomization.yaml"))
CONFIGURATION = {"kustomization.yaml", "rules.yaml", "prometheus.yaml"}  # what a config map holds is no manifest
MANIFESTS = sorted(path for path in KUBERNETES.glob("*/*.yaml") if path.name not in CONFIGURATION)
PODS = [path for path in MANIFESTS if path.stem in {"deployment", "statefulset"}]
VERSIONS = ("1.28", "1.33")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_manifests_are_valid(path: Path, version: str) -> None:
    """Every manifest is valid by the schemas of Kubernetes, and has no key that they do not know."""
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kustomizations_name_what_exists(path: Path) -> None:
    """Every resource and every file of a config map is there, and every manifest is named by its kustomization."""
    given = _read(path)
    named = [*given["resources"], *(file for each in given.get("configMapGenerator", []) for file in each.get("files", []))]
    assert [name for name in named if not (path.parent / name).exists()] == []
    assert {each.name for each in path.parent.glob("*.yaml")} - {path.name} == {name for name in named if name.endswith(".yaml")}


def test_the_overlay_of_several_replicas_changes_what_is_there() -> None:
    """It raises the number of the standalone pods, and patches nothing that they do not have."""
    overlay = _read(KUBERNETES / "replicas" / "kustomization.yaml")
    base = _read(KUBERNETES / "standalone" / "statefulset.yaml")
    (patch,) = overlay["patches"]
    assert patch["target"] == {"kind": base["kind"], "name": base["metadata"]["name"]}
    number, spread = yaml.safe_load(patch["patch"])
    assert (number["op"], number["path"], number["value"]) == ("replace", "/spec/replicas", 3)
    assert spread["op"] == "add"
    base["spec"]["replicas"] = number["value"]
    base["spec"]["template"]["spec"][spread["path"].rpartition("/")[2]] = spread["value"]
    kubernetes_validate.validate(base, VERSIONS[-1], strict=True)
    assert spread["value"][0]["labelSelector"]["matchLabels"] == base["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.parent.name)
def test_pods_are_hardened_and_mount_what_exists(path: Path) -> None:
    """The daemon's container: not root, read-only, no privilege, probes, and state, rules and secrets where the image has them."""
    given = _read(path)
    pod = given["spec"]["template"]["spec"]
    (container,) = (each for each in pod["containers"] if each["name"] == "detector")
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["runAsNonRoot"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in (ROOT / "Dockerfile").read_text()
    assert (container["livenessProbe"]["httpGet"]["path"], container["readinessProbe"]["httpGet"]["path"]) == (
        "/-/healthy",
        "/-/ready",
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {
        "state": "/var/lib/detector",
        "rules": "/etc/detector/rules",
        "secrets": "/run/secrets/detector",
        "tmp": "/tmp",  # noqa: S108 - in the container
    }
    claims = {each["metadata"]["name"] for each in given["spec"].get("volumeClaimTemplates", [])}
    assert mounts.keys() <= {volume["name"] for volume in pod["volumes"]} | claims
    assert given["spec"]["replicas"] == 1


def test_both_ways_run_the_same_container() -> None:
    """Sidecar and standalone differ in nothing of the daemon's container but where Prometheus is."""
    found = []
    for path in PODS:
        (container,) = (each for each in _read(path)["spec"]["template"]["spec"]["containers"] if each["name"] == "detector")
        container["env"] = [each["name"] for each in container["env"]]
        found.append(container)
    assert found[0] == found[1]
    assert len(found) == 2


def test_the_shipped_rule_loads() -> None:
    """The rule of the config map is one that `detector check` takes."""
    assert [rule.name for rule in RuleDirectory(KUBERNETES / "base" / "rules.yaml").load().rules.rules] == ["targets-down"]


def test_compose_mounts_what_exists() -> None:
    """What the compose file mounts is there; ports are open to this machine only; no secret stands in it."""
    path = ROOT / "deploy" / "compose.yaml"
    given = _read(path)
    for service in given["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in given["volumes"] or (path.parent / source).exists(), volume
    assert given["configs"]["token"]["content"] == "${DETECTOR_WRITE_TOKEN}"
    assert given["services"]["detector"]["read_only"]

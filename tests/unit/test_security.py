"""docs/security.md is whole: each route is listed with its guard and fuzzed, each secret is redacted, each wall stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from detector.web.console.console import Console
from detector.web.site import Site
from tests.kit.fuzzweb import ROUTES
from tests.kit.surface import list_api_routes, list_routes, list_secrets

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
PODS = sorted((ROOT / "deploy" / "kubernetes").glob("*/*set.yaml")) + sorted(
    (ROOT / "deploy" / "kubernetes").glob("*/deployment.yaml")
)
WALLS = {
    *("DynamicUser=true", "NoNewPrivileges=true", "CapabilityBoundingSet=", "AmbientCapabilities=", "LockPersonality=true"),
    *("MemoryDenyWriteExecute=true", "PrivateDevices=true", "PrivateIPC=true", "PrivateTmp=true", "PrivateUsers=true"),
    *("ProtectClock=true", "ProtectControlGroups=true", "ProtectHome=true", "ProtectHostname=true", "ProtectKernelLogs=true"),
    *("ProtectKernelModules=true", "ProtectKernelTunables=true", "ProtectProc=invisible", "ProtectSystem=strict", "ProcSubset=pid"),
    *("RemoveIPC=true", "RestrictNamespaces=true", "RestrictRealtime=true", "RestrictSUIDSGID=true", "UMask=0077"),
    *("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "SystemCallArchitectures=native", "SystemCallFilter=@system-service"),
    *("SystemCallFilter=~@privileged @resources", "StateDirectoryMode=0700"),
}


def test_every_route_is_listed_with_its_guard() -> None:
    """Those of the API come from the program itself; a path that the handlers compare with is never missing."""
    listed = {path for _, path, _ in list_routes()}
    assert all(f"`{method} {path}`" in PAGE for method, path, _ in list_routes())
    assert len(list_api_routes()) > 20
    named = set[str]()
    for function in (
        Site._answer,
        Console._serve,
        Console._show,
        Console._act,
    ):
        for constant in function.__code__.co_consts:
            words = constant if isinstance(constant, (tuple, frozenset)) else (constant,)
            named |= {word for word in words if isinstance(word, str) and re.fullmatch(r"/(-/)?[a-z]+(/[a-z]+)?", word)}
    assert named - {"/status", "/api"} <= listed, named - listed


def test_every_writing_route_is_fuzzed() -> None:
    """tests/kit/fuzzweb.py knows a good body for each writing route that takes JSON."""
    writing = {(method, path) for method, path in list_api_routes() if method != "GET"}
    writing |= {
        (method, path) for method, path, _ in list_routes() if method != "GET" and path.startswith(("/api/", "/-/", "/webhooks/"))
    }
    fuzzed = {(method, path) for method, path, _ in ROUTES}
    assert fuzzed == writing


def test_every_secret_is_listed() -> None:
    """Whatever is declared secret stands in the list, and whatever sounds like one is declared so."""
    assert set(list_secrets()) <= set(re.findall(r"`(DETECTOR_\w+)`", PAGE))
    settings = (ROOT / "detector" / "adapters" / "settings" / "model.py").read_text()
    sounding = re.findall(r"^    \w*(?:token|password|secret)\w*: (.+)$", settings, re.MULTILINE)
    assert sounding
    assert [kind for kind in sounding if "Secret" not in kind] == []


def test_the_unit_keeps_every_wall() -> None:
    """Each directive by itself: a lost one is seen even where the score would bear it."""
    lines = set((ROOT / "deploy" / "detector.service").read_text().splitlines())
    assert sorted(WALLS - lines) == []


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.parent.name)
def test_every_container_is_walled(path: Path) -> None:
    """All containers of a pod, those beside the daemon too."""
    pod: dict[str, Any] = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        held = container["securityContext"]
        assert held["runAsNonRoot"] is True
        assert held["readOnlyRootFilesystem"] is True
        assert held["allowPrivilegeEscalation"] is False
        assert held["capabilities"] == {"drop": ["ALL"]}
        assert {"limits", "requests"} <= set(container.get("resources", {})), container["name"]

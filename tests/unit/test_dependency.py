"""requirements.lock: every package at one version with hashes, and none that nothing asks for."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
_ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]+\])?==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\\n"
    r"(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def _read_lock() -> dict[str, re.Match[str]]:
    text = (ROOT / "requirements.lock").read_text()
    found = list(_ENTRY.finditer(text))
    assert "".join(match[0] for match in found) == text, "the lock holds something that is no pinned package with its hashes"
    names = [str(canonicalize_name(match["name"])) for match in found]
    assert len(set(zip(names, (match["version"] for match in found), strict=True))) == len(found)
    return dict(zip(names, found, strict=True))


def _list_wanted() -> set[str]:
    """Names that pyproject.toml asks for, and what these ask for in turn, on any platform."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = (
        project["project"]["dependencies"]
        + project["project"]["optional-dependencies"]["dev"]
        + project["build-system"]["requires"]
    )
    queue = [Requirement(text) for text in asked]
    seen: set[tuple[str, str]] = set()
    while queue:
        wanted = queue.pop()
        name = str(canonicalize_name(wanted.name))
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                inner = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:  # of another platform
                continue
            queue += [each for each in map(Requirement, inner) if _is_meant(each, extra)]
    return {name for name, _ in seen}


def _is_meant(wanted: Requirement, extra: str) -> bool:
    named = re.findall(r"extra == ['\"]([^'\"]+)", str(wanted.marker or ""))
    return not named or extra in named


def test_every_package_is_pinned_with_hashes() -> None:
    """One version each, at least one SHA-256, no address, no file, no editable, and nothing between the entries."""
    lock = _read_lock()
    assert len(lock) > 50
    for name, match in lock.items():
        assert all(_HASH.fullmatch(line) for line in match["hashes"].splitlines()), name


def test_nothing_undeclared_is_installed() -> None:
    """Each package is one that pyproject.toml names, or that one of those needs."""
    assert sorted(set(_read_lock()) - _list_wanted()) == []


def test_what_is_installed_is_what_is_locked() -> None:
    """The versions that the tests run on are those of the lock."""
    others = {}
    for name, match in _read_lock().items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            assert match["marker"], f"{name} is locked for every platform and not installed"
            continue
        if version != match["version"]:
            others[name] = version
    assert others == {}

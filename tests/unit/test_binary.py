"""Where the Prometheus binaries are looked for, and what is said when they are nowhere."""

from pathlib import Path

import pytest

from detector.adapters import binary
from detector.adapters.binary import BinaryMissingError, find_binary


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither PATH nor the source tree nor the environment names a binary."""
    for name in ("PROMETHEUS", "PROMTOOL", "ALERTMANAGER"):
        monkeypatch.delenv(f"DETECTOR_{name}_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(binary, "_SOURCE_TREE", tmp_path / "tree")
    monkeypatch.chdir(tmp_path)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A named binary wins over PATH, and promtool is found beside a named prometheus."""
    _make(tmp_path / "path/prometheus")
    named = _make(tmp_path / "named/prometheus")
    promtool = _make(tmp_path / "named/promtool")
    monkeypatch.setenv("DETECTOR_PROMETHEUS_BIN", str(named))
    assert (find_binary("prometheus"), find_binary("promtool")) == (named, promtool)


def test_the_path_comes_before_the_cache(tmp_path: Path) -> None:
    """An installed binary wins over the fetched one."""
    installed = _make(tmp_path / "path/prometheus")
    _make(tmp_path / ".cache/debian/usr/bin/prometheus")
    assert find_binary("prometheus") == installed


@pytest.mark.parametrize("tree", [".", "tree"])
def test_the_cache_of_the_working_directory_and_of_the_source_tree(tmp_path: Path, tree: str) -> None:
    """What `make demo` fetched is found from the repository and, for an editable install, from anywhere."""
    fetched = _make(tmp_path / tree / ".cache/debian/usr/bin/prometheus")
    assert find_binary("prometheus") == fetched


def test_a_missing_binary_says_how_to_get_it() -> None:
    """The message is one line with the three ways to get it."""
    with pytest.raises(BinaryMissingError) as caught:
        find_binary("promtool")
    assert str(caught.value) == (
        "promtool not found: `make demo` in a source tree fetches it, "
        "or install the package prometheus, or set DETECTOR_PROMTOOL_BIN"
    )


def test_a_wrong_name_in_the_environment_is_not_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable that names no executable is an error, even where PATH has one."""
    _make(tmp_path / "path/prometheus")
    monkeypatch.setenv("DETECTOR_PROMETHEUS_BIN", "/nowhere/prometheus")
    with pytest.raises(BinaryMissingError, match=r"^DETECTOR_PROMETHEUS_BIN=/nowhere/prometheus: not an executable"):
        find_binary("prometheus")


def test_debian_names_alertmanager_otherwise(tmp_path: Path) -> None:
    """Debian's prometheus-alertmanager is the alertmanager."""
    installed = _make(tmp_path / "path/prometheus-alertmanager")
    assert find_binary("alertmanager") == installed

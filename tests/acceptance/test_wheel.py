"""What travels in the built wheel; `make test` runs this against it."""

import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import detector

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path(detector.__file__).parent

if os.environ.get("DETECTOR_TEST_WHEEL") != "1":
    pytest.skip("the built wheel: run `make test`", allow_module_level=True)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_carries_the_whole_package() -> None:
    """Every file of the source package is installed, the type marker and the migrations among them; the lint bans are not."""
    source = _files(ROOT / "detector") - {"domain/ruff.toml"}
    installed = {name for name in _files(INSTALLED) if not name.startswith("_rules/")}
    assert installed == source
    assert "py.typed" in installed


def test_the_wheel_carries_the_shipped_rules() -> None:
    """The rules of the repository are installed beside the package, byte for byte."""
    rules = _files(ROOT / "rules")
    assert rules
    assert {name: (INSTALLED / "_rules" / name).read_bytes() for name in _files(INSTALLED / "_rules")} == {
        name: (ROOT / "rules" / name).read_bytes() for name in rules
    }


def test_the_wheel_installs_the_command() -> None:
    """`detector` is a command of its own."""
    (command,) = entry_points(group="console_scripts", name="detector")
    assert command.value == "detector.cli:main"

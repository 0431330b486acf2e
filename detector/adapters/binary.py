"""Where the Prometheus binaries lie on this machine: asked by `detector test`, `detector demo` and the tests' real servers.

Order: `$DETECTOR_<NAME>_BIN` (promtool also beside `$DETECTOR_PROMETHEUS_BIN`), PATH, `.cache/debian` of the working
directory and of the source tree, where `make demo` and `make test` put Debian's own.
"""

import os
import shutil
from pathlib import Path
from typing import Final, Literal

from detector.ports.error import PermanentError

Name = Literal["prometheus", "promtool", "alertmanager", "amtool"]

_FILE_NAMES: Final[dict[Name, tuple[str, ...]]] = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),  # the second is Debian's name
    "amtool": ("amtool",),
}
_PACKAGES: Final[dict[Name, str]] = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
_SOURCE_TREE: Final = Path(__file__).resolve().parents[2]


class BinaryMissingError(PermanentError):
    """No such binary here; the message is one line that says how to get it."""


def find_binary(name: Name) -> Path:
    """Find the executable of `name`; raises BinaryMissingError, also when the environment names one that does not run."""
    variable = f"DETECTOR_{name.upper()}_BIN"
    if named := os.environ.get(variable):
        if not _is_executable(Path(named)):
            raise BinaryMissingError(f"{variable}={named}: not an executable file; correct it or unset it")
        return Path(named).absolute()
    for folder in _folders(name):
        for file_name in _FILE_NAMES[name]:
            if _is_executable(folder / file_name):
                return folder / file_name
    fetch = "`make demo` in a source tree fetches it, or " if _PACKAGES[name] == "prometheus" else ""
    raise BinaryMissingError(f"{name} not found: {fetch}install the package {_PACKAGES[name]}, or set {variable}")


def _folders(name: Name) -> list[Path]:
    beside = os.environ.get("DETECTOR_PROMETHEUS_BIN") if name == "promtool" else None
    found = [shutil.which(file_name) for file_name in _FILE_NAMES[name]]
    return [
        *([Path(beside).absolute().parent] if beside else []),
        *(Path(path).absolute().parent for path in found if path),
        *(tree / ".cache/debian/usr/bin" for tree in (Path.cwd(), _SOURCE_TREE)),
    ]


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)

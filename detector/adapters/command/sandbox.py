"""Whether programs can be started where the daemon runs: inside the sandbox of its systemd unit.

Before it: `doctor`, with the first word of every mitigation. After it: the readiness list. Where systemd runs and we may ask it, a
probe is started with the unit's own properties and looks for the programs there; else what the unit says is applied to what lies
on this disk. No mitigation is started for this: nobody knows what it does without its arguments.
Properties: systemd.exec(5).
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

UNIT = "detector.service"
UNIT_FOLDERS = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
RUNNING = Path("/run/systemd/system")  # sd_booted(3)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROBE_SECONDS = 20.0
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp= hides
_PROBE = "import json,shutil,sys; print(json.dumps([shutil.which(name) is not None for name in sys.argv[1:]]))"
_KEPT = """
    AmbientCapabilities BindPaths BindReadOnlyPaths CapabilityBoundingSet DynamicUser Environment ExecPaths ExecSearchPath
    Group InaccessiblePaths LockPersonality MemoryDenyWriteExecute NoExecPaths NoNewPrivileges PrivateDevices PrivateIPC
    PrivateTmp PrivateUsers ProcSubset ProtectClock ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs
    ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyPaths ReadWritePaths
    RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID RootDirectory SupplementaryGroups
    SystemCallArchitectures SystemCallErrorNumber SystemCallFilter TemporaryFileSystem UMask User WorkingDirectory
"""  # what decides on starting a program; the rest of a unit is about the service itself


@dataclass(frozen=True, slots=True)
class Finding:
    """`faults`: why a program cannot be started, by program; `how`: what was looked at."""

    faults: Mapping[str, str]
    how: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a unit says of the programs that its service may start: values by property, in their order."""

    file: str
    properties: Mapping[str, tuple[str, ...]]

    @property
    def path(self) -> str:
        """Where programs are looked for."""
        found = ":".join(self._words("ExecSearchPath")) or DEFAULT_PATH
        for pair in self._words("Environment"):
            name, _, value = pair.partition("=")
            found = value if name == "PATH" else found
        return found

    def find_fault(self, program: str) -> str:
        """Why the program cannot be started in it; empty where nothing that the unit says stands against it."""
        folder = Path(self._last("WorkingDirectory").lstrip("-~") or "/")
        found = str(folder / program) if "/" in program else shutil.which(program, path=self.path) or ""
        if not found or not Path(found).is_file():
            return f"{program or 'no program'}: not found" + ("" if "/" in program else f" in {self.path}, the PATH of the unit")
        place = Path(found)
        needed = (place, place.resolve(), *((script,) if (script := _read_interpreter(place)) else ()))
        return next((f"{program}: {fault}" for one in needed if (fault := self._find_obstacle(one))), "")

    def _find_obstacle(self, place: Path) -> str:
        if not place.is_file():
            return f"its interpreter {place} is not there"
        shown = [entry.lstrip("-+").split(":")[-1] for name in ("BindPaths", "BindReadOnlyPaths") for entry in self._words(name)]
        for name, folders in self._hidden():
            below = _find_longest(place, folders)
            if below and len(_find_longest(place, shown)) < len(below):
                return f"{place} is not reachable: {name} of the unit hides {below}"
        refused, allowed = _find_longest(place, self._paths("NoExecPaths")), _find_longest(place, self._paths("ExecPaths"))
        if refused and len(allowed) < len(refused):
            return f"{place} may not be executed: NoExecPaths= of the unit has {refused}"
        return "" if self._is_root else _find_closed(place)

    def _hidden(self) -> list[tuple[str, tuple[str, ...]]]:
        home = self._last("ProtectHome")
        hidden = [("InaccessiblePaths=", self._paths("InaccessiblePaths"))]
        hidden.append(("TemporaryFileSystem=", tuple(entry.split(":")[0] for entry in self._paths("TemporaryFileSystem"))))
        hidden.append((f"ProtectHome={home}", _HOMES if _is_true(home) or home == "tmpfs" else ()))
        private = _is_true(self._last("PrivateTmp")) or _is_true(self._last("DynamicUser"))
        hidden.append(("PrivateTmp=", _TEMPORARY if private else ()))
        return hidden

    @property
    def _is_root(self) -> bool:
        return not _is_true(self._last("DynamicUser")) and self._last("User") in {"", "root", "0"}

    def _last(self, name: str) -> str:
        return (self.properties.get(name) or ("",))[-1]

    def _words(self, name: str) -> list[str]:
        return [word for value in self.properties.get(name, ()) for word in _split(value)]

    def _paths(self, name: str) -> tuple[str, ...]:
        return tuple(entry.lstrip("-+") for entry in self._words(name))


def read_unit(folders: Sequence[Path] = UNIT_FOLDERS) -> Sandbox | None:
    """The installed unit with its drop-ins; None where there is none that can be read."""
    main = next((folder / UNIT for folder in folders if (folder / UNIT).is_file()), None)
    if main is None:
        return None
    further = {file.name: file for folder in reversed(folders) for file in (folder / f"{UNIT}.d").glob("*.conf")}
    found: dict[str, tuple[str, ...]] = {}
    try:
        for file in (main, *(further[name] for name in sorted(further))):
            _read_properties(file.read_text("utf-8", "replace"), found)
    except OSError:
        return None
    return Sandbox(str(main), found)


async def find_faults(
    programs: Sequence[str],
    unit: Sandbox | None,
    find_here: Callable[[Sequence[str]], str],
    *,
    running: Path = RUNNING,
    is_root: bool | None = None,
) -> Finding:
    """Look for each program as the daemon will. `find_here` looks without any sandbox, for where there is no unit."""
    if unit is None:
        faults = {program: fault for program in programs if (fault := find_here([program]))}
        return Finding(faults, f"looked for as this user: no {UNIT} on this machine")
    if not running.is_dir():  # noqa: ASYNC240 - one look at a file system in memory
        why = "systemd is not running here"
    elif not (os.geteuid() == 0 if is_root is None else is_root):
        why = "only root may start a probe in the sandbox"
    else:
        seen = await _probe(programs, unit)
        if seen is not None:
            faults = {name: f"{name}: not found or not executable in the sandbox" for name, ok in seen.items() if not ok}
            return Finding(faults, f"looked for by systemd-run with the properties of {unit.file}")
        why = "systemd-run could not start a probe"
    faults = {program: fault for program in programs if (fault := unit.find_fault(program))}
    return Finding(faults, f"by what {unit.file} says; {why}")


async def _probe(programs: Sequence[str], unit: Sandbox) -> Mapping[str, bool] | None:
    kept = frozenset(_KEPT.split())
    options = [f"--property={name}={value}" for name, values in unit.properties.items() if name in kept for value in values]
    argv = ["systemd-run", "--quiet", "--wait", "--collect", "--pipe", *options, sys.executable, "-I", "-c", _PROBE, *programs]
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PROBE_SECONDS)
        found = json.loads(out) if process.returncode == 0 else None
    except (TimeoutError, ValueError):
        found = None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not isinstance(found, list) or len(found) != len(programs):
        return None
    return dict(zip(programs, map(bool, found), strict=True))


def _read_properties(text: str, found: dict[str, tuple[str, ...]]) -> None:
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line
        elif section == "[Service]" and line[:1] not in {"", "#", ";"}:
            name, sign, value = (part.strip() for part in line.partition("="))
            if sign:  # an empty value takes back what was said before
                found[name] = (*found.get(name, ()), value) if value else ()


def _read_interpreter(place: Path) -> Path | None:
    try:
        with place.open("rb") as file:
            first = file.read(256).partition(b"\n")[0]
    except OSError:
        return None
    words = first[2:].split() if first.startswith(b"#!") else []
    return Path(os.fsdecode(words[0])) if words else None


def _find_closed(place: Path) -> str:
    """Whether others than its owner and group get there; the unit's user is neither."""
    try:
        for folder in place.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return f"{folder} is closed to the unit's user"
        return "" if place.stat().st_mode & stat.S_IXOTH else f"{place} is not executable for the unit's user"
    except OSError as fault:
        return f"{place}: {fault.strerror}"


def _find_longest(place: Path, folders: Sequence[str]) -> str:
    return max((folder for folder in folders if place.is_relative_to(folder)), key=len, default="")


def _split(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def _is_true(value: str) -> bool:
    return value.lower() in {"1", "yes", "y", "true", "t", "on"}

"""The rules as they stood elsewhere: a directory, or a commit of the git repository that holds the paths."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIT_SECONDS = 60.0


class OtherRulesError(Exception):
    """There are no such rules; the message is one line."""


def find_rules(name: str, paths: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """Paths of the rules that `name` means: itself where it is a directory or file, else the same paths at that commit.

    They are written into `folder`; nothing in the repository is touched. Raises OtherRulesError.
    """
    if Path(name).exists():
        return (Path(name),)
    return tuple(_unpack(name, path, folder / str(number)) for number, path in enumerate(paths))


def _unpack(name: str, path: Path, folder: Path) -> Path:
    place = path.resolve()
    top = Path(_run_git(place if place.is_dir() else place.parent, name, "rev-parse", "--show-toplevel").decode().strip())
    _run_git(top, name, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    inner = place.relative_to(top.resolve())
    archive = _run_git(top, name, "archive", "--format=tar", f"{name}^{{commit}}", "--", str(inner))
    with tarfile.open(fileobj=io.BytesIO(archive)) as content:
        content.extractall(folder, filter="data")
    found = folder / inner
    if not found.exists():
        raise OtherRulesError(f"--compare {name}: {inner} does not exist there")
    return found


def _run_git(place: Path, name: str, *words: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        raise OtherRulesError(f"--compare {name}: no such directory, and no git to look for a commit of that name")
    if not place.exists():
        raise OtherRulesError(f"{place}: no such file or directory")
    try:
        done = subprocess.run([git, "-C", str(place), *words], capture_output=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - git
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OtherRulesError(f"--compare {name}: git failed: {error}") from None
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split()) or "no such directory, and no commit of that name here"
        if "not a git repository" in told:
            told = f"no such directory, and {place} lies in no git repository to look for a commit"
        raise OtherRulesError(f"--compare {name}: {told}")
    return done.stdout

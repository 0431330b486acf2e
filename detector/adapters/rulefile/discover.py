"""Finds and reads the rule files under a directory: text by path relative to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from detector.adapters.rulefile.node import MAX_BYTES
from detector.ports.rulefile import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".yaml", ".yml")
TEST_SUFFIXES = (".test.yaml", ".test.yml")
LIBRARY = "library"


def read_files(root: Path) -> tuple[dict[str, str], list[Finding]]:
    """Text of every rule file by its path relative to `root` (its name, where `root` is a file), and what could not be read.

    Hidden files and directories are passed over, among them the `..data` of a mounted ConfigMap, and so is `library` directly under
    `root`: what lies there waits to be copied. A file that is reached by two names is read once.
    """
    if not root.exists():
        return {}, [Finding(str(root), 1, 1, "no such file or directory; name a rule file or a directory with *.yaml files")]
    paths = [root] if root.is_file() else sorted(_walk(root))
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    seen: set[Path] = set()
    for path in paths:
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        name = path.name if path == root else path.relative_to(root).as_posix()
        text = read_file(path)
        if isinstance(text, Finding):
            findings.append(text)
        else:
            texts[name] = text
    return texts, findings


def _walk(root: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for directory, subdirectories, names in os.walk(root, followlinks=True):
        real = os.path.realpath(directory)
        if real in seen:  # a link that leads back up
            subdirectories.clear()
            continue
        seen.add(real)
        waiting = LIBRARY if Path(directory) == root else ""
        subdirectories[:] = sorted(name for name in subdirectories if not name.startswith(".") and name != waiting)
        for name in names:
            if name.endswith(SUFFIXES) and not name.endswith(TEST_SUFFIXES) and not name.startswith("."):
                path = Path(directory, name)
                if path.is_file() or path.is_symlink():
                    yield path


def read_file(path: Path) -> str | Finding:
    r"""Text of one file, line ends as \\n."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return Finding(file, 1, 1, f"cannot be read: {error.strerror}")
    if len(content) > MAX_BYTES:
        return Finding(file, 1, 1, f"larger than {MAX_BYTES // 1024 // 1024} MB; divide it")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        return Finding(file, line, column, f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8")

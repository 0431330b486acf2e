"""Notices that rule files changed: by inotify through watchfiles, and by looking every few seconds where that tells nothing.

Only a real change counts: names, sizes and times of the rule files are compared. So it survives a directory that is replaced, a
ConfigMap that swaps its symlink, a network file system without events, and a machine out of inotify watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeAlias

import watchfiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

LOOK_SECONDS = 5.0
SETTLE_SECONDS = 0.3
STEP_MILLISECONDS = 200  # how often its thread looks whether it should end
_SUFFIXES = {".yaml", ".yml"}

Print: TypeAlias = frozenset[tuple[str, int, int, int]]


class RuleWatch:
    """Watches the rules directory (or file) of the settings."""

    def __init__(self, path: Path, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._path = path
        self._look_seconds = look_seconds

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield after every change, once it has settled; never ends by itself."""
        seen = await asyncio.to_thread(take_print, self._path)
        while True:
            await self._wait()
            now = await asyncio.to_thread(take_print, self._path)
            while now != (settled := await self._settle()):
                now = settled
            if now != seen:
                seen = now
                yield

    async def _settle(self) -> Print:
        await asyncio.sleep(SETTLE_SECONDS)
        return await asyncio.to_thread(take_print, self._path)

    async def _wait(self) -> None:
        """Until something happened there, or the next look is due."""
        stop = threading.Event()
        root = self._path if self._path.is_dir() else self._path.parent
        try:
            await asyncio.to_thread(_await_event, root, stop, self._look_seconds)
        except OSError:  # not there, or out of watches: look again later
            await asyncio.sleep(self._look_seconds)
        finally:
            stop.set()


def _await_event(root: Path, stop: threading.Event, seconds: float) -> None:
    """Block until something happened under `root`, `stop` was set, or the seconds have passed.

    In a thread of its own: the asynchronous form of watchfiles cannot be cancelled while it waits, so that it has to wait in short
    pieces, and these cost more than everything else that an idle daemon does.
    """
    watch = watchfiles.watch(
        root,
        stop_event=stop,
        debounce=2 * STEP_MILLISECONDS,
        step=STEP_MILLISECONDS,
        rust_timeout=int(1000 * seconds),
        yield_on_timeout=True,
    )
    with contextlib.closing(watch):
        next(watch, None)


def take_print(path: Path) -> Print:
    """Names, sizes, times and inodes of the rule files under `path`."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.suffix in _SUFFIXES]
    found = set()
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.add((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
    return frozenset(found)

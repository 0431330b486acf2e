"""Notices that rule files changed: by inotify through watchfiles, and by looking every few seconds where that tells nothing.

Only a real change counts: names, sizes and times of the rule files are compared. So it survives a directory that is replaced, a
ConfigMap that swaps its symlink, a network file system without events, and a machine out of inotify watches.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, TypeAlias

import watchfiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

LOOK_SECONDS = 5.0
SETTLE_SECONDS = 0.3
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
        stop = asyncio.Event()
        root = self._path if self._path.is_dir() else self._path.parent
        try:
            async with asyncio.timeout(self._look_seconds):
                # short waits in its thread: a cancelled watch ends with the one under way
                watch = watchfiles.awatch(root, stop_event=stop, debounce=200, step=50, rust_timeout=200)
                async with contextlib.aclosing(watch):
                    async for _ in watch:
                        return
        except TimeoutError:
            return
        except OSError:  # not there, or out of watches: look again later
            await asyncio.sleep(self._look_seconds)
        finally:
            stop.set()


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

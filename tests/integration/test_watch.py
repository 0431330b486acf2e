"""Changes of rule files are noticed: edits, renames, a swapped symlink, a directory that goes and comes back."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from detector.adapters import watch
from detector.adapters.watch import Print, RuleWatch, take_print
from tests.kit.wait import PATIENCE_SECONDS, wait_until

AwaitLook: TypeAlias = Callable[[], Awaitable[None]]


@pytest.fixture
def await_look(monkeypatch: pytest.MonkeyPatch) -> AwaitLook:
    """Return once the watch knows what is there: changes from then on are changes, told by inotify or at the next look."""
    looks = 0

    def look(path: Path) -> Print:
        nonlocal looks
        found = take_print(path)
        looks += 1
        return found

    monkeypatch.setattr(watch, "take_print", look)

    async def wait() -> None:
        await wait_until(lambda: looks > 0, "the first look")

    return wait


@pytest.fixture
async def count(tmp_path: Path, await_look: AwaitLook) -> AsyncIterator[Callable[[], int]]:
    """Watch tmp_path/rules; gives how many changes were told."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "a.yaml").write_text("rules: []\n")
    told = 0

    async def note() -> None:
        nonlocal told
        async for _ in RuleWatch(rules, look_seconds=1.0).changes():
            told += 1

    task = asyncio.create_task(note())
    await await_look()
    yield lambda: told
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _await_count(count: Callable[[], int], wanted: int) -> None:
    await wait_until(lambda: count() >= wanted, f"{wanted} changes were told")


async def test_an_edit_is_told_once(count: Callable[[], int], tmp_path: Path) -> None:
    """Several writes in quick succession are one change."""
    for number in range(5):
        (tmp_path / "rules" / "a.yaml").write_text(f"rules: []  # {number} {'x' * number}\n")
        await asyncio.sleep(0.02)
    await _await_count(count, 1)
    await asyncio.sleep(1.5)
    assert count() == 1


async def test_other_files_are_not_told(count: Callable[[], int], tmp_path: Path) -> None:
    """An editor's swap file changes nothing; a file in a folder below does."""
    (tmp_path / "rules" / ".a.yaml.swp").write_text("x")
    (tmp_path / "rules" / "README.md").write_text("x")
    await asyncio.sleep(1.5)
    assert count() == 0
    (tmp_path / "rules" / "team").mkdir()
    (tmp_path / "rules" / "team" / "b.yml").write_text("x")
    await _await_count(count, 1)


async def test_a_swapped_symlink_is_told(count: Callable[[], int], tmp_path: Path) -> None:
    """A ConfigMap's update replaces the link under the files, not the files."""
    rules = tmp_path / "rules"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c.yaml").write_text(f"# {name}\n")
    (rules / "..data").symlink_to(tmp_path / "one")
    (rules / "c.yaml").symlink_to(rules / "..data" / "c.yaml")
    await _await_count(count, 1)
    (rules / "..new").symlink_to(tmp_path / "two")
    (rules / "..new").rename(rules / "..data")
    await _await_count(count, 2)


async def test_a_directory_that_goes_and_comes_back_is_told(count: Callable[[], int], tmp_path: Path) -> None:
    """A git checkout that replaces the whole directory is seen, also while it is away, and so are edits after it."""
    rules = tmp_path / "rules"
    shutil.rmtree(rules)
    await _await_count(count, 1)
    rules.mkdir()
    (rules / "a.yaml").write_text("back\n")
    await _await_count(count, 2)
    (rules / "a.yaml").write_text("edited after it came back\n")
    await _await_count(count, 3)


async def test_a_single_file_is_watched_through_replacements(tmp_path: Path, await_look: AwaitLook) -> None:
    """Where the setting names a file, an editor's write-and-rename is a change."""
    file = tmp_path / "rules.yaml"
    file.write_text("one\n")
    changes = RuleWatch(file, look_seconds=1.0).changes()
    waiting = asyncio.ensure_future(anext(changes))
    await await_look()
    (tmp_path / "new").write_text("two, longer\n")
    os.replace(tmp_path / "new", file)  # noqa: PTH105 - by its name: what editors do
    async with asyncio.timeout(PATIENCE_SECONDS):
        await waiting
    await changes.aclose()

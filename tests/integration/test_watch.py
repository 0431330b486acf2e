"""Changes of rule files are noticed: edits, renames, a swapped symlink, a directory that goes and comes back."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from detector.adapters.watch import RuleWatch
from tests.kit.wait import wait_until


@pytest.fixture
async def count(tmp_path: Path) -> AsyncIterator[Callable[[], int]]:
    """Watch tmp_path/rules; gives how many changes were told."""
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "a.yaml").write_text("rules: []\n")
    told = 0

    async def watch() -> None:
        nonlocal told
        async for _ in RuleWatch(rules, look_seconds=1.0).changes():
            told += 1

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.3)  # inotify watches are set
    yield lambda: told
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _await_count(count: Callable[[], int], wanted: int) -> None:
    await wait_until(lambda: count() >= wanted, f"{wanted} changes were told", seconds=10)


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


async def test_a_single_file_is_watched_through_replacements(tmp_path: Path) -> None:
    """Where the setting names a file, an editor's write-and-rename is a change."""
    file = tmp_path / "rules.yaml"
    file.write_text("one\n")
    changes = RuleWatch(file, look_seconds=1.0).changes()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.3)
    (tmp_path / "new").write_text("two, longer\n")
    os.replace(tmp_path / "new", file)  # noqa: PTH105 - by its name: what editors do
    async with asyncio.timeout(10):
        await waiting
    await changes.aclose()

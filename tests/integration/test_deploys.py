"""Deploys: told over HTTP and at the command line, kept by every store, read by the diagnosis."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from detector.adapters.store import create_store
from detector.domain.deploy import Deploy
from detector.ports.store import Store
from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.server import WebServer
from detector.web.site import Site
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.memorystore import MemoryStore
from tests.kit.sample import NASTY
from tests.kit.wait import wait_until

NEWEST = Deploy("shop", "v3", 300.0, "ann", "https://ci.example/3")
OLDER, OTHER = Deploy("shop", "v2", 200.0), Deploy("cart", "v9", 250.0)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store without data, of each kind."""
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            made = create_store(tmp_path / "state")
        case _:
            made = create_store(tmp_path, request.getfixturevalue("postgres_url"))
    await made.open()
    yield made
    await made.close()


async def test_a_store_keeps_deploys(store: Store) -> None:
    """By service and time, newest first; the same one twice is one."""
    for told in (OLDER, NEWEST, OTHER, NEWEST):
        await store.add_deploy(told)
    assert list(await store.list_deploys("shop", 0.0, 1000.0, 10)) == [NEWEST, OLDER]
    assert list(await store.list_deploys(None, 0.0, 1000.0, 2)) == [NEWEST, OTHER]
    assert list(await store.list_deploys("shop", 201.0, 300.0, 10)) == [NEWEST]
    assert list(await store.list_deploys("shop", 0.0, 199.0, 10)) == []


async def test_a_hostile_deploy_is_kept(store: Store) -> None:
    """Any text can be told and found by its service again."""
    for text in NASTY:
        await store.add_deploy(Deploy(text, text, 1.0, text))
    assert len(await store.list_deploys(None, 0.0, 2.0, 100)) == len(set(NASTY))
    assert len(await store.list_deploys(NASTY[0], 0.0, 2.0, 100)) == 1


@pytest.fixture
async def daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[MemoryDaemon]:
    """A daemon's web side on a free port, which the command line finds."""
    made = MemoryDaemon()
    site = Site(
        metrics=Metrics("1"), query=made, desk=made, pulse=made, access=Access("", "", frozenset({"127.0.0.1"})), version="1"
    )
    server = WebServer(site, "127.0.0.1", 0)
    server.bind()
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started, "the server started")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTOR_URL", f"http://127.0.0.1:{server.port}")
    yield made
    server.stop()
    await task


async def run(*words: str) -> tuple[int, str, str]:
    """The command as a process."""
    argv = [sys.executable, "-m", "detector", *words]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_the_command_line_tells_and_lists(daemon: MemoryDaemon) -> None:
    """What `add` told, `list` shows."""
    said = await run("deploys", "add", "shop", "v3", "--at", "300", "--by", "ann", "--url", "https://ci.example/3")
    assert said == (0, "kept: shop v3 at 1970-01-01T00:05:00Z\n", "")
    assert daemon.deploys == [NEWEST]
    daemon.deploys += [OLDER, OTHER]
    code, out, _ = await run("deploys", "list", "--service", "shop", "--json")
    assert code == 0
    assert [told["version"] for told in json.loads(out)] == ["v3", "v2"]
    assert (await run("deploys", "list"))[1].splitlines()[0].split("\t") == [
        "1970-01-01T00:05:00Z",
        "shop",
        "v3",
        "ann",
        "https://ci.example/3",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["add", "shop", "v1", "--at", "yesterday"], 2, "write unix seconds or a time such as"),
        (["add", "shop", "v1", "--url", "javascript:alert(1)"], 1, "url: String should match pattern"),
        (["add", "", "v1"], 1, "service: String should have at least 1 character"),
    ],
)
async def test_a_wrong_deploy_is_refused_in_one_line(daemon: MemoryDaemon, words: list[str], code: int, message: str) -> None:
    """What, where, what would be right."""
    found, _, errors = await run("deploys", *words)
    assert found == code
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert daemon.deploys == []

"""What a diagnosis looks at outside, against real servers, sockets and files."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from detector.adapters.surroundings import OutsideWorld
from detector.domain.inquiry import Logs
from detector.ports.error import OutsideError
from detector.standin.server import Server
from detector.transport.exchange import Exchange
from tests.kit.port import free_port
from tests.kit.wait import PATIENCE_SECONDS

SUMMARY = {"status": {"indicator": "major", "description": "Partial Outage"}, "incidents": [{"name": "API errors"}]}


@pytest.fixture
async def world() -> AsyncIterator[OutsideWorld]:
    """The adapter, with patience for a crowded machine."""
    async with Exchange() as exchange:
        yield OutsideWorld(exchange, deadline_seconds=PATIENCE_SECONDS)


async def serve(asked: list[str] | None = None, **answers: web.Response) -> Server:
    """A server that answers /NAME...; `asked` takes what was asked for."""
    app = web.Application()
    seen = [] if asked is None else asked

    async def answer(request: web.Request) -> web.Response:
        served = answers[request.match_info["name"].split("/")[0]]
        seen.append(request.path_qs)
        return web.Response(status=served.status, body=served.body, content_type=served.content_type)

    app.router.add_get("/{name:.*}", answer)
    return Server(app)


async def test_a_status_page_is_read(world: OutsideWorld) -> None:
    """Its indicator is the verdict, its incidents are named; what is no Statuspage is no verdict."""
    good = {"status": {"indicator": "none", "description": "All Systems Operational"}}
    server = await serve(
        bad=web.json_response(SUMMARY),
        good=web.json_response(good),
        html=web.Response(text="<html>"),
        gone=web.Response(status=503),
    )
    async with server:
        bad = await world.read_statuspage(f"{server.url}/bad")
        assert (bad.good, bad.message) == (False, "Partial Outage (API errors)")
        assert (await world.read_statuspage(f"{server.url}/good")).good
        with pytest.raises(OutsideError, match="no Statuspage summary"):
            await world.read_statuspage(f"{server.url}/html")
        with pytest.raises(OutsideError, match="answered 503"):
            await world.read_statuspage(f"{server.url}/gone")


async def test_a_probe_wants_an_answer_below_400(world: OutsideWorld) -> None:
    """A status of 500 and a refused connection are findings."""
    server = await serve(ok=web.Response(status=204), broken=web.Response(status=500))
    async with server:
        assert (await world.probe(f"{server.url}/ok")).good
        broken = await world.probe(f"{server.url}/broken")
        assert not broken.good
        assert broken.message.startswith("answered 500 in ")
    assert not (await world.probe(f"http://127.0.0.1:{free_port()}/")).good


async def test_a_tcp_connection_is_tried(world: OutsideWorld) -> None:
    """A listening port is good, a closed one is not."""
    server = await serve(x=web.Response())
    async with server:
        assert (await world.connect(f"127.0.0.1:{server.port}")).good
    closed = await world.connect(f"127.0.0.1:{free_port()}")
    assert not closed.good
    assert closed.message.startswith("no connection: ")


async def test_an_environment_file_is_read(world: OutsideWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME=value lines with comments, export and quotes; without a file, the environment of this process."""
    file = tmp_path / "shop.env"
    file.write_text("# comment\nexport KEY='abc'\nEMPTY=\nno sign\n")
    assert await world.read_environment(str(file)) == {"KEY": "abc", "EMPTY": ""}
    monkeypatch.setenv("DETECTOR_X", "1")
    assert (await world.read_environment(""))["DETECTOR_X"] == "1"
    with pytest.raises(OutsideError, match="cannot be read: No such file"):
        await world.read_environment(str(tmp_path / "none"))


async def test_the_end_of_a_log_file_is_read(world: OutsideWorld, tmp_path: Path) -> None:
    """The last matching lines, oldest first; a large file is read from its end, bytes that are no text do no harm."""
    file = tmp_path / "shop.log"
    file.write_bytes(b"INFO fine\n" * 200_000 + b"ERROR one \xff\nINFO fine\nFATAL two\n")
    logs = Logs(file=str(file))
    assert await world.read_errors(logs, 0.0, 20) == ["ERROR one \ufffd", "FATAL two"]
    assert await world.read_errors(logs, 0.0, 1) == ["FATAL two"]


async def test_loki_is_asked_for_the_newest_lines(world: OutsideWorld) -> None:
    """The quarter of an hour before the moment, newest first, over all streams in order of time."""
    streams = [{"values": [["3000000000", "third"], ["1000000000", "first"]]}, {"values": [["2000000000", "second"]]}]
    asked: list[str] = []
    server = await serve(asked, loki=web.json_response({"status": "success", "data": {"resultType": "streams", "result": streams}}))
    async with server:
        logs = Logs(loki=f"{server.url}/", query='{app="shop"}')
        assert await world.read_errors(logs, 1000.0, 2) == ["second", "third"]
    assert asked == [
        "/loki/api/v1/query_range?query=%7Bapp%3D%22shop%22%7D&start=100000000000&end=1000000000000&limit=2&direction=backward"
    ]


Look = Callable[[OutsideWorld, str], Awaitable[object]]
HANGING: dict[str, Look] = {
    "status page": lambda world, port: world.read_statuspage(f"http://127.0.0.1:{port}/summary.json"),
    "probe": lambda world, port: world.probe(f"http://127.0.0.1:{port}/health"),
    "loki": lambda world, port: world.read_errors(Logs(loki=f"http://127.0.0.1:{port}", query="{}"), 0.0, 20),
}


@pytest.mark.parametrize("source", HANGING)
async def test_a_server_that_never_says_a_word_is_given_up(source: str) -> None:
    """It takes the connection and is silent: no verdict, or a finding, within the time of one look."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Exchange() as exchange:
            look = HANGING[source](OutsideWorld(exchange, deadline_seconds=0.2), str(silent.getsockname()[1]))
            if source == "probe":
                assert not (await asyncio.wait_for(look, PATIENCE_SECONDS)).good  # type: ignore[attr-defined]
            else:
                with pytest.raises(OutsideError):
                    await asyncio.wait_for(look, PATIENCE_SECONDS)


async def test_a_database_that_does_not_take_the_connection_is_given_up() -> None:
    """Its queue of connections is full, so that nothing is answered to the next one: bad within the time of one look."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.settimeout(0.0)
            waiting.connect_ex(full.getsockname())
        async with Exchange() as exchange:
            world = OutsideWorld(exchange, deadline_seconds=0.3)
            found = await asyncio.wait_for(world.connect(f"127.0.0.1:{full.getsockname()[1]}"), PATIENCE_SECONDS)
    assert (found.good, found.message) == (False, "no connection within 0.3 s")


async def test_a_pipe_in_the_place_of_a_file_holds_nothing(world: OutsideWorld, tmp_path: Path) -> None:
    """Nobody writes to it: refused at once, for the log and for the environment, and no thread is left that waits for it."""
    pipe = tmp_path / "shop.log"
    os.mkfifo(pipe)
    for look in (world.read_errors(Logs(file=str(pipe)), 0.0, 20), world.read_environment(str(pipe))):
        with pytest.raises(OutsideError, match="it is no regular file"):
            await asyncio.wait_for(look, PATIENCE_SECONDS)

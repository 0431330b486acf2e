"""`detector incidents` and the frame around all commands: output, exit codes, one line for every fault."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from detector import __version__
from detector.cli import main
from detector.cli.command import COMMANDS
from detector.domain.incident import Verification
from detector.ports.query import Action
from detector.web.access import Access
from detector.web.metrics import Metrics
from detector.web.server import WebServer
from detector.web.site import Site
from tests.kit.memorydaemon import MemoryDaemon
from tests.kit.port import free_port
from tests.kit.secret import assert_no_secret
from tests.kit.wait import wait_until

TOKEN = "write-token-1234"
Run: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def daemon() -> MemoryDaemon:
    """A daemon with three incidents."""
    return MemoryDaemon()


@pytest.fixture
async def detector(
    daemon: MemoryDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Run]:
    """Run the command against a real server that wants a token; gives exit code, output, errors."""
    made = Site(metrics=Metrics("1"), query=daemon, desk=daemon, pulse=daemon, access=Access("read-token-1234", TOKEN), version="1")
    server = WebServer(made, "127.0.0.1", 0)
    server.bind()
    task = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started, "the server started")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTOR_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("DETECTOR_WRITE_TOKEN", TOKEN)
    monkeypatch.setenv("USER", "ann")

    async def run(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, list(words))
        return code, *capsys.readouterr()

    yield run
    server.stop()
    await task


async def test_a_list_in_a_pipe_is_one_line_each(detector: Run) -> None:
    """In a pipe each incident is one tab-separated line, and control characters of labels are gone."""
    code, out, err = await detector("incidents", "list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[0].split("\t")[:7] == ["incident-00003", "open", "high", "checkout", "1970-01-01T00:16:43Z", "0.42", "0.01"]
    assert "\0" not in out


async def test_without_a_subcommand_the_list_is_shown(detector: Run) -> None:
    """`detector incidents` is `detector incidents list`."""
    assert await detector("incidents") == await detector("incidents", "list")


async def test_a_list_as_json_is_the_array_of_the_api(detector: Run, daemon: MemoryDaemon) -> None:
    """--json prints the array; filters go to the daemon."""
    code, out, _ = await detector("incidents", "list", "--json", "--status", "open", "--status", "closed", "--limit", "2")
    assert (code, [one["id"] for one in json.loads(out)]) == (0, ["incident-00003", "incident-00002"])
    assert daemon.asked[-1].status == ("open", "closed")


async def test_more_than_one_page_is_fetched(detector: Run, daemon: MemoryDaemon) -> None:
    """A limit above a page follows the links."""
    daemon.incidents = daemon.incidents * 500
    _, out, _ = await detector("incidents", "list", "--limit", "1200")
    assert len(out.splitlines()) == 1200
    assert [one.limit for one in daemon.asked] == [1000, 1000]


async def test_a_list_that_is_cut_says_so(detector: Run) -> None:
    """Three incidents, two are asked for: two lines, and one on standard error that there are more; with enough room none."""
    code, out, err = await detector("incidents", "list", "--limit", "2")
    assert (code, len(out.splitlines()), err) == (0, 2, "only the newest 2 are shown; --limit N shows more\n")
    assert (await detector("incidents", "list", "--limit", "3"))[2] == ""


async def test_one_incident_is_shown_with_its_timeline(detector: Run) -> None:
    """`show` prints facts and events; --json the object."""
    code, out, _ = await detector("incidents", "show", "incident-00001")
    assert code == 0
    assert "status             open\n" in out
    assert "1970-01-01T00:16:50Z  detector  opened: error_rate 0.2 > 0.01\n" in out
    _, out, _ = await detector("incidents", "show", "incident-00001", "--json")
    assert json.loads(out)["timeline"][0]["kind"] == "opened"


@pytest.mark.parametrize(
    ("words", "act"),
    [
        (("ack",), (Action.ACKNOWLEDGE, "ann", "")),
        (("ack", "--by", "bob"), (Action.ACKNOWLEDGE, "bob", "")),
        (("note", "looking at it"), (Action.NOTE, "ann", "looking at it")),
        (("cause", "a bad deploy", "--by", "bob"), (Action.CAUSE, "bob", "a bad deploy")),
    ],
)
async def test_a_human_acts(detector: Run, daemon: MemoryDaemon, words: tuple[str, ...], act: tuple[Action, str, str]) -> None:
    """Each action reaches the daemon, by $USER or by --by, and says what is now so."""
    code, out, err = await detector("incidents", words[0], "incident-00001", *words[1:])
    assert (code, err, daemon.acts) == (0, "", [("incident-00001", *act)])
    assert out.endswith("incident-00001 (checkout, high, acknowledged)\n")


async def test_an_update_and_a_tick_reach_the_daemon(detector: Run, daemon: MemoryDaemon) -> None:
    """`update` takes words, an ETA and a state; `tick` the name of an item."""
    words = ("--message", "rolling back", "--eta", "10m", "--state", "identified", "--by", "bob")
    code, out, err = await detector("incidents", "update", "incident-00001", *words)
    assert (code, err, out) == (0, "", "updated incident-00001 (checkout, high, open)\n")
    assert daemon.news == [("incident-00001", "bob", "rolling back", "10m", "identified")]
    assert (await detector("incidents", "tick", "incident-00001", "support channel quiet"))[0] == 0
    assert daemon.ticks == [("incident-00001", "ann", "support channel quiet")]


async def test_an_update_that_says_nothing_is_a_usage_error(detector: Run, daemon: MemoryDaemon) -> None:
    """Neither words nor a known state: exit 2, and what would be right."""
    code, _, err = await detector("incidents", "update", "incident-00001")
    assert (code, daemon.news) == (2, [])
    assert "say what is new: --message TEXT, --eta 10m or --state monitoring" in err
    code, _, err = await detector("incidents", "update", "incident-00001", "--state", "panic")
    assert code == 2
    assert "panic is no state; use one of investigating, identified, monitoring, resolved" in err


async def test_responders_and_verifications_are_shown(detector: Run, daemon: MemoryDaemon) -> None:
    """`show` lists who is called and what must be well, with what is still to be ticked."""
    items = (Verification("api: live", ok=True, by="detector", message="200"), Verification("api: support", human=True))
    responders = {"on_call_engineer": "Erin", "on_call_manager": ""}
    daemon.incidents = [replace(daemon.incidents[-1], verifications=items, responders=responders)]
    _, out, _ = await detector("incidents", "show", daemon.incidents[0].id)
    assert "verify             api: live: passed (200)\n" in out
    assert "verify             api: support: to be ticked\n" in out
    assert "on_call_engineer   Erin\n" in out
    assert "on_call_manager" not in out


async def test_a_refusal_is_one_line_and_exit_code_1(detector: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown id, an action that does not fit and a missing token are told by the daemon's own words."""
    assert await detector("incidents", "show", "nope") == (1, "", "detector: no incident nope\n")
    told = "detector: incident incident-00001 is already resolved\n"
    assert await detector("incidents", "resolve", "incident-00001") == (1, "", told)
    monkeypatch.delenv("DETECTOR_WRITE_TOKEN")
    code, _, err = await detector("incidents", "ack", "incident-00001")
    assert code == 1
    assert err == (
        "detector: send the write token: Authorization: Bearer ...; set DETECTOR_WRITE_TOKEN or DETECTOR_READ_TOKEN here too\n"
    )
    assert_no_secret([TOKEN], err)


async def test_nobody_acts_without_a_name(detector: Run, daemon: MemoryDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither --by nor $USER an action is a usage error."""
    monkeypatch.delenv("USER")
    code, _, err = await detector("incidents", "ack", "incident-00001")
    assert (code, daemon.acts) == (2, [])
    assert "say who does it: --by NAME" in err


def test_a_daemon_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listening: exit 1, and what to do."""
    port = free_port()
    monkeypatch.setenv("DETECTOR_URL", f"http://127.0.0.1:{port}")
    assert main(["incidents", "list"]) == 1
    assert capsys.readouterr().err == (
        f"detector: cannot reach the daemon at http://127.0.0.1:{port}: Connection refused; "
        "start it with `detector run`, or set DETECTOR_URL\n"
    )


USAGE = {
    "nothing": ([], "say what to do; see `detector --help`"),
    "unknown": (["bogus"], "No such command 'bogus'; see `detector --help`"),
    "option": (["run", "--bogus"], "No such option: --bogus; see `detector run --help`"),
    "word": (
        ["incidents", "list", "--status", "done"],
        (
            "Invalid value for '--status': 'done' is not one of 'open', 'acknowledged', 'resolved', 'closed'; "
            "see `detector incidents list --help`"
        ),
    ),
    "argument": (["incidents", "ack"], "Missing argument 'ID'; see `detector incidents ack --help`"),
}


@pytest.mark.parametrize(("words", "line"), USAGE.values(), ids=USAGE.keys())
def test_a_usage_error_is_one_line_and_exit_code_2(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors say what is wrong and where help is."""
    assert main(words) == 2
    assert capsys.readouterr().err == f"detector: {line}\n"


def test_wrong_settings_are_lines_and_exit_code_2(tmp_path: Path) -> None:
    """`detector run` with wrong settings starts nothing: one line each on standard error, no traceback."""
    environ = {"DETECTOR_EVERY": "soon", "DETECTOR_EVRY": "5s", "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-m", "detector", "run"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "detector: DETECTOR_EVRY is not a setting; did you mean DETECTOR_EVERY?",
        "detector: DETECTOR_EVERY must be a duration; write for example 30s, 5m or 1h30m",
    ]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints it; --help lists every command without importing one."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"detector {__version__}\n"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_the_frame_imports_nothing_heavy() -> None:
    """`detector --version` imports neither a web framework nor a database nor pydantic."""
    code = (
        "import sys; from detector.cli import main; main(['--version']);"
        "print(sorted({'pydantic', 'fastapi', 'aiohttp', 'sqlalchemy', 'structlog', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"

"""`detector silence` against a real server: what amtool's users type, what is printed, what is refused."""

import json
from dataclasses import replace

import pytest

from detector.domain.mute import MuteKind
from tests.integration.test_cli_incidents import Run, daemon, detector
from tests.kit.memorydaemon import MemoryDaemon

__all__ = ["daemon", "detector"]  # fixtures

ADD = ("silence", "add", "service=checkout", "--duration", "2h", "--reason", "a deploy")


async def test_add_prints_the_id(detector: Run, daemon: MemoryDaemon) -> None:
    """The id and nothing else, for scripts; by $USER."""
    code, out, err = await detector(*ADD)
    (kept,) = [kept for kept in daemon.mutes.values() if kept.mute.kind is MuteKind.SILENCE]
    assert (code, out, err) == (0, f"{kept.mute.id}\n", "")
    assert (kept.mute.author, kept.mute.reason, kept.mute.ends) == ("ann", "a deploy", 8200.0)


@pytest.mark.parametrize(
    ("words", "matchers"),
    [
        (["service=checkout", "severity=~low|medium"], ['service="checkout"', 'severity=~"low|medium"']),
        (['service="checkout"'], ['service="checkout"']),
        (["alertname=disk is full"], ['alertname="disk is full"']),
        (["path=~/api/v[0-9]{1,2}"], ['path=~"/api/v[0-9]{1,2}"']),
        ([r"host=~web\d+ x"], [r'host=~"web\\d+ x"']),
        (['{service="a b", env!="dev"}'], ['service="a b"', 'env!="dev"']),
        (["service=a,env=b"], ['service="a"', 'env="b"']),
        (['say=a "b"'], [r'say="a \"b\""']),
    ],
)
async def test_matchers_survive_the_shell(detector: Run, daemon: MemoryDaemon, words: list[str], matchers: list[str]) -> None:
    """One word of the shell is one matcher, quoted or not; a selector may stand in braces."""
    code, out, err = await detector("silence", "add", *words, "--duration", "2h", "--reason", "x")
    assert (code, err) == (0, "")
    assert [str(matcher) for matcher in daemon.mutes[out.strip()].mute.matchers] == matchers


async def test_the_flags_of_amtool_are_understood(detector: Run, daemon: MemoryDaemon) -> None:
    """--author, --comment, -d, --start and --end mean what they mean there."""
    code, out, _ = await detector("silence", "add", "service=a", "-d", "30m", "--author", "bob", "--comment", "x")
    assert (code, daemon.mutes[out.strip()].mute.author) == (0, "bob")
    times = ("--start", "1970-01-01T01:00:00Z", "--end", "1970-01-01T02:00:00Z")
    _, out, _ = await detector("silence", "add", "service=a", *times, "-c", "x", "-a", "bob")
    assert (daemon.mutes[out.strip()].mute.starts, daemon.mutes[out.strip()].mute.ends) == (3600.0, 7200.0)


async def test_a_lease_is_renewed_by_its_id(detector: Run, daemon: MemoryDaemon) -> None:
    """The same command again; --json prints the whole of it."""
    words = ("silence", "add", "service=a", "--duration", "5m", "--reason", "deploy 7", "--lease", "--id", "deploy-7")
    assert (await detector(*words))[:2] == (0, "deploy-7\n")
    daemon.now += 200
    code, out, _ = await detector(*words, "--json")
    assert (code, json.loads(out)["ends"], json.loads(out)["kind"]) == (0, 1500.0, "lease")


async def test_list_shows_what_is_quiet_and_what_it_mutes(detector: Run, daemon: MemoryDaemon) -> None:
    """One line each; windows too; --all has those that have ended; `detector silence` is the list."""
    _, out, _ = await detector(*ADD)
    identity = out.strip()
    daemon.incidents = [replace(daemon.incidents[0], muted="silence")]
    code, out, _ = await detector("silence", "list")
    assert code == 0
    window, silence = (line.split("\t") for line in out.splitlines())
    assert window[:4] == ["w1", "window", "active", 'service="reports"']
    assert silence == [
        identity,
        "silence",
        "active",
        'service="checkout"',
        "1970-01-01T00:16:40Z",
        "1970-01-01T02:16:40Z",
        "ann",
        "a deploy",
        "incident-00003",
    ]
    assert await detector("silence") == (0, out, "")
    assert await detector("silence", "expire", identity, "--by", "bob") == (0, f"ended silence {identity}\n", "")
    _, out, _ = await detector("silence", "list")
    assert identity not in out
    _, out, _ = await detector("silence", "list", "--all", "--json")
    assert [(one["id"], one["expired_by"]) for one in json.loads(out)] == [("w1", ""), (identity, "bob")]


async def test_incidents_say_what_mutes_them(detector: Run, daemon: MemoryDaemon) -> None:
    """The list and the details name it."""
    daemon.incidents = [replace(daemon.incidents[0], muted="silence m1 by kim: a deploy"), daemon.incidents[1]]
    _, out, _ = await detector("incidents", "list")
    assert [line.split("\t")[-1] for line in out.splitlines()] == ["silence m1 by kim: a deploy", "-"]
    _, out, _ = await detector("incidents", "show", "incident-00003")
    assert "muted              silence m1 by kim: a deploy\n" in out


USAGE = {
    "nothing": (
        ("--duration", "2h", "--reason", "x"),
        "say what to mute, e.g. service=checkout; a silence of everything is refused",
    ),
    "no end": (("service=a", "--reason", "x"), "say how long: --duration 2h, or --ends TIME"),
    "no reason": (("service=a", "--duration", "2h"), "say why: --reason TEXT"),
    "bare name": (
        ("HighErrors", "--duration", "2h", "--reason", "x"),
        "name=~regex or name!~regex; for a rule of that name write alertname=HighErrors",
    ),
}


@pytest.mark.parametrize(("words", "line"), USAGE.values(), ids=USAGE.keys())
async def test_a_usage_error_says_what_would_be_right(
    detector: Run, daemon: MemoryDaemon, words: tuple[str, ...], line: str
) -> None:
    """Exit 2, one line, nothing asked of the daemon."""
    code, out, err = await detector("silence", "add", *words)
    assert (code, out) == (2, "")
    assert line in err
    assert len(err.splitlines()) == 1
    assert list(daemon.mutes) == ["w1"]


async def test_a_refusal_of_the_daemon_is_one_line(detector: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 with the daemon's words."""
    wide = ("silence", "add", "service=~.+", "--duration", "2h", "--reason", "x")
    assert await detector(*wide) == (
        1,
        "",
        "detector: matchers: these matchers cover every alert, whatever its rule, service and severity; name what is to be quiet\n",
    )
    assert await detector("silence", "expire", "nope") == (
        1,
        "",
        "detector: no silence nope; `detector silence list` shows them\n",
    )
    monkeypatch.delenv("USER")
    code, _, err = await detector(*ADD)
    assert (code, "say who does it: --by NAME" in err) == (2, True)

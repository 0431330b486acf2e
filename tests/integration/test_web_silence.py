"""Silences over HTTP on a real uvicorn: listed, added, renewed, ended; each refusal one line."""

import json
from typing import Any

import pytest

from detector.web.access import Access
from tests.integration.test_web import READ, WRITE, Ask, _problem, ask, daemon, start
from tests.kit.memorydaemon import MemoryDaemon

__all__ = ["ask", "daemon", "start"]  # fixtures

PATH = "/api/v1/silences"
WISH = {"matchers": ["service=checkout"], "duration": "2h", "author": "kim", "reason": "a deploy"}


async def _post(ask: Ask, path: str, content: object, **headers: str) -> tuple[int, Any]:
    status, _, body = await ask("POST", path, json.dumps(content).encode(), Content_Type="application/json", **headers)
    return status, json.loads(body)


async def test_a_silence_is_added_listed_and_ended(ask: Ask) -> None:
    """201 with the whole of it; the list has it beside the windows; ended, it is listed when asked for."""
    status, made = await _post(ask, PATH, WISH)
    assert status == 201
    assert made == {
        "id": made["id"],
        "kind": "silence",
        "status": "active",
        "matchers": ['service="checkout"'],
        "starts": 1000.0,
        "ends": 8200.0,
        "author": "kim",
        "reason": "a deploy",
        "created": 1000.0,
        "expired": None,
        "expired_by": "",
        "mutes": [],
    }
    _, _, body = await ask("GET", PATH)
    window, listed = json.loads(body)
    assert listed == made
    assert (window["id"], window["kind"], window["created"], window["author"]) == ("w1", "window", None, "rule files")
    status, ended = await _post(ask, f"{PATH}/{made['id']}/expire", {"by": "lee"})
    assert (status, ended["status"], ended["ends"], ended["expired"], ended["expired_by"]) == (200, "ended", 1000.0, 1000.0, "lee")
    assert [one["id"] for one in json.loads((await ask("GET", PATH))[2])] == ["w1"]
    assert [one["id"] for one in json.loads((await ask("GET", f"{PATH}?status=ended"))[2])] == [made["id"]]


async def test_what_a_silence_mutes_is_named(ask: Ask, daemon: MemoryDaemon) -> None:
    """Ids of the muted incidents that it covers."""
    from dataclasses import replace  # noqa: PLC0415 - this test only

    _, made = await _post(ask, PATH, WISH)
    daemon.incidents = [replace(daemon.incidents[0], muted=f"silence {made['id']}"), daemon.incidents[1]]
    assert json.loads((await ask("GET", f"{PATH}?status=active"))[2])[1]["mutes"] == ["incident-00003"]


async def test_a_string_of_matchers_by_and_moments_are_taken(ask: Ask) -> None:
    """As Prometheus writes a selector; `by` for `author`; ISO 8601 with a zone; a lease by the job's own id, renewed."""
    wish = {
        "matchers": '{service="checkout", severity=~"low|medium"}',
        "ends": "1970-01-01T02:00:00+01:00",
        "by": "ci",
        "reason": "deploy 7",
        "lease": True,
        "id": "deploy-7",
    }
    made: dict[str, Any] = {}
    for ends, unix in (("1970-01-01T02:00:00+01:00", 3600.0), (4000, 4000.0)):
        status, made = await _post(ask, PATH, wish | {"ends": ends})
        assert (status, made["kind"], made["id"], made["ends"], made["author"]) == (201, "lease", "deploy-7", unix, "ci")
    assert made["matchers"] == ['service="checkout"', 'severity=~"low|medium"']
    assert len(json.loads((await ask("GET", PATH))[2])) == 2


async def test_ending_by_delete(ask: Ask) -> None:
    """DELETE needs a name too, and answers what has ended."""
    _, made = await _post(ask, PATH, WISH)
    assert _problem(await ask("DELETE", f"{PATH}/{made['id']}")) == (422, "by: Field required")
    status, _, body = await ask("DELETE", f"{PATH}/{made['id']}?by=lee")
    assert (status, json.loads(body)["status"]) == (200, "ended")
    assert _problem(await ask("DELETE", f"{PATH}/{made['id']}?by=lee")) == (
        409,
        f"silence {made['id']} was ended by lee; nothing to do",
    )
    assert _problem(await ask("DELETE", f"{PATH}/nope?by=lee")) == (404, "no silence nope; `detector silence list` shows them")


async def test_a_list_comes_by_page(ask: Ask) -> None:
    """Link leads on with the same filter, and ends."""
    for number in range(4):
        await _post(ask, PATH, WISH | {"reason": f"deploy {number}"})
    _, headers, content = await ask("GET", f"{PATH}?status=active&limit=3")
    assert len(json.loads(content)) == 3
    assert headers["link"] == f'<{PATH}?status=active&limit=3&cursor=3>; rel="next"'
    _, headers, content = await ask("GET", headers["link"].split(">")[0][1:])
    assert (len(json.loads(content)), "link" in headers) == (2, False)


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "everything": ({"matchers": ['service=~".+"']}, 422, "matchers: these matchers cover every alert"),
    "no matcher": ({"matchers": []}, 422, "matchers: no matcher; write for example service=checkout"),
    "bad regex": ({"matchers": ['service=~"("']}, 422, "matchers: '(' is not a regular expression"),
    "no end": ({"duration": ""}, 422, "every mute has an end: give `duration`, e.g. 2h, or `ends`"),
    "nobody": ({"author": ""}, 422, "author is missing: say who mutes"),
    "two names": ({"by": "lee"}, 422, "give either `author` or `by`, not both"),
    "no zone": ({"duration": "", "ends": "2030-01-01T00:00:00"}, 422, "has no time zone; write e.g. 2030-01-01T00:00:00Z"),
    "unknown id": ({"id": "nope"}, 404, "no silence nope"),
    "odd id": ({"id": "a b"}, 422, "id: String should match pattern"),
    "unknown key": ({"comment": "x"}, 422, "comment: Extra inputs are not permitted"),
    "no lease": ({"id": "w1"}, 409, "w1 is a window, not a silence; take another id"),
}


@pytest.mark.parametrize(("changes", "status", "detail"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_silence_is_a_problem(
    ask: Ask, daemon: MemoryDaemon, changes: dict[str, Any], status: int, detail: str
) -> None:
    """One line that says what would be right; nothing is kept."""
    body = json.dumps(WISH | changes).encode()
    told = _problem(await ask("POST", PATH, body, Content_Type="application/json"))
    assert told[0] == status
    assert detail in told[1]
    assert "\n" not in told[1]
    assert list(daemon.mutes) == ["w1"]


async def test_a_store_that_does_not_answer_takes_no_silence(ask: Ask, daemon: MemoryDaemon) -> None:
    """503, and when to try again: a silence that may be lost is none."""
    daemon.down = True
    answer = await ask("POST", PATH, json.dumps(WISH).encode(), Content_Type="application/json")
    assert _problem(answer) == (503, "the store does not answer: database is locked; try again")


async def test_writing_needs_what_other_writes_need(start: Any) -> None:
    """With tokens, the read token lists and does not write."""
    asked = await start(Access(READ, WRITE))
    read, write = ({"Authorization": f"Bearer {token}"} for token in (READ, WRITE))
    assert (await asked("GET", PATH))[0] == 401
    assert (await asked("GET", PATH, **read))[0] == 200
    assert (await _post(asked, PATH, WISH, **read))[0] == 403
    assert (await asked("DELETE", f"{PATH}/w1?by=a", **read))[0] == 403
    assert (await _post(asked, PATH, WISH, **write))[0] == 201

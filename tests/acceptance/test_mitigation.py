"""Mitigations in the running daemon: run by a named human, one at a time; recovery ends the incident."""

import asyncio
import sys
from typing import Any

from tests.kit.daemon import Daemon
from tests.kit.house import Booth, EnterBooth
from tests.kit.rule import FLAG, PLAIN_RULES
from tests.kit.wait import wait_until
from tests.kit.web import send_json

TOKEN = "write-token-1234"
RULES = f"""\
services:
  checkout:
    mitigations:
{FLAG}      slow: {{summary: Wait, run: ["{sys.executable}", "-c", "import time; time.sleep(60)"], timeout: 4s}}
      fail: {{summary: Fail, run: ["{sys.executable}", "-c", "import os; print(sorted(os.environ)); raise SystemExit(3)"]}}
      gone: {{summary: Not there, run: [/no/such/program]}}
{PLAIN_RULES}    severity: {{high: "true"}}
"""


async def post(daemon: Daemon, path: str, token: str, **body: object) -> tuple[int, Any]:
    """POST JSON, with a token where one is given."""
    return await asyncio.to_thread(send_json, daemon.port, "POST", path, body, token=token)


async def break_shop(booth: Booth) -> str:
    """Start, break, wait for the page; the incident's id."""
    await booth.daemon.start()
    booth.show(checkout=0.1)
    await booth.wait_open(1)
    return str((await booth.daemon.wait_incident("checkout"))["id"])


async def test_a_named_human_runs_it_and_recovery_ends_it(enter_booth: EnterBooth) -> None:
    """Shown, then run by name; its output is in the timeline as it is; the incident goes on until the metrics are well."""
    booth = await enter_booth(rules={"shop": RULES}, write_token=TOKEN)
    incident = await break_shop(booth)
    code, out, _ = await booth.daemon.run("incidents", "mitigate", incident, "flag")
    assert code == 0
    assert "nothing was run" in out
    code, _, err = await booth.daemon.run("incidents", "mitigate", incident, "flag", "--yes")
    assert (code, "--by NAME" in err) == (2, True)
    assert not [event for event in await booth.daemon.timeline(incident) if event["kind"] == "mitigation"]

    code, out, err = await booth.daemon.run("incidents", "mitigate", incident, "flag", "--yes", "--by", "ann")
    assert (code, err) == (0, "")
    assert "basket <b>off</b>; $(id)" in out
    said = [event for event in await booth.daemon.timeline(incident) if event["kind"] == "mitigation"]
    assert [event["actor"] for event in said] == ["ann", "ann"]
    assert "exit code 0" in said[1]["message"]
    assert (await booth.daemon.wait_incident("checkout"))["status"] == "open"
    assert await booth.daemon.metric("detector_time_to_mitigate_seconds_count", severity="high") == 1

    code, _, err = await booth.daemon.run("incidents", "mitigate", incident, "flag", "--yes", "--by", "bob")
    assert code == 1
    assert "was run by ann already" in err
    code, _, _ = await booth.daemon.run("incidents", "mitigate", incident, "flag", "--yes", "--by", "bob", "--again")
    assert code == 0
    assert await booth.daemon.metric("detector_time_to_mitigate_seconds_count", severity="high") == 1
    booth.show(checkout=0.0)
    await booth.daemon.wait_incident("checkout", "resolved")


async def test_only_the_write_token_runs_it_and_one_at_a_time(enter_booth: EnterBooth) -> None:
    """Another run is refused while one is under way; a timeout ends the whole group; what can't start says so."""
    booth = await enter_booth(rules={"shop": RULES}, write_token=TOKEN)
    incident = await break_shop(booth)
    path = f"/api/v1/incidents/{incident}/mitigate"
    assert (await post(booth.daemon, path, "", name="flag", by="ann"))[0] == 401
    assert (await post(booth.daemon, path, TOKEN, name="flag"))[0] == 422
    assert (await post(booth.daemon, path, TOKEN, name="slow", by="ann"))[0] == 202
    status, problem = await post(booth.daemon, path, TOKEN, name="flag", by="bob")
    assert (status, "started by ann" in problem["detail"]) == (409, True)

    async def said(words: str) -> bool:
        return any(words in event["message"] for event in await booth.daemon.timeline(incident))

    await wait_until(lambda: said("slow timed out after 4 s and was killed"), "the end of slow")
    assert (await post(booth.daemon, path, TOKEN, name="gone", by="ann"))[0] == 202
    await wait_until(lambda: said("could not be started: /no/such/program"), "the end of gone")
    assert (await post(booth.daemon, path, TOKEN, name="fail", by="ann"))[0] == 202
    await wait_until(lambda: said("fail ended with exit code 3"), "the end of fail")
    events = await booth.daemon.timeline(incident)
    assert not any("DETECTOR_WRITE_TOKEN" in event["message"] for event in events)
    assert any("DETECTOR_INCIDENT_ID" in event["message"] for event in events)


async def test_without_a_configured_token_nothing_is_run(enter_booth: EnterBooth) -> None:
    """From this machine everything else may be written; a command is not run."""
    booth = await enter_booth(rules={"shop": RULES})
    incident = await break_shop(booth)
    for path in ("mitigate", "mitigate/"):
        status, problem = await post(booth.daemon, f"/api/v1/incidents/{incident}/{path}", "", name="flag", by="ann")
        assert (status, "DETECTOR_WRITE_TOKEN" in problem["detail"]) == (403, True)

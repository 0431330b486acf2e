"""The post-mortem of an incident in the running daemon, against a real Prometheus: drafted, edited, reminded of, finished."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import yaml

from tests.kit.daemon import Daemon
from tests.kit.house import Household
from tests.kit.rule import SHORT_RULES
from tests.kit.standin import Service
from tests.kit.wait import wait_until

SVG = "{http://www.w3.org/2000/svg}"


async def test_the_draft_says_what_happened_and_its_rule_test_reproduces_it(tmp_path: Path) -> None:
    """A failing shop is paged, acknowledged and mended: numbers, people, times, plot; its rule test passes; edits are kept."""
    rules = SHORT_RULES + "    watch: 1s\n"
    token = "write-token-1234"
    async with Household(tmp_path, {"shop": rules}, (Service("checkout", 100.0),), past_seconds=60.0, write_token=token) as house:
        daemon = house.daemon
        house.flip("checkout", error_ratio=0.3)
        await house.wait_alert("checkout")
        incident = str((await daemon.wait_incident("checkout"))["id"])
        assert (await daemon.run("incidents", "ack", incident, "--by", "ann <b>|`x`"))[0] == 0
        assert (await daemon.run("incidents", "note", incident, "[click](javascript:x) <script>", "--by", "bob"))[0] == 0
        house.heal("checkout")
        await house.wait_alert("checkout", is_open=False)
        path = tmp_path / "state" / "postmortems" / f"{incident}.md"
        await wait_until(path.exists, "the draft")
        text = path.read_text()
        for title in ("Root cause", "Why it happened", "What we're doing to prevent this", "Follow-up"):
            assert f"## {title}\n" in text
        assert re.search(r"\| (detect|page|acknowledge|recover) \| \d", text)
        assert "| mitigate | not done |" in text
        assert "`[click](javascript:x) <script>`" in text
        assert "``ann <b>|`x` ``" in text or "`` ann <b>|`x` ``" in text
        picture = ET.fromstring(path.with_suffix(".svg").read_text())  # noqa: S314 - our own
        words = " ".join(element.text or "" for element in picture.iter(f"{SVG}text"))
        assert all(word in words for word in ("breach", "page", "acknowledge", "recovery", "errors: error_rate"))
        assert [line for line in picture.iter(f"{SVG}path") if (line.get("d") or "").count("L") > 5]

        assert (await daemon.run("incidents", "cause", incident, "a full pool", "--by", "ann"))[0] == 0
        await wait_until(lambda: "Noted afterwards: `a full pool`" in path.read_text(), "the cause that was found later")
        text = path.read_text()
        code, out, _ = await daemon.run("incidents", "postmortem", incident)
        assert (code, "## Root cause" in out) == (0, True)
        await check_reproduction(daemon, text, tmp_path)
        path.write_text(
            text.replace(
                "`detector incidents follow-ups` lists them all. -->", "-->\n- [ ] alert on pool use, erin, Friday\n- [x] done"
            )
        )
        code, out, _ = await daemon.run("incidents", "follow-ups")
        assert (code, out.split("\t")) == (0, [incident, "no", "alert on pool use, erin, Friday\n"])
        assert (await daemon.run("incidents", "postmortem", incident, "--done", "--by", "ann"))[0] == 0
        code, _, err = await daemon.run("incidents", "postmortem", incident, "--done", "--by", "bob")
        assert (code, "finished by ann already" in err) == (1, True)

        code, out, _ = await daemon.run("incidents", "why", incident)
        steps = [line.split("  ", 1)[1] for line in out.splitlines()[2:]]
        assert code == 0
        assert steps.index("accepted: trigger to pagerduty (default), high") < steps.index(
            "accepted: resolve to pagerduty (default), high"
        )
        await check_replay(daemon, incident, rules, tmp_path)
        code, out, _ = await daemon.run("incidents", "why", incident, "--json")
        assert [step["at"] for step in json.loads(out)] == sorted(step["at"] for step in json.loads(out))


async def check_replay(daemon: Daemon, incident: str, rules: str, folder: Path) -> None:
    """The same rules change nothing but seconds; a rung lower is a lower severity; a higher threshold opens nothing."""
    tried = folder / "tried.yaml"
    for text, opens, severity in (
        (rules, {"same", "earlier", "later"}, "same"),
        (rules.replace('{high: "true"}', '{low: "true"}'), {"same", "earlier", "later"}, "lower"),
        (rules.replace("> 0.01", "> 0.9"), {"never"}, None),
    ):
        tried.write_text(text)
        words = ("incidents", "replay", incident, "--rules", str(tried), "--step", "1s", "--json")
        code, out, err = await daemon.run(*words)
        assert code == 0, err
        found = json.loads(out)
        assert (found["opens"] in opens, found["severity"]) == (True, severity), found
        if found["replayed"]:
            assert abs(found["replayed"]["opened"] - found["recorded"]["opened"]) < 3


async def check_reproduction(daemon: Daemon, text: str, folder: Path) -> None:
    """The rule test in the document holds, run beside the rules by the real command."""
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert yaml.safe_load(found[1])["tests"][0]["series"]
    written = daemon.rules / "again.test.yaml"
    written.write_text(found[1])
    code, out, err = await daemon.run("test", str(written))
    assert code == 0, out + err + found[1]

"""`detector diagnose` as a process against a real Prometheus: seven causes, each found by the right check first; and its faults."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.causestory import CAUSES, RULES, find_moment, quiet_moment, write_story
from tests.kit.command import run_detector
from tests.kit.port import free_port
from tests.kit.prometheus import Prometheus


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with rules, and the address of the Prometheus that holds the story."""

    folder: Path
    url: str

    def run(self, *words: str, **settings: str) -> tuple[int, str, str]:
        """`detector diagnose` as a process, without a daemon."""
        own = {
            "DETECTOR_PROMETHEUS_URL": self.url,
            "DETECTOR_RULES": str(self.folder / "rules"),
            "DETECTOR_URL": f"http://127.0.0.1:{free_port()}",
        }
        return run_detector("diagnose", *words, cwd=self.folder, settings=own | settings)

    def diagnose(self, at: float) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON for the shop at a moment."""
        code, out, errors = self.run("shop", "--at", f"{at:.0f}", "--json")
        assert not errors
        return code, json.loads(out)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A real Prometheus that holds the story."""
    folder = tmp_path_factory.mktemp("diagnose")
    (folder / "rules").mkdir()
    (folder / "rules" / "shop.yaml").write_text(RULES)
    prometheus = Prometheus(folder / "prometheus")
    prometheus.load_openmetrics(write_story())
    with prometheus:
        yield Place(folder, prometheus.url)


pytestmark = pytest.mark.xdist_group("diagnose")


@pytest.mark.parametrize("cause", CAUSES)
def test_the_right_check_is_the_first_bad_one(place: Place, cause: str) -> None:
    """Of the causes' checks only the right one is bad; symptoms (error rate, p99) are bad beside it; the exit code is 1."""
    code, found = place.diagnose(find_moment(cause))
    bad = [check["name"] for check in found["checks"] if check["verdict"] == "bad"]
    assert code == 1
    assert bad == [CAUSES[cause].value, "error rate", "p99"], found["checks"]
    assert [suspect["service"] for suspect in found["suspects"]] == ["shop"]


def test_nothing_is_bad_when_all_is_well(place: Place) -> None:
    """No bad check and no suspect, exit code 0; what has no source is unknown, and unknown alone is no failure."""
    code, found = place.diagnose(quiet_moment())
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert code == 0
    assert verdicts.pop("recent errors") == "unknown"
    assert set(verdicts.values()) == {"ok"}, found["checks"]
    assert found["suspects"] == []
    assert (found["service"], found["at"]) == ("shop", quiet_moment())


def test_the_practice_s_form_is_printed(place: Place) -> None:
    """A mark, the name, the message; in the practice's order; then the suspects."""
    code, out, _ = place.run("shop", "--at", f"{find_moment('full memory'):.0f}")
    lines = out.splitlines()
    assert code == 1
    assert [line.partition(":")[0] for line in lines[:10]] == [
        "✅ recent deploy",
        "✅ traffic spike",
        "✅ database",
        "✅ third parties",
        "✅ configuration",
        "🔴 resources",
        "✅ concurrency",
        "🔴 error rate",
        "🔴 p99",
        "❔ recent errors",
    ]
    assert "memory of the host (h1) 98.8%, limit 90%" in lines[5]
    assert lines[10] == "suspects, likeliest first:"
    assert lines[11].startswith("  1. shop (")


def test_a_service_nobody_knows_is_all_unknown(place: Place) -> None:
    """Nothing of its own is known, so nothing of its own is judged; hosts and databases are everybody's."""
    code, out, _ = place.run("nobody", "--at", f"{quiet_moment():.0f}", "--json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(out)["checks"]}
    assert code == 0
    assert {verdicts[name] for name in ("recent deploy", "traffic spike", "third parties", "error rate", "p99")} == {"unknown"}


def test_without_prometheus_every_query_says_so(place: Place) -> None:
    """Unknown with the reason, exit code 0, and no traceback."""
    code, out, errors = place.run("shop", DETECTOR_PROMETHEUS_URL=f"http://127.0.0.1:{free_port()}")
    assert (code, errors.count("Traceback")) == (0, 0)
    assert "🔴" not in out
    assert "could not be asked: connect" in out
    assert "suspects: no service stands out (its signals could not be asked: connect" in out


def test_no_suspect_takes_nothing_back_of_what_is_bad(place: Place) -> None:
    """Half an hour after a deploy no signal changes any more: the line names what is bad all the same, and --at."""
    code, out, _ = place.run("shop", "--at", f"{find_moment('a deploy') + 2000:.0f}")
    (line,) = [each for each in out.splitlines() if each.startswith("suspects:")]
    assert (code, line.endswith("seen with --at); begin with what is bad above: recent deploy")) == (1, True)


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["shop", "--at", "yesterday"], {}, "--at is yesterday; write unix seconds or a time such as 2026-11-23T08:00:00Z"),
        (["shop", "--at", "1700000000000"], {}, "--at is 1700000000000, no moment in unix seconds"),
        ([], {}, "Missing argument 'SERVICE'"),
        (["shop"], {"DETECTOR_RULES": "nowhere"}, "no rules to diagnose by"),
    ],
)
def test_a_wrong_use_is_told_in_words(place: Place, words: list[str], settings: dict[str, str], message: str) -> None:
    """Exit code 2, and what would be right."""
    code, out, errors = place.run(*words, **settings)
    assert (code, out) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


async def test_iso_time_is_the_same_moment(place: Place) -> None:
    """2023-... names the moment that its unix seconds do."""
    _, out, _ = await asyncio.to_thread(place.run, "shop", "--at", "2023-11-14T20:00:00Z", "--json")
    assert json.loads(out)["at"] == 1_699_992_000.0

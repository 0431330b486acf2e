"""Post-mortems without processes: who is reminded, what hostile text becomes, and that edits are never written over."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from detector.adapters.postmortem import FileArchive
from detector.adapters.postmortem.document import block, code
from detector.domain.catalogue import Catalogue
from detector.domain.incident import Book, Event, Incident, Status
from detector.domain.ledger import Paging
from detector.domain.notation import read_values
from detector.domain.postmortem import Facts, Lesson, list_due, remind
from detector.domain.reproduction import Span, write_values
from detector.domain.severity import Severity

INCIDENT = Incident(
    "abc", 0, Status.CLOSED, Severity.HIGH, Severity.HIGH, "shop", ("shop",), ("errors",), (), 100.0, 105.0, "shop is down",
    resolved=400.0, told=("slack:", "email:on_call", "email:stakeholders", "statuspage:", "mqtt:"),
)  # fmt: skip
AUDIENCE = (("slack", ""), ("email", "on_call"), ("email", "stakeholders"), ("statuspage", ""), ("mqtt", ""))


def test_those_inside_are_reminded_and_nobody_outside() -> None:
    """A reminder goes to Slack and the mail of those on call, not to stakeholders, the public page or machines."""
    decision = remind(Book({"abc": INCIDENT}), Catalogue(), Paging(audience=AUDIENCE), "abc", 90_000.0)
    assert {(notice.channel, notice.route) for notice in decision.notices} == {("slack", ""), ("email", "on_call")}
    assert all("--done" in str(notice.values["message"]) for notice in decision.notices)


def test_each_is_reminded_of_when_due_and_again_each_day() -> None:
    """Not before it is due, not twice in a day, not when it is finished."""
    lessons = [Lesson("a", 100.0), Lesson("b", 300.0), Lesson("c", 100.0, reminded=150.0), Lesson("d", 100.0, finished=90.0)]
    assert [lesson.incident for lesson in list_due(lessons, 200.0)] == ["a"]
    assert [lesson.incident for lesson in list_due(lessons, 150.0 + 86_400)] == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["<script>", "`x`", "``", "[a](javascript:b)", "a\n# title\n```\nb", "\u202eabc", "", "@all | x"])
def test_hostile_text_stays_inside_its_span_and_its_block(text: str) -> None:
    """The fence is longer than any run of backticks inside, and a span is one line."""
    span = code(text)
    fence = re.match(r"`+", span)
    assert fence is not None
    inside = span[len(fence[0]) : -len(fence[0])]
    assert "\n" not in span
    assert fence[0] not in re.findall(r"`+", inside)
    first, *_, last = block(text).splitlines()
    assert not any(run.startswith(first) for run in re.findall(r"`+", block(text)[len(first) : -len(last)]))


def test_what_people_have_written_is_kept(tmp_path: Path) -> None:
    """An untouched draft is replaced by the next; an edited one stays, and the next gets a number."""
    archive = FileArchive(tmp_path)
    facts = Facts(INCIDENT, (), (), 86_800.0)
    path = Path(archive.write(facts))
    assert archive.write(replace(facts, digest="other")) == str(path)
    path.write_text(path.read_text().replace("## Follow-up\n", "## Follow-up\n\n- [ ] more pools\n", 1))
    second = Path(archive.write(facts))
    assert (second.name, "more pools" in path.read_text()) == ("abc-2.md", True)
    assert [(item.incident, item.text, item.done) for item in archive.list_follow_ups()] == [("abc", "more pools", False)]
    assert archive.read("../abc") is None


def test_what_is_said_later_comes_into_a_draft_that_nobody_has_edited(tmp_path: Path) -> None:
    """A cause found the day after stands in its section, the timeline and the actions, once; it stays a draft; theirs is theirs."""
    archive = FileArchive(tmp_path)
    path = Path(archive.write(Facts(INCIDENT, (), (), 86_800.0)))
    note = Event("abc", 500.0, "ann", "note", "## Root cause")
    cause = Event("abc", 600.0, "ann", "cause", "root cause: a <b>full</b> pool")
    assert archive.amend("abc", (note, cause))
    assert archive.amend("abc", (cause,))
    text = path.read_text()
    assert "Nobody acted" not in text
    assert re.findall(r"^.*full.*$", text, re.MULTILINE) == [
        "- 1970-01-01 00:10:00 UTC `ann` cause: `root cause: a <b>full</b> pool`",
        "- 1970-01-01 00:10:00 UTC `ann`: `root cause: a <b>full</b> pool`",
        "Noted afterwards: `a <b>full</b> pool`",
    ]
    assert [line for line in text.splitlines() if line.startswith("## ")][:5] == [
        "## Times", "## Signals", "## Timeline (UTC)", "## Checks", "## Actions",
    ]  # fmt: skip
    path.write_text(text.replace("## Follow-up\n", "## Follow-up\n\n- [ ] more pools\n", 1))
    assert not archive.amend("abc", (replace(cause, at=700.0),))
    assert not archive.amend("other", (cause,))


def test_folder_and_files_are_for_nobody_else(tmp_path: Path) -> None:
    """0700 and 0600, as all that lies in the state directory."""
    document = Path(FileArchive(tmp_path / "state" / "postmortems").write(Facts(INCIDENT, (), (), 86_800.0)))
    assert {path.stat().st_mode & 0o777 for path in document.parent.iterdir()} == {0o600}
    assert document.parent.stat().st_mode & 0o777 == 0o700


def test_samples_are_written_as_rule_tests_read_them() -> None:
    """Folded runs, holes and fractions come back the same."""
    values = [1.0, 2.0, 3.0, 3.0, 3.0, 3.0, None, None, 0.25, 7.0, 5.0, 3.0]
    points = [(100.0 + 5 * step, value) for step, value in enumerate(values) if value is not None]
    read = read_values(write_values(points, Span(100.0, 5.0, len(values))))
    assert [value if isinstance(value, float) else None for value in read] == values

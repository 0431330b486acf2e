"""What the command line prints of texts that come from outside: nothing steers the terminal or turns the text around."""

import io
import json
import sys

import pytest

from detector.cli.diagnose import _show
from detector.cli.exit import fail
from detector.cli.table import clean, format_json, print_table
from detector.domain.check import Check, Diagnosis, Result, Verdict
from detector.domain.quantity import format_count
from detector.domain.suspect import Suspect

HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x9b31m\r\nfake: ok\u202egpj\u2028c\ud800d\x00e <script> é 🔥"
STEERING = frozenset("\x00\x07\x1b\x9b\r\u202e\u2028\ud800")


def test_a_cleaned_value_is_one_harmless_line() -> None:
    """Escapes, line ends, turned text and halves of characters are gone; letters and pictures stay."""
    said = clean(HOSTILE)
    assert not STEERING & set(said)
    assert "\n" not in said
    assert said.endswith("<script> é 🔥")
    said.encode()


def test_a_refusal_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What the daemon refuses may quote anybody's name."""
    assert fail(HOSTILE, 2) == 2
    said = capsys.readouterr().err
    assert not STEERING & set(said)
    assert said.startswith("detector: a\ufffd[2J")


def test_json_on_a_terminal_steers_nothing_and_means_the_same() -> None:
    """What could steer is escaped; read back, it is what it was."""
    said = format_json({HOSTILE: [HOSTILE]})
    assert not STEERING & set(said)
    said.encode()
    assert json.loads(said) == {HOSTILE: [HOSTILE]}


def test_a_diagnosis_and_a_table_print_hostile_words_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages, links, services and reasons that come from labels, log lines and status pages; one line each."""
    result = Result(Check.ERRORS, Verdict.BAD, HOSTILE, HOSTILE)
    _show(Diagnosis(HOSTILE, 0.0, (result,), (Suspect(HOSTILE, 1.0, HOSTILE),)))
    print_table(("A", "B"), [[HOSTILE, HOSTILE]])
    out, err = capsys.readouterr()
    assert not STEERING & set(out + err)
    assert len(out.splitlines()) == 5  # a check and its link, the heading of the suspects, one of them, a row
    assert len(err.splitlines()) == 1


class Terminal(io.StringIO):
    """What is printed to somebody who looks."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize("width", [24, 60, 400])
def test_on_a_terminal_no_value_is_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are there to be copied: what does not fit beside them stands below its row, with its column's name."""
    identity, summary = "64fea6307add6f2c9d8c", "search fails 2.15% of its requests"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(("ID", "SERVICE", "SEVERITY", "SUMMARY", "MUTED BY"), [[identity, "search 日本", "high", summary, "-"]])
    said = terminal.getvalue()
    lines = [line.rstrip() for line in said.splitlines()]
    assert identity in said
    assert "…" not in said
    assert all(word in said for word in summary.split())
    assert len(lines) == {24: 7, 60: 3, 400: 2}[width]
    assert ("summary search" in said) == (width < 400)
    assert "muted by" not in said


def test_one_thing_is_said_in_the_singular() -> None:
    """Counts as people write them."""
    assert [format_count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]

"""What changed in a rule while an incident was open, and the page that shows it."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from detector.domain.amendment import compare_terms

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_only_what_changed_is_shown() -> None:
    """Changed, gone and new terms as in a diff; what is the same is left out."""
    before = {"open": "a > 1", "for": "1m", "severity.high": "true"}
    after = {"open": "a > 1", "for": "5m", "severity.low": "true"}
    assert compare_terms(before, after) == ("- for: 1m", "+ for: 5m", "- severity.high: true", "+ severity.low: true")
    assert compare_terms(before, before) == ()


def test_the_demo_s_post_mortem_has_every_part() -> None:
    """Sections, times, the rule diff, a rule test, and a plot whose marks are all there; `make postmortem` writes it."""
    text = (DOCS / "postmortem-demo.md").read_text()
    for title in ("Times", "Signals", "Timeline (UTC)", "Checks", "Actions", "Root cause", "Why it happened", "Follow-up"):
        assert f"## {title}\n" in text
    for step in ("detect", "page", "acknowledge", "mitigate", "recover"):
        assert re.search(rf"\| {step} \| \d", text)
    assert "- recover_for: 10s\n+ recover_for: 12s\n" in text
    assert "\nexpect:" in text.replace("    expect:", "\nexpect:")
    picture = ET.fromstring((DOCS / "postmortem-demo.svg").read_text())  # noqa: S314 - our own
    words = " ".join(element.text or "" for element in picture.iter("{http://www.w3.org/2000/svg}text"))
    assert all(word in words for word in ("breach", "page", "acknowledge", "mitigation revert", "recovery", "threshold 1%"))

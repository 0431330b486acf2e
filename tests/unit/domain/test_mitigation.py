"""The order in which mitigations are offered, and when one may be run."""

from dataclasses import replace

import pytest

from detector.domain.catalogue import Catalogue, Mitigation, Service
from detector.domain.check import Check, Result, Verdict
from detector.domain.incident import Book, Incident, Status
from detector.domain.ledger import Paging
from detector.domain.mitigation import begin_mitigation, end_mitigation
from detector.domain.offer import order_offers
from detector.domain.response import ResponseError
from detector.domain.severity import Severity

WAYS = (
    Mitigation("flag", "Disable the new basket", ("flagctl", "off")),
    Mitigation("scale", "Add two instances", ("fly", "scale")),
    Mitigation("revert", "Roll back the release", ("fly", "rollback")),
)
CATALOGUE = Catalogue({"shop": Service("shop", mitigations=WAYS)})
INCIDENT = Incident(
    "i", 0, Status.OPEN, Severity.HIGH, Severity.HIGH, "shop", ("shop",), ("errors",), (), 100.0, 105.0, "shop is down"
)


@pytest.mark.parametrize(
    ("checks", "first"),
    [
        ([], "flag"),
        ([(Check.DEPLOY, Verdict.BAD)], "revert"),
        ([(Check.DEPLOY, Verdict.OK), (Check.RESOURCES, Verdict.BAD)], "scale"),
        ([(Check.DEPLOY, Verdict.UNKNOWN), (Check.THIRD_PARTIES, Verdict.BAD), (Check.RESOURCES, Verdict.BAD)], "flag"),
        ([(Check.ERROR_RATE, Verdict.BAD)], "flag"),
    ],
)
def test_the_first_bad_check_decides_what_stands_first(checks: list[tuple[Check, Verdict]], first: str) -> None:
    """What helps comes to the front, the others keep the catalogue's order."""
    ordered = order_offers(WAYS, [Result(check, verdict, "") for check, verdict in checks])
    assert ordered[0].name == first
    assert [way.name for way in ordered[1:]] == [way.name for way in WAYS if way.name != first]


def test_a_run_leaves_the_incident_open_and_counts_from_its_start() -> None:
    """The first run's start is when it was mitigated; its end changes nothing else."""
    decision = begin_mitigation(Book({"i": INCIDENT}), CATALOGUE, Paging(), "i", "flag", "ann", 200.0)
    begun = decision.incidents[0]
    assert (begun.mitigated, begun.status) == (200.0, Status.OPEN)
    ended = end_mitigation(Book({"i": begun}), CATALOGUE, Paging(), "i", 200.0, "ended with exit code 1", "x" * 99_999, 210.0)
    done = ended.incidents[0]
    assert (done.status, done.mitigations[0].outcome) == (Status.OPEN, "ended with exit code 1")
    assert len(ended.events[0].message) < 66_000
    assert end_mitigation(Book({"i": done}), CATALOGUE, Paging(), "i", 200.0, "x", "", 220.0).empty


@pytest.mark.parametrize(
    ("name", "by", "now", "status", "words"),
    [
        ("drop", "ann", 300.0, Status.OPEN, "names: flag, scale, revert"),
        ("scale", " ", 300.0, Status.OPEN, "named human"),
        ("scale", "bob", 210.0, Status.OPEN, "flag runs since 10s, started by ann"),
        ("flag", "bob", 900.0, Status.OPEN, "its end was never seen"),
        ("scale", "bob", 900.0, Status.RESOLVED, "is resolved"),
    ],
)
def test_what_may_not_be_run_says_why(name: str, by: str, now: float, status: Status, words: str) -> None:
    """Unknown names, nobody, a run under way, a repetition, an incident that is over."""
    begun = begin_mitigation(Book({"i": INCIDENT}), CATALOGUE, Paging(), "i", "flag", "ann", 200.0).incidents[0]
    with pytest.raises(ResponseError, match=words):
        begin_mitigation(Book({"i": replace(begun, status=status)}), CATALOGUE, Paging(), "i", name, by, now)


def test_a_lost_run_blocks_no_other_for_ever() -> None:
    """The daemon that ran it is gone: a minute after its timeout another may be run, and the same one again."""
    begun = begin_mitigation(Book({"i": INCIDENT}), CATALOGUE, Paging(), "i", "flag", "ann", 200.0).incidents[0]
    assert begin_mitigation(Book({"i": begun}), CATALOGUE, Paging(), "i", "scale", "bob", 321.0).incidents
    assert begin_mitigation(Book({"i": begun}), CATALOGUE, Paging(), "i", "flag", "bob", 321.0, again=True).incidents

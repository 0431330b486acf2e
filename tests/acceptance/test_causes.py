"""Seven causes that a shop really suffers, on a real PostgreSQL and a real Prometheus: each is found by the right check first."""

from pathlib import Path

from tests.kit.causes import CAUSES, MARKS, PAGE, SYMPTOMS, find_causes, read_marks


async def test_each_cause_is_found_by_the_right_check_first(tmp_path: Path, postgres: object) -> None:
    """Nothing is bad before the cause strikes; after it the first bad check is the one that the cause belongs to."""
    del postgres  # only so that this is skipped where there is none
    findings = await find_causes(tmp_path)
    assert len(findings) == 7
    for finding in findings:
        before = [check for check in finding.before if check["verdict"] == "bad" and check["name"] not in SYMPTOMS]
        assert not before, f"before {finding.cause.name}: {before}"
        assert finding.first_bad == finding.cause.check.value, f"{finding.cause.name}: {finding.after}"


def test_the_page_shows_each_cause_found_first() -> None:
    """The table in docs/diagnosis.md, which `make causes` writes, has every cause, its first red mark in the right column."""
    table = read_marks(PAGE.read_text())
    assert list(table) == [cause.name for cause in CAUSES]
    columns = next(line for line in PAGE.read_text().splitlines() if line.startswith("| cause | recent deploy"))
    names = columns.strip("| ").split(" | ")[1:]
    for cause in CAUSES:
        assert names[table[cause.name].index(MARKS["bad"])] == cause.check.value

"""Rule files that are wrong: each file of tests/broken is named for its fault, and each has its exact messages here."""

from pathlib import Path

import pytest

from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.node import MAX_BYTES, MAX_NODES
from detector.ports.rulefile import RuleFilesError

ROOT = Path(__file__).resolve().parents[2]
BROKEN = Path("tests/broken")

# findings as `[file:]line:column: message`; a file's name stands only where several lie in one directory
EXPECTED: dict[str, list[str]] = {
    "alias-bomb.yaml": [
        "6:4: holds more than 200000 values, aliases counted as often as they are used",
    ],
    "condition-open-inside-open.yaml": [
        "4:13: unknown name `open`; known: error_rate, error_rate_baseline, core, customer_facing, workaround",
    ],
    "condition-single-equals.yaml": [
        "4:22: syntax error: `=` stands alone; equality is `==`; a condition looks like `core && error_rate > 0.01`",
    ],
    "condition-syntax.yaml": [
        "6:27: syntax error: unexpected 'and'; a condition looks like `core && error_rate > 0.01`",
    ],
    "condition-type.yaml": [
        "4:12: a condition is true or false, this is a number; compare it, e.g. `error_rate > 0.01`",
        "6:18: `>` does not apply to a boolean and a number",
    ],
    "condition-undeclared-name.yaml": [
        "4:19: unknown name `eror_rate`; nearest: `error_rate`",
    ],
    "control-character.yaml": [
        "2:18: control character 0x01; is this a text file?",
    ],
    "duplicate-key.yaml": [
        "6:5: duplicate key `for`; it stands already in line 5",
    ],
    "duplicate-name-over-files": [
        "b.yml:2:5: duplicate rule name `errors`, also at tests/broken/duplicate-name-over-files/a.yaml:2:5; rename one of them",
    ],
    "duplicate-rule-name.yaml": [
        "5:5: duplicate rule name `errors`, also at tests/broken/duplicate-rule-name.yaml:2:5; rename one of them",
    ],
    "duplicate-service-over-files": [
        (
            "b.yaml:2:13: duplicate service `checkout`, also at "
            "tests/broken/duplicate-service-over-files/a.yaml:2:13; keep one of them"
        ),
    ],
    "duration-unknown-unit.yaml": [
        "5:13: `window` is `5 minutes`, no duration; write 30s, 5m or 1h30m (units y w d h m s ms, large to small)",
        "6:5: `every` is 0; a duration above 0 is needed, e.g. 1m",
    ],
    "duration-without-unit.yaml": [
        "5:10: `for` is 120 without a unit; write 120s, 5m or 1h30m",
    ],
    "empty.yaml": [
        "1:1: no rules in 1 file; at least one must hold `rules:` or `groups:`",
    ],
    "group-without-expr.yaml": [
        "4:9: a Prometheus rule needs `expr`: PromQL; every series it returns is an alert.",
        "5:14: `for` is 5 without a unit; write 5s, 5m or 1h30m",
        "6:9: a Prometheus rule needs `alert` (or `record`)",
    ],
    "maintenance-half-said.yaml": [
        "6:5: a recurring maintenance window needs `lasts`, e.g. `lasts: 2h`",
        "6:33: `rrule` is `FREQ=WEKLY`: invalid 'FREQ': WEKLY; write e.g. FREQ=WEEKLY;BYDAY=SU;BYHOUR=3",
        "6:54: `tz` is `Europe/Roma`, no IANA time zone; write e.g. Europe/Rome or UTC",
        "7:5: a single maintenance window needs both `from` and `until`",
        "8:61: `until` is not after `from`",
        "9:39: `from` is `tomorrow`; a time such as 2026-11-23T08:00:00Z is needed",
        "10:6: `match` names no label, so it would mute everything; write e.g. `{service: reports}`",
    ],
    "missing-name.yaml": [
        "2:5: a rule needs `name`: Unique over all files; the identity that survives reloads and file moves.",
    ],
    "missing-signals-and-open.yaml": [
        "2:5: rule `errors` needs `open`, e.g. `open: error_rate > 0.01`",
        "2:5: rule `errors` needs `signals`, e.g. `signals: {error_rate: ...}`",
    ],
    "nested-too-deep.yaml": [
        "1:39: nested deeper than 32 levels",
    ],
    "no-data-unknown-word.yaml": [
        "5:14: `no_data` is `keeps`; did you mean `keep`?",
    ],
    "no-rules.yaml": [
        "1:1: no rules in 1 file; at least one must hold `rules:` or `groups:`",
    ],
    "not-a-mapping.yaml": [
        "1:1: the file is a list; a rule file is a mapping with `services`, `rules`, `maintenance`",
    ],
    "not-utf8.yaml": [
        "2:14: byte 0xff is not UTF-8; save the file as UTF-8",
    ],
    "override-unknown-label.yaml": [
        "7:17: label `servce` is not in `by`, so no alert has it; did you mean `service`?",
        "9:9: an override needs `match`: Labels of the alerts it is for: one value or a list each.",
        (
            "11:9: unknown key `signals` in an override; known: match, summary, description, open, for, "
            "keep_open, severity, demote_after, recover, recover_for, no_data, labels, links"
        ),
    ],
    "promql-range-vector.yaml": [
        "4:15: query gives a range vector, not one value a series; wrap it, e.g. rate(errors_total[5m])",
    ],
    "promql-unclosed-parenthesis.yaml": [
        "4:37: PromQL: unclosed left parenthesis",
    ],
    "promql-unknown-function.yaml": [
        "4:38: PromQL: unknown function with name 'rat'; did you mean `rate`?",
    ],
    "promql-unknown-variable.yaml": [
        "4:33: PromQL: nothing is named `$windw`; only `$window` is filled in",
    ],
    "python-tag.yaml": [
        "2:11: tag tag:yaml.org,2002:python/object/apply:os.system is not read here; remove it",
    ],
    "quote-not-closed.yaml": [
        "2:11: YAML: these quotes are never closed",
    ],
    "ratio-with-one-query.yaml": [
        "5:16: `ratio` has 1 item; exactly 2 are needed",
        "6:20: `min_total` is `many`; a number above 0 is needed",
        "7:21: `confidence` is `95%`; write 0.95",
    ],
    "rule-name-reserved.yaml": [
        "2:5: `blind` is a name of the daemon's own alerts; choose another",
    ],
    "rule-name-received.yaml": [
        "2:5: `received/disk-full`: `received/` begins the names of alerts that others send here; choose another",
    ],
    "rules-not-a-list.yaml": [
        "2:3: `rules` is a mapping; a list is needed, e.g. `[a, b]` or lines that begin with `- `",
    ],
    "service-with-routing-key.yaml": [
        "3:5: `pagerduty` looks like a routing key itself; write its NAME, the key belongs into DETECTOR_PAGERDUTY__ROUTING_KEYS",
        "4:11: `core` is `yes`; true or false is needed",
        "5:5: service `checkout` depends on itself; leave it out",
        "7:15: a mitigation needs `summary`: What it does, as the page says it.",
        "7:21: `run` is `flyctl releases rollback`; a list is needed, e.g. `[a, b]` or lines that begin with `- `",
    ],
    "severity-unknown-name.yaml": [
        "5:16: unknown key `critcal` in severity; did you mean `critical`?",
        "5:31: unknown key `warning` in severity; known: critical, high, medium, low",
    ],
    "signal-name-reserved.yaml": [
        "4:7: `core` means something else in conditions; give the signal another name",
        "5:7: `in` means something else in conditions; give the signal another name",
        "6:7: `up_baseline` ends in _baseline, which names the baseline of a signal; give it another name",
        "7:7: `error-rate` is no name; use letters, digits and _, not beginning with a digit",
    ],
    "slo-beside-signals.yaml": [
        "3:22: `objective` is `99.9`; a number between 0 and 1 is needed",
        "3:36: `errors` does not use $window; an slo asks it over several windows, e.g. increase(x[$window])",
        "4:5: `signals` beside `slo`; an slo brings its own, leave one of them out",
        "5:5: `open` beside `slo`; an slo brings its own, leave one of them out",
    ],
    "tab-indentation.yaml": [
        "2:1: YAML: a tab, or another character that cannot stand here; indent with spaces",
    ],
    "template-syntax.yaml": [
        (
            "3:15: template: expected token 'end of print statement', got 'fails'; write e.g. `{{ service }} "
            "fails {{ error_rate | percent }}`"
        ),
        "6:7: template: No filter named 'prcent'.; write e.g. `{{ service }} fails {{ error_rate | percent }}`",
    ],
    "template-unknown-name.yaml": [
        "4:38: template: nothing is named `eror_rate`; did you mean `error_rate`?",
    ],
    "two-documents.yaml": [
        "2:1: a second document; one file holds one, put it into a file of its own",
    ],
    "unknown-alias.yaml": [
        "2:5: alias *defaults names nothing that stands complete before it",
    ],
    "unknown-key.yaml": [
        "5:5: unknown key `recoverfor` in a rule; did you mean `recover_for`?",
    ],
    "unknown-top-level-key.yaml": [
        "1:1: unknown key `rule` in a rule file; did you mean `rules`?",
    ],
    "unquoted-colon.yaml": [
        "3:19: YAML: no `key: value` can stand here; check the indentation, quote text with `: `",
    ],
    "unquoted-template.yaml": [
        "3:15: a key is plain text here, not a list or a mapping; quote text that begins with {{",
    ],
    "verify-half-said.yaml": [
        "4:9: a verification needs `name`: What is seen to be well, as the ticket lists it.",
        "5:27: `url` is `shop.example/health`; a URL such as https://shop.example/health is needed",
        "6:68: `expect` is `2xx`; an HTTP status such as 200 is needed",
        "6:86: `environment` is `prod`; known: staging, production",
        "7:39: `contains` belongs to a probe; give the `url` that is asked, or leave it out",
        "8:27: `url` holds a user or password; leave it out, rule files hold no secrets",
        "9:56: unknown key `expct` in a verification; did you mean `expect`?",
        "10:10: `cart` stands twice in `verify`; give each item a name of its own",
    ],
}


def _list_findings(path: Path) -> list[str]:
    with pytest.raises(RuleFilesError) as caught:
        RuleDirectory(path).load()
    place = f"{path}/" if path.is_dir() else f"{path}:"
    return [str(finding).replace(place, "", 1).removeprefix(f"{path}:") for finding in caught.value.findings]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_broken_file_gives_exactly_these_findings(name: str) -> None:
    """Every fault of the file is named with its line and column and what would be right, all at once."""
    assert _list_findings(BROKEN / name) == EXPECTED[name]


def test_every_broken_file_has_its_messages_here() -> None:
    """No file lies in tests/broken whose messages nobody compares."""
    assert {path.name for path in (ROOT / BROKEN).iterdir()} == set(EXPECTED)


def test_the_findings_of_all_files_come_at_once() -> None:
    """One load of the whole directory names every file of it that is broken by itself."""
    with pytest.raises(RuleFilesError) as caught:
        RuleDirectory(BROKEN).load()
    named = {Path(finding.file).relative_to(BROKEN).parts[0] for finding in caught.value.findings}
    assert named >= set(EXPECTED) - {"empty.yaml", "no-rules.yaml"}


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    """A path that does not exist is one finding that says what to give instead."""
    assert _list_findings(tmp_path / "none") == [
        "1:1: no such file or directory; name a rule file or a directory with *.yaml files"
    ]


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    """A directory without rule files is an error that names it, not an empty set."""
    assert _list_findings(tmp_path) == ["1:1: no rule files here; *.yaml and *.yml are read, *.test.yaml and hidden ones are not"]


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    """A file beyond the cap ends in one line."""
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert _list_findings(path) == ["1:1: larger than 5 MB; divide it"]


def test_more_values_than_the_cap_are_refused(tmp_path: Path) -> None:
    """A file of very many small values ends in one line as well, wherever its aliases stand."""
    path = tmp_path / "many.yaml"
    path.write_text("[" + "x, " * (MAX_NODES + 1) + "]")
    assert _list_findings(path) == [f"1:1: holds more than {MAX_NODES} values, aliases counted as often as they are used"]


@pytest.mark.parametrize("query", ["x+" * 6000 + "x", "(" * 5000 + "x" + ")" * 5000])
def test_a_query_that_would_overflow_the_parser_is_refused(tmp_path: Path, query: str) -> None:
    """The PromQL parser recurses without bound and takes the process with it; such queries never reach it."""
    path = tmp_path / "deep.yaml"
    path.write_text(f"rules:\n  - name: deep\n    signals: {{x: '{query}'}}\n    open: x > 1\n")
    assert _list_findings(path) == ["3:18: query with over 1000 operators, or over 64 brackets inside each other"]


@pytest.mark.parametrize("text", ["x > 1" + " && x > 1" * 1000, "(" * 200 + "x > 1" + ")" * 200])
def test_a_condition_beyond_the_limits_is_one_finding(tmp_path: Path, text: str) -> None:
    """Long and deep conditions are findings at their place, quickly."""
    path = tmp_path / "deep.yaml"
    path.write_text(f"rules:\n  - name: deep\n    signals: {{x: up}}\n    open: '{text}'\n")
    findings = _list_findings(path)
    assert len(findings) == 1
    assert findings[0].startswith("4:12: ")

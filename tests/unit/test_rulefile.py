"""Rule files that are right: what they turn into, with everything they leave out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.key import FILE
from detector.domain.catalogue import Mitigation, Responders
from detector.domain.rule import BaselineSpan, Instant, NoDataPolicy, Policy, Ratio, Rule
from detector.domain.severity import Severity
from detector.ports.rulefile import Finding, RuleFilesError

EXAMPLE = """
services:                            # the catalogue: who owns what; may stand in a file of its own
  checkout:
    owner: payments
    core: true                       # a core feature: CRITICAL is possible        (default false)
    customer_facing: true            #                                             (default true)
    workaround: false                #                                             (default false)
    depends_on: [postgres, stripe]
    pagerduty: payments              # NAME of a routing key in the settings, never the key
    slack: "#incidents"
    runbook: https://wiki.example/checkout
    dashboard: https://grafana.example/d/x?var-service=checkout
    responders: {service_owner: ann, on_call_engineer: bob, on_call_manager: cy}
    mitigations:                     # "stop the bleeding", offered in this order
      flag:   {summary: Disable the new basket, run: [flagctl, disable, new-basket]}
      scale:  {summary: Add two instances,      run: [flyctl, scale, count, "+2", --app, checkout]}
      revert: {summary: Roll back the release,  run: [flyctl, releases, rollback, --app, checkout]}
    diagnosis: {database: {query: 'up{job="postgres"}', above: 3}}

rules:
  - name: http-errors                # unique over all files; the identity that survives reload and file moves
    summary: "{{ service }} fails {{ error_rate | percent }} of its requests"
    by: [service]                    # one alert per distinct value of these labels
    every: 5s                        # default from settings; polling faster than the scrape is what cuts latency
    window: 5m                       # $window in queries
    offset: 0s                       # query at now - offset, for late data
    signals:                         # name -> instant PromQL, or a ratio
      error_rate:
        ratio: [ 'sum by (service) (increase(http_requests_total{code=~"5.."}[$window]))',
                 'sum by (service) (increase(http_requests_total[$window]))' ]
        min_total: 20                # fewer (increase() as returned): insufficient traffic, neither opens nor resolves
        confidence: 0.95
      p95: 'histogram_quantile(0.95, sum by (service, le) (rate(http_request_duration_seconds_bucket[$window])))'
      affected_users: 'max by (service) (affected_users_ratio)'
    open: error_rate > 0.01          # CEL over the signals, catalogue flags and <signal>_baseline
    for: 0s
    keep_open: 0s                    # stays firing this long after the last true evaluation (keep_firing_for)
    severity:                        # first that holds; this is the default ladder
      critical: core && affected_users >= 0.995
      high:     (customer_facing || core) && (affected_users >= 0.5 || error_rate > 0.05)
      low:      "!customer_facing && !core"
      medium:   "true"
    severity_window: 1m
    demote_after: 5m                 # severity rises at once, falls only after this long
    recover: "!open && error_rate < 0.001"
    recover_for: 5m
    watch: 30m
    no_data: keep                    # keep | open | resolve; a query error always keeps
    labels: {team: payments}
    links: {runbook: https://wiki.example/errors}
    overrides:                       # other thresholds for some alerts; shares the rule's queries
      - match: {service: [batch, reports]}
        open: error_rate > 0.05

maintenance:                         # windows as code: RRULE + IANA time zone, or from/until
  - {match: {service: reports}, rrule: "FREQ=WEEKLY;BYDAY=SU;BYHOUR=3;BYMINUTE=0;BYSECOND=0", lasts: 2h, tz: Europe/Rome}
  - {match: {service: [a, b]}, from: 2026-11-23T08:00:00Z, until: "2026-11-23T10:00:00+01:00"}
"""
ERRORS = "{ratio: ['sum(increase(errors_total[$window]))', 'sum(increase(requests_total[$window]))']}"


def load_rules(text: str, **options: Any) -> tuple[Rule, ...]:
    """The rules of one file of that text."""
    return RuleDirectory("rules", **options).compile({"file.yaml": text}).rules.rules


def find_faults(text: str) -> tuple[Finding, ...] | None:
    """The findings of one file of that text, None where it is good."""
    try:
        RuleDirectory("rules").compile({"a.yaml": text})
    except RuleFilesError as error:
        return error.findings
    return None


def load_rule(body: str) -> Rule:
    """The one rule of a file, given its keys beside the name."""
    (rule,) = load_rules("rules:\n  - name: one\n" + "".join(f"    {line}\n" for line in body.strip().splitlines()))
    return rule


def show_ladder(policy: Policy) -> list[tuple[str, str]]:
    """Severity and text of every rung."""
    return [(rung.severity.value, rung.condition.text) for rung in policy.severity]


def write_tree(root: Path, files: Mapping[str, str]) -> None:
    """Files with their directories."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class TestCompleteExample:
    """The example of the reference, key by key."""

    def test_the_rule(self) -> None:
        """Every key of the rule is where the domain looks for it."""
        (rule,) = load_rules(EXAMPLE)
        errors, p95, users = rule.signals
        assert isinstance(errors, Ratio)
        assert (errors.min_total, errors.confidence) == (20.0, 0.95)
        assert errors.denominator == "sum by (service) (increase(http_requests_total[$window]))"
        assert isinstance(p95, Instant)
        assert (p95.name, users.name) == ("p95", "affected_users")
        assert (rule.name, rule.by, rule.every_seconds, rule.window_seconds, rule.offset_seconds) == (
            "http-errors",
            ("service",),
            5,
            300,
            0,
        )
        assert (rule.severity_window_seconds, rule.baselines, rule.vector) == (60.0, frozenset(), False)
        assert (rule.source.file, rule.source.line, rule.source.column) == ("rules/file.yaml", 21, 5)

    def test_the_policy(self) -> None:
        """Conditions, durations, labels and links of the rule."""
        policy = load_rules(EXAMPLE)[0].policy
        assert policy.open.text == "error_rate > 0.01"
        assert show_ladder(policy) == [
            ("critical", "core && affected_users >= 0.995"),
            ("high", "(customer_facing || core) && (affected_users >= 0.5 || error_rate > 0.05)"),
            ("low", "!customer_facing && !core"),
            ("medium", "true"),
        ]
        assert [[condition.text for condition in term] for term in policy.recover.terms] == [["!open"], ["error_rate < 0.001"]]
        assert (policy.for_seconds, policy.demote_after_seconds, policy.recover_for_seconds, policy.watch_seconds) == (
            0,
            300,
            300,
            1800,
        )
        assert (policy.no_data, policy.labels) == (NoDataPolicy.KEEP, {"team": "payments"})
        assert policy.links == {"runbook": "https://wiki.example/errors"}

    def test_the_override(self) -> None:
        """An override changes what it says and keeps the rest of the rule."""
        (rule,) = load_rules(EXAMPLE)
        batch, other = rule.policy_for((("service", "batch"),)), rule.policy_for((("service", "checkout"),))
        assert (batch.open.text, other.open.text) == ("error_rate > 0.05", "error_rate > 0.01")
        assert (batch.severity, batch.recover, batch.labels) == (other.severity, other.recover, other.labels)

    def test_the_catalogue_and_the_windows(self) -> None:
        """The service with its mitigations in order, and both kinds of maintenance windows."""
        rules = RuleDirectory("rules").compile({"file.yaml": EXAMPLE}).rules
        service = rules.catalogue.find("checkout")
        assert (service.owner, service.core, service.depends_on, service.pagerduty) == (
            "payments",
            True,
            ("postgres", "stripe"),
            "payments",
        )
        assert service.responders == Responders("ann", "bob", "cy")
        assert [mitigation.name for mitigation in service.mitigations] == ["flag", "scale", "revert"]
        assert service.mitigations[1] == Mitigation(
            "scale", "Add two instances", ("flyctl", "scale", "count", "+2", "--app", "checkout")
        )
        assert service.diagnosis == {"database": {"query": 'up{job="postgres"}', "above": 3}}
        weekly, once = rules.maintenance
        assert (weekly.match, weekly.lasts_seconds, weekly.tz) == ({"service": ("reports",)}, 7200.0, "Europe/Rome")
        assert (once.start, once.end, once.match) == (1795420800.0, 1795424400.0, {"service": ("a", "b")})


class TestDefaults:
    """A rule that says only what is required."""

    def test_an_error_rate(self) -> None:
        """affected_users equals error_rate, recovery asks for the usual rate, so the baseline is asked for."""
        rule = load_rule(f"signals: {{error_rate: {ERRORS}}}\nopen: error_rate > 0.01")
        assert show_ladder(rule.policy) == [
            ("critical", "core && error_rate >= 0.995"),
            ("high", "(customer_facing || core) && (error_rate >= 0.5 || error_rate > 0.05)"),
            ("low", "!customer_facing && !core"),
            ("medium", "true"),
        ]
        assert rule.policy.recover.text == "!open && (error_rate < 0.001 || error_rate <= 1.2 * error_rate_baseline)"
        assert rule.baselines == {"error_rate"}
        assert (rule.by, rule.every_seconds, rule.window_seconds, rule.severity_window_seconds) == (None, 5.0, 300.0, 60.0)
        assert rule.baseline == BaselineSpan(3600.0, 600.0)

    def test_a_latency(self) -> None:
        """Rungs over the error rate are left out; a core service that is four times slower than usual is HIGH."""
        rule = load_rule("signals: {p95: up}\nopen: p95 > 1")
        assert show_ladder(rule.policy) == [
            ("high", "core && p95 > 4.0 * p95_baseline"),
            ("low", "!customer_facing && !core"),
            ("medium", "true"),
        ]
        assert rule.policy.recover.text == "!open && p95 <= 1.2 * p95_baseline"
        assert rule.baselines == {"p95"}

    def test_errors_and_latency(self) -> None:
        """Both together: the latency rung follows the usual HIGH one."""
        rule = load_rule(f"signals: {{error_rate: {ERRORS}, p95: up}}\nopen: error_rate > 0.01 || p95 > 1")
        assert [name for name, _ in show_ladder(rule.policy)] == ["critical", "high", "high", "low", "medium"]
        assert len(rule.policy.recover.terms) == 3

    def test_any_other_signal(self) -> None:
        """Nothing is known of it, so it has recovered when it is no longer open."""
        rule = load_rule("signals: {queue: up}\nopen: queue > 100")
        assert show_ladder(rule.policy) == [("low", "!customer_facing && !core"), ("medium", "true")]
        assert rule.policy.recover.text == "!open"
        assert rule.baselines == frozenset()

    def test_users_without_errors(self) -> None:
        """A declared affected_users is used as it is."""
        rule = load_rule("signals: {affected_users: up}\nopen: affected_users > 0.1")
        assert show_ladder(rule.policy)[1] == ("high", "(customer_facing || core) && (affected_users >= 0.5)")

    def test_a_written_condition_may_name_absent_users(self) -> None:
        """affected_users that is not declared reads error_rate wherever it is written."""
        rule = load_rule(f"signals: {{error_rate: {ERRORS}}}\nopen: affected_users > 0.2")
        assert rule.policy.open.evaluate({"error_rate": 0.3}) is True

    def test_a_short_window_is_the_severity_window(self) -> None:
        """Severity is judged over the window where that is below a minute."""
        assert load_rule("signals: {x: up}\nopen: x < 1\nwindow: 30s").severity_window_seconds == 30.0

    def test_every_comes_from_the_settings(self) -> None:
        """What a rule does not say is what the daemon was told."""
        (rule,) = load_rules("rules: [{name: x, signals: {x: up}, open: x < 1}]", every_seconds=1.5)
        assert rule.every_seconds == 1.5

    def test_history_in_any_condition_asks_for_its_baseline(self) -> None:
        """Also in a rung or in an override only."""
        body = "signals: {x: up, y: up}\nopen: x < 1\noverrides:\n  - {match: {a: b}, open: y > 4 * y_baseline}"
        assert load_rule(body).baselines == {"y"}


def test_a_plain_boolean_is_a_condition() -> None:
    """`medium: true` without quotes means the same as with them."""
    rule = load_rule("signals: {x: up}\nopen: x < 1\nseverity: {medium: true}")
    assert show_ladder(rule.policy) == [("medium", "true")]


def test_words_stay_words() -> None:
    """YAML 1.1 would read `no`, `0123` and `1e3` as something else; labels are text."""
    rule = load_rule("signals: {x: up}\nopen: x < 1\nlabels: {country: no, code: 0123, big: 1e3}")
    assert rule.policy.labels == {"country": "no", "code": "0123", "big": "1e3"}


def test_anchors_and_merge_keys_are_read() -> None:
    """Rules may share what they have in common."""
    text = """
rules:
  - &common {name: a, signals: {x: up}, open: x < 1, for: 2m}
  - {<<: *common, name: b, open: x < 2}
"""
    assert [(rule.name, rule.policy.open.text, rule.policy.for_seconds) for rule in load_rules(text)] == [
        ("a", "x < 1", 120),
        ("b", "x < 2", 120),
    ]


def test_an_slo_expands_to_burn_rate_pairs() -> None:
    """Three pairs of windows; the fast burn is HIGH, the slow one LOW."""
    rule = load_rule("slo: {objective: 0.999, errors: 'increase(e[$window])', total: 'increase(t[$window])'}")
    assert [signal.name for signal in rule.signals] == [f"error_rate_{window}" for window in ("1h", "5m", "6h", "30m", "3d")]
    assert rule.signals[0] == Ratio("error_rate_1h", "increase(e[1h])", "increase(t[1h])")
    assert rule.policy.open.text == (
        "(error_rate_1h > 0.0144 && error_rate_5m > 0.0144) || (error_rate_6h > 0.006 && error_rate_30m > 0.006)"
        " || (error_rate_3d > 0.001 && error_rate_6h > 0.001)"
    )
    assert [name for name, _ in show_ladder(rule.policy)] == ["critical", "high", "medium", "low"]
    burning = {f"error_rate_{window}": 0.002 for window in ("1h", "5m", "6h", "30m", "3d")}
    assert rule.policy.open.evaluate(burning) is True
    assert rule.policy.open.evaluate({**burning, "error_rate_6h": 0.0}) is False


def test_an_slo_leaves_out_what_cannot_burn() -> None:
    """14.4 times the budget of 90 % is more than everything, so that pair is not there."""
    rule = load_rule("slo: {objective: 0.9, errors: 'increase(e[$window])', total: 'increase(t[$window])'}")
    assert [name for name, _ in show_ladder(rule.policy)] == ["medium", "low"]


class TestFiles:
    """Where rules are looked for."""

    ONE = "rules: [{name: %s, signals: {x: up}, open: x < 1}]"

    def test_the_tree_is_read(self, tmp_path: Path) -> None:
        """Both endings at any depth; not tests, hidden ones or other files."""
        names = [
            "a.yaml",
            "deep/er/b.yml",
            "a.test.yaml",
            ".hidden.yaml",
            ".git/c.yaml",
            "notes.md",
            "deep/x.test.yml",
            "library/d.yaml",
        ]
        write_tree(tmp_path, {name: self.ONE % f"r{index}" for index, name in enumerate(names)})
        load = RuleDirectory(tmp_path).load()
        assert [rule.name for rule in load.rules.rules] == ["r0", "r1"]
        assert sorted(load.files) == ["a.yaml", "deep/er/b.yml"]

    def test_a_mounted_config_map_is_read_once(self, tmp_path: Path) -> None:
        """Kubernetes links every file into a hidden directory that is itself a link."""
        write_tree(tmp_path, {"..2026_11_23/a.yaml": self.ONE % "one"})
        (tmp_path / "..data").symlink_to("..2026_11_23")
        (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
        assert [rule.name for rule in RuleDirectory(tmp_path).load().rules.rules] == ["one"]

    def test_links_do_not_load_twice_or_loop(self, tmp_path: Path) -> None:
        """A second name of a file, and a link up the tree, change nothing."""
        write_tree(tmp_path, {"a/a.yaml": self.ONE % "one"})
        (tmp_path / "b.yaml").symlink_to("a/a.yaml")
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        assert [rule.name for rule in RuleDirectory(tmp_path).load().rules.rules] == ["one"]

    def test_a_dangling_link_is_a_finding(self, tmp_path: Path) -> None:
        """A file that is not there is not passed over in silence."""
        write_tree(tmp_path, {"a.yaml": self.ONE % "one"})
        (tmp_path / "b.yaml").symlink_to("gone.yaml")
        with pytest.raises(RuleFilesError, match="cannot be read: No such file or directory"):
            RuleDirectory(tmp_path).load()

    def test_a_fifo_does_not_hang_the_load(self, tmp_path: Path) -> None:
        """Only regular files are opened."""
        write_tree(tmp_path, {"a.yaml": self.ONE % "one"})
        os.mkfifo(tmp_path / "b.yaml")
        assert len(RuleDirectory(tmp_path).load().rules.rules) == 1

    def test_one_file_may_be_named(self, tmp_path: Path) -> None:
        """Findings then show the file's own path."""
        path = tmp_path / "one.yaml"
        path.write_text("rules: [{name: x}]")
        with pytest.raises(RuleFilesError) as caught:
            RuleDirectory(path).load()
        assert {finding.file for finding in caught.value.findings} == {str(path)}

    def test_several_roots_make_one_set(self, tmp_path: Path) -> None:
        """Names are unique over all of them."""
        write_tree(tmp_path, {"a/x.yaml": self.ONE % "one", "b/x.yaml": self.ONE % "one"})
        with pytest.raises(RuleFilesError, match=r"b/x\.yaml.*duplicate rule name `one`, also at .*a/x\.yaml:1:9"):
            RuleDirectory(tmp_path / "a", tmp_path / "b").load()

    def test_windows_line_ends_and_a_byte_order_mark_are_read(self, tmp_path: Path) -> None:
        """As some editors save them."""
        path = tmp_path / "a.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + (self.ONE % "one").replace(" [", "\r\n  [").encode())
        assert len(RuleDirectory(path).load().rules.rules) == 1

    def test_stored_text_compiles_to_the_same_set(self, tmp_path: Path) -> None:
        """The last good set is kept as text; its rules are those that ran, also when the directory is gone."""
        write_tree(tmp_path, {"a.yaml": EXAMPLE})
        directory = RuleDirectory(tmp_path)
        load = directory.load()
        (tmp_path / "a.yaml").unlink()
        assert directory.compile(load.files) == load


class TestDigest:
    """What counts as a change."""

    TWO = ("{name: a, signals: {x: up}, open: x < 1}", "{name: b, signals: {x: up}, open: x < 2}")

    @staticmethod
    def digest(files: Mapping[str, str]) -> str:
        """The digest of a set of files."""
        return RuleDirectory("rules").compile(files).rules.digest

    def test_moved_and_reordered_files_are_the_same(self) -> None:
        """Names are the identity: files, order, comments and quotes are not."""
        a, b = self.TWO
        moved = {"z/b.yaml": f"rules:\n- {b} # moved\n", "y.yaml": f"rules: [{a.replace('x < 1', chr(34) + 'x < 1' + chr(34))}]"}
        assert self.digest({"one.yaml": f"rules: [{a}, {b}]"}) == self.digest(moved)

    @pytest.mark.parametrize("change", ["x < 3", "x <= 2"])
    def test_another_condition_is_another_set(self, change: str) -> None:
        """Any key that means something changes the digest."""
        a, b = self.TWO
        assert self.digest({"one.yaml": f"rules: [{a}, {b}]"}) != self.digest(
            {"one.yaml": f"rules: [{a}, {b.replace('x < 2', change)}]"}
        )

    def test_the_order_of_rungs_counts(self) -> None:
        """The first rung that holds counts, so their order is content."""
        texts = ["{low: core, medium: 'true'}", "{medium: 'true', low: core}"]
        first, second = (f"rules: [{{name: a, signals: {{x: up}}, open: x < 1, severity: {text}}}]" for text in texts)
        assert self.digest({"a.yaml": first}) != self.digest({"a.yaml": second})

    def test_rules_come_in_the_order_of_their_names(self) -> None:
        """Whatever file they stand in."""
        a, b = self.TWO
        assert [rule.name for rule in load_rules(f"rules: [{b}, {a}]")] == ["a", "b"]


KEYS = (
    *("rules", "services", "groups", "maintenance", "name", "signals", "open", "for", "severity", "recover", "overrides", "match"),
    *("slo", "objective", "errors", "total", "ratio", "summary", "by", "labels", "alert", "expr", "annotations", "rrule", "lasts"),
    *("x", "high", "<<"),
)
YAML_TEXT = st.text(alphabet=st.sampled_from(list("abrules: -[]{}#&*!|>'\"%@`,?\n\t 015m$\\")), max_size=80)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(["5m", "up", "x > 1", "{{ x }}", "critical"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)


@given(YAML_TEXT)
def test_no_text_breaks_the_loader(text: str) -> None:
    """Whatever stands in a file, the loader answers with a set or with findings."""
    findings = find_faults(text)
    assert findings is None or len(findings) > 0
    assert all(finding.line >= 1 and finding.column >= 1 and "\n" not in finding.message for finding in findings or ())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.one_of(
        VALUES,
        st.fixed_dictionaries({"rules": st.lists(VALUES, max_size=3)}),
        st.fixed_dictionaries({"groups": st.lists(VALUES, max_size=3)}),
    )
)
def test_no_structure_breaks_the_loader(value: object) -> None:
    """Known keys with values of any kind end in findings as well."""
    findings = find_faults(json.dumps(value))
    assert findings is None or len(findings) > 0
    assert all(finding.line >= 1 and finding.column >= 1 and "\n" not in finding.message for finding in findings or ())


@pytest.mark.parametrize(("text", "good"), [("z" * 4000, True), ("z" * 4001, False), ("{{ x }}" + "z" * 3994, False)])
def test_a_text_longer_than_a_template_may_be_is_a_finding(text: str, good: bool) -> None:  # noqa: FBT001
    """With markup in it or without: a page would show it as failed."""
    found = find_faults(f"rules: [{{name: a, signals: {{x: up}}, open: x > 1, summary: '{text}'}}]\n")
    assert (found is None) is good
    assert found is None or "longer than 4000 characters" in found[0].message


def test_every_severity_can_be_written() -> None:
    """The table of keys has a rung for each."""
    rules = FILE.find("rules")
    assert rules is not None
    text = ", ".join(f"{severity.value}: 'true'" for severity in Severity)
    rule = load_rule(f"signals: {{x: up}}\nopen: x < 1\nseverity: {{{text}}}")
    assert [rung.severity for rung in rule.policy.severity] == list(Severity)

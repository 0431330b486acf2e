"""Prometheus rule files: their alerting rules run as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.rulefile import RuleDirectory
from detector.adapters.rulefile.gotemplate import translate
from detector.adapters.template import TemplateRenderer
from detector.domain.advance import advance
from detector.domain.catalogue import Catalogue
from detector.domain.condition import Comparison
from detector.domain.judgement import Evaluation
from detector.domain.outcome import FailureReason, QueryFailed, Samples
from detector.domain.reading import read_signals
from detector.domain.rule import Instant, RuleSet
from detector.domain.severity import Severity

FILE = """
groups:
  - name: node
    interval: 30s
    query_offset: 10s
    limit: 5
    labels: {team: platform}
    partial_response_strategy: warn
    rules:
      - record: node:cpu
        expr: avg by (instance) (rate(node_cpu_seconds_total[5m]))
      - alert: DiskFull
        expr: |
          100 * node_filesystem_avail_bytes / node_filesystem_size_bytes < 10
        for: 5m
        keep_firing_for: 2m
        labels: {severity: page}
        annotations:
          summary: Disk of {{ $labels.instance }} has {{ $value | humanize }} % left
          description: '{{ range query "up" }}{{ .Value }}{{ end }}'
          runbook_url: https://wiki.example/disk
          dashboard_url: https://grafana.example/{{ $labels.instance }}
"""


def compile_groups(text: str) -> RuleSet:
    """The set of one file."""
    return RuleDirectory("rules").compile({"prometheus.yml": text}).rules


def make_group(*rules: str) -> str:
    """One group of rules in flow style."""
    return "groups:\n- name: g\n  rules:\n" + "".join(f"  - {rule}\n" for rule in rules)


def test_an_alerting_rule_is_a_rule_whose_condition_lies_in_its_query() -> None:
    """All that Prometheus knows of it is there; recovery needs no waiting that Prometheus does not know either."""
    (rule,) = compile_groups(FILE).rules
    query = "100 * node_filesystem_avail_bytes / node_filesystem_size_bytes < 10"
    assert rule.signals == (Instant("value", query),)
    assert (rule.name, rule.vector, rule.by, rule.every_seconds, rule.offset_seconds) == ("DiskFull", True, None, 30.0, 10.0)
    policy = rule.policy
    assert (policy.for_seconds, policy.keep_open_seconds, policy.recover_for_seconds) == (300.0, 120.0, 0.0)
    assert policy.open.evaluate({"value": 3.0}) is True
    assert policy.open.comparisons == (Comparison("value", "<", 10.0),)
    assert policy.labels == {"team": "platform", "severity": "page"}
    assert policy.links["runbook"] == "https://wiki.example/disk"
    assert [rung.severity for rung in policy.severity] == [Severity.HIGH]


def test_over_the_limit_of_the_group_the_evaluation_has_failed() -> None:
    """As in Prometheus; and what has failed is unknown, so that nothing opens and nothing is resolved by it."""
    (rule,) = compile_groups(FILE).rules
    assert rule.limit == 5
    (query,) = (signal.query for signal in rule.signals if isinstance(signal, Instant))
    readings = read_signals(rule, {})
    for count in (5, 6):
        answer = Samples({(("instance", f"{number}"),): 3.0 for number in range(count)})
        readings = read_signals(rule, {query: answer})
        assert (len(readings.keys), readings.failed is None) == ((5, True) if count == 5 else (0, False))
    assert readings.failed == QueryFailed(FailureReason.TOO_LARGE, "6 alerts, over the group's limit of 5")
    assert compile_groups(FILE.replace("limit: 5", "limit: 0")).rules[0].limit is None


def test_its_texts_render() -> None:
    """Templates in common use become ours; one that is not known is shown as it stands."""
    (rule,) = compile_groups(FILE).rules
    values = {"labels": {"instance": "a:9100"}, "value": 7.25}
    render = TemplateRenderer().render
    assert render(rule.policy.summary, values) == "Disk of a:9100 has 7.25 % left"
    assert render(rule.policy.description, values) == '{{ range query "up" }}{{ .Value }}{{ end }}'
    assert render(rule.policy.links["dashboard"], values) == "https://grafana.example/a:9100"


def test_what_is_not_used_is_noted() -> None:
    """Recording rules and keys of other products stop nothing."""
    notes = compile_groups(FILE).notes
    assert len(notes) == 2
    assert any("recording rule `node:cpu` is skipped" in note for note in notes)


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("Page", Severity.HIGH),
        ("error", Severity.HIGH),
        ("warning", Severity.MEDIUM),
        ("info", Severity.LOW),
        ("none", Severity.LOW),
        ("whatever", Severity.MEDIUM),
    ],
)
def test_the_severity_label_is_mapped(label: str, severity: Severity) -> None:
    """Unknown words are MEDIUM: somebody is paged."""
    (rule,) = compile_groups(make_group(f"{{alert: A, expr: up == 0, labels: {{severity: {label}}}}}")).rules
    assert [rung.severity for rung in rule.policy.severity] == [severity]


def test_repeated_names_get_their_severity_or_a_digest() -> None:
    """Prometheus lets alert names repeat; here a name is an identity, the same wherever the rules move."""
    a = "{alert: A, expr: x > 1, labels: {severity: warning}}"
    b = "{alert: A, expr: x > 2, labels: {severity: critical}}"
    c = "{alert: A, expr: x > 3, labels: {severity: critical}}"
    assert [rule.name for rule in compile_groups(make_group(a, b)).rules] == ["A/critical", "A/warning"]
    names = [rule.name for rule in compile_groups(make_group(a, b, c)).rules]
    assert names == [rule.name for rule in compile_groups(make_group(c, b, a)).rules]
    assert len(set(names)) == 3
    assert names[2] == "A/warning"


def test_the_same_rule_twice_is_one() -> None:
    """Word for word the same rule is noted and runs once."""
    rules = compile_groups(make_group("{alert: A, expr: x > 1}", "{alert: A, expr: x > 1}"))
    assert len(rules.rules) == 1
    assert "word for word" in rules.notes[0]


def test_a_query_of_a_newer_server_is_no_fault() -> None:
    """What this parser does not know, the server may; `check --prometheus` tells."""
    rules = compile_groups(make_group("{alert: A, expr: brand_new(x) > 1}"))
    assert len(rules.rules) == 1
    assert "unknown function with name 'brand_new'" in rules.notes[0]


@pytest.mark.parametrize(
    "query",
    [
        "rate(x[5m] smoothed)",
        "sum(x) default 0",
        "sum(x[1m+2m])",
        'sum by ("http.code") (x)',
        "quantiles(0.9, x)",
        "increase_pure(x[5m])",
    ],
)
def test_newer_forms_in_own_rules_are_noted(query: str) -> None:
    """Also in rules of our own format: only a sure fault is one."""
    text = f"rules:\n- name: n\n  signals:\n    x: |-\n      {query}\n  open: x > 1\n"
    assert len(RuleDirectory("rules").compile({"a.yaml": text}).rules.rules) == 1


@pytest.mark.parametrize(
    ("go", "shown"),
    [
        ("plain text", "plain text"),
        ("{{ $labels.job }} and {{$labels.none}}!", "api and !"),
        ('{{ index $labels "job" }}', "api"),
        ("{{ $value }}", "0.0375"),
        ("{{ .Value }} {{ .Labels.job }}", "0.0375 api"),
        ("{{ $value | humanizePercentage }}", "3.75%"),
        ("{{ humanizePercentage $value }}", "3.75%"),
        ("{{ $value | humanizeDuration }}", "37.5ms"),
        ('{{ printf "%.2f" $value }}', "0.04"),
        ('{{ printf "%.2f%% of %s" $value $labels.job }}', "0.04% of api"),
        ('{{ $value | printf "%.1f" }}', "0.0"),
        ("{{ $labels.job | toUpper }}", "API"),
        ("{{- $labels.job -}}", "api"),
        ("{% if x %}{# not ours #}", "{% if x %}{# not ours #}"),
        ("{{ if gt $value 1.0 }}a{{ end }}", "{{ if gt $value 1.0 }}a{{ end }}"),
        ('{{ printf "%x" $value }}', '{{ printf "%x" $value }}'),
        ('{{ printf "%s" }}', '{{ printf "%s" }}'),
        ("{{ $externalLabels.region }}", "{{ $externalLabels.region }}"),
    ],
)
def test_go_templates_are_rendered_or_shown(go: str, shown: str) -> None:
    """The functions in common use give what Prometheus would give, nearly; the rest stays as written."""
    assert TemplateRenderer().render(translate(go), {"labels": {"job": "api"}, "value": 0.0375}) == shown


@given(st.text(alphabet="{}%#$ .|\"'abvalueprintf-endraw\n", max_size=60))
def test_any_annotation_becomes_a_good_template(text: str) -> None:
    """Nothing that stands in an annotation makes a template that does not parse."""
    assert TemplateRenderer().find_fault(translate(text)) is None


def test_the_value_of_a_rule_without_a_threshold_reaches_its_alert() -> None:
    """`{{ $value }}` needs the alert to know which signal breached, also where the query ends in no comparison with a number."""
    (rule,) = compile_groups(make_group("{alert: A, expr: absent(up)}")).rules
    labels = (("job", "api"),)
    readings = read_signals(rule, {"absent(up)": Samples({labels: 1.0})})
    evaluation = Evaluation(
        rule=rule, catalogue=Catalogue(), readings=readings, severity_readings=readings, baselines={}, history={}, now=1000.0
    )
    state = advance(evaluation, [labels], {}).states[labels]
    assert (state.signal, state.threshold, state.signals["value"].value) == ("value", None, 1.0)

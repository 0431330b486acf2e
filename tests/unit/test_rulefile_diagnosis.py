"""The `diagnosis:` of a catalogue entry: what is read, and where each fault is shown."""

from pathlib import Path

import pytest

from detector.adapters.rulefile import RuleDirectory
from detector.domain.check import Check
from detector.domain.exporter import DEFAULTS
from detector.domain.inquiry import Inquiry, plan_inquiry
from detector.domain.measurement import Measurement, Unit

RULE = "rules: [{name: r, signals: {x: up}, open: x < 1}]\n"
COMPLETE = """\
services:
  shop:
    dashboard: https://grafana.example/d/x
    diagnosis:
      database: {query: 'pg_stat_activity_count{datname="$service"}', above: 80, connect: "db.internal:5432"}
      resources:
        queries:
          queue: {query: 'max(rabbitmq_queue_messages)', above: 1000}
          free: {query: 'min(disk_free_share)', below: 0.1, unit: share}
      third_parties:
        statuspages: {stripe: "https://status.stripe.com/api/v2/summary.json"}
        probes: {tax: "https://tax.example/health"}
      configuration: {environment: [STRIPE_KEY, TAX_KEY], environment_file: /etc/shop.env}
      traffic_spike: {above: 3}
      error_rate: {above: 0.05}
      recent_errors: {loki: "http://loki.example:3100"}
"""


def read(folder: Path, text: str) -> Inquiry:
    """The inquiry of service shop."""
    (folder / "a.yaml").write_text(text + RULE)
    return plan_inquiry(RuleDirectory(folder).load().rules.catalogue.find("shop"))


def find_faults(folder: Path, diagnosis: str) -> list[str]:
    """Findings of a file whose service shop has this diagnosis, without the file's name."""
    (folder / "a.yaml").write_text(f"services:\n  shop:\n    diagnosis:\n      {diagnosis}\n{RULE}")
    return [str(finding).removeprefix(f"{folder}/a.yaml:") for finding in RuleDirectory(folder).examine().findings]


def test_a_complete_diagnosis_is_read(tmp_path: Path) -> None:
    """Own measurements replace a check's defaults; what is not written keeps them."""
    inquiry = read(tmp_path, COMPLETE)
    assert inquiry.measurements[Check.DATABASE] == (
        Measurement("database", 'pg_stat_activity_count{datname="$service"}', above=80.0),
    )
    assert inquiry.measurements[Check.RESOURCES] == (
        Measurement("queue", "max(rabbitmq_queue_messages)", above=1000.0),
        Measurement("free", "min(disk_free_share)", below=0.1, unit=Unit.SHARE),
    )
    assert inquiry.measurements[Check.CONCURRENCY] == DEFAULTS[Check.CONCURRENCY]
    assert inquiry.connect == "db.internal:5432"
    assert inquiry.statuspages == {"stripe": "https://status.stripe.com/api/v2/summary.json"}
    assert inquiry.probes == {"tax": "https://tax.example/health"}
    assert (inquiry.environment, inquiry.environment_file) == (("STRIPE_KEY", "TAX_KEY"), "/etc/shop.env")
    assert (inquiry.traffic_above, inquiry.error_rate_above) == (3.0, 0.05)
    assert inquiry.measurements[Check.TRAFFIC] == inquiry.measurements[Check.ERROR_RATE] == ()
    assert inquiry.logs is not None
    assert inquiry.logs.query.startswith('{service="shop"}')
    assert inquiry.link == "https://grafana.example/d/x"


def test_without_a_diagnosis_the_defaults_hold(tmp_path: Path) -> None:
    """A service that the catalogue does not name is asked about like any other."""
    inquiry = read(tmp_path, "")
    assert {check: found for check, found in inquiry.measurements.items() if found} == DEFAULTS
    assert inquiry.logs is None


@pytest.mark.parametrize(
    ("diagnosis", "message"),
    [
        ("databse: {}", "4:7: unknown key `databse` in a diagnosis; did you mean `database`?"),
        ("database: {query: 'up{', above: 1}", "4:26: PromQL: "),
        ("database: {query: up}", "4:18: `query` without a limit; add `above` or `below`, else nothing would be bad"),
        ("database: {above: 3}", "4:18: `above` without a `query`; the defaults have limits of their own"),
        ("database: {query: up, above: many}", "4:36: `above` is `many`; a number is needed"),
        ("database: {connect: db}", "4:18: `connect` is `db`; write host:port, e.g. db.internal:5432"),
        (
            "resources: {query: up, above: 1, queries: {a: {query: up, above: 1}}}",
            "4:40: `queries` beside `query`; write one of them",
        ),
        ("third_parties: {probes: {tax: tax.example}}", "4:37: `tax` is `tax.example`; "),
        ("recent_errors: {pattern: ERROR}", "4:22: `recent_errors` needs either `loki` or `file`"),
        ("recent_errors: {file: /x, pattern: '('}", "4:33: `pattern` is `(`: "),
    ],
)
def test_a_fault_is_shown_where_it_stands(tmp_path: Path, diagnosis: str, message: str) -> None:
    """Every fault comes with line and column, and says what would be right."""
    faults = find_faults(tmp_path, diagnosis)
    assert len(faults) == 1, faults
    assert faults[0].startswith(message)


def test_a_limit_may_be_zero_or_less(tmp_path: Path) -> None:
    """`above: 0` is how "any at all is bad" is written."""
    assert find_faults(tmp_path, "concurrency: {query: deadlocks, above: 0}") == []
    assert find_faults(tmp_path, "concurrency: {query: temperature, below: -5.5}") == []

"""Rule files for tests of the running daemon: the shipped error rule's condition and default ladder over short windows."""

import sys

_ERRORS = """\
rules:
  - name: errors
    summary: "{{{{ service }}}} fails {{{{ error_rate | percent }}}} of its requests"
    by: [service]
    every: 1s
    window: {window}
    severity_window: 3s
    signals:
      error_rate:
        ratio:
          - sum by (service) (increase(http_requests_total{{code=~"5.."}}[$window]))
          - sum by (service) (increase(http_requests_total[$window]))
        min_total: 20
    open: error_rate > 0.01
    recover_for: 3s
"""
# ten times the severity window, so that a share of 10% fills that one before it opens, and is HIGH from the first page on
LADDER_RULES = _ERRORS.format(window="30s")
# for tests that are not about severity: one rung, and recovery within seconds
SHORT_RULES = _ERRORS.format(window="5s") + '    severity: {high: "true"}\n'

PLAIN_RULES = """\
rules:
  - name: errors
    by: [service]
    every: 1s
    signals: {error_rate: errors}
    open: error_rate > 0.01
    recover_for: 1s
"""

# a way out that says something of its own; for a service's `mitigations`
FLAG = f"""\
      flag: {{summary: Disable the basket, run: ["{sys.executable}", "-c", "print('basket <b>off</b>; $(id)')"]}}
"""

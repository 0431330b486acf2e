"""What all three evaluate: the same PromQL, threshold, `for` and interval."""

from __future__ import annotations

EVERY = "5s"  # scrape and evaluation
FOR_SECONDS = 15.0
WINDOW = "30s"
LIMIT = 0.05
# `weight` is 1 for every service; a second series of it makes the query fail: "found duplicate series for the match group"
RATIO = (
    f'sum by (service) (increase(http_requests_total{{code=~"5.."}}[{WINDOW}]))'
    f" / sum by (service) (increase(http_requests_total[{WINDOW}])) * on (service) weight"
)


def write_weights(names: list[str], *, twice: bool = False) -> str:
    """The exposition of `weight`; `twice` breaks the rule's query."""
    lines = [f'weight{{service="{name}"}} 1\n' for name in names]
    if twice:
        lines += [f'weight{{service="{name}",twin="yes"}} 1\n' for name in names]
    return "".join(lines)

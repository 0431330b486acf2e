"""What changed in a rule between the opening of an incident and its post-mortem, as a diff of the rule's terms. Pure.

Before it: `app/historian` kept the terms as the incident opened. After it: the document shows the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from detector.domain.duration import format_duration

if TYPE_CHECKING:
    from detector.domain.label import Labels
    from detector.domain.rule import Rule

Terms = Mapping[str, str]


def list_terms(rule: Rule, labels: Labels) -> Terms:
    """What the rule says about the alert of these labels, under the keys of rule files."""
    policy = rule.policy_for(labels)
    durations = {
        "every": rule.every_seconds,
        "window": rule.window_seconds,
        "for": policy.for_seconds,
        "keep_open": policy.keep_open_seconds,
        "recover_for": policy.recover_for_seconds,
        "watch": policy.watch_seconds,
    }
    severities = {f"severity.{rung.severity.value}": rung.condition.text for rung in policy.severity}
    return {
        "open": policy.open.text,
        **severities,
        "recover": policy.recover.text,
        **{key: format_duration(seconds) for key, seconds in durations.items()},
    }


def compare_terms(before: Terms, after: Terms) -> tuple[str, ...]:
    """Lines as in a diff, changed terms only: `- for: 1m`, `+ for: 5m`; none where nothing changed."""
    lines: list[str] = []
    for key in dict.fromkeys((*before, *after)):
        if before.get(key) != after.get(key):
            lines += [f"{sign} {key}: {terms[key]}" for sign, terms in (("-", before), ("+", after)) if key in terms]
    return tuple(lines)

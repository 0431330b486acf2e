"""What a rule will do, minute by minute, in words: for the reviewer of a change. Pure; `detector explain` prints it.

The moments are those of `advance` and `correlate`: seconds since the condition first held, then since it recovered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from detector.domain.baseline import HISTORY_AFTER_SECONDS, MINIMUM_POINTS
from detector.domain.burn import PAIRS
from detector.domain.duration import format_duration
from detector.domain.reading import fill_window
from detector.domain.rule import Instant, NoDataPolicy, Ratio
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from detector.domain.catalogue import Catalogue
    from detector.domain.rule import Policy, Rule, Signal

_BLIND = {
    NoDataPolicy.KEEP: "its state is kept; it neither opens nor resolves",
    NoDataPolicy.OPEN: "it counts as a breach",
    NoDataPolicy.RESOLVE: "it counts as recovered",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happens. `after_seconds` counts from the first breach, or from the recovery where `recovering`."""

    after_seconds: float
    text: str
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule in words. `signals`: lines by name; `ladder`: severity, condition, and whether somebody is paged."""

    rule: str
    signals: Mapping[str, tuple[str, ...]]
    open: str
    recover: str
    ladder: tuple[tuple[Severity, str, bool], ...]
    expansion: tuple[str, ...]
    moments: tuple[Moment, ...]
    routes: Mapping[str, str]
    notes: tuple[str, ...]


def explain_rule(rule: Rule, catalogue: Catalogue, page_from: Severity) -> Explanation:
    """The rule in words, for alerts that no override covers; overrides are named in the notes."""
    policy = rule.policy
    return Explanation(
        rule=rule.name,
        signals={signal.name: _describe_signal(rule, signal) for signal in rule.signals},
        open=policy.open.text,
        recover=policy.recover.text,
        ladder=tuple((rung.severity, rung.condition.text, rung.severity >= page_from) for rung in policy.severity),
        expansion=_describe_expansion(rule),
        moments=(*_tell_breach(rule, policy, page_from), *_tell_recovery(policy)),
        routes={name: service.pagerduty for name, service in sorted(catalogue.services.items())},
        notes=_note(rule, policy),
    )


def _describe_signal(rule: Rule, signal: Signal) -> tuple[str, ...]:
    match signal:
        case Instant(query=query):
            return (_join(fill_window(query, rule.window_seconds)),)
        case Ratio():
            lines = [_join(fill_window(signal.numerator, rule.window_seconds))]
            lines.append(f"divided by {_join(fill_window(signal.denominator, rule.window_seconds))}")
            if signal.min_total is not None:
                lines.append(f"unknown below {signal.min_total:g} in the denominator")
            if signal.confidence is not None:
                lines.append(f"`open` sees the lower bound at a confidence of {signal.confidence:g}")
            return tuple(lines)
        case _:
            assert_never(signal)


def _describe_expansion(rule: Rule) -> tuple[str, ...]:
    """The burn rate pairs, where the rule is the expansion of an objective."""
    names = {signal.name for signal in rule.signals}
    expected = {f"error_rate_{window}" for pair in PAIRS for window in (pair.long, pair.short)}
    if not names or not names <= expected:
        return ()
    return tuple(
        f"{pair.factor:g} times the budget over {pair.long} and over {pair.short}: {pair.severity.value}"
        for pair in PAIRS
        if {f"error_rate_{pair.long}", f"error_rate_{pair.short}"} <= names
    )


def _tell_breach(rule: Rule, policy: Policy, page_from: Severity) -> list[Moment]:
    every = format_duration(rule.every_seconds)
    frozen = "; baselines are frozen at what was usual before" if rule.baselines else ""
    opens = "the incident opens, or the alert joins the open incident of its service"
    paging = f"from {page_from.value} on the service's routing key is paged, below that Slack and the console only"
    judged = f"severity is judged over the last {format_duration(rule.severity_window_seconds)}; {paging}"
    if policy.for_seconds:
        moments = [
            Moment(0.0, f"`open` holds for the first time: the alert is pending, nobody hears of it; asked every {every}{frozen}"),
            Moment(policy.for_seconds, f"it held in every evaluation for {format_duration(policy.for_seconds)}: {opens}; {judged}"),
        ]
    else:
        moments = [Moment(0.0, f"`open` holds: {opens}; {judged}; asked every {every}{frozen}")]
    begin = policy.for_seconds
    worse = f"a worse severity counts at once, a milder one only after {format_duration(policy.demote_after_seconds)}"
    moments.append(Moment(begin + rule.every_seconds, worse))
    if rule.baselines:
        text = "from here the greater of the frozen baseline and the same hour a day and a week ago counts"
        moments.append(Moment(begin + HISTORY_AFTER_SECONDS, text))
    return moments


def _tell_recovery(policy: Policy) -> list[Moment]:
    moments = [Moment(0.0, "`recover` holds for the first time; a single evaluation without it begins anew", recovering=True)]
    if policy.keep_open_seconds:
        kept = f"the alert stays firing for {format_duration(policy.keep_open_seconds)} after the last breach"
        moments.append(Moment(0.0, kept, recovering=True))
    held = max(policy.recover_for_seconds, policy.keep_open_seconds)
    verified = "recovered: once every alert of the incident is, and the service's probes pass, it is resolved with its values"
    moments.append(Moment(held, verified, recovering=True))
    if policy.watch_seconds:
        again = "until now a new breach was a relapse: the same incident opened again and `recover_for` doubled; now it is closed"
        moments.append(Moment(held + policy.watch_seconds, again, recovering=True))
    return moments


def _note(rule: Rule, policy: Policy) -> tuple[str, ...]:
    subject = "one alert for every series" if rule.by is None else f"one alert for every value of {', '.join(rule.by) or 'nothing'}"
    notes = [subject]
    if rule.vector:
        notes.append("a Prometheus alerting rule: its condition lies in its query, an empty answer means `not firing`")
    else:
        notes.append(f"without data {_BLIND[policy.no_data]}; a failed query always keeps the state")
    if rule.baselines:
        over, ago = format_duration(rule.baseline.over_seconds), format_duration(rule.baseline.ago_seconds)
        names = ", ".join(f"{name}_baseline" for name in sorted(rule.baselines))
        notes.append(f"{names}: median of {over}, ending {ago} ago; unknown with fewer than {MINIMUM_POINTS} points")
    if rule.offset_seconds:
        notes.append(f"queries are asked {format_duration(rule.offset_seconds)} late")
    for override in rule.overrides:
        match = ", ".join(f"{name} {' or '.join(values)}" for name, values in override.match.items())
        notes.append(
            f"other terms where {match}: open {override.policy.open.text}, for {format_duration(override.policy.for_seconds)}"
        )
    return tuple(notes)


def _join(text: str) -> str:
    return " ".join(text.split())

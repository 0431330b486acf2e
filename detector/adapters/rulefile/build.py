"""From fields as read to the domain's `Rule`: signals, conditions, policy, overrides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.adapters.condition import BASELINE, FLAGS, OPEN, RESERVED, Scope
from detector.adapters.rulefile.default import default_ladder, default_recovery, list_aliases
from detector.adapters.rulefile.node import Scalar, Table
from detector.adapters.rulefile.policy import PolicyReader
from detector.adapters.rulefile.query import WINDOW, check_query
from detector.adapters.rulefile.reader import IDENTIFIER, Fields, quote, suggest_word
from detector.domain.burn import expand_objective
from detector.domain.rule import JOIN_BY, BaselineSpan, Instant, Override, Policy, Ratio, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.adapters.rulefile.node import Place
    from detector.adapters.rulefile.reader import Reader
    from detector.domain.rule import Signal
    from detector.domain.severity import Severity

TEMPLATE_NAMES = ("labels", "service", "rule", "severity", "signal", "value", "threshold")
WINDOW_SECONDS = 300.0
SEVERITY_WINDOW_SECONDS = 60.0


def build_rule(reader: Reader, fields: Fields, every_seconds: float) -> Rule | None:
    """The rule, or None where it has no usable signals; findings say what is wrong either way."""
    window = fields.get("window", WINDOW_SECONDS)
    _refuse_zero(reader, fields, ("every", "window", "severity_window"))
    _check_form(reader, fields)
    expanded = _expand(reader, fields) if fields.has("slo") else _declare(reader, fields, window)
    name = fields.get("name")
    if expanded is None or name is None:
        return None
    signals, opened, ladder = expanded
    # a signal whose query is faulty is still a name, else every condition over it would be a second fault
    names = tuple(signal.name for signal in signals) if fields.has("slo") else _declared_names(fields)
    scope = Scope(names, list_aliases(names))
    policies = PolicyReader(reader, scope)
    policy = policies.build(fields, policies.default_base(opened, ladder, default_recovery(names)))
    by = fields.get("by")
    if by is not None:
        known = (*by, *scope.numbers, *TEMPLATE_NAMES)
        for said in (fields, *fields.get("overrides", ())):
            _check_templates(reader, said, known)
    overrides = tuple(_build_override(reader, policies, override, policy, by) for override in fields.get("overrides", ()))
    baseline = fields.get("baseline")
    span = BaselineSpan()
    if baseline is not None:
        span = BaselineSpan(baseline.get("over", span.over_seconds), baseline.get("ago", span.ago_seconds))
        _refuse_zero(reader, baseline, ("over",))
    return Rule(
        name=name,
        signals=signals,
        policy=policy,
        source=reader.locate(fields.node.place),
        by=by,
        service=fields.get("service", ""),
        every_seconds=fields.get("every", every_seconds),
        offset_seconds=fields.get("offset", 0.0),
        window_seconds=window,
        severity_window_seconds=fields.get("severity_window", min(window, SEVERITY_WINDOW_SECONDS)),
        baseline=span,
        baselines=find_baselines(names, (policy, *(override.policy for override in overrides))),
        overrides=overrides,
        join_by=fields.get("join_by", JOIN_BY),
    )


def find_baselines(signals: Iterable[str], policies: Iterable[Policy]) -> frozenset[str]:
    """Signals whose baseline some condition names."""
    named: set[str] = set()
    for policy in policies:
        named |= policy.open.names
        for rung in policy.severity:
            named |= rung.condition.names
        for term in policy.recover.terms:
            for condition in term:
                named |= condition.names
    return frozenset(signal for signal in signals if f"{signal}{BASELINE}" in named)


def _check_form(reader: Reader, fields: Fields) -> None:
    place = fields.node.place
    if fields.has("slo"):
        for key in ("signals", "open"):
            if fields.has(key):
                reader.fault(fields.places[key], f"`{key}` beside `slo`; an slo brings its own, leave one of them out")
        return
    for key, example in (("signals", "signals: {error_rate: ...}"), ("open", "open: error_rate > 0.01")):
        if not fields.has(key):
            reader.fault(place, f"rule {quote(fields.get('name', '?'))} needs `{key}`, e.g. `{example}`")


def _declare(
    reader: Reader, fields: Fields, window: float
) -> tuple[tuple[Signal, ...], str, tuple[tuple[Severity, str], ...]] | None:
    declared = fields.get("signals")
    if declared is None:
        return None
    if not _declared_names(fields):
        reader.fault(fields.places["signals"], "`signals` declares none; write at least one, `name: PromQL`")
        return None
    node = fields.node.find("signals")
    keys = {key.text: key.place for key, _ in node.entries} if isinstance(node, Table) else {}
    signals: list[Signal] = []
    for name, value in declared.items():
        _check_name(reader, name, keys[name])
        if not isinstance(value, Fields):
            check_query(reader, value, window)
            signals.append(Instant(name, value.text))
            continue
        queries = value.get("ratio")
        for query in queries or ():
            check_query(reader, query, window)
        if queries is not None:
            signals.append(Ratio(name, queries[0].text, queries[1].text, value.get("min_total"), value.get("confidence")))
    return tuple(signals), "true", default_ladder(_declared_names(fields))


def _declared_names(fields: Fields) -> tuple[str, ...]:
    node = fields.node.find("signals")
    return tuple(key.text for key, _ in node.entries if IDENTIFIER.fullmatch(key.text)) if isinstance(node, Table) else ()


def _check_name(reader: Reader, name: str, place: Place) -> None:
    if name in RESERVED or name in FLAGS or name == OPEN:
        reader.fault(place, f"`{name}` means something else in conditions; give the signal another name")
    elif name.endswith(BASELINE):
        reader.fault(place, f"`{name}` ends in {BASELINE}, which names the baseline of a signal; give it another name")


def _expand(reader: Reader, fields: Fields) -> tuple[tuple[Signal, ...], str, tuple[tuple[Severity, str], ...]] | None:
    slo = fields.get("slo")
    if slo is None:
        return None
    queries = [slo.get("errors"), slo.get("total")]
    for key, query in zip(("errors", "total"), queries, strict=True):
        if query is None:
            continue
        check_query(reader, query, WINDOW_SECONDS)
        if WINDOW not in query.text:
            reader.fault(
                query.place, f"`{key}` does not use {WINDOW}; an slo asks it over several windows, e.g. increase(x[{WINDOW}])"
            )
    if None in queries or slo.get("objective") is None:
        return None
    expansion = expand_objective(slo.get("objective"), queries[0].text, queries[1].text)
    return expansion.signals, expansion.open, expansion.severity


def _build_override(reader: Reader, policies: PolicyReader, fields: Fields, base: Policy, by: tuple[str, ...] | None) -> Override:
    match = fields.get("match", {})
    if fields.has("match") and not match:
        reader.fault(
            fields.places["match"], "`match` names no label, so it covers nothing in particular; write e.g. `{service: batch}`"
        )
    node = fields.node.find("match")
    for key, _ in getattr(node, "entries", ()):
        if by is not None and key.text not in by:
            hint = suggest_word(key.text, by) if by else "`by` is empty"
            reader.fault(key.place, f"label `{key.text}` is not in `by`, so no alert has it; {hint}")
    return Override(match, policies.build(fields, base))


def _check_templates(reader: Reader, fields: Fields, known: tuple[str, ...]) -> None:
    """A name that no value will ever have makes the page show the template raw, so it is a fault now."""
    from detector.adapters.template import TemplateRenderer  # noqa: PLC0415  imported only where a file has a template

    for key in ("summary", "description"):
        text, node = fields.get(key), fields.node.find(key)
        if text is None or "{" not in text or not isinstance(node, Scalar):
            continue
        for name in sorted(TemplateRenderer().find_names(text) - set(known)):
            reader.fault_inside(node, text.find(name), f"template: nothing is named `{name}`; {suggest_word(name, known)}")


def _refuse_zero(reader: Reader, fields: Fields, keys: Iterable[str]) -> None:
    for key in keys:
        if fields.get(key) == 0.0:
            reader.fault(fields.places[key], f"`{key}` is 0; a duration above 0 is needed, e.g. 1m")

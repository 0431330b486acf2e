"""Under which labels a PromQL query may be asked together with its relatives: read from the parser's tree, never from the text.

A query qualifies for a label where every selector holds the same `label="value"` and nothing in it looks across that label: then
the query for any value is the part of the merged query with that value. Whatever is not known to be so is refused, with the reason.
Semantics: Prometheus documentation, "Operators" (vector matching, aggregation) and "Query functions". Before it: rules were
loaded. After it: `domain.family` chooses.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import promql_parser as promql

from detector.domain.family import SLOT, Candidate, Merged, plan_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

REMEMBERED = 20_000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_NEVER = frozenset({"__name__", "le", "quantile"})  # parts of what a series is, not of whom it is about
_AGGREGATIONS = frozenset({"sum", "min", "max", "avg", "count"})
_SET_OPERATORS = frozenset({"and", "or", "unless"})
_OPERATORS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="}) | _SET_OPERATORS
_BY_SAMPLE = (
    "abs",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "exp",
    "floor",
    "ln",
    "log10",
    "log2",
    "round",
    "sgn",
    "sqrt",
    "timestamp",
)
_BY_RANGE = ("changes", "delta", "deriv", "idelta", "increase", "irate", "predict_linear", "rate", "resets")
_OVER_TIME = ("avg", "count", "last", "max", "min", "present", "quantile", "stddev", "stdvar", "sum")
_SAME_SERIES = frozenset([*_BY_SAMPLE, *_BY_RANGE, "histogram_quantile", *(f"{name}_over_time" for name in _OVER_TIME)])
Node: TypeAlias = promql.Expr


class UnmergeableError(Exception):
    """Why a query is asked by itself."""


@dataclass(frozen=True, slots=True)
class _Text:
    """PromQL of one node of the merged query. `carries`: whether the single query's series carry the label; None for a number."""

    text: str
    carries: bool | None


@lru_cache(maxsize=REMEMBERED)
def find_candidates(query: str) -> tuple[Candidate, ...]:
    """The ways to merge the query; none where it must be asked as it is. See `explain_refusal` for the reason."""
    try:
        return _find(query)
    except UnmergeableError:
        return ()


def plan_merging(groups: Iterable[Iterable[str]]) -> dict[str, Merged]:
    """For every query that has relatives in its group, what to ask instead."""
    return plan_families(groups, find_candidates, quote_matcher)


def explain_refusal(query: str) -> str:
    """Why the query has no candidates, in a few words; empty where it has."""
    try:
        _find(query)
    except UnmergeableError as why:
        return str(why)
    return ""


def quote_matcher(label: str, values: Sequence[str]) -> str:
    """The matcher that takes these values of the label, or any where there are none."""
    if not values:
        return f'{label}!=""'
    return f"{label}=~{_quote('|'.join(_SPECIAL.sub(_escape, value) for value in values))}"


def _find(query: str) -> tuple[Candidate, ...]:
    try:
        tree = promql.parse(query)
    except ValueError as error:
        raise UnmergeableError(f"its PromQL is not understood: {error}") from None
    shared = _shared_matchers(tree)
    if not shared:
        raise UnmergeableError('no label="value" stands in every selector')
    found, refusals = [], []
    for label, value in sorted(shared.items()):
        try:
            written = _Writer(label).write(tree)
        except UnmergeableError as why:
            refusals.append(str(why))
        else:
            found.append(Candidate(label, value, written.text, strips=not written.carries))
    if not found:
        raise UnmergeableError(refusals[0])
    return tuple(found)


def _shared_matchers(tree: Node) -> dict[str, str]:
    """Labels that every selector holds to the same value; no selector at all is refused."""
    shared: dict[str, str] | None = None
    for selector in _list_selectors(tree):
        held: dict[str, str] = {}
        names = [matcher.name for matcher in selector.matchers.matchers]
        for matcher in selector.matchers.matchers:
            if matcher.op == promql.MatchOp.Equal and matcher.value and names.count(matcher.name) == 1:
                held[matcher.name] = matcher.value
        shared = held if shared is None else {name: value for name, value in shared.items() if held.get(name) == value}
    return {name: value for name, value in (shared or {}).items() if name not in _NEVER and _NAME.fullmatch(name)}


def _list_selectors(node: Node) -> list[promql.VectorSelector]:
    match node:
        case promql.VectorSelector():
            return [node]
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.BinaryExpr():
            return _list_selectors(node.lhs) + _list_selectors(node.rhs)
        case promql.Call():
            return [selector for argument in node.args for selector in _list_selectors(argument)]
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _list_selectors(node.expr)
        case _:
            return []


class _Writer:
    """Writes the tree with the label's matcher left open and every grouping by it."""

    def __init__(self, label: str) -> None:
        self._label = label

    def write(self, node: Node) -> _Text:
        match node:
            case promql.NumberLiteral():
                return _Text(_write_number(node.val), None)
            case promql.VectorSelector() | promql.MatrixSelector():
                return _Text(self._write_selector(node), carries=True)
            case promql.SubqueryExpr():
                return self._write_subquery(node)
            case promql.ParenExpr() | promql.UnaryExpr():
                inner = self.write(node.expr)
                return _Text(f"({inner.text})" if isinstance(node, promql.ParenExpr) else f"(-({inner.text}))", inner.carries)
            case promql.AggregateExpr():
                return self._write_aggregation(node)
            case promql.BinaryExpr():
                return self._write_binary(node)
            case promql.Call():
                return self._write_call(node)
            case _:
                raise UnmergeableError(f"a {type(node).__name__} is not taken apart")

    def _write_selector(self, found: promql.VectorSelector | promql.MatrixSelector) -> str:
        node, window = (
            (found, "") if isinstance(found, promql.VectorSelector) else (found.vector_selector, _write_range(found.range))
        )
        if node.at is not None:
            raise UnmergeableError("@ fixes a time")
        if node.matchers.or_matchers:
            raise UnmergeableError("matchers are joined by `or`")
        names = [node.name] if node.name else []
        names += [matcher.name for matcher in node.matchers.matchers]
        if odd := next((name for name in names if not _NAME.fullmatch(name)), None):
            raise UnmergeableError(f"{odd!r} is not a plain name")
        others = [matcher for matcher in node.matchers.matchers if matcher.name != self._label]
        kept = [f"{each.name}{_SIGNS[str(each.op)]}{_quote(each.value)}" for each in others]
        return f"{node.name or ''}{{{','.join([*kept, SLOT])}}}{window}{_write_offset(node.offset)}"

    def _write_subquery(self, node: promql.SubqueryExpr) -> _Text:
        if node.at is not None:
            raise UnmergeableError("@ fixes a time")
        inner = self.write(node.expr)
        return _Text(f"({inner.text}){_write_range(node.range, node.step, colon=':')}{_write_offset(node.offset)}", inner.carries)

    def _write_aggregation(self, node: promql.AggregateExpr) -> _Text:
        operator, modifier = str(node.op), node.modifier
        if operator not in _AGGREGATIONS or node.param is not None:
            raise UnmergeableError(f"{operator} looks across all series")
        labels: list[str] = []
        if modifier is not None:
            if modifier.type != promql.AggModifierType.By:
                raise UnmergeableError("`without` keeps labels that are not named")
            labels = list(modifier.labels)
        inner = self.write(node.expr)
        if inner.carries is None:
            raise UnmergeableError(f"{operator} of a number")
        if odd := next((name for name in labels if not _NAME.fullmatch(name)), None):
            raise UnmergeableError(f"{odd!r} is not a plain name")
        by = ",".join(dict.fromkeys([*labels, self._label]))
        return _Text(f"{operator} by ({by}) ({inner.text})", self._label in labels and inner.carries)

    def _write_binary(self, node: promql.BinaryExpr) -> _Text:
        operator = str(node.op)
        if operator not in _OPERATORS:
            raise UnmergeableError(f"the operator {operator} is not taken apart")
        left, right = self.write(node.lhs), self.write(node.rhs)
        modifier = node.modifier
        flag = " bool" if modifier is not None and modifier.return_bool else ""
        if left.carries is None or right.carries is None:
            carries = right.carries if left.carries is None else left.carries
            return _Text(f"(({left.text}) {operator}{flag} ({right.text}))", carries)
        matching, carries = self._match(node, left.carries, right.carries)
        return _Text(f"(({left.text}) {operator}{flag}{matching} ({right.text}))", carries)

    def _match(self, node: promql.BinaryExpr, left: bool, right: bool) -> tuple[str, bool]:  # noqa: FBT001 - two sides
        """The matching clause between two vectors, and whether the single result carries the label."""
        modifier, is_set = node.modifier, str(node.op) in _SET_OPERATORS
        if modifier is not None and (modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None):
            raise UnmergeableError("fill invents series")
        if modifier is None or modifier.matching is None:
            if left != right:  # one side was grouped without the label: alone they match on what the other lacks
                raise UnmergeableError("its two sides do not carry the same labels")
            return "", left
        if modifier.matching.type != promql.LabelModifierType.Include:
            raise UnmergeableError("`ignoring` keeps labels that are not named")
        if modifier.card in (promql.VectorMatchCardinality.ManyToOne, promql.VectorMatchCardinality.OneToMany):
            raise UnmergeableError("group_left and group_right take labels from the other side")
        labels = list(modifier.matching.labels)
        if odd := next((name for name in labels if not _NAME.fullmatch(name)), None):
            raise UnmergeableError(f"{odd!r} is not a plain name")
        if self._label in labels and left != right:
            raise UnmergeableError("its two sides do not carry the same labels")
        if str(node.op) == "or" and left != right:
            raise UnmergeableError("its two sides do not carry the same labels")
        on = f" on ({','.join(dict.fromkeys([*labels, self._label]))})"
        return on, left if is_set else self._label in labels and left

    def _write_call(self, node: promql.Call) -> _Text:
        name = node.func.name
        if name not in _SAME_SERIES:
            raise UnmergeableError(f"{name}() is not one that leaves each series to itself")
        arguments = [self.write(argument) for argument in node.args]
        vectors = [argument.carries for argument in arguments if argument.carries is not None]
        if len(vectors) != 1:
            raise UnmergeableError(f"{name}() of no vector, or of several")
        return _Text(f"{name}({', '.join(argument.text for argument in arguments)})", vectors[0])


_SIGNS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def _write_number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Inf" if number > 0 else "-Inf"
    return repr(number)


def _write_range(span: timedelta | None, step: timedelta | None = None, *, colon: str = "") -> str:
    if span is None:
        raise UnmergeableError("a range without a length")
    return f"[{_write_duration(span)}{colon}{'' if step is None else _write_duration(step)}]"


def _write_duration(span: timedelta) -> str:
    return f"{round(span.total_seconds() * 1000)}ms"


def _write_offset(span: timedelta | None) -> str:
    if span is None:
        return ""
    milliseconds = round(span.total_seconds() * 1000)
    return f" offset {'-' if milliseconds < 0 else ''}{abs(milliseconds)}ms"


def _quote(value: str) -> str:
    """A string as PromQL (and Go) writes it between double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _escape(found: re.Match[str]) -> str:
    return "\\" + found.group()

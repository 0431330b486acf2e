"""PromQL of rule files, syntax-checked where it is written.

promql-parser knows the grammar of one Prometheus release. What it refuses is a fault, unless the query uses a form that newer
releases or VictoriaMetrics know: then it is a note, and `check --prometheus` asks the server itself.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import promql_parser

from detector.adapters.rulefile.reader import Query, quote
from detector.domain.duration import format_duration

if TYPE_CHECKING:
    from detector.adapters.rulefile.node import Scalar
    from detector.adapters.rulefile.reader import Reader

WINDOW = "$window"

_FUNCTIONS = (
    *("abs", "absent", "absent_over_time", "avg", "avg_over_time", "bottomk", "ceil", "changes", "clamp", "clamp_max", "clamp_min"),
    *(
        "count",
        "count_over_time",
        "count_values",
        "delta",
        "deriv",
        "exp",
        "floor",
        "group",
        "histogram_quantile",
        "increase",
        "irate",
    ),
    *(
        "label_join",
        "label_replace",
        "last_over_time",
        "max",
        "max_over_time",
        "min",
        "min_over_time",
        "predict_linear",
        "quantile",
    ),
    *("quantile_over_time", "rate", "resets", "round", "scalar", "sort", "sqrt", "stddev", "sum", "sum_over_time", "time"),
    *("timestamp", "topk", "vector"),
)
_NEWER = re.compile(
    r"""\b(?:WITH\s*\(|default\b|keep_metric_names\b|ifnot\b|anchored\b|smoothed\b|rollup\w*\s*\()  # MetricsQL; Prometheus 3.7
      | \[\s*\d+i\s*[\]:]                                       # steps as a window: MetricsQL
      | \[[^\]"']*(?:[-+*/^]|step\(\)|range\(\))[^\]"']*\]       # arithmetic on durations: Prometheus 3.4
      | \boffset\s*\(
      | \b(?:by|without|on|ignoring)\s*\([^)]*"                   # UTF-8 label names: Prometheus 3.0""",
    re.VERBOSE,
)
_QUOTED = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`""")
_VARIABLE = re.compile(r"\$(?!window\b)\{?\w+\}?|\$\{window\}")
_UNKNOWN_FUNCTION = re.compile(r"unknown function with name '([^']+)'")
_CULPRIT = re.compile(r"(?:'([^']+)'|: (\S+?)\]?$)")
_RANGE = {"MatrixSelector": "a range vector", "SubqueryExpr": "a range vector", "StringLiteral": "text"}
# functions of MetricsQL and of newer Prometheus whose names are one slip away from an older one
_LOOKALIKES = frozenset(
    {"histogram_quantiles", "ideriv", "mad_over_time", "median", "quantiles", "quantiles_over_time", "sum2", "sum2_over_time"}
    | {"tfirst_over_time", "tlast_over_time", "tmax_over_time", "tmin_over_time"}
)
_TYPO_CHARACTERS = 2
_COMPARISONS = frozenset({">", ">=", "<", "<=", "==", "!="})
_LONGEST = 20_000
_DEEPEST = 64
# promql-parser 0.12 recurses without bound: `x+x+...` with 6,000 operators overflows the stack and kills the process
_MOST_OPERATORS = 1_000
_OPERATOR = re.compile(r"[-+*/%^=<>!@:\[({]|\b(?:and|or|unless|atan2|offset)\b")


def check_query(reader: Reader, scalar: Scalar, window_seconds: float, *, foreign: bool = False) -> None:
    """Check one query; faults become findings, or notes where the query is `foreign` (from a Prometheus rule file)."""
    if len(scalar.text) > _LONGEST:
        reader.fault(scalar.place, f"query of {len(scalar.text)} characters; the most is {_LONGEST}")
        return
    if _find_depth(scalar.text) > _DEEPEST or len(_OPERATOR.findall(scalar.text)) > _MOST_OPERATORS:
        reader.fault(scalar.place, f"query with over {_MOST_OPERATORS} operators, or over {_DEEPEST} brackets inside each other")
        return
    text = scalar.text.replace(WINDOW, format_duration(window_seconds))
    try:
        kind = type(promql_parser.parse(text)).__name__
    except ValueError as error:
        fault = _read_fault(scalar.text, str(error))
        if foreign or fault is None:
            reader.queries.append(Query(reader.locate(scalar.place), text))
            reader.note(scalar.place, f"PromQL: {error}; a newer server may know it, `detector check --prometheus URL` tries it")
        else:
            reader.fault_inside(scalar, *fault)
        return
    if kind in _RANGE:
        example = f"; wrap it, e.g. rate({scalar.text})" if kind == "MatrixSelector" else ""
        reader.fault(scalar.place, f"query gives {_RANGE[kind]}, not one value a series{example}")
        return
    reader.queries.append(Query(reader.locate(scalar.place), text))


def read_threshold(text: str) -> tuple[str, float] | None:
    """Operator and number of a query whose whole is `... > number`; else None."""
    try:
        tree = promql_parser.parse(text)
    except ValueError:
        return None
    if isinstance(tree, promql_parser.BinaryExpr) and isinstance(tree.rhs, promql_parser.NumberLiteral):
        operator = str(tree.op)
        return (operator, float(tree.rhs.val)) if operator in _COMPARISONS else None
    return None  # with the number on the left a comparison gives that number, not the value


def _read_fault(text: str, error: str) -> tuple[int, str] | None:
    """Offset and message of a sure fault; None where a newer grammar may know the form."""
    if _NEWER.search(_QUOTED.sub('""', text)):
        return None
    hint = ""
    if match := _UNKNOWN_FUNCTION.search(error):
        near = get_close_matches(match[1], _FUNCTIONS, n=1, cutoff=0.75)
        if match[1] in _LOOKALIKES or not near or abs(len(near[0]) - len(match[1])) > _TYPO_CHARACTERS:
            return None
        hint = f"; did you mean `{near[0]}`?"
    if (match := _VARIABLE.search(text)) and "'$'" in error:
        return match.start(), f"PromQL: nothing is named `{match[0]}`; only `{WINDOW}` is filled in"
    if error == "invalid promql query":
        error = f"cannot be parsed: {quote(text)}"
    return _find_culprit(text, error), f"PromQL: {error}{hint}"


def _find_depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _find_culprit(text: str, error: str) -> int:
    if error == "unclosed left parenthesis":
        return _find_open(text)
    match = _CULPRIT.search(error)
    found = re.search(rf"(?<!\w){re.escape(match[1] or match[2])}(?!\w)", text) if match else None
    return found.start() if found else 0


def _find_open(text: str) -> int:
    """Offset of the outermost parenthesis that nothing closes; quoted text is passed over."""
    opened: list[int] = []
    for match in re.finditer(rf"[()]|{_QUOTED.pattern}", text):
        if match[0] == "(":
            opened.append(match.start())
        elif match[0] == ")" and opened:
            opened.pop()
    return opened[0] if opened else 0

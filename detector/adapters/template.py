"""Text templates of rules and channels: Jinja2 in its sandbox, with bounds.

Before it: the rule file adapter, which refuses a bad template at load, and the committer with a transition's facts. After it: the
summary that a page carries. Values are data and never read as templates, so `{{ 7*7 }}` in a label stays these seven characters.

A rule file is trusted less than code. Jinja2's sandbox keeps a template from the interpreter but not from eating the machine, so on
top of it stand: an allow-list of syntax (no assignments, macros, includes, powers, no loops beyond two levels), an allow-list of
filters and methods (none that repeats or pads text), loops cut at 100 turns, products of numbers only, and caps on both lengths.
With these a template ends after at most some hundred thousand steps.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from detector.domain.quantity import format_number, format_percent, format_span, format_time, humanize

MAX_TEMPLATE_CHARACTERS = 4_000
MAX_TEXT_CHARACTERS = 10_000
_MAX_TURNS = 100
_MAX_LOOPS = 2
_MAX_CACHED = 2_000
_FILTERS = frozenset(
    {"abs", "default", "d", "dictsort", "first", "float", "int", "items", "join", "last", "length", "count", "lower"}
    | {"round", "sort", "string", "title", "trim", "truncate", "upper", "capitalize", "unique", "map", "select", "reject"}
    | {"selectattr", "rejectattr", "max", "min", "sum", "list"}
)
_METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset({"get", "items", "keys", "values"}),
    str: frozenset({"endswith", "lower", "removeprefix", "removesuffix", "split", "startswith", "strip", "title", "upper"}),
}
_SYNTAX: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.Pair),
    *(nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat),
    *(nodes.List, nodes.Tuple, nodes.Dict),
)

OnFailure: TypeAlias = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """Why a template cannot be used, and the line inside it, from 1."""

    line: int
    message: str


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, narrowed: no globals, named filters only, few methods, arithmetic on numbers."""

    intercepted_binops = frozenset({"*", "%", "**", "+"})

    def __init__(self) -> None:
        # Pages are plain text: escaping HTML would show `&lt;` to whoever is on call. Each channel escapes for itself.
        super().__init__(autoescape=False, undefined=StrictUndefined, cache_size=0)
        self.globals.clear()
        self.filters = {name: run for name, run in self.filters.items() if name in _FILTERS}
        self.filters |= {"percent": format_percent, "duration": format_span, "number": format_number, "humanize": humanize}
        self.filters |= {"time": format_time, "replace": _replace, "_bounded": _bound}
        self.filters |= {"join": _join, "round": _round}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - Jinja2's signature
        """Only numbers: `"x" * 1000000000` and `"%1000000000d" % 1` would eat the memory."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str) and len(left) + len(right) <= MAX_TEXT_CHARACTERS:
            return left + right
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise SecurityError(f"`{operator}` works on numbers only")
        return super().call_binop(context, operator, left, right)

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ANN401 - Jinja2's signature
        """The named methods of plain values, nothing else."""
        owner = type(getattr(obj, "__self__", None))
        return getattr(obj, "__name__", "") in _METHODS.get(owner, frozenset())


class TemplateRenderer:
    """The port `Renderer`. `on_failure(template, reason)` is told of every template that came back raw."""

    def __init__(self, on_failure: OnFailure | None = None, *, max_characters: int = MAX_TEXT_CHARACTERS) -> None:
        self._on_failure = on_failure
        self._max_characters = max_characters
        self._sandbox = _Sandbox()
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text, cut at `max_characters`; the template itself, cut the same, where it fails."""
        try:
            return self._fill(template, values)
        except Exception as error:  # noqa: BLE001 - a filter may raise anything; no template may block a page
            if self._on_failure is not None:
                self._on_failure(template, f"{type(error).__name__}: {error}")
            return template[: self._max_characters]

    def find_fault(self, template: str) -> TemplateFault | None:
        """What is wrong with the template, None where it can be used. For the check at load."""
        try:
            self._compile(template)
        except TemplateSyntaxError as error:
            return TemplateFault(error.lineno, error.message or "not a template")
        except (TemplateError, RecursionError) as error:
            return TemplateFault(1, str(error))
        return None

    def find_names(self, template: str) -> frozenset[str]:
        """The names of the values that a good template asks for."""
        return frozenset(meta.find_undeclared_variables(self._sandbox.parse(template)))

    def _fill(self, template: str, values: Mapping[str, Any]) -> str:
        parts, length = list[str](), 0
        for part in self._compile(template).generate(values):
            parts.append(part)
            length += len(part)
            if length > self._max_characters:
                break
        return "".join(parts)[: self._max_characters]

    def _compile(self, template: str) -> Any:  # noqa: ANN401 - a jinja2.Template, whose class each environment chooses
        if (known := self._compiled.get(template)) is not None:
            self._compiled.move_to_end(template)
            return known
        if len(template) > MAX_TEMPLATE_CHARACTERS:
            raise SecurityError(f"the template is longer than {MAX_TEMPLATE_CHARACTERS} characters")
        tree = self._sandbox.parse(template)
        _check_syntax(tree, loops=0)
        compiled = self._sandbox.from_string(tree)
        self._compiled[template] = compiled
        if len(self._compiled) > _MAX_CACHED:
            self._compiled.popitem(last=False)
        return compiled


def _check_syntax(node: nodes.Node, *, loops: int) -> None:
    """Refuse what is not on the list, and bound every loop in place."""
    if type(node) not in _SYNTAX:
        what = type(node).__name__.lower()
        raise TemplateSyntaxError(f"`{what}` is not available in text templates; use values, filters, if and for", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if loops > _MAX_LOOPS or node.recursive:
            raise TemplateSyntaxError(f"for loops nest {_MAX_LOOPS} deep at most, and never recurse", node.lineno)
        if (
            isinstance(node.iter, nodes.Concat) or node.iter.find(nodes.Concat) is not None
        ):  # a loop's name would carry it on, and grow
            raise TemplateSyntaxError("`~` cannot stand in what a loop goes over", node.lineno)
        node.iter = nodes.Filter(node.iter, "_bounded", [], [], None, None, lineno=node.lineno)
    for child in node.iter_child_nodes():
        _check_syntax(child, loops=loops)


def _bound(items: Iterable[Any]) -> list[Any]:
    return list(islice(items, _MAX_TURNS))


def _join(items: Iterable[Any], separator: str = "") -> str:
    parts, length = list[str](), 0
    for item in items:
        parts.append(str(item))
        length += len(parts[-1]) + len(separator)
        if length > MAX_TEXT_CHARACTERS:
            raise SecurityError("join: a result beyond the cap")
    return separator.join(parts)


def _round(value: float, precision: int = 0) -> float:
    """To the nearest; Jinja2's own takes ten to the power of `precision` for the other ways, however large."""
    return round(float(value), precision)


def _replace(text: str, old: str, new: str) -> str:
    if not old or text.count(old) * len(new) > MAX_TEXT_CHARACTERS:
        raise SecurityError("replace: nothing to look for, or a result beyond the cap")
    return text.replace(old, new)

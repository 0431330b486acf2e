"""What the domain knows of a condition: text, names, comparisons, and a three-valued answer.

The compiled form comes from the adapter that speaks CEL; `advance` evaluates it. True and False are answers, None is "unknown":
a variable was missing, or the result was not a boolean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

Bindings: TypeAlias = "Mapping[str, float | bool]"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`signal operator factor [* reference]`, as it stands in a condition; written the other way round it is turned.

    `operator` is one of > >= < <= == !=. Without a `reference` the bound is `factor` itself. A right-hand side of another
    form has no `factor`: the threshold shown is then null.
    """

    signal: str
    operator: str
    factor: float | None
    reference: str | None = None

    def bound(self, bindings: Bindings) -> float | None:
        """The number the signal is compared with, or None where it cannot be said."""
        if self.factor is None or self.reference is None:
            return self.factor
        reference = bindings.get(self.reference)
        return None if reference is None else self.factor * float(reference)

    def holds(self, bindings: Bindings) -> bool:
        """Whether the comparison is known to be true."""
        value, bound = bindings.get(self.signal), self.bound(bindings)
        if value is None or bound is None:
            return False
        match self.operator:
            case ">":
                return value > bound
            case ">=":
                return value >= bound
            case "<":
                return value < bound
            case "<=":
                return value <= bound
            case "==":
                return value == bound
            case _:
                return value != bound


class Condition(Protocol):
    """A compiled condition."""

    @property
    def text(self) -> str:
        """Source as the rule file has it."""

    @property
    def names(self) -> frozenset[str]:
        """Variables that the condition names."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Comparisons of a signal with a number, in reading order."""

    def evaluate(self, bindings: Bindings) -> bool | None:
        """Answer with the variables bound; a missing one makes the answer None unless the others decide it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A condition that is true wherever another is, and in which every variable drives one way only.

    `ends`: by variable of `condition`, the number that it stands for and the end of it that makes the condition true most easily: 1
    the greatest, -1 the least. Flags keep their names and do not stand in it. Where each variable holds its number's value of one
    moment, and the other condition is true, this one is; so it is then for values beyond, in the directions of `ends`.
    """

    condition: Condition
    ends: Mapping[str, tuple[str, int]]


@runtime_checkable
class Bounded(Protocol):
    """A condition that knows its envelope."""

    def find_envelope(self) -> Envelope | None:
        """None where the form of the condition rules nothing out."""

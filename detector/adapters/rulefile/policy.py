"""Policies: conditions compiled, durations and labels taken over, what is not written taken from the base.

The base of a rule is the defaults, the base of an override is its rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detector.adapters.condition import ConditionError, Scope
from detector.adapters.rulefile.reader import Reader
from detector.domain.rule import NoDataPolicy, Policy, Recovery, Rung
from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.adapters.condition import CelCondition
    from detector.adapters.rulefile.node import Scalar
    from detector.adapters.rulefile.reader import Fields

_DURATIONS = {
    "for": "for_seconds",
    "keep_open": "keep_open_seconds",
    "demote_after": "demote_after_seconds",
    "recover_for": "recover_for_seconds",
    "watch": "watch_seconds",
    "stale_after": "stale_after_seconds",
}


@dataclass(frozen=True, slots=True)
class PolicyReader:
    """Compiles the conditions of one rule in one scope; faults go to the file's reader."""

    reader: Reader
    scope: Scope

    def default_base(self, open_text: str, ladder: Iterable[tuple[Severity, str]], recovery: str) -> Policy:
        """The policy of a rule that says nothing."""
        return Policy(
            open=self.scope.compile(open_text),
            recover=Recovery(recovery, self.scope.split(recovery)),
            severity=tuple(Rung(severity, self.scope.compile(text)) for severity, text in ladder),
        )

    def build(self, fields: Fields, base: Policy) -> Policy:
        """The base with what `fields` says."""
        changes: dict[str, object] = {name: fields.get(key) for key, name in _DURATIONS.items() if fields.get(key) is not None}
        for text in ("summary", "description"):
            if fields.get(text) is not None:
                changes[text] = fields.get(text)
        if fields.get("no_data") is not None:
            changes["no_data"] = NoDataPolicy(fields.get("no_data"))
        if (opened := self._compile(fields.get("open"))) is not None:
            changes["open"] = opened
        if (recover := self._split(fields.get("recover"))) is not None:
            changes["recover"] = recover
        if (severity := fields.get("severity")) is not None:
            changes["severity"] = self._climb(severity) or base.severity
        changes["labels"] = {**base.labels, **fields.get("labels", {})}
        changes["links"] = {**base.links, **fields.get("links", {})}
        return replace(base, **changes)  # type: ignore[arg-type]  # names and types of Policy's fields, as read by the table

    def _climb(self, fields: Fields) -> tuple[Rung, ...]:
        compiled = [(Severity(name), self._compile(scalar)) for name, scalar in fields.values.items()]
        return tuple(Rung(severity, condition) for severity, condition in compiled if condition is not None)

    def _compile(self, scalar: Scalar | None) -> CelCondition | None:
        if scalar is None:
            return None
        try:
            return self.scope.compile(scalar.text)
        except ConditionError as error:
            self._report(scalar, error)
            return None

    def _split(self, scalar: Scalar | None) -> Recovery | None:
        if scalar is None:
            return None
        try:
            return Recovery(scalar.text, self.scope.split(scalar.text))
        except ConditionError as error:
            self._report(scalar, error)
            return None

    def _report(self, scalar: Scalar, error: ConditionError) -> None:
        for fault in error.faults:
            self.reader.fault_inside(scalar, fault.offset, fault.message)

"""What can ail the daemon itself. Each is told like an alert, under a rule name that no rule file may use."""

from __future__ import annotations

from enum import Enum


class Ailment(Enum):
    """The rule name under which it is told."""

    BLIND = "blind"
    STORE_DOWN = "store-down"
    RULES_REFUSED = "detector-rules-refused"
    STORE_RESET = "detector-store-reset"


OWN_RULES = frozenset(ailment.value for ailment in Ailment)

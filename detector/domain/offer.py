"""In which order mitigations are offered: the catalogue's, with what helps against the first bad check before the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from detector.domain.catalogue import Mitigation
from detector.domain.check import Check, Result, Verdict

_WORD = re.compile(r"[a-z]+")
# what usually helps against what, by words of a mitigation's name, then of its summary
_HELPS: dict[Check, tuple[str, ...]] = {
    Check.DEPLOY: ("revert", "rollback", "roll", "undo"),
    Check.TRAFFIC: ("scale", "shed", "limit", "throttle"),
    Check.DATABASE: ("failover", "replica", "pool"),
    Check.THIRD_PARTIES: ("flag", "disable", "fallback", "bypass"),
    Check.CONFIGURATION: ("revert", "rollback", "config", "roll"),
    Check.RESOURCES: ("scale", "restart", "clean", "cleanup"),
    Check.CONCURRENCY: ("restart", "kill", "scale", "flag"),
}


def order_offers(ways: Sequence[Mitigation], checks: Iterable[Result]) -> tuple[Mitigation, ...]:
    """The catalogue's order, with what helps against the first bad check before the rest."""
    bad = next((result.check for result in checks if result.verdict is Verdict.BAD), None)
    words = _HELPS.get(bad, ()) if bad is not None else ()
    return tuple(sorted(ways, key=lambda way: _place(way, words)))


def _place(way: Mitigation, words: Sequence[str]) -> int:
    """By its name before by its summary; `len(words) * 2` where it is not known to help."""
    for offset, text in enumerate((way.name, way.summary)):
        found = {*_WORD.findall(text.lower())}
        places = [place for place, word in enumerate(words) if word in found]
        if places:
            return offset * len(words) + places[0]
    return 2 * len(words)

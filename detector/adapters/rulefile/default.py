"""What a rule means where it says nothing: the severity ladder and the recovery. Terms that name absent signals are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.domain.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Collection

ERROR_RATE = "error_rate"
USERS = "affected_users"
P95 = "p95"


def list_aliases(signals: Collection[str]) -> tuple[tuple[str, str], ...]:
    """affected_users equals error_rate where it is not declared."""
    return (
        ((USERS, ERROR_RATE), (f"{USERS}_baseline", f"{ERROR_RATE}_baseline"))
        if USERS not in signals and ERROR_RATE in signals
        else ()
    )


def default_ladder(signals: Collection[str]) -> tuple[tuple[Severity, str], ...]:
    """Rungs in order; the last one always holds."""
    users = next((name for name in (USERS, ERROR_RATE) if name in signals), None)
    wide = [f"{users} >= 0.5"] if users else []
    wide += [f"{ERROR_RATE} > 0.05"] if ERROR_RATE in signals else []
    rungs = []
    if users:
        rungs.append((Severity.CRITICAL, f"core && {users} >= 0.995"))
        rungs.append((Severity.HIGH, f"(customer_facing || core) && ({' || '.join(wide)})"))
    if P95 in signals:
        rungs.append((Severity.HIGH, f"core && {P95} > 4.0 * {P95}_baseline"))
    return (*rungs, (Severity.LOW, "!customer_facing && !core"), (Severity.MEDIUM, "true"))


def default_recovery(signals: Collection[str]) -> str:
    """The condition as it would be written."""
    terms = ["!open"]
    if ERROR_RATE in signals:
        terms.append(f"({ERROR_RATE} < 0.001 || {ERROR_RATE} <= 1.2 * {ERROR_RATE}_baseline)")
    if P95 in signals:
        terms.append(f"{P95} <= 1.2 * {P95}_baseline")
    return " && ".join(terms)

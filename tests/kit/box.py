"""What Alertmanager's and Prometheus's wire formats are spoken to, without a daemon behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detector.domain.reception import ReceivedAlert
    from detector.ports.error import TemporaryError
    from detector.ports.wire import ShownAlert, ShownRule


class Box:
    """An inbox that keeps what came, and an exhibit with nothing in it."""

    def __init__(self) -> None:
        self.alerts_received: list[ReceivedAlert] = []
        self.fault: TemporaryError | None = None

    async def receive(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Keep, or fail."""
        if self.fault is not None:
            raise self.fault
        self.alerts_received += alerts

    def alerts(self) -> list[ShownAlert]:
        """None."""
        return []

    def rules(self) -> list[ShownRule]:
        """None."""
        return []

    def now(self) -> float:
        """A moment."""
        return 1000.0

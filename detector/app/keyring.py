"""What this process knows of the destination's keys: which it opened, with which credential, and which left from memory alone.

Before it: the dispatcher settled an attempt. After it: the next notice of the key leaves with the credential of the one that opened
it, before its own row could say so.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from detector.app.flight import OPENING, remember
from detector.domain.incident import NoticeKind
from detector.ports.store import DeliveryState, deliver

if TYPE_CHECKING:
    from detector.app.attempt import Outcome
    from detector.domain.incident import Notice
    from detector.ports.store import Delivery


class Keyring:
    """The newest keys of one channel; older ones are forgotten, and their rows know as much."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, str] = OrderedDict()  # keys accepted in this process -> their credential
        self._unwritten: OrderedDict[str, str] = OrderedDict()  # keys whose opening left from memory

    def deliver(self, notice: Notice) -> Delivery:
        """What a channel gets of a notice that no row brought."""
        return deliver(notice, credential=self._opened.get(notice.key) or None)

    def note_unwritten(self, delivery: Delivery) -> None:
        """It leaves from memory: where it opens its key, the store may see no attempt of it."""
        if delivery.kind in OPENING:
            remember(self._unwritten, delivery.key, "")

    def is_unwritten(self, key: str) -> bool:
        """Whether the key's opening left from memory."""
        return key in self._unwritten

    def note_end(self, outcome: Outcome) -> bool:
        """Keep what later notices of the key need. False where the row must be delivered all the same when it appears."""
        delivery = outcome.delivery
        if outcome.state is not DeliveryState.ACCEPTED:
            return True
        if delivery.kind in OPENING or (outcome.credential and delivery.key in self._opened):
            remember(self._opened, delivery.key, outcome.credential)
        if delivery.kind is not NoticeKind.RESOLVE:
            return True
        self._unwritten.pop(delivery.key, None)
        # A resolve whose trigger we did not see leave may have come too early: its row repeats it, after the trigger's.
        return self._opened.pop(delivery.key, None) is not None or outcome.stored

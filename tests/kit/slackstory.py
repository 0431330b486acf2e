"""An incident told to a Slack stand-in: a clock that only sleeping moves, and the credential that the outbox would keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from detector.adapters.slack import SlackThreads
from detector.adapters.template import TemplateRenderer
from detector.standin.slack import Slack
from detector.transport.exchange import Exchange
from tests.kit.delivery import OPENED, make_delivery

if TYPE_CHECKING:
    from detector.domain.incident import NoticeKind
    from detector.ports.channel import Receipt
    from detector.ports.store import Delivery
    from detector.standin.conversation import Message

TOKEN = "xoxb-1234567890-secret-of-the-bot"
INCIDENTS = "C0INCIDENTS"
PAYMENTS = "C0PAYMENTS"
CHANNELS = {"incidents": INCIDENTS, "payments": PAYMENTS}


@dataclass(slots=True)
class Clock:
    """Unix and monotonic seconds in one; sleeping is instant."""

    seconds: float = OPENED

    def now(self) -> float:
        """The moment."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.seconds += seconds


@dataclass(slots=True)
class Story:
    """Sends notices of one incident in their order, each with the credential that the last accepted one gave."""

    slack: Slack
    clock: Clock
    exchange: Exchange
    token: str = TOKEN
    target: str = "#incidents"
    options: dict[str, Any] = field(default_factory=dict)
    credential: str | None = None
    sequence: int = 0
    channel: SlackThreads = field(init=False)

    def __post_init__(self) -> None:
        """Start the channel."""
        self.clock.seconds -= 2.0
        self.restart()

    def restart(self) -> None:
        """A new process, two seconds later: nothing is remembered but what the outbox holds."""
        self.clock.seconds += 2.0
        timing: dict[str, Any] = {"monotonic": self.clock.now, "sleep": self.clock.sleep, "deadline_seconds": 0.3}
        self.channel = SlackThreads(
            self.exchange,
            SecretStr(self.token),
            self.target,
            TemplateRenderer(),
            api_url=self.slack.api_url,
            **(timing | self.options),
        )

    def make(self, kind: NoticeKind, **about: Any) -> Delivery:
        """The next notice."""
        self.sequence += 1
        return make_delivery(kind, sequence=self.sequence, at=self.clock.seconds, credential=self.credential, **about)

    async def tell(self, kind: NoticeKind, **about: Any) -> Receipt:
        """Send the next notice and keep its credential."""
        return await self.send(self.make(kind, **about))

    async def send(self, delivery: Delivery, *, attempts: int = 0) -> Receipt:
        """Send this one, as claimed after so many attempts."""
        claimed = replace(delivery, attempts=attempts, credential=self.credential)
        receipt = await self.channel.send(claimed, now=self.clock.now())
        self.credential = receipt.credential
        return receipt

    @property
    def top(self) -> Message:
        """The only message that stands in the channel itself."""
        (message,) = self.slack.workspace.list_messages(INCIDENTS)
        return message

    @property
    def replies(self) -> tuple[str, ...]:
        """The texts in its thread."""
        return tuple(reply.text for reply in self.slack.thread(INCIDENTS, self.top.ts))

"""The tables: one schema for SQLite and PostgreSQL, shaped for what the store asks of them.

Values of the domain lie in `document` columns as JSON text (`codec`); the other columns exist to be searched and ordered by.
JSON is text, not PostgreSQL's jsonb, which refuses the NUL that a label may hold. There are no foreign keys: a page must not be
lost because something it names is missing. Every revision after the first only adds tables and columns that are nullable or have
a server default, so that an older process works on a newer schema while an upgrade rolls.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text, text
from sqlalchemy.types import TypeDecorator

REVISION = "0006"  # the newest file under migrations/versions

metadata = MetaData()


def clean_text(text: str) -> str:
    """Make text storable everywhere: NUL becomes its printed symbol, a lone surrogate a question mark."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{SYMBOL FOR NULL}")


class Word(TypeDecorator[str]):
    """Text from outside, cleaned on its way in, whether it is written or searched for."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ANN401  # SQLAlchemy's own signature
        """Clean what is written or compared."""
        del dialect
        return None if value is None else clean_text(value)


_Serial = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself in an INTEGER primary key only

alert = Table(
    "alert",
    metadata,
    Column("id", String, primary_key=True),  # digest of rule and labels
    Column("rule", Word, nullable=False),
    Column("document", Text, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    Column("rule", Word, primary_key=True),
    Column("document", Text, nullable=False),
)

incident = Table(
    "incident",
    metadata,
    Column("id", Word, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("service", Word, nullable=False),
    Column("opened", Double, nullable=False),
    Column("detected", Double, nullable=False),
    Column("closed", Double),
    Column("due", Double),
    Column("document", Text, nullable=False),
    Index("incident_status", "status"),
    Index("incident_listing", "opened", "id", "status", "severity", "service"),  # order and filters of lists: no document is read
)

event = Table(
    "event",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),  # digest of all that follows: a repeated commit adds no second line
    Column("incident", Word, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("message", Word, nullable=False),
    Index("event_incident", "incident", "at", "seq"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),  # given under the book lock: the order of notices
    Column("id", String, nullable=False, unique=True),
    Column("incident", Word, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("channel", Word, nullable=False),
    Column("route", Word, nullable=False),
    Column("key", Word, nullable=False),
    Column("kind", String, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", Double, nullable=False),
    Column("retry_at", Double),
    Column("first_attempt", Double),
    Column("claimed_by", String),
    Column("claim_epoch", BigInteger),
    Column("claimed_at", Double),
    Column("delivered_at", Double),
    Column("error", Word, nullable=False),
    Column("credential", Word),
    Column("document", Text, nullable=False),
    Index("outbox_state", "state", "channel"),
    Index("outbox_order", "incident", "channel", "route", "seq"),
    Index("outbox_key", "key"),
)

rule_set = Table(
    "rule_set",
    metadata,
    Column("digest", String, primary_key=True),
    Column("at", Double, nullable=False),
    Column("files", Text, nullable=False),
)

mute = Table(
    "mute",
    metadata,
    Column("id", Word, primary_key=True),
    Column("kind", String, nullable=False),
    Column("matchers", Text, nullable=False),
    Column("starts", Double, nullable=False),
    Column("ends", Double, nullable=False),  # as asked for; who ended it early, and when, stands beside it
    Column("author", Word, nullable=False),
    Column("reason", Word, nullable=False),
    Column("created", Double, nullable=False),
    Column("expired_at", Double),
    Column("expired_by", Word),
    Index("mute_ends", "ends"),
)

deploy = Table(
    "deploy",
    metadata,
    Column("id", String, primary_key=True),
    Column("service", Word, nullable=False),
    Column("version", Word, nullable=False),
    Column("at", Double, nullable=False),
    Column("author", Word, nullable=False),
    Column("url", Word, nullable=False),
    Index("deploy_service", "service", "at"),
)

postmortem = Table(
    "postmortem",
    metadata,
    Column("incident", Word, primary_key=True),
    Column("due", Double, nullable=False),
    Column("finished_at", Double),
    Column("finished_by", Word),
    Column("reminded_at", Double),
    Index("postmortem_due", "due"),
)

lease = Table(
    "lease",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("holder", String, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires", Double, nullable=False),  # unix seconds by the database's clock
)

book = Table(
    "book",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row; its lock is the book lock
    Column("revision", BigInteger, nullable=False, server_default=text("0")),  # how others see that something was committed
)

replica = Table(
    "replica",
    metadata,
    Column("holder", String, primary_key=True),
    Column("expires", Double, nullable=False),  # as in `lease`
    Column("blind", Integer, nullable=False, server_default=text("0")),
)

doubt = Table(  # openings that were claimed and never recorded by whoever claimed them
    "doubt",
    metadata,
    Column("notice", String, primary_key=True),
    Column("incident", Word, nullable=False),
    Column("channel", Word, nullable=False),
    Column("route", Word, nullable=False),
    Column("key", Word, nullable=False),
)

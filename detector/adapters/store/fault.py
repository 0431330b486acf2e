"""What the database's errors mean to those who ask: try again, give up, or the file is broken.

Messages are the driver's own first line: never the statement's parameters, which hold credentials.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from detector.ports.error import OutsideError, PermanentError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}
_SERVER_AWAY = "25006"  # read-only transaction: a standby that will be promoted, or the other end of a failover


class CorruptError(TemporaryError):
    """The SQLite file is not a database any more. It is moved aside before the next operation."""


@contextmanager
def translate(what: str) -> Iterator[None]:
    """Turn errors of the driver into Temporary and Permanent ones that say `what` failed; others pass unchanged."""
    try:
        yield
    except PoolTimeoutError as error:
        raise TemporaryError(f"{what}: no database connection came free in time") from error
    except DBAPIError as error:
        raise _judge(what, error.orig or error, invalidated=error.connection_invalidated) from error
    except SQLAlchemyError as error:
        raise PermanentError(f"{what}: {_first_line(error)}") from error
    except (sqlite3.Error, OSError) as error:
        raise _judge(what, error, invalidated=False) from error


def _judge(what: str, error: BaseException, *, invalidated: bool) -> OutsideError:
    message = f"{what}: {_first_line(error)}"
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        primary = code & 0xFF
        if primary in _CORRUPT:
            return CorruptError(message)
        return TemporaryError(message) if primary in _PASSING else PermanentError(message)
    passing = invalidated or isinstance(error, OSError) or getattr(error, "sqlstate", None) == _SERVER_AWAY
    if passing or _is_operational(error):
        return TemporaryError(message)
    return PermanentError(message)


def _is_operational(error: BaseException) -> bool:
    """Whether the DB-API calls it operational: psycopg is imported only where it is used, so its classes are told by name."""
    return any(kind.__name__ in {"OperationalError", "InterfaceError"} for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

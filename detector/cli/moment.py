"""A moment as people write it on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

_LATEST = 1e11  # the year 5138; also refuses NaN, and milliseconds


def read_moment(text: str) -> float:
    """Unix seconds of unix seconds or ISO 8601 (UTC where it names no zone); typer.BadParameter for anything else."""
    try:
        moment = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(f"--at is {text}; write unix seconds or a time such as 2026-11-23T08:00:00Z") from None
        moment = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment < _LATEST:
        raise typer.BadParameter(f"--at is {text}, no moment in unix seconds")
    return moment

"""Exit codes and the one line that goes with a failure."""

from __future__ import annotations

import sys

DONE = 0
FAILURE = 1
USAGE = 2
OVER_LIMIT = 3


def fail(message: str, code: int = FAILURE) -> int:
    """Say what is wrong on standard error, in one line; gives back the exit code.

    A message may quote what came from outside: nothing in it steers the terminal.
    """
    inert = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in message)
    print(f"detector: {inert}", file=sys.stderr)
    return code

"""This process, replaced by a fresh one: for a replica that must forget everything it meant to send or write."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

EXIT = 75  # EX_TEMPFAIL of sysexits.h: whoever started us should do it again


def start_anew() -> NoReturn:
    """Execute the same command line in place of this process, at once: nothing is closed, finished or written.

    The process id stays, so that a service manager or a container goes on. Ends with EXIT where that is not possible.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line, no shell
    except OSError as fault:
        sys.stderr.write(f"detector: cannot start anew ({fault}); start it again\n")
        sys.stderr.flush()
        os._exit(EXIT)

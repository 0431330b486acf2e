"""Logs: structlog on standard error, as text for people or JSON for machines, without secrets.

`stream` sets it up, `redaction` takes secrets out of what was rendered, `observer` tells what the daemon does.
"""

from detector.adapters.log.observer import LogObserver
from detector.adapters.log.redaction import Redactor
from detector.adapters.log.stream import set_up_log

__all__ = ["LogObserver", "Redactor", "set_up_log"]

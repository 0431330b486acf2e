"""Sets structlog up and routes the libraries' standard logging through it.

A line under the level costs one call that does nothing. A log that cannot be written (disk full, closed pipe) stops nobody.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol

from detector.adapters.log.redaction import REDACTED, SECRET_KEY, Redactor

# structlog imports rich for its coloured tracebacks where it finds it: 150 ms and 4 MiB that a daemon has no use for
_ABSENT = "rich" not in sys.modules and "structlog" not in sys.modules
if _ABSENT:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how the import system spells "cannot be imported"
try:
    import structlog
finally:
    if _ABSENT:
        del sys.modules["rich"]

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor, WrappedLogger

get_logger = structlog.get_logger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# what these tell below the level here is told better by our own lines, or can be provoked from outside
_LIBRARIES = {"uvicorn": logging.ERROR, "aiohttp": logging.WARNING, "watchfiles": logging.WARNING, "alembic": logging.WARNING}


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take a text."""

    def flush(self) -> object:
        """Pass on what was taken."""


def set_up_log(form: str, level: str, secrets: Iterable[str] = (), *, stream: Stream | None = None) -> Redactor:
    """Make `structlog.get_logger()` and standard logging write `form` (console or json) lines from `level` on.

    Returns the redactor, so that secrets learned later (a routing key of a former setting) can be added.
    """
    target = sys.stderr if stream is None else stream
    redactor = Redactor(secrets)
    shared: list[Processor] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), _hide_keys]
    finish: list[Processor] = [*_choose_renderer(form, target), _Redaction(redactor)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Writer(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_Line(_Writer(target)))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(least, _LEVELS[level]))
    logging.captureWarnings(capture=True)
    return redactor


def _choose_renderer(form: str, target: Stream) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_write_json)]
    colours = bool(getattr(target, "isatty", lambda: False)())
    plain = structlog.dev.plain_traceback
    return [
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain, pad_event_to=0, pad_level=False, sort_keys=False)
    ]


def _write_json(value: object, **settings: Any) -> str:  # noqa: ANN401 - what structlog hands over
    return json.dumps(value, ensure_ascii=False, **settings)


def _hide_keys(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key in event:
        if SECRET_KEY.search(key):
            event[key] = REDACTED
    return event


class _Redaction:
    """The last processor: works on the finished line, so that nothing (a traceback, a nested value) passes it by."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: WrappedLogger, __: str, line: Any) -> str:  # noqa: ANN401 - the processors before it gave a str
        return self._redactor.redact(str(line))


class _Writer:
    """What structlog calls with the finished line."""

    def __init__(self, target: Stream) -> None:
        self._target = target

    def msg(self, line: str) -> None:
        """Write one line; a stream that fails loses it."""
        try:
            # one write a line: lines of several threads do not mix
            self._target.write(line + "\n")
            self._target.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = warn = error = critical = exception = fatal = log = failure = msg


class _Line:
    """A stream for logging.StreamHandler, which writes the text and its newline in one call."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def write(self, text: str) -> int:
        self._writer.msg(text.removesuffix("\n"))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

"""What a diagnosis looks at beside Prometheus: status pages, probes, sockets, the environment, logs. One bounded look a call.

Statuspage: the summary or status document of Atlassian Statuspage (`status.indicator`: none, minor, major, critical).
Loki: HTTP API, `GET /loki/api/v1/query_range`, newest lines first.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from detector.ports.diagnosis import Condition
from detector.ports.error import PermanentError, TemporaryError
from detector.transport.exchange import Request
from detector.transport.fault import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.domain.inquiry import Logs
    from detector.transport.exchange import Exchange, Reply

DEADLINE_SECONDS = 8.0
LOG_SECONDS = 900.0
TAIL_BYTES = 1 << 20
_MAX_BYTES = 2 << 20
_DETAIL_CHARACTERS = 200


class _Status(msgspec.Struct):
    indicator: str
    description: str = ""


class _Incident(msgspec.Struct):
    name: str = ""


class _Summary(msgspec.Struct):
    status: _Status
    incidents: list[_Incident] = msgspec.field(default_factory=list)


class _Stream(msgspec.Struct):
    values: list[list[str]] = msgspec.field(default_factory=list)


class _Streams(msgspec.Struct):
    result: list[_Stream] = msgspec.field(default_factory=list)


class _LokiAnswer(msgspec.Struct):
    data: _Streams


class OutsideWorld:
    """Fulfils `ports.diagnosis.Surroundings`; `exchange` carries no credentials."""

    def __init__(self, exchange: Exchange, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._exchange = exchange
        self._deadline_seconds = deadline_seconds

    async def read_statuspage(self, url: str) -> Condition:
        """What a Statuspage summary says; a page that cannot be read is no verdict."""
        reply = await self._get(url)
        if reply.status != HTTPStatus.OK:
            raise TemporaryError(f"the status page answered {reply.status}")
        try:
            summary = msgspec.json.decode(reply.body, type=_Summary)
        except msgspec.DecodeError as error:
            raise PermanentError("what it answers is no Statuspage summary; the URL ends in /api/v2/summary.json") from error
        names = [incident.name for incident in summary.incidents if incident.name]
        message = summary.status.description or summary.status.indicator
        if names:
            message += f" ({'; '.join(names)[:_DETAIL_CHARACTERS]})"
        return Condition(summary.status.indicator == "none", message)

    async def probe(self, url: str) -> Condition:
        """A plain GET; what cannot be reached from here is a finding."""
        try:
            reply = await self._get(url)
        except TemporaryError as fault:
            return Condition(good=False, message=str(fault))
        good = reply.status < HTTPStatus.BAD_REQUEST
        return Condition(good, f"answered {reply.status} in {reply.elapsed_seconds * 1000:.0f} ms")

    async def connect(self, address: str) -> Condition:
        """A TCP connection to host:port, closed at once."""
        host, _, port = address.rpartition(":")
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except TimeoutError:
            return Condition(good=False, message=f"no connection within {self._deadline_seconds:g} s")
        except OSError as error:
            return Condition(good=False, message=f"no connection: {error.strerror or type(error).__name__}")
        seconds = asyncio.get_running_loop().time() - started
        writer.close()
        return Condition(good=True, message=f"connected in {seconds * 1000:.0f} ms")

    async def read_environment(self, file: str) -> Mapping[str, str]:
        """The environment of this process, or of a file of NAME=value lines."""
        if not file:
            return os.environ
        try:
            text = await asyncio.to_thread(_read_end, Path(file))
        except OSError as error:
            raise PermanentError(f"{file} cannot be read: {error.strerror}") from error
        pairs = (line.removeprefix("export ").partition("=") for line in map(str.strip, text.splitlines()) if line[:1] != "#")
        return {name.strip(): value.strip().strip("\"'") for name, sign, value in pairs if sign}

    async def read_errors(self, logs: Logs, at: float, limit: int) -> Sequence[str]:
        """The newest error lines before `at`, oldest first. A file knows no times: its newest lines are those of now."""
        if logs.loki:
            return await self._ask_loki(logs, at, limit)
        return await asyncio.to_thread(read_tail, Path(logs.file), logs.pattern, limit)

    async def _ask_loki(self, logs: Logs, at: float, limit: int) -> Sequence[str]:
        nanoseconds = 1_000_000_000
        span = {"start": int((at - LOG_SECONDS) * nanoseconds), "end": int(at * nanoseconds)}
        wanted = urlencode({"query": logs.query, **span, "limit": limit, "direction": "backward"})
        reply = await self._get(f"{logs.loki.rstrip('/')}/loki/api/v1/query_range?{wanted}")
        if reply.status != HTTPStatus.OK:
            detail = reply.body[:_DETAIL_CHARACTERS].decode("utf-8", "replace")
            raise TemporaryError(f"Loki answered {reply.status}: {' '.join(detail.split())}")
        try:
            answer = msgspec.json.decode(reply.body, type=_LokiAnswer)
        except msgspec.DecodeError as error:
            raise PermanentError("what answers is not Loki; check `loki:` of recent_errors") from error
        stamped = sorted((int(pair[0]), pair[1]) for stream in answer.data.result for pair in stream.values if len(pair) > 1)
        return [line for _, line in stamped[-limit:]]

    async def _get(self, url: str) -> Reply:
        try:
            return await self._exchange.send(
                Request(method="GET", url=url, deadline_seconds=self._deadline_seconds, max_bytes=_MAX_BYTES, repeatable=True)
            )
        except ExchangeError as error:
            raise TemporaryError(error.detail or error.fault.value) from error


def read_tail(path: Path, pattern: str, limit: int) -> list[str]:
    """The last `limit` lines that match, of the last MiB of a file. Raises PermanentError."""
    try:
        text = _read_end(path)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error
    wanted = re.compile(pattern)
    return [line for line in text.splitlines() if wanted.search(line)][-limit:]


def _read_end(path: Path) -> str:
    """The last MiB. A pipe without a writer would hold its thread, and with it the end of the process, for ever."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PermanentError(f"{path} cannot be read: it is no regular file")
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        return file.read(TAIL_BYTES).decode("utf-8", "replace")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)

"""Asks the running daemon: JSON over HTTP, with one clear line where it cannot be reached or says no."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from detector.cli.setting import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.adapters.settings import Settings

TIMEOUT_SECONDS = 15.0
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')


class DaemonError(Exception):
    """The daemon cannot be reached or refused; the message is one line that says what to do."""


class Client:
    """The daemon of DETECTOR_URL, else of DETECTOR_LISTEN."""

    def __init__(self, settings: Settings | None = None, *, patience_seconds: float = TIMEOUT_SECONDS) -> None:
        settings = settings or read_settings()
        self._url = settings.daemon_url
        self._patience_seconds = patience_seconds
        self._read_token = settings.read_token or settings.write_token
        self._write_token = settings.write_token
        # no proxy of the environment: the daemon is usually on this machine
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """What is at `path`; raises DaemonError."""
        return self._ask("GET", path)[0]

    def post(self, path: str, content: object) -> Any:  # noqa: ANN401 - JSON
        """Send JSON to `path`; raises DaemonError."""
        return self._ask("POST", path, content)[0]

    def list(self, path: str, limit: int, **wanted: object) -> Iterator[Any]:
        """Items of a list, over as many pages as `limit` needs."""
        chosen = {name: value for name, value in wanted.items() if value}
        following: str | None = f"{path}?{urlencode({**chosen, 'limit': min(limit, 1000)}, doseq=True)}"
        while following is not None and limit > 0:
            page, following = self._ask("GET", following)
            yield from page[:limit]
            limit -= len(page)

    def _ask(self, method: str, path: str, content: object = None) -> tuple[Any, str | None]:
        token = self._read_token if method == "GET" else self._write_token
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token.get_secret_value()}"} if token else {})
        body = None
        if method == "POST":
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310 - settings allow http(s) only
        try:
            with self._opener.open(request, timeout=self._patience_seconds) as answer:
                found = _NEXT.search(answer.headers.get("Link", ""))
                return json.loads(answer.read()), found[1] if found else None
        except urllib.error.HTTPError as error:
            raise DaemonError(_describe_refusal(error, self._url)) from None
        except (OSError, http.client.HTTPException) as error:
            raise DaemonError(self._describe_silence(error)) from None
        except ValueError:
            raise DaemonError(f"what answers at {self._url} is not detector; set DETECTOR_URL to the daemon's address") from None

    def _describe_silence(self, error: OSError | http.client.HTTPException) -> str:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return f"cannot reach the daemon at {self._url}: {words}; start it with `detector run`, or set DETECTOR_URL"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nowhere: a token goes with the request."""


def _describe_refusal(error: urllib.error.HTTPError, url: str) -> str:
    try:
        detail = json.loads(error.read()).get("detail")
    except (ValueError, AttributeError, OSError):
        detail = None
    hint = "; set DETECTOR_WRITE_TOKEN or DETECTOR_READ_TOKEN here too" if error.code == http.HTTPStatus.UNAUTHORIZED else ""
    return f"{detail}{hint}" if detail else f"the daemon at {url} answered {error.code} {error.reason}"

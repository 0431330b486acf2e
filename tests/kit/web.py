"""Plain GET and POST to a server on 127.0.0.1, blocking: for readiness and for looking at a server's own view."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

ANSWER_SECONDS = 30.0


def is_answering(port: int, path: str) -> bool:
    """Whether GET `path` answers 200 within a second."""
    try:
        return request(port, "GET", path, seconds=1.0)[0] == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float = ANSWER_SECONDS,
    token: str = "",
) -> tuple[int, bytes]:
    """One exchange; the status and the whole body. `token` goes into a header of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get_json(port: int, path: str, **parameters: str) -> Any:
    """GET that must answer 200 with JSON."""
    status, body = request(port, "GET", f"{path}?{urlencode(parameters)}" if parameters else path)
    assert status == http.client.OK, f"GET {path}: {status} {body[:200]!r}"
    return json.loads(body)


def send_json(
    port: int, method: str, path: str, content: object, *, seconds: float = ANSWER_SECONDS, token: str = ""
) -> tuple[int, Any]:
    """One exchange of JSON; the status and what was answered."""
    body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
    status, answer = request(port, method, path, body, headers, seconds=seconds, token=token)
    return status, json.loads(answer)


def request_json(port: int, method: str, path: str, content: object, *, seconds: float = ANSWER_SECONDS, token: str = "") -> Any:
    """As `send_json`, that must be answered 2xx."""
    status, answer = send_json(port, method, path, content, seconds=seconds, token=token)
    assert status // 100 == 2, f"{method} {path}: {status} {str(answer)[:200]}"
    return answer

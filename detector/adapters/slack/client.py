"""Slack's own client, speaking through our bounded exchange.

Before it: `channel` calls a method of the Web API. After it: the network. slack-sdk builds the call and checks the answer; how the
bytes travel is ours: one deadline, a byte cap, no redirects, no proxy from the environment (which slack-sdk would take, token and
all), none of its retries, none of its debug lines. `_request` is the one place where slack-sdk 3 does I/O.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from detector.adapters.slack.fault import read_refusal, translate_exchange
from detector.transport.exchange import Exchange, Request
from detector.transport.fault import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from slack_sdk.web.async_slack_response import AsyncSlackResponse

_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class SlackClient(AsyncWebClient):
    """The Web API over an `Exchange`."""

    def __init__(self, exchange: Exchange, token: str, api_url: str, deadline_seconds: float) -> None:
        super().__init__(token=token, base_url=api_url, retry_handlers=[])
        self.proxy = None
        self._exchange = exchange
        self._deadline_seconds = deadline_seconds

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        """Send one call; raises ExchangeError. The shape of what it takes and gives is slack-sdk's."""
        url = URL(api_url).update_query({name: str(value) for name, value in (req_args.get("params") or {}).items()})
        arguments = req_args.get("json")
        reply = await self._exchange.send(
            Request(
                method=http_verb,
                url=str(url),
                deadline_seconds=self._deadline_seconds,
                headers=req_args["headers"],
                body=b"" if arguments is None else json.dumps(arguments, allow_nan=False).encode(),
                max_bytes=_MAX_ANSWER_BYTES,
                repeatable=not api_url.endswith("chat.postMessage"),
            )
        )
        return {"data": _read_object(reply.body), "headers": reply.headers, "status_code": reply.status}


async def ask(method: str, call: Awaitable[AsyncSlackResponse], now: float) -> Mapping[str, Any]:
    """Await a call and give the answer's fields; raises Refused for Slack's own "no", else OutsideError."""
    try:
        response = await call
    except SlackApiError as error:
        # `from None`: the error quotes the whole answer.
        answer = error.response
        raise read_refusal(method, answer.status_code, answer.headers, answer.data, now) from None
    except ExchangeError as error:
        raise translate_exchange(error, method) from None
    data = response.data
    return data if isinstance(data, dict) else {}


def _read_object(body: bytes) -> dict[str, Any]:
    """The JSON object, empty where it is none: slack-sdk takes only a dict for an answer."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

"""The vendor's REST client without its waiting: no retries, no sleeping on 429, no proxies from the environment, any base URL.

Out of the box (pagerduty 7.2) it sleeps without bound on 429, repeats network faults with growing pauses, and refuses http URLs,
which a stand-in on this machine needs. When and whether to ask again is the application's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pagerduty

if TYPE_CHECKING:
    from httpx2 import Response

READ_SECONDS = 5
TOO_MANY_REQUESTS = 429


class ThrottledAnswer(Exception):  # noqa: N818 - an answer, not a fault
    """429; `retry_after` is the header as it came."""

    def __init__(self, retry_after: str | None) -> None:
        super().__init__("429")
        self.retry_after = retry_after


class RestClient(pagerduty.RestApiV2Client):
    """One request a call; a network fault or a 429 comes out at once."""

    timeout = READ_SECONDS  # type: ignore[assignment]  # as the vendor's own class overrides httpx's

    def __init__(self, token: str, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        super().__init__(token, trust_env=False)
        self.retry = {}
        self.max_network_attempts = 0

    @property
    def url(self) -> str:
        """The base URL of the settings, http too."""
        return self._base

    @url.setter
    def url(self, new_base_url: str) -> None:
        """Keep ours: the constructor of the vendor's class sets its default."""

    def postprocess(self, response: Response, suffix: str | None = None) -> None:
        """Raise before the vendor's loop would sleep."""
        del suffix
        if response.status_code == TOO_MANY_REQUESTS:
            raise ThrottledAnswer(response.headers.get("retry-after"))

    def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:  # noqa: ANN401 - parameters of httpx, JSON
        """Status and JSON (None where there is none) of one request."""
        response = self.request(method, path, **options)
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, None

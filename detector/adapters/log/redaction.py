"""Takes secrets out of text: every known value, in each spelling a log line may give it."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "[redacted]"
SHORTEST = 4  # a shorter "secret" would blot out words of every line
SECRET_KEY = re.compile(r"password|passwd|secret|token|authorization|routing_key|credential|api_key", re.IGNORECASE)


class Redactor:
    """Knows the secrets; `redact` is cheap and may be called from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these too; those under four characters are left alone."""
        self._known |= {spelling for secret in secrets if len(secret) >= SHORTEST for spelling in _spell(secret)}
        if self._known:
            # longest first: a secret that begins with another one goes as a whole
            self._pattern = re.compile("|".join(re.escape(text) for text in sorted(self._known, key=len, reverse=True)))

    def redact(self, text: str) -> str:
        """Return the text with every known secret replaced."""
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def _spell(secret: str) -> set[str]:
    """As it is, inside a JSON string, inside a Python string, inside a URL, and as base64."""
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    quoted = quote(secret, safe="", errors="surrogatepass")
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quoted, encoded}

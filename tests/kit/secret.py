"""The one assertion about secrets: no text that leaves the process holds one, in any spelling."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote


def assert_no_secret(secrets: Iterable[str], *texts: str | bytes) -> None:
    """AssertionError naming the spelling, not the secret, where a text holds one."""
    known = tuple(secrets)
    assert known, "no secrets were named: this could not fail"
    for number, secret in enumerate(known):
        spellings = {
            "plain": secret,
            "JSON": json.dumps(secret)[1:-1],
            "Python": repr(secret)[1:-1],
            "URL": quote(secret, safe=""),
            "base64": base64.b64encode(secret.encode()).decode(),
        }
        for text in texts:
            held = text.decode(errors="replace") if isinstance(text, bytes) else text
            for form, spelling in spellings.items():
                assert spelling not in held, f"secret number {number} leaked ({form}) in a text of {len(held)} characters"

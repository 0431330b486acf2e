"""HMAC-SHA256 signatures of message bodies, in the form of PagerDuty's webhooks: `v1=<hex>,v1=<hex>`.

Used for what comes in (verify, before anything is parsed) and what goes out (sign, as the last step before `exchange`).
Source of the form: PagerDuty developer docs, "Verifying signatures" (X-PagerDuty-Signature): any one match passes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = "v1="


def sign_body(secret: bytes, body: bytes) -> str:
    """Return `v1=<64 hex digits>` over the raw body. An empty secret is a ValueError: it would sign for everyone."""
    if not secret:
        raise ValueError("signature: the secret is empty; set a secret, or switch signing off")
    return _SCHEME + hmac.new(secret, body, hashlib.sha256).hexdigest()


def sign_body_with_all(secrets: Iterable[bytes], body: bytes) -> str:
    """Signatures of all secrets, comma-separated: what a sender writes while a secret is being rotated."""
    return ",".join(sign_body(secret, body) for secret in secrets)


def verify_body(secrets: Iterable[bytes], body: bytes, header: str) -> bool:
    """True where any signature in `header` is that of any secret. Every pair is compared, each in constant time."""
    given = [part.strip().encode("utf-8", "surrogatepass") for part in header.split(",")]
    expected = [sign_body(secret, body).encode("ascii") for secret in secrets]
    matches = 0
    for signature in given:
        for candidate in expected:
            matches += hmac.compare_digest(signature, candidate)
    return matches > 0

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.transport.signature import sign_body, sign_body_with_all, verify_body

BODY = b'{"event":{"id":"1"}}'
NEW, OLD = b"new secret", b"old secret"


def test_form_is_that_of_the_vendor() -> None:
    """The signature is `v1=` and the hex HMAC-SHA256 over the raw body."""
    assert sign_body(NEW, BODY) == "v1=" + hmac.new(NEW, BODY, hashlib.sha256).hexdigest()


def test_any_signature_of_any_secret_passes() -> None:
    """During a rotation both sides may hold two secrets: one match in common is enough, in any order, spaces or not."""
    assert verify_body([NEW], BODY, sign_body_with_all([OLD, NEW], BODY))
    assert verify_body([NEW, OLD], BODY, sign_body(OLD, BODY))
    assert verify_body([NEW], BODY, f" v1=00 , {sign_body(NEW, BODY)} ")


@pytest.mark.parametrize(
    "header",
    ["", "v1=", ",", "v1=00,v1=11", "v1=é\udce9", sign_body(OLD, BODY), sign_body(NEW, BODY + b" "), sign_body(NEW, BODY)[3:]],
)
def test_everything_else_is_refused(header: str) -> None:
    """Empty, cut, foreign, another body's and non-ASCII headers are false, never an exception."""
    assert not verify_body([NEW], BODY, header)


def test_no_secret_lets_nobody_in() -> None:
    """Without a secret nothing verifies; an empty one is refused, because anybody can sign with it."""
    assert not verify_body([], BODY, sign_body(NEW, BODY))
    with pytest.raises(ValueError, match="secret is empty"):
        verify_body([b""], BODY, sign_body(NEW, BODY))


@given(secret=st.binary(min_size=1), body=st.binary(), flip=st.integers(0))
def test_every_changed_body_is_refused(secret: bytes, body: bytes, flip: int) -> None:
    """A signature verifies its own body and no body with one bit changed."""
    header = sign_body(secret, body)
    assert verify_body([secret], body, header)
    if body:
        changed = bytearray(body)
        changed[flip % len(body)] ^= 1
        assert not verify_body([secret], bytes(changed), header)

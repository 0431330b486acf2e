"""A remote-write request (protobuf in Snappy's block format), for staleness markers, which OpenMetrics text cannot say.

Formats: prompb/remote.proto and types.proto of Prometheus; google/snappy format_description.txt (literals only).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.domain.label import Labels

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
# the one NaN that means "this series has ended" (Prometheus, model/value)
_STALE = struct.pack("<Q", 0x7FF0000000000002)
_LITERAL_BYTES = 60
_VARINT = 0x80
_LENGTH, _DOUBLE, _NUMBER = 2, 1, 0


def write_stale(marks: Iterable[tuple[str, Labels, float]]) -> bytes:
    """Body of a request that ends each series (metric, labels) at its time in unix seconds."""
    message = bytearray()
    for name, labels, at in marks:
        pairs = sorted([("__name__", name), *labels])
        series = b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in pairs)
        sample = bytes([1 << 3 | _DOUBLE]) + _STALE + bytes([2 << 3 | _NUMBER]) + _varint(round(at * 1000))
        message += _field(1, series + _field(2, sample))
    return _compress(bytes(message))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= _VARINT:
        found.append(number & (_VARINT - 1) | _VARINT)
        number >>= 7
    found.append(number)
    return bytes(found)


def _compress(content: bytes) -> bytes:
    pieces = [content[start : start + _LITERAL_BYTES] for start in range(0, len(content), _LITERAL_BYTES)]
    return _varint(len(content)) + b"".join(bytes([(len(piece) - 1) << 2]) + piece for piece in pieces)

"""Values of the domain to JSON text and back, for the columns named `document`.

Fields that a newer version wrote are passed over and fields that an older one did not know get their defaults, so that two versions
can work on one database while an upgrade rolls. `UnreadableError` means that a document is not what its table says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from detector.adapters.store.schema import clean_text
from detector.domain.alert import AlertState, RuleProgress
from detector.domain.incident import Incident, Notice
from detector.domain.mute import Matcher

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

UnreadableError = msgspec.MsgspecError

_encoder = msgspec.json.Encoder()
_alert = msgspec.json.Decoder(AlertState)
_progress = msgspec.json.Decoder(RuleProgress)
_incident = msgspec.json.Decoder(Incident)
_notice = msgspec.json.Decoder(Notice)
_matchers = msgspec.json.Decoder(tuple[Matcher, ...])
_files = msgspec.json.Decoder(dict[str, str])


def encode(value: AlertState | RuleProgress | Incident | Notice | Mapping[str, str] | tuple[Matcher, ...]) -> str:
    """JSON text of a value; enums by value, label sets as lists of pairs."""
    try:
        return _encoder.encode(value).decode()
    except UnicodeEncodeError:  # a lone surrogate: not text, and no reason to lose a page
        return _encoder.encode(_clean(msgspec.to_builtins(value))).decode()


def decode_alert(text: str) -> AlertState:
    """State of one alert."""
    return _alert.decode(text)


def decode_progress(text: str) -> RuleProgress:
    """Progress of one rule."""
    return _progress.decode(text)


def decode_incident(text: str) -> Incident:
    """One incident."""
    return _incident.decode(text)


def decode_notice(text: str) -> Notice:
    """One notice."""
    return _notice.decode(text)


def decode_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a mute."""
    return _matchers.decode(text)


def decode_files(text: str) -> dict[str, str]:
    """Text of rule files by relative path."""
    return _files.decode(text)


def _clean(value: object) -> object:
    match value:
        case str():
            return clean_text(value)
        case dict():
            return {clean_text(str(key)): _clean(item) for key, item in value.items()}
        case list() | tuple():
            return [_clean(item) for item in value]
        case _:
            return value

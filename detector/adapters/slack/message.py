"""Slack messages within Slack's limits: the one message of an incident, a reply in its thread, and the least form of both. Pure.

Before it: `wording`. After it: `channel` posts or edits. Limits: 50 blocks, 3,000 characters a section, 10 fields of 2,000, 150 a
header, 10 elements a context ("Blocks", Slack's developer documentation). A sum above about 13,000 is refused too
(slackapi/bolt-js#2509, undocumented): the parts below stay under 10,000 together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.adapters.slack.mrkdwn import cut_text, make_link
from detector.domain.quantity import MISSING, format_time

if TYPE_CHECKING:
    from detector.adapters.slack.wording import Wording
    from detector.ports.store import Delivery

HEADER_CHARACTERS = 150
SECTION_CHARACTERS = 3_000
_FIELD_CHARACTERS = 300
_LIST_CHARACTERS = 1_000
_TEXT_CHARACTERS = 3_000
_LEAST_CHARACTERS = 500
_LISTED = 10
_LINKS = 9  # one element of the ten is the incident's id
EVENT_TYPE = "detector_notice"

Block: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is the fallback for notifications; without blocks it is the message."""

    text: str
    blocks: tuple[Block, ...] = ()

    @property
    def least(self) -> Message:
        """What is sent once after a refusal of the whole: one short text."""
        return Message(cut_text(self.text, _LEAST_CHARACTERS))


def build_message(wording: Wording) -> Message:
    """The message of the incident as it stands now."""
    values = wording.values
    title = cut_text(_line(f"{wording.mark} [{values['severity'].upper()}] {_name(values)}"), HEADER_CHARACTERS)
    headline = cut_text(wording.headline, SECTION_CHARACTERS)
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}, _section(headline)]
    fields = [_mrkdwn(f"*{name}*\n{cut_text(text, _FIELD_CHARACTERS)}") for name, text in _list_fields(values) if text]
    blocks += [{"type": "section", "fields": fields[:_LISTED]}] if fields else []
    if values["message"] and not values["over"]:
        blocks.append(_section(f"*Latest*\n{cut_text(str(values['message']), _LIST_CHARACTERS)}"))
    if not values["over"]:
        blocks += _list_mitigations(values)
    if notes := "\n".join(f"\u2022 {_line(str(note))}" for note in _list(values["notes"])[:_LISTED]):
        blocks.append(_section(cut_text(notes, _LIST_CHARACTERS)))
    blocks.append({"type": "context", "elements": [_mrkdwn(text) for text in _list_links(values)]})
    return Message(cut_text(f"{title}\n{headline}", _TEXT_CHARACTERS), tuple(blocks))


def build_reply(wording: Wording) -> Message:
    """One entry of the incident's thread."""
    text = cut_text(wording.reply or wording.headline or str(wording.values["kind"]), SECTION_CHARACTERS)
    return Message(cut_text(text, _TEXT_CHARACTERS), (_section(text),))


def tag_message(delivery: Delivery, part: str) -> dict[str, Any]:
    """The metadata by which a message is found again: part is "message" or "reply"."""
    payload = {"incident": delivery.key, "notice": delivery.id, "part": part}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def read_tag(message: object) -> Mapping[str, Any]:
    """The payload of a message of ours, empty for any other."""
    metadata = message.get("metadata") if isinstance(message, Mapping) else None
    if not isinstance(metadata, Mapping) or metadata.get("event_type") != EVENT_TYPE:
        return {}
    payload = metadata.get("event_payload")
    return payload if isinstance(payload, Mapping) else {}


def _name(values: Mapping[str, Any]) -> str:
    service, title = _line(str(values["service"])), _line(str(values["title"]))
    for prefix in (f"{service}: ", f"{service} "):
        title = title.removeprefix(prefix)
    return f"{service}: {title}" if title else service


def _list_fields(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    severity, peak = str(values["severity"]), str(values["peak_severity"])
    services = _list(values["services"])
    return [
        ("State", str(values["state"])),
        ("Severity", f"{severity} (peak {peak})" if peak and peak != severity else severity),
        ("Value", str(values["breach"]) if not values["over"] else ""),
        ("At recovery", str(values["recovery"]) if values["over"] else ""),
        ("Started", _moment(values["opened"])),
        ("Acknowledged", _moment(values["acknowledged"])),
        ("Resolved", str(values["resolved_at"]) if values["over"] else ""),
        ("Affected services", _line(", ".join(map(str, services[:_LISTED]))) if len(services) > 1 else ""),
        ("Owner", _line(str(values["owner"]))),
    ]


def _list_mitigations(values: Mapping[str, Any]) -> list[Block]:
    ways = [way for way in _list(values["mitigations"])[:_LISTED] if isinstance(way, Mapping)]
    lines = [f"\u2022 {_line(str(way.get('name', '')))}: {_line(str(way.get('summary', '')))}" for way in ways]
    return [_section(cut_text("*Stop the bleeding*\n" + "\n".join(lines), _LIST_CHARACTERS))] if lines else []


def _list_links(values: Mapping[str, Any]) -> list[str]:
    """Links of the incident, each address once; the values are escaped, so the entities are undone for `make_link`."""
    named = {"incident": values.get("incident_url"), "runbook": values["runbook"], "dashboard": values["dashboard"]}
    written = values.get("links")
    named |= {name: url for name, url in written.items() if not named.get(name)} if isinstance(written, Mapping) else {}
    links: dict[str, str] = {}
    for name, url in named.items():
        if isinstance(url, str) and (link := make_link(_unescape(url), _unescape(str(name)[:100]))):
            links.setdefault(url, link)
    return [
        cut_text(f"detector {values['incident']}", _FIELD_CHARACTERS),
        *[link for link in links.values() if len(link) <= _FIELD_CHARACTERS][:_LINKS],
    ]


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text or "-")}


def _mrkdwn(text: str) -> Block:
    # verbatim: Slack is not to look for channel names and mentions in what is plain text
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _line(text: str) -> str:
    return " ".join(text.split())


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _moment(at: object) -> str:
    text = format_time(at)
    return "" if text == MISSING else text

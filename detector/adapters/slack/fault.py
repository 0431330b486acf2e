"""What Slack's refusals mean: a closed reading of `{"ok": false, "error": ...}`, of statuses and of broken exchanges.

Before it: `client` got an answer or none. After it: `channel` knows whether to wait, to ask for other settings, to say less, or
that the message is gone. Source of the codes: the error tables of chat.postMessage, chat.update, conversations.history and
conversations.replies in Slack's developer documentation. A code we do not know is a settings fault: told at once, retried slowly.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, assert_never

from detector.ports.error import OutsideError, SettingsError, TemporaryError
from detector.transport.fault import ExchangeError, Fault
from detector.transport.retry import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

GONE = frozenset({"message_not_found", "thread_not_found", "cannot_reply_to_message"})
UNREACHABLE = frozenset({"channel_not_found", "not_in_channel", "is_archived", "restricted_action_read_only_channel"})
UNEDITABLE = frozenset({"edit_window_closed", "cant_update_message", "is_inactive"})
TOO_MUCH = frozenset(
    {"msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text", "block_mismatch"}
    | {"metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema", "invalid_arguments", "invalid_json"}
)
_PASSING = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"}
)
_LIMITED = frozenset({"ratelimited", "rate_limited", "rate_limit_exceeded"})
_NEW_TOKEN = "the token is not valid (any more); install the app again and set DETECTOR_SLACK__TOKEN"  # noqa: S105 - advice
_ADVICE = {
    **dict.fromkeys(("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"), _NEW_TOKEN),
    "not_allowed_token_type": "set a bot token (xoxb-...) in DETECTOR_SLACK__TOKEN",
    "channel_not_found": "no such channel, or the app is not in it; check DETECTOR_SLACK__CHANNEL and `slack:` in the catalogue",
    "not_in_channel": "the app is not in the channel; invite it with /invite",
    "is_archived": "the channel is archived; set another one in DETECTOR_SLACK__CHANNEL or `slack:` in the catalogue",
    "unknown_method": "this is not Slack's Web API; check DETECTOR_SLACK__API_URL",
    "org_login_required": "the workspace is being moved; an administrator has to finish that",
    "team_access_not_granted": "the app is not granted this workspace; an administrator has to grant it",
}
_FORBIDDEN = "the workspace does not let the app do this; ask an administrator"
_CODE_CHARACTERS = 60


class Refused(Exception):  # noqa: N818 - an answer, not always an error
    """Slack's own "no": nothing was done. `code` is its word, `needed` the scope it misses."""

    def __init__(self, method: str, code: str, needed: str = "") -> None:
        super().__init__(f"{method}: {code}")
        self.method = method
        self.code = code
        self.needed = needed


class RateLimited(TemporaryError):  # noqa: N818 - an answer: nothing was done
    """Slack's 429: nothing was done, come back later."""


def read_refusal(method: str, status: int, headers: Mapping[str, str], data: object, now: float) -> OutsideError | Refused:
    """What an answer that is no success means. `data` is the decoded body, anything but a mapping where that was no JSON object."""
    body: Mapping[str, Any] = data if isinstance(data, dict) else {}
    code = _read_code(body.get("error"))
    retry_after_seconds = read_retry_after(headers.get("retry-after"), now)
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in _LIMITED:
        return RateLimited(f"Slack: {method}: too many requests", retry_after_seconds=retry_after_seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _PASSING:
        return TemporaryError(f"Slack: {method}: answered {status} {code}".rstrip(), retry_after_seconds=retry_after_seconds)
    if code:
        return Refused(method, code, _read_code(body.get("needed")))
    return SettingsError(f"Slack: {method}: answered {status} and no JSON of Slack's: check DETECTOR_SLACK__API_URL and any proxy")


def advise(refused: Refused) -> SettingsError:
    """The settings fault behind a refusal, in one line that says what to do."""
    if refused.code == "missing_scope":
        what = f"add the scope {refused.needed or 'chat:write'} to the Slack app and install it again"
    else:
        what = _ADVICE.get(refused.code, _FORBIDDEN)
    return SettingsError(f"Slack: {refused.method}: {refused.code}: {what}")


def translate_exchange(error: ExchangeError, method: str) -> OutsideError:
    """No usable answer at all."""
    detail = f"Slack: {method}: {error.detail}"
    match error.fault:
        case Fault.DNS | Fault.CONNECT | Fault.TIMEOUT | Fault.CUT | Fault.TOO_LARGE | Fault.PROTOCOL:
            return TemporaryError(detail, attempted=error.sent)
        case Fault.REDIRECT | Fault.TLS | Fault.DENIED | Fault.INVALID:
            return SettingsError(detail, attempted=error.sent)
        case _:
            assert_never(error.fault)


def _read_code(value: object) -> str:
    """Slack's word without anything that could not be one of its words."""
    text = value if isinstance(value, str) else ""
    return "".join(character for character in text[:_CODE_CHARACTERS] if character.isalnum() or character in "_:,-")

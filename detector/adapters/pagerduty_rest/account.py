"""The account, as ports.pagerduty.PagerDutyAccount asks it. Source of paths and fields: PagerDuty REST API v2 reference."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pagerduty

from detector.adapters.pagerduty_rest.client import RestClient, ThrottledAnswer
from detector.adapters.pagerduty_rest.thread import CallThread
from detector.ports.error import OutsideError, PermanentError, SettingsError, TemporaryError
from detector.ports.pagerduty import OnCall, Person, RemoteIncident, Standing
from detector.transport.retry import read_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.ports.secret import Secret

REST_URL = "https://api.pagerduty.com"
DEADLINE_SECONDS = 10.0
PAGE = 100
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN})
_SERVER_ERRORS = range(500, 600)
_MERGED = "merge_resolve_reason"


class PagerDutyRest:
    """Implements ports.pagerduty.PagerDutyAccount; one request at a time, each within the deadline."""

    def __init__(self, token: Secret, *, rest_url: str = REST_URL, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._token = token
        self._rest_url = rest_url
        self._client: RestClient | None = None
        self._thread = CallThread("pagerduty rest", deadline_seconds=deadline_seconds, on_overrun=self._drop_client)

    async def find_by_key(self, key: str) -> RemoteIncident | None:
        """The newest incident whose incident_key this is."""
        # without date_range only the last month is searched; an incident open for longer is found by no other way either
        body = await self._get("/incidents", {"incident_key": key, "date_range": "all", "limit": "1", "sort_by": "created_at:desc"})
        found = _list(body, "incidents")
        return _read_incident(found[0]) if found else None

    async def find_by_id(self, incident: str) -> RemoteIncident | None:
        """The incident of that id."""
        status, body = await self._ask("GET", f"/incidents/{quote(incident, safe='')}")
        if status == HTTPStatus.NOT_FOUND:
            return None
        _check(status, body)
        return _read_incident(_dict(body, "incident"))

    async def list_open(self) -> Sequence[RemoteIncident]:
        """Incidents that are triggered or acknowledged, newest first, at most a hundred."""
        wanted = {
            "statuses[]": ["triggered", "acknowledged"],
            "date_range": "all",
            "limit": str(PAGE),
            "sort_by": "created_at:desc",
        }
        body = await self._get("/incidents", wanted)
        return tuple(_read_incident(one) for one in _list(body, "incidents"))

    async def read_alerts(self, incident: str) -> Mapping[str, Standing]:
        """Where each alert of the incident stands, by alert key."""
        standings: dict[str, Standing] = {}
        for offset in range(0, 10 * PAGE, PAGE):  # an incident holds at most 1,000 alerts
            status, body = await self._ask(
                "GET", f"/incidents/{quote(incident, safe='')}/alerts", {"limit": str(PAGE), "offset": str(offset)}
            )
            if status == HTTPStatus.NOT_FOUND:
                return {}
            _check(status, body)
            alerts = _list(body, "alerts")
            standings |= {_text(one, "alert_key"): _read_standing(one) for one in alerts if _text(one, "alert_key")}
            if len(alerts) < PAGE:
                break
        return standings

    async def find_on_call(self, policy: str) -> OnCall:
        """Who is on call for the escalation policy now."""
        wanted = {"escalation_policy_ids[]": [policy], "include[]": ["users"], "limit": str(PAGE), "earliest": "true"}
        body = await self._get("/oncalls", wanted)
        levels: dict[int, list[Person]] = {}
        for one in _list(body, "oncalls"):
            level, person = one.get("escalation_level"), _read_person(_dict(one, "user"))
            if isinstance(level, int) and person.id and person not in levels.setdefault(level, []):
                levels[level].append(person)
        return OnCall(levels)

    async def find_person(self, email: str) -> Person | None:
        """The user with exactly that address; the API searches by a part of name or address."""
        people = [_read_person(one) for one in _list(await self._get("/users", {"query": email, "limit": str(PAGE)}), "users")]
        return next((person for person in people if person.email.lower() == email.lower()), None)

    async def add_note(self, incident: str, author: Person, text: str) -> None:
        """A note on the incident, in the name of the author; it pages nobody."""
        path = f"/incidents/{quote(incident, safe='')}/notes"
        status, answer = await self._ask("POST", path, body={"note": {"content": text}}, sender=author.email)
        _check(status, answer)

    async def request_responders(self, incident: str, requester: Person, people: Sequence[Person], message: str) -> None:
        """Ask these people to join the incident, in the name of the requester."""
        targets = [{"responder_request_target": {"id": person.id, "type": "user_reference"}} for person in people]
        body = {"requester_id": requester.id, "message": message, "responder_request_targets": targets}
        status, answer = await self._ask(
            "POST", f"/incidents/{quote(incident, safe='')}/responder_requests", body=body, sender=requester.email
        )
        _check(status, answer)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        self._drop_client()

    async def _get(self, path: str, wanted: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        status, body = await self._ask("GET", path, wanted)
        _check(status, body)
        return body

    async def _ask(
        self,
        method: str,
        path: str,
        wanted: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        sender: str = "",
    ) -> tuple[int, Any]:
        options: dict[str, Any] = {"params": dict(wanted)} if wanted else {}
        if body is not None:
            options["json"] = dict(body)
        if sender:
            options["headers"] = {"From": sender}
        try:
            return await self._thread.call(lambda: self._take_client().ask(method, path, **options))
        except ThrottledAnswer as answer:
            seconds = read_retry_after(answer.retry_after, 0.0)
            raise TemporaryError("PagerDuty REST answered 429: too many requests", retry_after_seconds=seconds) from None
        except OutsideError:
            raise
        except pagerduty.Error as fault:
            raise self._translate(fault) from None

    def _translate(self, fault: pagerduty.Error) -> OutsideError:
        """The vendor's message names the URL and a part of the token: only its kind is told."""
        response = getattr(fault, "response", None)
        status = getattr(response, "status_code", None)
        if status in _REFUSED:
            return SettingsError(f"PagerDuty REST answered {status}; check DETECTOR_PAGERDUTY__API_TOKEN and __REST_URL")
        if status is not None:
            return SettingsError(f"PagerDuty REST answered {status}; check DETECTOR_PAGERDUTY__REST_URL and any proxy on the way")
        cause = type(fault.__cause__ or fault).__name__
        return TemporaryError(f"PagerDuty REST cannot be reached: {cause}")

    def _take_client(self) -> RestClient:
        """Made in the thread, where its import of TLS roots blocks nobody; one that overran was dropped."""
        if self._client is None:
            self._client = RestClient(self._token.get_secret_value(), self._rest_url)
        return self._client

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _check(status: int, body: object) -> None:
    """Raise unless the answer is the documented one."""
    if status in _REFUSED:
        raise SettingsError(f"PagerDuty REST answered {status}; check DETECTOR_PAGERDUTY__API_TOKEN and what it may do")
    if status in _SERVER_ERRORS:
        raise TemporaryError(f"PagerDuty REST answered {status}")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise PermanentError(f"PagerDuty REST answered {status}: {_quote(body)}")
    if not isinstance(body, dict):
        raise SettingsError("PagerDuty REST did not answer with JSON; check DETECTOR_PAGERDUTY__REST_URL and any proxy on the way")


def _quote(body: object) -> str:
    error = _dict(body, "error")
    words = [_text(error, "message"), *(text for text in error.get("errors") or () if isinstance(text, str))]
    return " ".join("; ".join(filter(None, words)).split())[:200] or "no reason given"


def _read_incident(one: Mapping[str, Any]) -> RemoteIncident:
    counts = _dict(one, "alert_counts").get("all")
    acknowledged = [_text(_dict(each, "acknowledger"), "summary") for each in one.get("acknowledgements") or ()]
    changed_by = _text(_dict(one, "last_status_change_by"), "summary")
    standing = _read_standing(one)
    return RemoteIncident(
        id=_text(one, "id"),
        key=_text(one, "incident_key"),
        standing=standing,
        by=(next(filter(None, acknowledged), "") or changed_by) if standing is Standing.ACKNOWLEDGED else changed_by,
        merged=_text(_dict(one, "resolve_reason"), "type") == _MERGED,
        policy=_text(_dict(one, "escalation_policy"), "id"),
        alert_count=counts if isinstance(counts, int) else 1,
    )


def _read_standing(one: Mapping[str, Any]) -> Standing:
    try:
        return Standing(_text(one, "status"))
    except ValueError:
        return Standing.TRIGGERED


def _read_person(one: Mapping[str, Any]) -> Person:
    return Person(_text(one, "id"), _text(one, "name") or _text(one, "summary"), _text(one, "email"))


def _list(body: object, name: str) -> list[Mapping[str, Any]]:
    found = body.get(name) if isinstance(body, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _dict(body: object, name: str) -> Mapping[str, Any]:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}


def _text(body: object, name: str) -> str:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""

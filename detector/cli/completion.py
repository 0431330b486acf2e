"""What the shell completes after a command: ids of incidents and silences, names of rules, services, mitigations.

Asked of the daemon within three seconds, and of the rule files; where neither answers, nothing is offered and nothing is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer  # noqa: TC002 - typer reads the annotations of completers

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_SECONDS = 3.0  # the first request has a daemon import its API
_MOST = 100
_NAME = re.compile(r"""^\s*-\s*(?:name|alert):\s*["']?([^"'#\n]+?)["']?\s*(?:#.*)?$""", re.MULTILINE)

Offer = list[tuple[str, str]]


def complete_incident(incomplete: str) -> Offer:
    """Ids of incidents, newest first, with what they are."""
    found = _ask(f"/api/v1/incidents?limit={_MOST}")
    return _fit(((each["id"], f"{each['status']} {each['severity']} {each['service']}") for each in found), incomplete)


def complete_silence(incomplete: str) -> Offer:
    """Ids of silences and leases that hold or will."""
    found = _ask("/api/v1/silences")
    return _fit(((each["id"], " ".join(each["matchers"])) for each in found if each["kind"] != "window"), incomplete)


def complete_service(incomplete: str) -> Offer:
    """Services that had incidents or have alerts."""
    found = [*_ask(f"/api/v1/incidents?limit={_MOST}"), *_ask("/api/v1/alerts?limit=100")]
    return _fit(((name, "") for name in sorted({each["service"] for each in found})), incomplete)


def complete_mitigation(context: typer.Context, incomplete: str) -> Offer:
    """Names of what can be run for the incident that stands before."""
    found = _ask(f"/api/v1/incidents/{quote(str(context.params.get('incident')), safe='')}/mitigations")
    return _fit(((each["name"], each["summary"]) for each in found), incomplete)


def complete_rule(incomplete: str) -> Offer:
    """Names in the rule files of the settings; files are looked through, not loaded: a broken one offers its names too."""
    from detector.adapters.settings import WrongSettingsError
    from detector.adapters.settings.place import find_rules_path

    try:
        place = find_rules_path()
        files = [place] if place.is_file() else sorted(place.rglob("*.y*ml"))
        texts = [file.read_text(errors="replace") for file in files if not file.name.endswith(".test.yaml")]
    except (OSError, WrongSettingsError):
        return []
    return _fit(((name, "") for text in texts for name in _NAME.findall(text)), incomplete)


def _ask(path: str) -> list[dict[str, Any]]:
    from detector.adapters.settings import WrongSettingsError, load_settings
    from detector.cli.client import Client, DaemonError

    try:
        return list(Client(load_settings(), patience_seconds=PATIENCE_SECONDS).get(path))
    except (DaemonError, WrongSettingsError):
        return []


def _fit(offers: Iterator[tuple[str, str]], incomplete: str) -> Offer:
    return [(value, words) for value, words in offers if value.startswith(incomplete)]

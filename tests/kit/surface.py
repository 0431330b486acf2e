"""What can be reached and what must be kept: the routes of the program with what guards each, and the settings that are secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr

from detector.adapters.settings.model import Settings
from detector.adapters.settings.source import name_path
from detector.web.api import make_api
from detector.web.pagerduty import PATH as HOOK
from detector.web.status import PATHS as STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

READ, WRITE = "read token, where one is set", "write token; without one: this machine only, no web page"
NAMED = "write token, always"
OPEN = "nobody asked: no incident, no name, no secret in it"
_OUTSIDE_THE_API = (
    ("GET", "/-/healthy", OPEN),
    ("GET", "/-/ready", OPEN),
    ("GET", "/metrics", "nobody asked: names of rules and services, numbers"),
    ("POST", "/-/reload", WRITE),
    ("POST", HOOK, "signature over the raw body; off without a secret"),
    *(("GET", path, "nobody asked: only what is public") for path in STATUS),
    ("GET", "/api/openapi.json", READ),
    *(
        ("GET", f"/api/v2/{name}", READ)
        for name in ("status", "receivers", "alerts", "alerts/groups", "silences", "silence/{identity}")
    ),
    *(("POST", f"/api/v2/{name}", WRITE) for name in ("alerts", "silences")),
    ("DELETE", "/api/v2/silence/{identity}", WRITE),
    *(("GET", f"/prometheus/api/v1/{name}", READ) for name in ("rules", "alerts")),
    ("GET", "/console/*", "nobody asked: style, script and icon"),
    ("GET", "/login", "nobody asked: a form"),
    ("POST", "/login", "either token, from our own page"),
    ("POST", "/logout", "a form of our own page"),
    *(
        ("GET", path, READ)
        for path in ("/", "/rules", "/silences", "/deliveries", "/history", "/incidents/{incident}", "/console/events")
    ),
    ("GET", "/incidents/{incident}/plot.svg", READ),
    ("POST", "/incidents/{incident}/{verb}", f"{WRITE}; and a form of our own page; `mitigate`: {NAMED}"),
    *(("POST", path, f"{WRITE}; and a form of our own page") for path in ("/silences", "/silences/{identity}/expire")),
)


def list_api_routes() -> list[tuple[str, str]]:
    """Method and path of what FastAPI serves."""
    nothing: Any = object()
    api = make_api(nothing, nothing, "1", nothing, nothing)
    found = [(method, route.path) for route in api.routes if isinstance(route, APIRoute) for method in route.methods or ()]
    return sorted(found, key=lambda each: (each[1], each[0]))


def list_routes() -> list[tuple[str, str, str]]:
    """Method, path and guard of everything that the daemon's own listener answers."""
    inside = [
        (method, path, NAMED if path.endswith("/mitigate") else READ if method == "GET" else WRITE)
        for method, path in list_api_routes()
    ]
    return [*_OUTSIDE_THE_API, *inside]


def list_secrets(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Environment names of the settings whose values are secret."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        parts = _flatten(field.annotation)
        if SecretStr in parts:
            yield name_path(here)
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from list_secrets(part, here)


def _flatten(annotation: Any) -> list[Any]:
    return [annotation, *(inner for part in get_args(annotation) for inner in _flatten(part))]

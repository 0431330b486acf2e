"""The words of a public incident: its name, and a text for each kind of notice.

Before it: `disclose` decided what is public. After it: `channel` posts them. Templates see nothing else, so no override can leak
more than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from detector.domain.text import clean_line, clean_text, cut_text

if TYPE_CHECKING:
    from detector.domain.disclosure import Disclosure
    from detector.ports.template import Renderer

Templates: TypeAlias = Mapping[str, str]

NAME = "name"
MAX_NAME_CHARACTERS = 180
MAX_BODY_CHARACTERS = 5_000
_MARKS = ("{{", "{%")
_TAIL = "{% if eta %} ETA: {{ eta }}.{% elif next_update %} Next update by {{ next_update }}.{% endif %}"
_STATE = (
    "{% if state == 'investigating' %}We are investigating.{% elif state == 'identified' %}The cause is identified and we are "
    "working on it.{% elif state == 'monitoring' %}The service has recovered and we are watching it.{% else %}This incident is "
    "resolved.{% endif %}"
)
_RESOLVED = (
    "Incident resolved{% if resolved %} at {{ resolved }}{% endif %}{% if root_cause %}, root cause: {{ root_cause }}{% endif %}."
)

TEMPLATES: Templates = {
    NAME: "{{ services }} {{ impact }}",
    "trigger": "{{ services }} {{ impact }}. " + _STATE + _TAIL,
    "rise": "The impact has grown: {{ services }} {{ impact }}. " + _STATE + _TAIL,
    "update": "{% if message %}{{ message }}{% else %}" + _STATE + "{% endif %}" + _TAIL,
    "acknowledge": "Our engineers are working on it." + _TAIL,
    "resolve": "{% if state == 'monitoring' %}" + _STATE + "{% else %}" + _RESOLVED + "{% endif %}",
    "relapse": "{{ services }} {{ impact }} again. " + _STATE + _TAIL,
    "close": _RESOLVED,
    "reminder": "{{ services }} still {{ impact }}. " + _STATE + _TAIL,
}


def word(told: Disclosure, name: str, own: Templates, renderer: Renderer) -> str:
    """The text of that name. An own template that fails comes back raw: then the shipped one speaks."""
    values = {
        "kind": told.kind,
        "state": told.state,
        "impact": told.impact,
        "services": told.affected,
        "message": told.message,
        "root_cause": told.root_cause,
        "eta": told.eta,
        "next_update": told.next_update,
        "opened": told.opened,
        "resolved": told.resolved,
    }
    if (template := own.get(name)) is not None:
        text = renderer.render(template, values).strip()
        is_raw = any(mark in template for mark in _MARKS) and template.strip().startswith(text[:1000])
        if text and not is_raw:
            return _fit(name, text)
    return _fit(name, renderer.render(TEMPLATES[name], values))


def _fit(name: str, text: str) -> str:
    if name == NAME:
        return cut_text(clean_line(text), MAX_NAME_CHARACTERS)
    return cut_text(clean_text(text).strip(), MAX_BODY_CHARACTERS)

"""The public status page as HTML, JSON and an Atom feed. Text in, text out.

Before it: `domain.publication` decided every word. After it: `status` serves the bytes. The HTML has no script and loads nothing;
its one style sheet stands in it, allowed by its hash. Values are escaped here and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.domain.publication import Component, Publication, PublicIncident

REFRESH_SECONDS = 60
_DOT = " \u00b7 "
_HEADLINES = {
    "operational": "All systems operational",
    "unknown": "We cannot see the state of our services right now",
    "slightly degraded": "Some services are slightly degraded",
    "degraded": "Some services are degraded",
    "disrupted": "Some services are disrupted",
    "down": "Some services are down",
}
_TONES = {
    "operational": "good",
    "unknown": "dim",
    "slightly degraded": "warn",
    "degraded": "warn",
    "disrupted": "bad",
    "down": "bad",
}

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1b1f24;--dim:#57606a;--line:#d8dee4;
--good:#1a7f37;--warn:#8a5a00;--bad:#c11f2b}
@media (prefers-color-scheme:dark){:root{--page:#0f1318;--card:#171c23;--text:#e6e9ed;--dim:#9aa5b1;--line:#2b333d;
--good:#4fc26b;--warn:#e0a83e;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1rem;font-weight:600;color:var(--dim);margin:0 0 .75rem}
h2{font-size:1.05rem;margin:2rem 0 .6rem}
h3{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
.banner{padding:1rem 1.1rem;border-radius:.6rem;font-size:1.25rem;font-weight:650;background:var(--card)}
.banner{border:1px solid var(--line);border-left:.5rem solid currentColor}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}.dim{color:var(--dim)}
.card,.list{background:var(--card);border:1px solid var(--line);border-radius:.6rem}
.card{padding:.9rem 1.1rem;margin:0 0 .75rem}
.list{margin:0;padding:0;list-style:none}
.list li{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.1rem 1rem}
.list li{padding:.65rem 1.1rem;border-top:1px solid var(--line)}
.list li:first-child{border-top:0}
.list span:first-child{overflow-wrap:anywhere;min-width:0}
.facts{margin:.15rem 0 0;color:var(--dim);font-size:.9rem}
.log{margin:.8rem 0 0;padding:0;list-style:none}
.log li{border-top:1px solid var(--line);padding:.5rem 0 .1rem;overflow-wrap:anywhere}
.log b{text-transform:capitalize}
time{color:var(--dim);font-size:.85rem;white-space:nowrap}
footer{margin-top:2.5rem;color:var(--dim);font-size:.85rem}
a{color:inherit}
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def write_html(told: Publication, now: float) -> str:
    """The page; `now` in unix seconds is the moment it shows."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>{_headline(told)} - Service status</title>',
        '<link rel="alternate" type="application/atom+xml" title="Service status" href="status.atom">',
        f"<style>{STYLE}</style></head><body><main><h1>Service status</h1>",
        f'<p class="banner {_TONES[told.status]}" role="status">{_headline(told)}</p>',
    ]
    if told.current:
        parts += ["<h2>Now</h2>", *(_write_incident(each) for each in told.current)]
    if told.more:
        parts.append(f'<p class="dim">and {told.more} more</p>')
    if told.components:
        parts += ["<h2>Services</h2>", '<ul class="list">', *(_write_component(each) for each in told.components), "</ul>"]
    parts += ["<h2>Past two weeks</h2>", *(_write_incident(each) for each in told.recent)]
    if not told.recent:
        parts.append('<p class="dim">No incidents.</p>')
    parts.append(
        f'<footer>As of {_write_time(now)}. Times are UTC. <a href="status.atom">Feed</a> <a href="status.json">JSON</a></footer>'
    )
    return "\n".join([*parts, "</main></body></html>\n"])


def write_json(told: Publication, now: float) -> str:
    """The same for programs; times as ISO 8601 and null where there is none."""
    content = {
        "status": told.status,
        "updated": _stamp(now),
        "components": [{"name": each.name, "status": each.status} for each in told.components],
        "incidents": [_list_incident(each) for each in (*told.current, *told.recent)],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def write_atom(told: Publication, now: float) -> str:
    """The incidents as a feed (RFC 4287): an entry is an incident, changed with each of its updates."""
    incidents = sorted((*told.current, *told.recent), key=lambda each: -each.changed)
    changed = _stamp(incidents[0].changed if incidents else now)
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<feed xmlns="http://www.w3.org/2005/Atom"><title>Service status</title><id>urn:detector:status</id>',
            f"<author><name>Service status</name></author><updated>{changed}</updated>",
            *(_write_entry(each) for each in incidents),
            "</feed>\n",
        ]
    )


def _headline(told: Publication) -> str:
    return _HEADLINES[told.status]


def _write_component(component: Component) -> str:
    tone, mark = _TONES[component.status], "\u25cf" if component.status != "unknown" else "\u25cb"
    return (
        f'<li><span>{escape(component.name)}</span><span class="{tone}">{mark} {escape(component.status.capitalize())}</span></li>'
    )


def _write_incident(incident: PublicIncident) -> str:
    is_over = incident.state == "resolved"
    tone = "dim" if is_over else "good" if incident.state == "monitoring" else _TONES[incident.impact]
    facts = [f'<span class="{tone}">{escape(incident.state.capitalize())}</span>', f"since {_write_time(incident.opened)}"]
    if incident.resolved is not None:
        facts[1] = f"{_write_time(incident.opened)} to {_write_time(incident.resolved)}"
    if incident.eta:
        facts.append(f"ETA {escape(incident.eta)}")
    if incident.root_cause:
        facts.append(f"root cause: {escape(incident.root_cause)}")
    log = "".join(f"<li>{_write_state(each.state)}{escape(each.text)} {_write_time(each.at)}</li>" for each in incident.updates)
    shown = f'<ol class="log">{log}</ol>' if log else ""
    return f'<article class="card"><h3>{escape(incident.title)}</h3><p class="facts">{_DOT.join(facts)}</p>{shown}</article>'


def _write_state(state: str) -> str:
    return f"<b>{escape(state)}</b> " if state else ""


def _write_entry(incident: PublicIncident) -> str:
    lines = "\n".join(f"{_show(each.at)}: {each.text}" for each in incident.updates)
    return (
        f"<entry><id>urn:detector:incident:{escape(incident.id)}</id>"
        f"<title>{escape(incident.title)} ({escape(incident.state)})</title>"
        f"<published>{_stamp(incident.opened)}</published><updated>{_stamp(incident.changed)}</updated>"
        f'<content type="text">{escape(lines)}</content></entry>'
    )


def _list_incident(incident: PublicIncident) -> dict[str, object]:
    return {
        "id": incident.id,
        "state": incident.state,
        "impact": incident.impact,
        "components": list(incident.services),
        "opened": _stamp(incident.opened),
        "resolved": None if incident.resolved is None else _stamp(incident.resolved),
        "eta": incident.eta,
        "root_cause": incident.root_cause,
        "updates": [{"at": _stamp(each.at), "state": each.state, "text": each.text} for each in incident.updates],
    }


def _write_time(at: float) -> str:
    return f'<time datetime="{_stamp(at)}">{_show(at)}</time>'


def _show(at: float) -> str:
    return f"{_read(at):%Y-%m-%d %H:%M}"


def _stamp(at: float) -> str:
    return f"{_read(at):%Y-%m-%dT%H:%M:%SZ}"


def _read(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)

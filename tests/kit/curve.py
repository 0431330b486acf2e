"""Curves as they might have been, the same every time: for the pictures of the console."""

import math
import random

from detector.domain.incident import Incident, Status
from detector.domain.plot import share
from detector.domain.postmortem import Curve, Facts, Mark
from detector.domain.ticket import read_incident
from detector.ports.plot import Plot
from detector.ports.query import RuleTrail

# signal, limit, calm, at its worst, when that began before the end (seconds), how much of an hour is known
_HOURS = {
    "http-errors": ("error_rate", 0.01, 0.002, 0.129, 1260, 1.0),
    "http-latency-p99": ("latency_p99", 0.8, 0.34, 2.4, 840, 1.0),
    "queue-depth": ("depth", 500.0, 210.0, 1240.0, 5400, 1.0),
    "orders-per-minute": ("orders", 40.0, 0.0, 0.0, 4000, 0.0),
    "refunds": ("refund_seconds", 30.0, 11.0, 14.0, 0, 0.8),
}


def draw_hour(rule: str, now: float) -> RuleTrail:
    """The last hour of a rule."""
    signal, limit, calm, worst, ago, known = _HOURS.get(rule, ("", 0.0, 0.0, 0.0, 0, 0.0))
    points = _trace(rule, now - 3600 * known, now - (600 if rule == "refunds" else 0), 30, now - ago, calm, worst) if known else ()
    fault = ("connection refused by prometheus:9090", now - 2760) if rule == "queue-depth" else ("", None)
    return RuleTrail(signal, now - 3600, now, points, (limit,) if signal else (), *fault)


def make_plot(incident: Incident, now: float) -> Plot:
    """Two signals over an incident, with its marks."""
    end = now if incident.resolved is None else min(now, incident.resolved + 700)
    begin = incident.opened - min(900.0, max(60.0, end - incident.opened))
    reading = read_incident(incident)
    name, limit, peak = reading.signal or "value", reading.threshold or 0.0, reading.peak_value or 1.0
    over = incident.resolved if incident.status in {Status.RESOLVED, Status.CLOSED} else None
    step = max(5.0, (end - begin) / 300)
    points = _trace(incident.id, begin, end, step, incident.opened, limit * 0.2, peak, over)
    traffic = tuple((at, 41.0 + 9 * math.sin(at / 900) - 14 * share(value, limit, peak)) for at, value in points)
    rule = incident.rules[0]
    curves = (
        Curve(rule, name, f'{{service="{incident.service}"}}', points, limit),
        Curve(rule, "requests", f'{{service="{incident.service}"}}', traffic),
    )
    page = Mark(incident.opened + 4, "page")
    return Plot(begin, end, curves, tuple(sorted((page, *Facts(incident, (), (), 0.0).marks), key=lambda mark: mark.at)))


def _trace(
    seed: str, begin: float, end: float, step: float, fault: float, calm: float, worst: float, over: float | None = None
) -> tuple[tuple[float, float], ...]:
    dice = random.Random(seed)  # noqa: S311 - a picture
    points, level = [], calm
    for number in range(int((end - begin) / step) + 1):
        at = begin + number * step
        bad = at >= fault - step and (over is None or at < over - 120)
        wanted = calm + (worst - calm) * (0.88 + 0.1 * math.sin(at / 140)) if bad else calm
        level += (wanted - level) * min(1.0, step / 60)
        points.append((at, max(0.0, level * dice.uniform(0.94, 1.06) + calm * dice.uniform(-0.25, 0.25))))
    return tuple(points)

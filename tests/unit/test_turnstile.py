"""The rate at one routing key: never over what PagerDuty takes, and the urgent never wait behind the rest."""

from __future__ import annotations

from detector.adapters.pagerduty.turnstile import Pressure, Turnstile
from detector.standin.ledger import CallWindow


def test_storm_stays_inside_the_window_and_serves_urgent_ones_first() -> None:
    """300 at once, 20 of them urgent and last to come: PagerDuty's own window admits every one, the urgent within 15 s."""
    turnstile, window = Turnstile(), CallWindow(120)
    asked_again = {f"n{number}": 0.0 for number in range(300)}
    urgent = {f"n{number}" for number in range(280, 300)}
    passed: dict[str, float] = {}
    asked = 0
    now = 0.0
    while asked_again:
        for name, due in sorted(asked_again.items(), key=lambda item: item[1]):
            if due > now:
                continue
            asked += 1
            wait_seconds = turnstile.pass_through(name, now, Pressure.URGENT if name in urgent else Pressure.USUAL)
            if wait_seconds > 0:
                asked_again[name] = now + wait_seconds
            else:
                del asked_again[name]
                passed[name] = now
                assert window.admit("key", now)
        now += 0.05
    assert max(passed[name] for name in urgent) < 15.0
    assert max(passed.values()) < 300 / 100 * 60.0 + 15.0
    assert asked < 300 * 30


def test_a_few_pass_at_once() -> None:
    """Fifteen incidents at once are not held back at all."""
    turnstile = Turnstile()
    assert [turnstile.pass_through(str(number), 5.0, Pressure.USUAL) for number in range(15)] == [0.0] * 15
    assert turnstile.pass_through("16", 5.0, Pressure.USUAL) > 0
    assert turnstile.pass_through("critical", 5.0, Pressure.URGENT) == 0.0


def test_who_collapsed_while_waiting_holds_nobody_up() -> None:
    """A crowd that never comes back is forgotten: after ten seconds a newcomer passes."""
    turnstile = Turnstile()
    for number in range(200):
        turnstile.pass_through(str(number), 0.0, Pressure(number % 3))
    assert turnstile.pass_through("new", 12.0, Pressure.USUAL) == 0.0


def test_a_clock_set_back_blocks_nobody_for_long() -> None:
    """An hour back, and notices go on within seconds."""
    turnstile = Turnstile()
    for number in range(40):
        turnstile.pass_through(str(number), 3600.0, Pressure.URGENT)
    assert turnstile.pass_through("new", 0.0, Pressure.USUAL) <= 15.0
    assert turnstile.pass_through("new", 20.0, Pressure.USUAL) == 0.0


def test_a_high_one_overtakes_a_crowd_of_milder_ones() -> None:
    """Behind 200 that wait, a HIGH page passes as soon as anything does; one behind ten more of its kind, after them."""
    turnstile = Turnstile()
    for number in range(215):
        turnstile.pass_through(str(number), 0.0, Pressure.USUAL)
    wait_seconds = turnstile.pass_through("high", 0.5, Pressure.HIGH)
    assert 0 < wait_seconds < 1.0
    assert turnstile.pass_through("20", 0.5 + wait_seconds, Pressure.USUAL) > 0, "the token is not for the milder"
    assert turnstile.pass_through("high", 0.5 + wait_seconds, Pressure.HIGH) == 0.0
    waits = [turnstile.pass_through(f"high {number}", 2.0, Pressure.HIGH) for number in range(10)]
    assert waits == sorted(waits)
    assert turnstile.pass_through("critical", 2.0, Pressure.URGENT) == 0.0

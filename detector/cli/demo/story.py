"""What happens in the demo, in order: calm, a fault, the page, the repair, the verified recovery.

Before it: `demo` was called. After it: the exit code. Every wait has a deadline, and whatever happens the stage is taken down.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from typing import TYPE_CHECKING

from detector.cli.demo.guide import tell_addresses, tell_next
from detector.cli.demo.screen import LIMIT, Screen, Wait
from detector.cli.demo.wording import (
    RESOLVE_DETAILS,
    TRIGGER_DETAILS,
    describe,
    describe_end,
    describe_event,
    join_words,
)
from detector.cli.exit import fail
from detector.domain.quantity import format_count, format_percent
from detector.standin.child import StageError
from detector.standin.rulebook import RECOVER_FOR_SECONDS, WINDOW_SECONDS
from detector.standin.shop import SERVICES, Fault
from detector.standin.stage import Picture, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from detector.standin.ledger import Alert

BROKEN = "frontend"  # nobody calls it: exactly one service is affected, and exactly one may be named
ERROR_RATIO = 0.3
DEADLINE_SECONDS = 115.0
READY_SECONDS = 45.0
CALM_SECONDS = 6.0
SHOWN_SECONDS = 12.0  # how long the fault lasts, at least, so that a person sees it spread
_STEP_SECONDS = 0.25
_NOTHING = Picture({}, (), ())
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def perform(*, keep: bool, record: Path | None) -> int:
    """Play the whole demo; the exit code. Raises BinaryMissingError."""
    try:
        stage = Stage()
    except (StageError, OSError) as error:
        return fail(f"demo: {error}")
    try:
        with Screen(recording=record is not None) as screen:
            code = asyncio.run(_perform(stage, screen, keep=keep, record=record))
    except BrokenPipeError:  # `detector demo | head`: the command line ends quietly
        shutil.rmtree(stage.folder, ignore_errors=True)
        raise
    except (StageError, OSError) as error:
        return fail(f"demo: {error}; logs: {stage.folder}")
    shutil.rmtree(stage.folder, ignore_errors=True)
    return code


async def _perform(stage: Stage, screen: Screen, *, keep: bool, record: Path | None) -> int:
    story = Story(stage, screen)
    ended_by: list[signal.Signals] = []
    task = asyncio.ensure_future(story.play(keep=keep, record=record))

    def end(number: signal.Signals) -> None:
        if not ended_by:  # a second Ctrl-C does not cut the clearing up short
            ended_by.append(number)
            task.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        return 0 if story.is_over else 128 + ended_by[0]
    return 0


class Story:
    """One performance on a stage that nobody has entered yet. `is_over`: all was shown, what runs on is for play."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self.is_over = False
        self._stage = stage
        self._screen = screen
        self._picture = _NOTHING

    async def play(self, *, keep: bool, record: Path | None) -> None:
        """All of it. Raises StageError when a step fails or takes too long, OSError when the picture can't be written."""
        self._introduce()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS) as deadline, self._stage:
                await self._rise()
                broken = await self._break()
                await self._endure(broken)
                repaired = await self._repair()
                self._conclude(broken, repaired)
                deadline.reschedule(None)
                if record is not None:
                    self._screen.save(record)
                self.is_over = True
                if keep:
                    await self._keep()
        except TimeoutError:
            raise StageError(f"not done after {DEADLINE_SECONDS:.0f} s") from None
        tell_next(self._stage, self._screen)

    def _introduce(self) -> None:
        tell = self._screen.tell
        changes = [f"{key} {here} ({shipped})" for key, (shipped, here) in self._stage.rulebook.changes.items()]
        tell("detector demo: a service breaks, one page arrives, the same numbers prove the repair.", style="bold")
        tell(f"It runs on this machine alone, in {self._stage.folder}, and ends by itself in about a minute.")
        tell("Rules: the shipped ones; those on error rates are quicker here, to end soon. In brackets, as shipped:")
        tell(f"  {', '.join(changes)}\n")

    async def _rise(self) -> None:
        stage, say = self._stage, self._screen.say
        say("shop", "5 services: frontend -> checkout -> payments -> database, frontend -> search")
        say("pagerduty", f"a stand-in with the rules of the Events API v2: {stage.pagerduty.url}")
        await self._await_ready("prometheus", f"{stage.prometheus_url}/-/ready", usual=2)
        say("prometheus", f"reads the shop every second: {stage.prometheus_url}")
        await self._await_ready("detector", f"{stage.daemon_url}/-/ready", usual=3)
        say("detector", f"`detector run`, a process of its own: {stage.daemon_url}")
        # Prometheus takes up to 5 s from its start to the first scrape
        await self._until("first samples", lambda now: len(now.ratios) == len(SERVICES), usual=5, seconds=25)
        calm = time.monotonic() + CALM_SECONDS
        await self._until("healthy traffic", lambda _: time.monotonic() >= calm, usual=CALM_SECONDS, seconds=CALM_SECONDS + 5)
        failing = join_words(f"{name} {format_percent(ratio)}" for name, ratio in self._picture.ratios.items() if ratio)
        say("prometheus", f"errors before any fault: {failing}" if failing else "5 services answer, none of them with errors")

    async def _break(self) -> float:
        """Break the service; the unix time of it."""
        stage, say = self._stage, self._screen.say
        # just after a scrape: the first sample with errors then holds a second of them, and every run is of the same severity
        await stage.wait_scrape()
        stage.shop.set_fault(Fault(service=BROKEN, error_ratio=ERROR_RATIO))
        broken = time.time()
        say("shop", f"{BROKEN} breaks: it fails {format_percent(ERROR_RATIO)} of its requests from now on", style="bold red")
        now = await self._until("breach", lambda now: now.ratios.get(BROKEN, 0.0) > LIMIT, usual=2, seconds=15)
        say("prometheus", f"{BROKEN} fails {format_percent(now.ratios[BROKEN])} of its requests over the last {WINDOW_SECONDS} s")
        now = await self._until("incident", lambda now: bool(now.incidents), usual=3, seconds=20)
        first = _find_first(now)
        say("detector", f"incident {first['id']}: {describe(first)}", style="bold")
        now = await self._until("page", lambda now: bool(now.alerts), usual=2, seconds=20)
        page = now.alerts[0]
        say("pagerduty", f"page received {page.opened_at - broken:.1f} s after the fault", style="bold")
        self._screen.show_page(
            "the page, as PagerDuty received it", describe_event(page, 0, TRIGGER_DETAILS), page.severity_at_open
        )
        return broken

    async def _endure(self, broken: float) -> None:
        """Let the fault go on, so that a person sees it; exactly the affected services must be named."""
        traffic = self._stage.shop.traffic
        affected = {service.name for service in SERVICES if traffic.failure_ratio(service.name) > LIMIT}

        def is_shown(now: Picture) -> bool:
            return _name_affected(now) == affected and time.time() >= broken + SHOWN_SECONDS

        now = await self._until("the fault goes on", is_shown, usual=SHOWN_SECONDS, seconds=30)
        failing = join_words(f"{name} {format_percent(now.ratios.get(name))}" for name in sorted(affected))
        self._screen.say("prometheus", f"failed requests in the last {WINDOW_SECONDS} s: {failing}; all other services work")
        pages = "still one page" if len(now.alerts) == 1 else f"{len(now.alerts)} pages"
        self._screen.say("detector", f"open for {join_words(sorted(affected))} alone; {pages}")

    async def _repair(self) -> float:
        """Repair the service and wait for the end; the unix time of the repair."""
        say = self._screen.say
        self._stage.shop.clear_faults()
        repaired = time.time()
        say("shop", f"{BROKEN} is repaired; nobody tells the daemon, it has to see it", style="bold green")
        await self._until("errors leave the window", lambda now: not any(now.ratios.values()), usual=WINDOW_SECONDS + 1, seconds=40)
        say("prometheus", f"no errors in the last {WINDOW_SECONDS} s; this must hold for {RECOVER_FOR_SECONDS} s")
        now = await self._until("recovery holds", _is_resolved, usual=RECOVER_FOR_SECONDS + 1, seconds=30)
        first = _find_first(now)
        say("detector", f"recovery verified: {describe_end(first)}; incident {first['status']}", style="bold")
        now = await self._until("resolve", lambda now: not _open(now), usual=2, seconds=15)
        page = now.alerts[0]
        resolved = page.resolved_at or time.time()
        say(
            "pagerduty",
            f"resolve received {resolved - repaired:.1f} s after the repair: "
            f"{WINDOW_SECONDS} s window, {RECOVER_FOR_SECONDS} s proof",
            style="bold green",
        )
        self._screen.show_page("the resolve, as PagerDuty received it", describe_event(page, -1, RESOLVE_DETAILS), "")
        return repaired

    def _conclude(self, broken: float, repaired: float) -> None:
        alerts = self._picture.alerts
        self._screen.finish(self._picture)
        paged = min(alert.opened_at for alert in alerts) - broken
        resolved = max(alert.resolved_at or 0.0 for alert in alerts) - repaired
        pages = format_count(len(alerts), "page")
        times = f"paged {paged:.1f} s after the fault, resolved {resolved:.1f} s after the repair"
        self._screen.say("done", f"{times}; {pages}, {len(_open(self._picture))} open", style="bold")

    async def _keep(self) -> None:
        """Run on until interrupted, and say what comes."""
        tell_addresses(self._stage, self._screen)
        self._screen.resume()
        known = self._picture
        while True:
            await self._look()
            for alert in self._picture.alerts[len(known.alerts) :]:
                self._screen.say("pagerduty", f"page: {alert.summary}", style="bold red")
            ended = {alert.number for alert in known.alerts if not alert.is_open}
            for alert in self._picture.alerts:
                if not alert.is_open and alert.number not in ended:
                    self._screen.say("pagerduty", f"resolved: {alert.log[-1].summary or alert.summary}", style="bold green")
            known = self._picture
            self._screen.update(known)
            await asyncio.sleep(_STEP_SECONDS)

    async def _until(self, label: str, condition: Callable[[Picture], bool], *, usual: float, seconds: float) -> Picture:
        """Look until the condition holds. Raises StageError after `seconds`, with the fault of the last look if it had one."""
        began = time.monotonic()
        while True:
            fault = await self._look()
            waited = time.monotonic() - began
            self._screen.update(self._picture, Wait(label, waited, usual))
            if not fault and condition(self._picture):
                return self._picture
            if waited > seconds:
                raise StageError(f"waited {seconds:g} s in vain for: {label}{f' ({fault})' if fault else ''}")
            await asyncio.sleep(_STEP_SECONDS)

    async def _await_ready(self, name: str, url: str, *, usual: float) -> None:
        began = time.monotonic()
        while not await self._stage.is_answering(url):
            waited = time.monotonic() - began
            if waited > READY_SECONDS:
                raise StageError(f"{name} was not ready after {READY_SECONDS:.0f} s")
            self._screen.update(self._picture, Wait(f"{name} starts", waited, usual))
            await asyncio.sleep(_STEP_SECONDS / 2)

    async def _look(self) -> str:
        """Take a new picture; else keep the old one and give the reason. Raises StageError when a program has ended."""
        self._stage.check()
        try:
            self._picture = await self._stage.look()
        except StageError as error:
            return str(error)
        return ""


def _is_resolved(now: Picture) -> bool:
    return bool(now.incidents) and all(incident["status"] in {"resolved", "closed"} for incident in now.incidents)


def _find_first(now: Picture) -> Mapping[str, Any]:
    return min(now.incidents, key=lambda incident: float(incident["opened"]))


def _name_affected(now: Picture) -> set[str]:
    return {service for incident in now.incidents for service in incident["services"]}


def _open(now: Picture) -> list[Alert]:
    return [alert for alert in now.alerts if alert.is_open]

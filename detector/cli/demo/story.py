"""What happens in the demo, in order: calm, a fault, the page, the repair, the verified recovery.

Before it: `demo` was called. After it: the exit code. Every wait has a deadline, and whatever happens the stage is taken down.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli.demo.screen import LIMIT, Screen, Wait
from detector.cli.demo.wording import describe, describe_end, describe_event, join_words, name_command
from detector.cli.exit import FAILURE, fail
from detector.domain.quantity import format_percent
from detector.standin.child import StageError
from detector.standin.rulebook import RECOVER_FOR_SECONDS, WINDOW_SECONDS
from detector.standin.shop import SERVICES, Fault
from detector.standin.stage import Picture, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.standin.ledger import Alert

BROKEN = "payments"
ERROR_RATIO = 0.3
AFFECTED = frozenset({"payments", "checkout", "frontend"})
DEADLINE_SECONDS = 115.0
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
    with Screen(recording=record is not None) as screen:
        code = asyncio.run(_perform(stage, screen, keep=keep, record=record))
    if code != FAILURE:
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
    except (StageError, OSError) as error:
        return fail(f"demo: {error}; logs: {stage.folder}")
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
                await self._spread(broken)
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
        self._advise()

    def _introduce(self) -> None:
        changes = self._stage.rulebook.changes.items()
        self._screen.tell("detector demo: a service breaks, one page arrives, the same numbers prove the repair.", style="bold")
        self._screen.tell(f"Everything runs on this machine, in {self._stage.folder}, and ends by itself in about 75 s.")
        shortened = ", ".join(f"{key} {here} instead of {shipped}" for key, (shipped, here) in changes)
        self._screen.tell(f"Rules: the shipped http.yaml, quicker for the demo: {shortened}; and host.yaml.\n")

    async def _rise(self) -> None:
        stage, say = self._stage, self._screen.say
        say("shop", "5 services: frontend calls checkout and search, checkout calls payments, payments calls database")
        say("pagerduty", f"a stand-in that enforces the rules of the Events API v2, at {stage.pagerduty.url}")
        await stage.wait_ready("prometheus", f"{stage.prometheus_url}/-/ready", seconds=20)
        say("prometheus", f"ready at {stage.prometheus_url}, reads the shop every second")
        await stage.wait_ready("detector", f"{stage.daemon_url}/-/ready", seconds=20)
        say("detector", f"ready at {stage.daemon_url}, a process of its own: `detector run`")
        # Prometheus takes up to 5 s from its start to the first scrape
        await self._until("first samples", lambda now: len(now.ratios) == len(SERVICES), usual=5, seconds=25)
        calm = time.monotonic() + CALM_SECONDS
        await self._until("healthy traffic", lambda _: time.monotonic() >= calm, usual=CALM_SECONDS, seconds=CALM_SECONDS + 5)
        failing = join_words(f"{name} {format_percent(ratio)}" for name, ratio in self._picture.ratios.items() if ratio)
        say("prometheus", f"errors before any fault: {failing}" if failing else "5 services answer, none of them with errors")

    async def _break(self) -> float:
        """Break the service; the unix time of it."""
        stage, say = self._stage, self._screen.say
        stage.shop.set_fault(Fault(service=BROKEN, error_ratio=ERROR_RATIO))
        broken = time.time()
        say("shop", f"{BROKEN} is broken: it fails {format_percent(ERROR_RATIO)} of its requests from now on", style="bold red")
        now = await self._until("breach", lambda now: now.ratios.get(BROKEN, 0.0) > LIMIT, usual=2, seconds=15)
        say("prometheus", f"{BROKEN} fails {format_percent(now.ratios[BROKEN])} of its requests over the last {WINDOW_SECONDS} s")
        now = await self._until("incident", lambda now: bool(now.incidents), usual=3, seconds=20)
        first = now.incidents[-1]
        say("detector", f"incident {first['id']}: {describe(first)}", style="bold")
        now = await self._until("page", lambda now: bool(now.alerts), usual=2, seconds=20)
        page = now.alerts[0]
        say("pagerduty", f"page received {page.opened_at - broken:.1f} s after the fault", style="bold")
        self._screen.show_page("the page, as PagerDuty received it", describe_event(page, 0), page.severity_at_open)
        return broken

    async def _spread(self, broken: float) -> None:
        """Wait until the callers' errors are seen too."""

        def has_spread(now: Picture) -> bool:
            affected = {service for incident in now.incidents for service in incident["services"]}
            return affected >= AFFECTED and time.time() >= broken + SHOWN_SECONDS

        now = await self._until("the fault spreads to the callers", has_spread, usual=SHOWN_SECONDS, seconds=30)
        callers = join_words(f"{name} {format_percent(now.ratios.get(name))}" for name in ("checkout", "frontend"))
        self._screen.say("prometheus", f"the callers fail as well: {callers}")
        count = len(now.incidents)
        joined = "they joined the incident" if count == 1 else f"{count} incidents"
        self._screen.say("detector", f"{joined}; alerts at PagerDuty: {len(now.alerts)}")

    async def _repair(self) -> float:
        """Repair the service and wait for the end; the unix time of the repair."""
        say = self._screen.say
        self._stage.shop.clear_faults()
        repaired = time.time()
        say("shop", f"{BROKEN} is repaired; nobody tells the daemon, it has to see it", style="bold green")
        await self._until("errors leave the window", lambda now: not any(now.ratios.values()), usual=WINDOW_SECONDS + 1, seconds=40)
        say("prometheus", f"no errors in the last {WINDOW_SECONDS} s; recovery must now hold for {RECOVER_FOR_SECONDS} s")
        now = await self._until("recovery holds", _is_resolved, usual=RECOVER_FOR_SECONDS + 1, seconds=30)
        first = now.incidents[-1]
        say("detector", f"recovery verified, incident {first['id']} {first['status']}: {describe_end(first)}", style="bold")
        now = await self._until("resolve", lambda now: not _open(now), usual=2, seconds=15)
        page = now.alerts[0]
        resolved = page.resolved_at or time.time()
        say(
            "pagerduty",
            f"resolve received {resolved - repaired:.1f} s after the repair; open alerts: {len(_open(now))}",
            style="bold green",
        )
        self._screen.show_page("the resolve, as PagerDuty received it", describe_event(page, -1), "")
        return repaired

    def _conclude(self, broken: float, repaired: float) -> None:
        alerts = self._picture.alerts
        self._screen.finish(self._picture)
        paged = min(alert.opened_at for alert in alerts) - broken
        resolved = max(alert.resolved_at or 0.0 for alert in alerts) - repaired
        alert_s = "alert" if len(alerts) == 1 else "alerts"
        self._screen.say(
            "done",
            f"{len(alerts)} {alert_s}: paged {paged:.1f} s after the fault, resolved {resolved:.1f} s after the repair "
            f"({WINDOW_SECONDS} s window + {RECOVER_FOR_SECONDS} s proof); 0 open",
            style="bold",
        )

    async def _keep(self) -> None:
        """Run on until interrupted, and say what comes."""
        self._tell_addresses()
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

    def _tell_addresses(self) -> None:
        stage, tell = self._stage, self._screen.tell
        shop, detector = stage.shop.url, stage.daemon_url
        tell("\nEverything runs on until Ctrl-C:", style="bold")
        tell(f"  Prometheus        {stage.prometheus_url}")
        tell(f"  shop              {shop}/metrics  {shop}/faults")
        tell(f'    break           curl -d \'{{"service": "search", "error_ratio": 0.1}}\' {shop}/faults')
        tell(f"    repair all      curl -X DELETE {shop}/faults")
        tell(f"  PagerDuty         {stage.pagerduty.url}/alerts  {stage.pagerduty.url}/requests")
        tell(f"  detector          {detector}/metrics  {detector}/api/v1/incidents")
        tell(f"  rules             {stage.rulebook.folder} (edit them; the daemon reads them again by itself)")
        tell(f"  log               {stage.folder / 'detector.log'}\n")

    def _advise(self) -> None:
        tell, command = self._screen.tell, name_command()
        tell("\nNext, with your own Prometheus:", style="bold")
        if not Path("rules/http.yaml").is_file():
            tell(f"  mkdir -p rules && cp {shlex.quote(str(self._stage.rulebook.shipped))}/*.yaml rules/    the shipped rules")
        tell(f"  {command} check rules")
        tell("  export DETECTOR_PROMETHEUS_URL=http://your-prometheus:9090")
        tell('  export DETECTOR_PAGERDUTY__ROUTING_KEYS=\'{"default": "<the 32 characters of an Events API v2 integration>"}\'')
        tell(f"  {command} run")
        tell(f"README.md says the rest. To play with this demo: {command} demo --keep")

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


def _open(now: Picture) -> list[Alert]:
    return [alert for alert in now.alerts if alert.is_open]

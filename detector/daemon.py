"""The composition root: names the concrete adapters, wires them, starts and stops them. Nothing is decided here.

    settings -> log, metrics -> store -> committer <- evaluator <- poller <- reloader <- rule files
                                  |          |
                                  +----> dispatcher -> PagerDuty

Start: bind the port, open the store, restore memory, load the rules, start the tasks, say READY. Stop: no new evaluation, write
what is decided, let deliveries under way end, close; all of it bounded, so that a slow destination cannot hold the exit.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from detector import __version__
from detector.adapters.calendar import RuleCalendar
from detector.adapters.clock import SystemClock
from detector.adapters.command import ProcessRunner
from detector.adapters.family import plan_merging
from detector.adapters.heartbeat import HeartbeatPing
from detector.adapters.log import LogObserver, set_up_log
from detector.adapters.notify import ServiceManager
from detector.adapters.postmortem import FileArchive
from detector.adapters.probe import HttpProbe
from detector.adapters.prometheus import PrometheusSource
from detector.adapters.rulefile import RuleDirectory
from detector.adapters.settings.policy import list_fallbacks, list_webhook_secrets, make_exchange_option, make_paging
from detector.adapters.surroundings import OutsideWorld
from detector.adapters.template import TemplateRenderer
from detector.adapters.watch import RuleWatch
from detector.adapters.wording import WrongTemplateError
from detector.app.ailment import Complaint
from detector.app.audience import Audience
from detector.app.backlog import BacklogWatch
from detector.app.baseline import BaselineKeeper
from detector.app.cache import QueryCache
from detector.app.committer import Committer
from detector.app.desk import DaemonPulse, ReadingDesk, WritingDesk
from detector.app.diagnosis import Diagnostician
from detector.app.dispatcher import Dispatcher
from detector.app.evaluation import Evaluator
from detector.app.exhibit import LiveExhibit
from detector.app.fallback import Fallback
from detector.app.followup import Followup
from detector.app.guard import guard, open_patiently
from detector.app.heartbeat import Heartbeat
from detector.app.inbox import Inbox
from detector.app.meter import MeteredSource
from detector.app.muteboard import MuteBoard
from detector.app.poller import Poller
from detector.app.publication import PublicDesk
from detector.app.reloader import Reloader
from detector.app.replica import Replica
from detector.app.roster import Roster
from detector.app.sentinel import Sentinel
from detector.domain.ailment import Ailment
from detector.domain.incident import PAGERDUTY
from detector.domain.ticket import list_open_facts
from detector.outfit import make_account, make_channels, make_store
from detector.ports.channel import Eager
from detector.ports.error import PermanentError
from detector.ports.rulefile import RuleFilesError
from detector.transport.exchange import Exchange
from detector.web.access import LOCAL_HOSTS, Access
from detector.web.metrics import Metrics
from detector.web.pagerduty import PagerDutyHook
from detector.web.server import BindError, WebServer
from detector.web.site import Site
from detector.web.status import StatusPage, StatusSite
from detector.web.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from detector.adapters.settings import Settings
    from detector.app.reloader import StartReport
    from detector.domain.incident import Notice
    from detector.ports.store import Committed


DONE, FAILURE, USAGE = 0, 1, 2
LAG_EVERY_SECONDS = 1.0
SETTLE_SECONDS = 3.0
DELIVERY_STOP_SECONDS = 8.0


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. What stops the start is one line on standard error."""
    set_up_log(settings.log_format, settings.log_level, settings.secrets())
    try:
        daemon = Daemon(settings)
    except WrongTemplateError as wrong:
        return say(str(wrong), USAGE)
    return asyncio.run(daemon.run())


class Daemon:
    """One process: everything it is made of, and its life from start to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = clock = SystemClock()
        self._metrics = Metrics(__version__, settings.channels)
        self._observer = observer = Audience(self._metrics, LogObserver())
        self._manager = ServiceManager()
        self._store = store = make_store(settings, observer)
        self._roster = roster = Roster()
        paging = make_paging(settings)
        self._board = MuteBoard(store, RuleCalendar(), roster, clock, observer)
        self._replica = Replica(
            store.registry, roster, paging, clock, observer, ttl_seconds=settings.lease_ttl, on_led=self._metrics.shard_led
        )
        keeper, tenancy = self._replica.keeper, self._replica.tenancy
        self._committer = Committer(
            store,
            clock,
            observer,
            roster,
            self._board,
            paging=paging,
            offer=self._offer,
            on_commit=self._on_commit,
            keeper=keeper,
            tenancy=tenancy,
        )
        self._complaint = Complaint(self._committer, clock)
        self._sentinel = Sentinel(roster, self._committer, blind_after_seconds=settings.blind_after, keeper=keeper)
        renderer = TemplateRenderer(self._note_template)
        self._prometheus = Exchange(make_exchange_option(settings))
        source = PrometheusSource(self._prometheus, settings.prometheus_url, on_warning=self._note_warning)
        metered = MeteredSource(source, clock, observer)
        self._cache = QueryCache(metered, clock, plan_merging)
        self._baselines = BaselineKeeper(self._cache, roster, clock, observer)
        evaluator = Evaluator(
            self._cache, roster, self._committer, self._sentinel, self._baselines, renderer, clock, observer, tenancy=tenancy
        )
        self._poller = Poller(evaluator, clock, observer, self._cache.name_query, tenancy=tenancy)
        self._reloader = Reloader(
            RuleDirectory(settings.rules, every_seconds=settings.every, routes=settings.pagerduty.routing_keys),
            store,
            roster,
            self._committer,
            clock,
            observer,
            (self._cache.set_rules, self._poller.set_rules, self._baselines.set_rules),
            is_ours=tenancy.leads,
        )
        self._prober = Exchange()
        self._channels = make_channels(settings, renderer, observer, self._list_facts, keeper.check, keeper.permit)
        fallback = Fallback(
            list_fallbacks(settings), self._committer, roster, paging, self._offer, clock, observer, slack=bool(settings.slack)
        )
        self._dispatchers = [
            Dispatcher(
                channel,
                store,
                observer,
                clock,
                fallback_after_seconds=settings.fallback_after,
                on_failing=fallback.take,
                keeper=keeper,
            )
            for channel in self._channels
        ]
        self._replica.attach(self._committer, self._board, self._sentinel, self._dispatchers)
        self._backlog = BacklogWatch(store, clock, observer, late_after_seconds=settings.fallback_after)
        self._account = account = make_account(settings)
        self._probe = HttpProbe(Exchange())
        # its own connections and permits: a diagnosis never stands before the rules' queries
        self._asking = Exchange(make_exchange_option(settings))
        asking = PrometheusSource(self._asking, settings.prometheus_url)
        diagnostician = Diagnostician(asking, OutsideWorld(self._prober), store, graph_url=settings.graph_url)
        self._followup = Followup(
            self._committer,
            store,
            roster,
            paging,
            clock,
            observer,
            source=metered,
            asking=asking,
            cache=self._cache,
            probe=self._probe,
            diagnostician=diagnostician,
            runner=ProcessRunner(settings.mitigation_environment),
            archive=FileArchive(settings.state_dir / "postmortems"),
            channels=self._channels,
            on_drill=self._metrics.drill_passed,
            drill_every_seconds=settings.drill_every,
            account=account,
            requester=settings.pagerduty.requester or "",
        )
        self._pulse = DaemonPulse(self._poller, clock)
        self._inbox = Inbox(roster, self._committer, clock, observer, tenancy=tenancy)
        query = ReadingDesk(store, roster, self._board, self._committer, clock)
        tell = self._metrics.deploy_told
        desk = WritingDesk(self._committer, store, roster, self._reloader, self._board, paging, clock, tell)
        page = StatusPage(PublicDesk(self._committer, store, roster, clock), self._pulse, clock)
        site = Site(
            metrics=self._metrics,
            query=query,
            desk=desk,
            pulse=self._pulse,
            access=(access := make_access(settings)),
            version=__version__,
            wire=Wire(query, desk, self._inbox, LiveExhibit(roster, self._committer, clock), access, __version__),
            aid=self._followup.aid,
            plotter=self._followup.plotter,
            status=page,
            pagerduty=PagerDutyHook(self._followup.ear, list_webhook_secrets(settings)),
        )
        self._web = WebServer(site, settings.listen.host, settings.listen.port)
        self._servers = {"web": self._web}
        if (public := settings.status_listen) is not None:
            self._servers["status page"] = WebServer(StatusSite(page), public.host, public.port, setting="DETECTOR_STATUS_LISTEN")
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Start, wait for the end, stop."""
        try:
            for server in self._servers.values():
                server.bind()
        except BindError as fault:
            return say(str(fault), USAGE)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn("reload", self._reload))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._prometheus.close)
            stack.push_async_callback(self._prober.close)
            stack.push_async_callback(self._asking.close)
            stack.push_async_callback(self._store.close)
            for channel in self._channels:
                stack.push_async_callback(channel.close)
            stack.push_async_callback(self._probe.close)
            if self._account is not None:
                stack.push_async_callback(self._account.close)
            for name, server in self._servers.items():
                self._spawn(name, server.serve)
            try:
                code = await self._start()
                if code == DONE:
                    await self._stop.wait()
            finally:
                await self._end()
        return code

    async def _start(self) -> int:
        try:
            if not await open_patiently(self._store, self._stop, self._observer, self._clock, self._manager.wait):
                return DONE
        except PermanentError as fault:
            return say(str(fault), FAILURE)
        self._pulse.store_open = True
        await self._replica.keeper.keep()
        memory = await self._store.load()
        self._roster.restore(memory, self._clock.now())
        self._committer.remember(memory.incidents)
        if self._replica.keeper.exclusive:
            self._sentinel.restore(memory.incidents)
        await self._board.refresh()
        self._spawn("commit", self._committer.run)
        try:
            report = await self._reloader.start()
        except RuleFilesError as fault:
            return self._say_findings(fault)
        self._pulse.rules_loaded = True
        self._spawn("checkpoint", self._committer.run_checkpoints)
        self._spawn("orphans", self._reloader.run)
        self._spawn("store watch", self._complaint.watch_store)
        self._spawn("silences", self._board.run)
        self._spawn("inbox", self._inbox.run)
        self._spawn("lag", self._poller.run_lag)
        self._spawn("backlog", self._backlog.run)
        self._spawn("gauge", self._watch_lag)
        self._spawn("rule files", self._watch_files)
        for name, work in (*self._followup.duties().items(), *self._replica.duties().items()):
            self._spawn(name, work)
        # a fault of the store must not become a crash loop: fed while the loop turns and the scheduler ticks
        self._spawn("watchdog", partial(self._manager.feed, self._pulse.sickness, self._clock.sleep))
        for dispatcher, channel in zip(self._dispatchers, self._channels, strict=True):
            if isinstance(channel, Eager):
                channel.start()
            self._spawn(f"dispatcher {channel.name}", dispatcher.run)
        self._start_heartbeat()
        await self._tell_start(report)
        self._manager.ready(f"{len(self._roster.rules)} rules, listening on {self._settings.listen.host}:{self._web.port}")
        self._observer.note("ready", rules=len(self._roster.rules), prometheus=self._settings.prometheus_url, port=self._web.port)
        return DONE

    def _say_findings(self, fault: RuleFilesError) -> int:
        for finding in fault.findings:
            say(str(finding), USAGE)
        where = self._settings.rules.absolute()
        what = "mend them (`detector check` lists all findings), or let `detector init --prometheus URL` write some"
        return say(f"no rules to run from {where}: {what}", USAGE)

    async def _tell_start(self, report: StartReport) -> None:
        findings = [str(finding) for finding in report.findings]
        if fault := await self._complaint.judge_rules(findings, used_last_good=report.used_last_good):
            self._observer.trouble("rules", fault)
        if not self._channels:
            self._observer.trouble("channels", "no channel is configured, nobody is paged; set DETECTOR_PAGERDUTY__ROUTING_KEYS")

    async def _reload(self) -> None:
        if self._pulse.rules_loaded and not await self._reloader.reload():
            await self._complaint.end(Ailment.RULES_REFUSED)

    async def _watch_files(self) -> None:
        async for _ in RuleWatch(self._settings.rules).changes():
            await self._reload()

    def _start_heartbeat(self) -> None:
        url = self._settings.heartbeat_url
        if url is None:
            return
        ping = HeartbeatPing(self._prober, url.get_secret_value())
        checks = (self._pulse.sickness, self._sentinel.find_fault, partial(self._backlog.find_fault, PAGERDUTY))
        every = self._settings.heartbeat_every
        ours = partial(self._replica.keeper.speaks, "heartbeat")
        self._spawn("heartbeat", Heartbeat(ping, checks, self._clock, self._observer, every_seconds=every, is_ours=ours).run)

    async def _watch_lag(self) -> None:
        while True:
            await self._clock.sleep(LAG_EVERY_SECONDS)
            self._metrics.lag_seen(self._poller.lag_seconds)

    async def _end(self) -> None:
        self._manager.stopping("finishing deliveries")
        await self._poller.stop(patience_seconds=SETTLE_SECONDS)
        await self._baselines.stop()
        await self._cache.close()
        if self._pulse.store_open:
            await self._replica.keeper.leave()
        await asyncio.gather(*(dispatcher.stop(DELIVERY_STOP_SECONDS) for dispatcher in self._dispatchers))
        if self._pulse.store_open:
            await self._committer.checkpoint()
            await self._replica.keeper.release()
        for server in self._servers.values():
            server.stop()
        for task in self._tasks:
            if task.get_name() not in self._servers:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._followup.stop()
        await self._committer.close()
        self._observer.note("stopped")

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(guard(name, work, self._clock, self._observer), name=name)
        self._tasks.append(task)

    def _offer(self, notices: Sequence[Notice]) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.offer(notices)

    def _on_commit(self, decision: Committed) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.committed(decision.notices, decision.collapsed)

    def _list_facts(self) -> list[tuple[str, Mapping[str, Any]]]:
        return list_open_facts(self._committer.book.incidents.values(), self._roster.catalogue, self._settings.page_url)

    def _note_warning(self, query: str, text: str) -> None:
        self._observer.note("query warning", query=query[:200], warning=text[:500])

    def _note_template(self, template: str, fault: str) -> None:
        self._observer.note("template failed, sent raw", template=template[:200], fault=fault)


def make_access(settings: Settings) -> Access:
    """Tokens, and the host names under which this machine may write without one."""
    return Access(
        read_token=settings.read_token.get_secret_value() if settings.read_token else "",
        write_token=settings.write_token.get_secret_value() if settings.write_token else "",
        hosts=LOCAL_HOSTS | {settings.listen.host},
    )


def say(message: str, code: int) -> int:
    """One line on standard error, and the exit code that goes with it."""
    sys.stderr.write(f"detector: {message}\n")
    return code

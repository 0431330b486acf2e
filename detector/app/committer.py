"""Step 4 of the path: one worker that writes changed alerts, incidents, timeline and outbox in one transaction.

Commits that wait in the same 5 ms share a transaction. Memory is swapped in the same step as the commit ends. When the store fails
or takes over 2 s, the same decision is made on the last known book and its notices go out from memory; the write waits its turn and
is tried every second. Ids are deterministic, so what went out and what is written later are the same notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from detector.app.alarm import Alarm
from detector.app.guard import describe_fault, guard, wait_for
from detector.app.transaction import Job, Write, add_lost, drop_told, end_strays, fold_book, keep_memory, list_urgent
from detector.domain.correlate import correlate
from detector.domain.incident import Book, NoticeKind
from detector.ports.error import OutsideError, StaleLeaseError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from detector.app.lease import LeaseKeeper
    from detector.app.muteboard import MuteBoard
    from detector.app.roster import Roster
    from detector.app.tenancy import Tenancy
    from detector.domain.alert import Transition
    from detector.domain.incident import Decision, Incident, Notice
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import AlertRecord, Committed, Decide, Fence, Store

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
RETRY_SECONDS = 1.0
CHECKPOINT_SECONDS = 15.0
ALONE_SECONDS = 60.0
REPEAT_SECONDS = 300.0


class Committer:
    """The only writer of incidents. `offer` gets notices to send from memory, `on_commit` every committed decision.

    Where the store's file was corrupt and begun anew, the new one gets what memory knows.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observer: Observer,
        roster: Roster,
        board: MuteBoard,
        *,
        paging: Paging,
        offer: Callable[[Sequence[Notice]], None],
        on_commit: Callable[[Committed], None],
        keeper: LeaseKeeper | None = None,
        tenancy: Tenancy | None = None,
    ) -> None:
        self._keeper = keeper
        self._tenancy = tenancy
        self._store = store
        self._clock = clock
        self._observer = observer
        self._roster = roster
        self._board = board
        self._paging = paging
        self._offer = offer
        self._on_commit = on_commit
        self._moved = self._moved_now = store.recovered_from
        self._book = self._written = Book()
        self._revision = 0
        self._jobs: list[Job] = []
        self._backlog: deque[Write] = deque()
        self._alarm = Alarm(clock, self._find_due)
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._late: asyncio.Task[None] | None = None
        self._decided = float("-inf")
        self._wanted = False
        self._alone_until = float("-inf")
        self._checkpoint_failing = False
        self._failed = ("", float("-inf"))
        self._listeners: list[Callable[[Committed], None]] = []
        board.listen(self.look)

    @property
    def book(self) -> Book:
        """Incidents that are not closed, as last committed, or as decided from memory while the store fails."""
        return self._book

    @property
    def failing(self) -> bool:
        """Whether the store could not be written when last tried."""
        return bool(self._backlog) or self._checkpoint_failing or (self._keeper is not None and self._keeper.away)

    @property
    def moved(self) -> str | None:
        """Where the store's corrupt file was moved, None where it never was."""
        return self._store.recovered_from

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._jobs or self._backlog or self._lock.locked())

    @property
    def own_incidents(self) -> list[Incident]:
        """Those that this replica follows up: diagnoses, calls out for, reminds of. Without other replicas all."""
        return [each for each in self._book.incidents.values() if self.follows_up(each.id)]

    @property
    def revision(self) -> int:
        """Of the store, as the book shows it; 0 where nobody else commits."""
        return self._revision

    def follows_up(self, incident: str) -> bool:
        """Whether that is for this replica to do."""
        return self._keeper is None or self._keeper.leads_thing(incident)

    def led_since(self, incident: Incident) -> float:
        """From when on this replica follows the incident up, unix seconds; -inf where there is but one."""
        return float("-inf") if self._keeper is None or self._keeper.exclusive else self._keeper.since(incident.id)

    def remember(self, incidents: Mapping[str, Incident]) -> None:
        """Start from the incidents that the store holds."""
        self._book = self._written = Book(dict(incidents))
        self._moved = self._moved_now = self._store.recovered_from
        self._observer.incidents_counted(self._book.incidents.values())

    def follow(self, incidents: Mapping[str, Incident], revision: int) -> bool:
        """Go on from what others committed up to that revision; False where memory is ahead of it."""
        if self._backlog or revision < self._revision:
            return False
        self._revision = revision
        self.remember(incidents)
        self._alarm.ring()  # others' incidents bring timers with them
        return True

    async def submit(
        self,
        records: Sequence[AlertRecord],
        transitions: Sequence[Transition],
        swap: Callable[[], None] = keep_memory,
        fence: Fence | None = None,
    ) -> None:
        """Have it written; `swap` is called in the same step as the commit ends. Returns after that.

        While the store fails it returns once the notices were offered from memory. Raises what `correlate` raised, and
        StaleLeaseError where another replica leads what `fence` names; then nothing is swapped.
        """
        job = Job(records, transitions, swap, asyncio.get_running_loop().create_future(), fence)
        self._jobs.append(job)
        self._alarm.ring()
        await job.done

    async def submit_action(self, decide: Decide) -> Committed:
        """Commit what a human decides. Raises TemporaryError while the store fails, and whatever `decide` raises."""
        if self._backlog:
            raise TemporaryError("the store cannot be written now; try again when it answers", attempted=False)
        return await asyncio.shield(self._spawn(self._act(decide), "action"))

    def listen(self, listener: Callable[[Committed], None]) -> None:
        """Have every committed decision told to one more, at once; it must not raise."""
        self._listeners.append(listener)

    def look(self) -> None:
        """Decide anew on what is open: something that decisions depend on has changed."""
        self._wanted = True
        self._alarm.ring()

    async def run(self) -> None:
        """Gather and write until cancelled. Guard this."""
        while True:
            await self._alarm.wait(lambda: bool(self._jobs))
            write = self._gather()
            try:
                await self._attempt(write)
            except BaseException as fault:
                self._alone_until = self._clock.monotonic() + ALONE_SECONDS
                write.refuse(fault)
                raise

    async def run_checkpoints(self) -> None:
        """Write what changed without a transition, together, every 15 s. Guard this."""
        while True:
            await self._clock.sleep(CHECKPOINT_SECONDS)
            await self.checkpoint()

    async def checkpoint(self) -> bool:
        """Write rows that are behind; False when the store could not be written."""
        if self._backlog:
            return False
        async with self._lock:
            tenancy = None if self.alone else self._tenancy
            dirty = self._roster.dirty() if tenancy is None else self._roster.dirty(tenancy.list_own().__contains__)
            if dirty.empty:
                return True
            try:
                await self._store.checkpoint(dirty.progress, dirty.alerts, fences=() if tenancy is None else tenancy.list_fences())
            except StaleLeaseError as stale:
                if tenancy is not None:
                    tenancy.drop_shards(stale.shards)
                return False
            except OutsideError as fault:
                if not self._checkpoint_failing:
                    self._observer.trouble("checkpoint", describe_fault(fault))
                self._checkpoint_failing = True
                return False
            self._checkpoint_failing = False
            self._roster.mark_clean(dirty)
            return True

    async def close(self) -> None:
        """Give up retries and what is being written; call after `run` has been cancelled and `checkpoint` called."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _find_due(self) -> float | None:
        """When an incident's timer or, while one is active, a mute that begins or ends wants a decision."""
        incidents = self.own_incidents
        due = [incident.due for incident in incidents if incident.due is not None]
        if any(incident.status.active for incident in incidents):
            now = self._clock.now()
            change = now if self._wanted else self._board.next_change(min(self._decided, now))
            due += [] if change is None else [change]
        return min(due, default=None)

    def _gather(self) -> Write:
        alone = self._clock.monotonic() < self._alone_until  # after a fault, so that a sick rule refuses only itself
        count = 1 if alone else len(self._jobs)
        jobs, self._jobs = tuple(self._jobs[:count]), self._jobs[count:]
        self._decided, self._wanted = self._clock.now(), False
        return Write(jobs, self._roster.catalogue, self._decided, self._board.current(self._decided))

    async def _attempt(self, write: Write) -> None:
        if self._backlog:
            self._postpone(write)
            return
        commit = self._spawn(self._commit(write), "commit")
        await wait_for((commit,), PATIENCE_SECONDS, self._clock)
        fault = commit.exception() if commit.done() else None
        if commit.done() and not isinstance(fault, OutsideError):
            commit.result()
            return
        why = describe_fault(fault) if fault else f"no answer within {PATIENCE_SECONDS:g} s"
        self._late = None if commit.done() else commit
        self._postpone(write)
        self._observer.trouble("commit", f"{why}; paging from memory, trying again every {RETRY_SECONDS:g} s")
        self._spawn(guard("commit retry", self._retry, self._clock, self._observer), "commit retry")

    async def _commit(self, write: Write) -> None:
        async with self._lock:
            decision = await self._write(write)
            if self._backlog and self._backlog[0] is write:
                self._backlog.popleft()
            self._end(write, decision)

    async def _write(self, write: Write) -> Committed:
        """What stands of it: parts whose lease was lost are left out."""
        while True:
            try:
                return await self._store.commit(
                    write.records,
                    self._remembering(write),
                    write.now,
                    fences=write.fences,
                    late=write.late,
                    sent=write.sent,
                )
            except StaleLeaseError as stale:
                write.drop(stale.shards)

    def _remembering(self, write: Write) -> Decide:
        def decide(book: Book) -> Decision:
            write.book = whole = self._recover(book)
            told = drop_told(book, write.transitions) if write.late and not self.alone else write.transitions
            decision = correlate(whole, told, write.catalogue, self._paging, write.now, write.mutes)
            return end_strays(add_lost(decision, whole, book), whole, write.sent)

        return decide

    def _recover(self, book: Book) -> Book:
        """The store's book; where its file was begun anew, with the incidents that were committed to the old one."""
        self._moved_now = self._store.recovered_from
        return book if self._moved_now == self._moved else Book({**self._written.incidents, **book.incidents})

    def _end(self, write: Write, decision: Committed) -> None:
        """The commit is done: swap memory, tell everyone."""
        write.release()
        self._note_recovered()
        self._roster.mark_stored(write.records)
        self._observer.transitions_seen(write.transitions)
        self._tell(write.book, decision)
        if write.sent:  # also what another wrote: its row is the one that is sent from now on
            self._on_commit(replace(decision, notices=write.sent, collapsed=()))

    def _note_recovered(self) -> None:
        """What was lost is in the new file now; rows of alerts follow with the next checkpoint."""
        if self._moved_now != self._moved:
            self._moved = self._moved_now
            self._roster.forget_rows()

    def _tell(self, book: Book, decision: Committed) -> None:
        self._written = fold_book(book, decision)
        if not self._backlog:  # while writes wait, the book in memory is ahead of the store's
            self._book = self._written
            self._revision = decision.revision
        if not decision.empty:
            self._observer.decision_committed(decision)
            self._observer.incidents_counted(self._book.incidents.values())
            self._on_commit(decision)
            for listener in self._listeners:
                listener(decision)

    async def _act(self, decide: Decide) -> Committed:
        seen = Book()

        def remember(book: Book) -> Decision:
            nonlocal seen
            seen = self._recover(book)
            return add_lost(decide(seen), seen, book)

        async with self._lock:
            if self._backlog:
                raise TemporaryError("the store cannot be written now; try again when it answers", attempted=False)
            decision = await self._store.commit((), remember, self._clock.now())
            self._note_recovered()
            self._tell(seen, decision)
            self._alarm.ring()  # its timers may be nearer than those waited for
            return decision

    def _postpone(self, write: Write) -> None:
        """Decide from memory, offer the notices, keep the write for when the store answers.

        Who was frozen finds its leases run out: what it worked out before that is another's to page.
        """
        if self._keeper is not None and not (self._keeper.exclusive or self._keeper.away):
            write.drop(frozenset(fence.shard for fence in write.fences if not self._keeper.leads(fence.shard)))
        decision = correlate(self._book, write.transitions, write.catalogue, self._paging, write.now, write.mutes)
        if write.jobs or not decision.empty or not self._backlog:
            self._backlog.append(write)
        notices = decision.notices
        if not self.alone:
            write.sent = tuple(list_urgent(notices))
            notices = (*write.sent, *(each for each in notices if each.kind is NoticeKind.RESOLVE))
        if notices:
            self._offer(notices)
        self._book = fold_book(self._book, decision)
        write.release()

    async def _retry(self) -> None:
        """Write the backlog in its order, the first of it every second until the store takes it."""
        while self._backlog:
            late, self._late = self._late, None
            try:
                if late is not None:
                    await late
                else:
                    await self._clock.sleep(RETRY_SECONDS)
                while self._backlog:
                    await self._commit(self._backlog[0])
            except OutsideError as fault:
                self._tell_failing(describe_fault(fault))
        self._failed = ("", float("-inf"))
        self._observer.note("store answers again")

    def _tell_failing(self, why: str) -> None:
        """When the reason changes, and every five minutes."""
        before, told_at = self._failed
        if why != before or self._clock.monotonic() - told_at >= REPEAT_SECONDS:
            self._failed = (why, self._clock.monotonic())
            self._observer.note("commit failed again", detail=why, waiting=len(self._backlog))
        self._alarm.ring()

    @property
    def alone(self) -> bool:
        """Whether there can be no other replica."""
        return self._keeper is None or self._keeper.exclusive

    def _spawn(self, work: Coroutine[object, object, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

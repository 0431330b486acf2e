"""Step 4 of the path: one worker that writes changed alerts, incidents, timeline and outbox in one transaction.

Commits that wait in the same 5 ms share a transaction. Memory is swapped in the same step as the commit ends. When the store fails
or takes over 2 s, the same decision is made on the last known book and its notices go out from memory; the write waits its turn and
is tried every second. Ids are deterministic, so what went out and what is written later are the same notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from detector.app.guard import describe_fault, guard, is_set_within, wait_for
from detector.app.transaction import Job, Write, add_lost, fold_book, keep_memory
from detector.domain.correlate import correlate
from detector.domain.incident import Book
from detector.ports.error import OutsideError, TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from detector.app.muteboard import MuteBoard
    from detector.app.roster import Roster
    from detector.domain.alert import Transition
    from detector.domain.incident import Decision, Incident, Notice
    from detector.domain.ledger import Paging
    from detector.ports.clock import Clock
    from detector.ports.observer import Observer
    from detector.ports.store import AlertRecord, Committed, Decide, Store

T = TypeVar("T")

GATHER_SECONDS = 0.005
PATIENCE_SECONDS = 2.0
RETRY_SECONDS = 1.0
CHECKPOINT_SECONDS = 15.0
TIMER_LOOK_SECONDS = 5.0  # a due moment is wall time, which may be set while we sleep
TIMER_PAUSE_SECONDS = 1.0
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
    ) -> None:
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
        self._jobs: list[Job] = []
        self._backlog: deque[Write] = deque()
        self._arrived = asyncio.Event()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._late: asyncio.Task[None] | None = None
        self._timers_looked = float("-inf")
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
        return bool(self._backlog) or self._checkpoint_failing

    @property
    def moved(self) -> str | None:
        """Where the store's corrupt file was moved, None where it never was."""
        return self._store.recovered_from

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._jobs or self._backlog or self._lock.locked())

    def remember(self, incidents: Mapping[str, Incident]) -> None:
        """Start from the incidents that the store holds."""
        self._book = self._written = Book(dict(incidents))
        self._moved = self._moved_now = self._store.recovered_from
        self._observer.incidents_counted(self._book.incidents.values())

    async def submit(
        self, records: Sequence[AlertRecord], transitions: Sequence[Transition], swap: Callable[[], None] = keep_memory
    ) -> None:
        """Have it written; `swap` is called in the same step as the commit ends. Returns after that.

        While the store fails it returns once the notices were offered from memory. Raises what `correlate` raised; then nothing is
        swapped.
        """
        job = Job(records, transitions, swap, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrived.set()
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
        self._arrived.set()

    async def run(self) -> None:
        """Gather and write until cancelled. Guard this."""
        while True:
            await self._wait()
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
            dirty = self._roster.dirty()
            if dirty.empty:
                return True
            try:
                await self._store.checkpoint(dirty.progress, dirty.alerts)
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

    async def _wait(self) -> None:
        """Until something was submitted, and 5 ms more for others, or a timer is due."""
        while not self._jobs:
            pause = self._until_timer()
            if pause is not None and pause <= 0:
                self._timers_looked = self._clock.monotonic()
                return
            self._arrived.clear()
            if pause is None:
                await self._arrived.wait()
            else:
                await is_set_within(self._arrived, pause, self._clock)
        await self._clock.sleep(GATHER_SECONDS)

    def _until_timer(self) -> float | None:
        """Seconds until the next look at the timers; None when there is none."""
        due = self._find_due()
        if due is None:
            return None
        rest = self._timers_looked + TIMER_PAUSE_SECONDS - self._clock.monotonic()
        return max(min(due - self._clock.now(), TIMER_LOOK_SECONDS), rest)

    def _find_due(self) -> float | None:
        """When an incident's timer or, while one is active, a mute that begins or ends wants a decision."""
        incidents = self._book.incidents.values()
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
            decision = await self._store.commit(write.records, self._remembering(write), write.now)
            if self._backlog and self._backlog[0] is write:
                self._backlog.popleft()
            self._end(write, decision)

    def _remembering(self, write: Write) -> Decide:
        def decide(book: Book) -> Decision:
            write.book = whole = self._recover(book)
            decision = correlate(whole, write.transitions, write.catalogue, self._paging, write.now, write.mutes)
            return add_lost(decision, whole, book)

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

    def _note_recovered(self) -> None:
        """What was lost is in the new file now; rows of alerts follow with the next checkpoint."""
        if self._moved_now != self._moved:
            self._moved = self._moved_now
            self._roster.forget_rows()

    def _tell(self, book: Book, decision: Committed) -> None:
        self._written = fold_book(book, decision)
        if not self._backlog:  # while writes wait, the book in memory is ahead of the store's
            self._book = self._written
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
            self._arrived.set()  # its timers may be nearer than those waited for
            return decision

    def _postpone(self, write: Write) -> None:
        """Decide from memory, offer the notices, keep the write for when the store answers."""
        decision = correlate(self._book, write.transitions, write.catalogue, self._paging, write.now, write.mutes)
        if write.jobs or not decision.empty or not self._backlog:
            self._backlog.append(write)
        if decision.notices:
            self._offer(decision.notices)
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
        self._arrived.set()

    def _spawn(self, work: Coroutine[object, object, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""One real child process: started with its log in a file, awaited, frozen, killed, and seen to leave nothing behind."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from tests.kit.wait import PATIENCE_SECONDS, until, wait_until


class Process:
    """A child in a session of its own. As a context manager it starts on entry and stops on exit.

    `env` is added to this process's environment; `user` runs the child as that user (root only).
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self.user = user
        self.stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._family: list[psutil.Process] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The running or ended child; AssertionError when it was never started."""
        assert self._child is not None, f"{self.argv[0]} was not started"
        return self._child

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self.child.pid

    @property
    def is_running(self) -> bool:
        """Started and not ended (a frozen one runs)."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; the log file is continued over restarts."""
        assert not self.is_running, f"{self.argv[0]} runs already"
        as_user = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(  # type: ignore[call-overload]  # **: the three belong together
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.env,
                cwd=self.cwd,
                start_new_session=True,
                **as_user,
            )

    def read_log(self) -> str:
        """Everything it wrote so far, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def await_ready(self, condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Block until ready; AssertionError with the log's end when it ended first or took too long."""
        until(lambda: self._is_ready(condition), f"ready: {self._describe()}", seconds=seconds)

    async def wait_ready(self, condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """As `await_ready`, without blocking the loop."""
        await wait_until(lambda: self._is_ready(condition), f"ready: {self._describe()}", seconds=seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child alone."""
        self.child.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, until every thread stands still: it holds its sockets and answers nothing."""
        self.signal(signal.SIGSTOP)
        # the kernel reports the stop to the parent when the last thread has stopped, a moment after the signal was sent
        until(lambda: os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None, f"frozen: {self._describe()}")

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self.signal(signal.SIGCONT)

    def wait(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Block until it ends by itself; its exit code."""
        return self.child.wait(seconds)

    def kill(self) -> None:
        """SIGKILL to the child and all its descendants, as a power cut would."""
        if not self.is_running:
            return
        self._remember_family()
        for process in [psutil.Process(self.pid), *self._family]:
            _send(process, signal.SIGKILL)
        self.child.wait(PATIENCE_SECONDS)
        psutil.wait_procs(self._family, timeout=PATIENCE_SECONDS)

    def stop(self, *, seconds: float = PATIENCE_SECONDS) -> int | None:
        """End it politely, by force after `seconds`; its exit code, None when it was never started."""
        if self._child is None:
            return None
        if self.is_running:
            self._remember_family()
            self.thaw()
            self.signal(self.stop_signal)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.argv[0]} did not end within {seconds:g} s\n{self._log_end()}") from None
        return self.child.returncode

    def assert_nothing_left(self, *, seconds: float = 20.0) -> None:
        """After the end: no descendant of it lives on or lies about as a zombie."""
        assert not self.is_running, f"{self.argv[0]} still runs"
        _, alive = psutil.wait_procs(self._family, timeout=seconds)
        assert not alive, f"left behind by {self.argv[0]}: {alive}"

    def assert_no_zombies(self) -> None:
        """While it runs: it has reaped all its ended children."""
        children = psutil.Process(self.pid).children(recursive=True)
        zombies = [child for child in children if _is_zombie(child)]
        assert not zombies, f"zombies under {self.argv[0]}: {zombies}"

    def _is_ready(self, condition: Callable[[], bool]) -> bool:
        if not self.is_running:
            raise AssertionError(f"{self.argv[0]} ended with {self.child.returncode}\n{self._log_end()}")
        return condition()

    def _remember_family(self) -> None:
        try:
            self._family = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            self._family = []

    def _describe(self) -> str:
        return f"{self.argv[0]} (log: {self.log})"

    def _log_end(self) -> str:
        return "\n".join(self.read_log().splitlines()[-20:])


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

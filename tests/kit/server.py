"""What every real server of the tests can do: run within a block, stop, be killed, stand still and go on."""

from collections.abc import Callable
from typing import Self

from tests.kit.process import Process


class Server:
    """Over its process; `is_ready` says whether it can be used. As a context manager it runs within the block."""

    def __init__(self, process: Process, is_ready: Callable[[], bool]) -> None:
        self.process = process
        self._is_ready = is_ready

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and block until it can be used."""
        self.process.start()
        self.process.await_ready(self._is_ready)

    def stop(self) -> None:
        """End it politely; nothing happens when it does not run."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections are accepted by the kernel and never answered."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self.process.thaw()

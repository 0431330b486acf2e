"""Runs a coroutine at once as far as it goes without waiting, so that what has nothing to wait for costs no task.

Before it: `poller`, which walks thousands of rules whose answer has come. What Python 3.12 calls an eager task, for 3.11 too.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

T = TypeVar("T")


def begin_now(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T] | None:
    """What is left to run, for a task; None where nothing is. Raises what the coroutine raises before its first wait.

    Up to there it runs in the caller's task: it must not ask for the current one, as `asyncio.timeout` does.
    """
    try:
        waited_for = coroutine.send(None)
    except StopIteration:
        return None
    return _Rest(coroutine, waited_for)


class _Rest(Coroutine[Any, Any, T]):
    """A coroutine that has begun: says first what it waits for already."""

    __slots__ = ("_coroutine", "_said", "_waited_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], waited_for: object) -> None:
        self._coroutine = coroutine
        self._waited_for = waited_for
        self._said = False

    def __await__(self) -> Generator[Any, Any, T]:
        raise NotImplementedError("run it in a task")

    def send(self, value: Any, /) -> Any:  # noqa: ANN401 - a coroutine's own
        """Go on."""
        if not self._said:
            self._said = True
            return self._waited_for
        return self._coroutine.send(value)

    def throw(
        self,
        fault: Any,  # noqa: ANN401 - a coroutine's own
        value: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Any:  # noqa: ANN401 - a coroutine's own
        """Go on by this fault."""
        del value, traceback  # what a task throws is a whole exception
        self._said = True
        return self._coroutine.throw(fault)

    def close(self) -> None:
        """Give it up."""
        self._coroutine.close()

"""A coroutine that is begun without a task: what it gives, raises and waits for is what a task would have seen."""

from __future__ import annotations

import asyncio

import pytest

from detector.app.headstart import begin_now


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    """Nothing is left, and no turn of the loop has passed."""
    seen = []

    async def work() -> None:
        seen.append("done")

    assert begin_now(work()) is None
    assert seen == ["done"]


async def test_the_rest_goes_on_in_a_task() -> None:
    """It stands at its first wait until a task runs the rest; futures and bare turns are waited for, the result comes back."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        first = await gate
        await asyncio.sleep(0)
        return first + await asyncio.sleep(0, 1)

    rest = begin_now(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    await asyncio.sleep(0)
    assert not task.done()
    gate.set_result(41)
    assert await task == 42


async def test_a_fault_before_the_first_wait_is_raised_at_once() -> None:
    """The caller deals with it."""

    async def work() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        begin_now(work())


async def test_a_fault_of_what_is_waited_for_reaches_the_coroutine() -> None:
    """It may catch it and go on; one that it does not catch ends the task."""
    gates: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def work() -> None:
        try:
            await gates[0]
        except LookupError:
            await gates[1]

    rest = begin_now(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    gates[0].set_exception(LookupError("caught"))
    await asyncio.sleep(0)
    gates[1].set_exception(KeyError("told"))
    with pytest.raises(KeyError, match="told"):
        await task


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_cancelled_rest_cleans_up(turns: int) -> None:
    """Cancelled while it waits, or before its task began, the coroutine's `finally` runs."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    rest = begin_now(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    del rest
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert ended == [True]

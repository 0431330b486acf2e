"""A mitigation's command and everything it started end together at the timeout."""

import sys

import psutil

from detector.adapters.command import ProcessRunner
from tests.kit.wait import wait_until

# a child that ignores SIGTERM, in the same group; both would go on for a minute
SOURCE = """\
import subprocess, sys, time
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", sleep], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


async def test_a_timeout_ends_the_children_too() -> None:
    """What the command started is killed with it, though it does not listen to SIGTERM."""
    outcome = await ProcessRunner().run([sys.executable, "-c", SOURCE], {}, timeout_seconds=6.0)
    assert (outcome.words, outcome.ok) == ("timed out after 6 s and was killed", False)
    child = int(outcome.output)

    def is_gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    await wait_until(is_gone, "the child is gone")


async def test_what_is_left_out_of_a_long_output_is_said() -> None:
    """Beginning and end are kept, and how much is missing between them."""
    source = "print('begin', 'x' * 300_000, 'end')"
    outcome = await ProcessRunner().run([sys.executable, "-c", source], {}, timeout_seconds=60.0)
    assert outcome.output.startswith("begin x")
    assert outcome.output.endswith("x end")
    assert "bytes left out ...]" in outcome.output
    assert len(outcome.output) < 66_000

"""`python -m benchmarks.profiled OUT run`: the daemon, sampled by its own CPU time, by step of the path from sample to page.

Before it: `profile` starts it as a child. After it: OUT holds, as JSON, CPU samples by step. The kernel interrupts the process
every so many milliseconds of its CPU (ITIMER_PROF); the innermost frame that belongs to a step names it. A sampler disturbs far
less than a tracer, and what runs inside C counts for the line that called it. Samples that meet the loop asleep were another
thread's work.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli import main

if TYPE_CHECKING:
    from types import FrameType

SAMPLE_SECONDS = 0.002  # the kernel may have coarser ticks: what a sample stands for is the CPU spent by the samples taken
STORE, LOOP, BASELINE = "commit (the store's thread)", "event loop", "baselines, once a minute"
# the first that occurs in a file's path, from the innermost frame outwards; None: its caller's step
STEPS: tuple[tuple[str, str | None], ...] = (
    ("benchmarks/profiled", "garbage collector"),  # its callback is where a signal that met it is taken
    ("domain/alert", None),
    ("domain/label", None),
    ("domain/rule", None),
    ("domain/severity", None),
    ("domain/condition", None),
    ("domain/catalogue", None),
    ("sqlalchemy", "commit"),  # runs in a greenlet, whose frames end there
    ("aiosqlite", "commit"),
    ("prometheus_client", "observe"),
    ("aiohttp/web", "observe"),
    ("aiohttp", "query"),
    ("adapters/prometheus/answer", "decode"),
    ("adapters/prometheus", "query"),
    ("detector/transport", "query"),
    ("domain/outcome", "decode"),
    ("domain/reading", "read"),
    ("domain/advance", "advance"),
    ("domain/judgement", "advance"),
    ("adapters/condition", "advance"),
    ("domain/blind", "watch itself"),
    ("app/sentinel", "watch itself"),
    ("app/evaluation", "evaluate: the rest"),
    ("app/track", "evaluate: the rest"),
    ("app/roster", "evaluate: the rest"),
    ("app/baseline", BASELINE),
    ("app/norm", BASELINE),
    ("adapters/store", "commit"),
    ("app/committer", "commit"),
    ("app/transaction", "commit"),
    ("app/dispatcher", "deliver"),
    ("adapters/pagerduty", "deliver"),
    ("adapters/template", "deliver"),
    ("detector/web", "observe"),
    ("adapters/log", "observe"),
    ("domain/", "correlate"),
    ("detector/app", "other duties"),
    ("detector/adapters", "other duties"),
)
WAITING = ("selectors.py",)


class Sampler:
    """Counts samples by step; `write` after the end."""

    def __init__(self) -> None:
        self._steps: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()
        self._known: dict[str, str | None] = {}
        self._began = 0.0

    def start(self) -> None:
        """From now on."""
        gc.callbacks.append(lambda *_: None)
        self._began = time.process_time()
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def reset(self) -> None:
        """Forget what was sampled: the start is not what is asked for."""
        self._steps.clear()
        self._lines.clear()
        self._began = time.process_time()

    def write(self, path: Path) -> None:
        """Steps, and the lines that were met most often."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        spent = time.process_time() - self._began
        found = {"steps": dict(self._steps), "cpu_seconds": spent, "lines": self._lines.most_common(100)}
        path.write_text(json.dumps(found))

    def _take(self, _number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        step = STORE if frame.f_code.co_filename.endswith(WAITING) else self._find(frame)
        self._steps[step] += 1
        self._lines[f"{step}: {'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"] += 1

    def _find(self, frame: FrameType) -> str:
        """The innermost step; all of it is the baseline's where that asked."""
        found = None
        looked: FrameType | None = frame
        while looked is not None:
            step = self._name(looked.f_code.co_filename)
            if step == BASELINE:
                return BASELINE
            found = found or step
            looked = looked.f_back
        return found or LOOP

    def _name(self, file: str) -> str | None:
        if file not in self._known:
            self._known[file] = next((step for part, step in STEPS if part in file), None)
        return self._known[file]


def run() -> int:
    """Sample until the end; SIGUSR1 forgets what was sampled so far."""
    out, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    sampler = Sampler()
    signal.signal(signal.SIGUSR1, lambda *_: sampler.reset())
    sampler.start()
    try:
        return main() or 0
    finally:
        sampler.write(out)


if __name__ == "__main__":
    sys.exit(run())

"""How the demo looks: lines that stay, and below them on a terminal a live panel; in a pipe the lines alone.

Before it: `story` says what happened. After it: a person reads it, or the README shows it as a picture.
"""

from __future__ import annotations

import io
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from detector.domain.quantity import format_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from detector.standin.stage import Picture

LIMIT = 0.01  # the shipped rule's, for the colour only
BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = "_.:-=+*#"  # where the terminal's encoding has no blocks
WIDTH = 100
_SPARK_COLUMNS = 60
_SMALLEST_SCALE = 0.05
_SAMPLE_SECONDS = 1.0
_PROGRESS_LINE_SECONDS = 5.0
_ACTOR_COLUMNS = 11
_INCIDENTS = 3
_STYLES = {"critical": "bold red", "high": "bold red", "error": "bold red", "medium": "yellow", "warning": "yellow"}
_ACTOR_STYLES = {"detector": "bold cyan", "pagerduty": "bold magenta", "prometheus": "yellow", "shop": "blue"}


@dataclass(frozen=True, slots=True)
class Wait:
    """What the demo waits for, how long it has, and how long it usually takes; seconds."""

    label: str
    waited: float
    usual: float


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """The reader went away: let the story end in order, where rich would end the process."""
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError


class Screen:
    """Use it as a context manager; `say` and `show_page` may be called all the time, `update` as often as there is news."""

    def __init__(self, *, recording: bool = False) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows "?", and no traceback
        self._console = _Terminal(highlight=False, emoji=False)
        self._is_live = sys.stdout.isatty() and not self._console.is_dumb_terminal
        self._recorder = _build_recorder() if recording else None
        self._live: Live | None = None
        self._marks = BLOCKS if self._console.encoding.startswith("utf") else LETTERS
        self._started = time.monotonic()
        self._sampled = self._lined = -_PROGRESS_LINE_SECONDS
        self._history: dict[str, list[float]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pause()

    def resume(self) -> None:
        """On a terminal: begin a live panel below what is there."""
        if self._is_live:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()

    def _pause(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, actor: str, text: str, *, style: str = "") -> None:
        """One line that stays: when, who, what."""
        clock = _format_clock(self.elapsed)
        if not self._is_live:
            self._say_plainly(actor, text)
        grid = _build_grid()
        grid.add_row(Text(clock, "dim"), Text(actor, _ACTOR_STYLES.get(actor, "bold")), Text(text, style))
        self._print_pretty(lambda _: grid)

    def _say_plainly(self, actor: str, text: str) -> None:
        self.tell(f"{_format_clock(self.elapsed)}  {actor:<{_ACTOR_COLUMNS}} {text}")

    def tell(self, text: str = "", *, style: str = "") -> None:
        """Text without a time: what this is, and what to do next."""
        if not self._is_live:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            self._console.print(Text(text, style), soft_wrap=True)

    def show_page(self, title: str, rows: Sequence[tuple[str, str]], severity: str) -> None:
        """A page as it was received: a frame on a terminal, indented lines in a pipe."""
        if not self._is_live:
            self.tell(f"       {title}")
            for name, value in rows:
                self.tell(f"       | {name:<18} {value}")
        self._print_pretty(lambda width: _draw_page(title, rows, severity, width))

    def update(self, picture: Picture, wait: Wait | None = None) -> None:
        """Show the moment. In a pipe a long wait says every few seconds how far it is."""
        if self.elapsed - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = self.elapsed
            for service, ratio in picture.ratios.items():
                self._history.setdefault(service, []).append(ratio)
        if self._live is not None:
            self._live.update(self._draw(picture, wait, self._width), refresh=True)
        elif wait is not None and wait.waited >= _PROGRESS_LINE_SECONDS and self.elapsed - self._lined >= _PROGRESS_LINE_SECONDS:
            self._lined = self.elapsed
            self._say_plainly(
                "...", f"{wait.label}: {wait.waited:.0f} s of about {wait.usual:.0f} s{self._outline(picture.ratios)}"
            )

    def finish(self, picture: Picture) -> None:
        """The last picture, below which lines follow: the panel on a terminal, the sparklines in a pipe."""
        if self._live is not None:
            self._live.update(self._draw(picture, None, self._width), refresh=True)
            self._pause()
        else:
            for service, values in self._history.items():
                self.tell(f"       {service:<10} {self.spark(values)}  peak {format_percent(max(values))}")
        if self._recorder is not None:
            self._recorder.print(self._draw(picture, None, WIDTH))

    def save(self, file: Path) -> None:
        """Write what was recorded as an SVG that fetches nothing. Raises OSError."""
        if self._recorder is not None:
            svg = self._recorder.export_svg(title="detector demo", unique_id="demo")
            svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)  # rich's own fonts lie on other people's servers
            file.write_text(re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL))

    def spark(self, values: Sequence[float]) -> str:
        """The last minute of a series as one line of blocks; all series share one scale."""
        return "".join(self._marks[self._level(value)] for value in values[-_SPARK_COLUMNS:])

    @property
    def _width(self) -> int:
        return min(WIDTH, self._console.width) if self._is_live else WIDTH

    def _print_pretty(self, draw: Callable[[int], Table | Panel]) -> None:
        if self._is_live:
            self._console.print(draw(self._width))
        if self._recorder is not None:
            self._recorder.print(draw(WIDTH))

    def _outline(self, ratios: Mapping[str, float]) -> str:
        worst = max(ratios, key=lambda service: ratios[service], default=None)
        if worst is None or not ratios[worst]:
            return ""
        return f"; {worst} {format_percent(ratios[worst])} {self.spark(self._history.get(worst, [])[-20:])}"

    def _level(self, value: float) -> int:
        top = max(_SMALLEST_SCALE, *(max(values, default=0.0) for values in self._history.values()))
        highest = len(self._marks) - 1
        return min(highest, max(1, round(value / top * highest))) if value > 0 else 0

    def _draw(self, picture: Picture, wait: Wait | None, width: int) -> Panel:
        table = Table.grid(padding=(0, 2))
        for service, values in self._history.items():
            table.add_row(Text(service), self._color_spark(values, width - 30), _color_ratio(picture.ratios.get(service)))
        parts: list[Table | Text] = [table, Text(), _draw_state(picture)]
        if wait is not None:
            parts.append(_draw_wait(wait))
        title = f"error rate as Prometheus sees it, last {_SPARK_COLUMNS} s · {_format_clock(self.elapsed).strip()}"
        return Panel(Group(*parts), title=title, title_align="left", border_style="dim", width=width)

    def _color_spark(self, values: Sequence[float], columns: int) -> Text:
        shown = values[-min(_SPARK_COLUMNS, columns) :]
        return Text.assemble(*((self._marks[self._level(value)], "red" if value > LIMIT else "green") for value in shown))


def _build_recorder() -> Console:
    return Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        force_terminal=True,
        no_color=False,
        color_system="truecolor",
        highlight=False,
        emoji=False,
    )


def _build_grid() -> Table:
    grid = Table.grid(padding=(0, 1, 0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=_ACTOR_COLUMNS)
    grid.add_column(overflow="fold")
    return grid


def _draw_page(title: str, rows: Sequence[tuple[str, str]], severity: str, width: int) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value, "bold" if name == "summary" else _STYLES.get(value, "")))
    return Panel(table, title=title, title_align="left", border_style=_STYLES.get(severity, "green"), width=width)


def _draw_state(picture: Picture) -> Table:
    """The latest incidents and what is open at PagerDuty."""
    table = Table.grid(padding=(0, 2))
    for incident in picture.incidents[:_INCIDENTS]:
        severity, status, services = str(incident["severity"]), str(incident["status"]), incident["services"]
        style = _STYLES.get(severity, "") if status in {"open", "acknowledged"} else "green"
        table.add_row(
            "incident", Text(f"{severity.upper()} {status}", style), ", ".join(services), Text(str(incident["id"]), "dim")
        )
    opened = sum(alert.is_open for alert in picture.alerts)
    table.add_row("pagerduty", Text(f"{opened} open", "bold red" if opened else "green"), f"of {len(picture.alerts)} received")
    return table


def _draw_wait(wait: Wait) -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_row(
        Text(wait.label, "bold"),
        ProgressBar(total=wait.usual, completed=min(wait.waited, wait.usual), width=20),
        Text(f"{wait.waited:.0f} of about {wait.usual:.0f} s", "dim"),
    )
    return line


def _color_ratio(ratio: float | None) -> Text:
    if ratio is None:
        return Text("no data", "dim")
    return Text(f"{format_percent(ratio):>7}", "bold red" if ratio > LIMIT else "green")


def _format_clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:2d}:{rest:02d}"

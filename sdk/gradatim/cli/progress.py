"""The live progress line of `wait`, `run` and `up`: one moving line on a terminal, plain lines elsewhere.

Always on standard error. Plain lines appear only when something changed, and for mere figures not too often, so that logs of a pipeline
stay short.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gradatim.cli.output import say

FIGURES_SECONDS = 15.0


class Line(Protocol):
    """Shows how far something is. `percent` is None while it is unknown."""

    def __call__(self, text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
        """Show this now."""
        ...


@contextmanager
def progress_line(title: str) -> Iterator[Line]:
    """Give a function that shows progress until the block ends."""
    if not sys.stderr.isatty():
        yield PlainLines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[percent]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}"),
        # The one column that gives way on a narrow terminal.
        TextColumn(
            "{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as live:
        task = live.add_task(title, total=None, text="", percent="", eta="")

        def update(text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
            live.update(
                task,
                total=None if percent is None else 100,
                completed=percent or 0,
                percent="" if percent is None else f"{percent:3d} %",
                eta="" if eta_seconds is None else f"{_span(eta_seconds)} left",
                text=text,
            )

        yield update


class PlainLines:
    """One line per change; a line that differs from the last in figures alone waits until some seconds have passed."""

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._clock = clock
        self._last = ""
        self._shown = 0.0

    def __call__(self, text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
        """Print a line if it says something new."""
        line = f"{'' if percent is None else f'{percent} % '}{text}"
        now = self._clock()
        same = _without_figures(line) == _without_figures(self._last)
        if not text or line == self._last or (same and now - self._shown < FIGURES_SECONDS):
            return
        self._last, self._shown = line, now
        eta = "" if eta_seconds is None else f" (about {_span(eta_seconds)} left)"
        say(f"{self._title}: {line}{eta}")


def _without_figures(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", text)


def _span(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{f'{minutes} min ' if minutes else ''}{rest} s"

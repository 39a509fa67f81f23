"""The live progress line of `wait`, `run` and `up`: one moving line on a terminal, plain lines elsewhere.

Always on standard error. Plain lines appear only when something changed, so that logs of a pipeline stay short.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from gradatim.cli.output import say


class Line(Protocol):
    """Shows how far something is. `percent` is None while it is unknown."""

    def __call__(self, text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
        """Show this now."""
        ...


@contextmanager
def progress_line(title: str) -> Iterator[Line]:
    """Give a function that shows progress until the block ends."""
    if not sys.stderr.isatty():
        yield _Plain(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[percent]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as live:
        task = live.add_task(title, total=None, text="", percent="")

        def update(text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
            shown = "" if percent is None else f"{percent:3d} %"
            live.update(
                task,
                total=None if percent is None else 100,
                completed=percent or 0,
                percent=shown,
                text=_with_eta(text, eta_seconds),
            )

        yield update


class _Plain:
    def __init__(self, title: str) -> None:
        self._title = title
        self._last = ""

    def __call__(self, text: str, percent: int | None = None, eta_seconds: int | None = None) -> None:
        line = f"{self._title}: {'' if percent is None else f'{percent} % '}{text}"
        if line != self._last and text:
            self._last = line
            say(line if eta_seconds is None else f"{self._title}: {percent or 0} % {_with_eta(text, eta_seconds)}")


def _with_eta(text: str, eta_seconds: int | None) -> str:
    if eta_seconds is None:
        return text
    minutes, seconds = divmod(eta_seconds, 60)
    return f"{text} (about {f'{minutes} min ' if minutes else ''}{seconds} s left)"

"""The progress line: moving on a terminal and never wider than it, elsewhere a few plain lines."""

from __future__ import annotations

import io

import pytest

from gradatim.cli.progress import PlainLines, progress_line

COMPILING = "kube: compiling: {} modules fetched, {} packages compiled, {} s"
STEPS: list[tuple[str, float, str, int | None, str]] = [
    ("a first line", 0, COMPILING.format(0, 0, 0), None, "up: kube: compiling: 0 modules fetched, 0 packages compiled, 0 s\n"),
    ("the same at once", 1, COMPILING.format(0, 0, 0), None, ""),
    ("other figures at once", 2, COMPILING.format(7, 1, 2), None, ""),
    ("nothing to say", 3, "", None, ""),
    ("other figures later", 16, COMPILING.format(90, 12, 16), None, "up: kube: compiling: 90 modules fetched, 12 packages compiled, 16 s\n"),
    ("another text at once", 17, "etcd: starting", None, "up: etcd: starting\n"),
    ("a percentage", 18, "embed: 5 of 10 chunks", 40, "up: 40 % embed: 5 of 10 chunks (about 1 min 5 s left)\n"),
    ("more of it at once", 19, "embed: 6 of 10 chunks", 45, ""),
]  # fmt: skip


def test_plain_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    line = PlainLines("up", lambda: now)
    found = []
    for name, at, text, percent, _ in STEPS:
        now = at
        line(text, percent, None if percent is None else 65)
        found.append((name, capsys.readouterr().err))
    assert found == [(s[0], s[4]) for s in STEPS]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_narrow_terminal_the_text_gives_way_and_the_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    for name, value in {"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with progress_line("ragindex/gradatim-docs") as line:
        line("embed: " + "many words " * 20, 45, 75)
    shown = [part for part in screen.getvalue().replace("\r", "\n").splitlines() if "embed" in part]
    assert shown, screen.getvalue()
    assert all(text in shown[-1] for text in ("45 %", "1 min 15 s left", "embed: many", "…"))

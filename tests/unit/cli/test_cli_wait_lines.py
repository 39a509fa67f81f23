"""The lines that `gradatim wait` and `gradatim logs` show: never an empty one, never the same twice."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api import RAGIndex
from gradatim.api.runstatus import Progress
from gradatim.cli.progress import progress_line
from gradatim.cli.runs import _once, _show_progress
from gradatim.client.waiting import WaitUpdate

RUN = {"name": "r", "trigger": "generation", "attempts": [{"number": 1}]}


def index(**status: Any) -> RAGIndex:
    return RAGIndex.model_validate(
        {
            "metadata": {"name": "handbook"},
            "spec": {
                "sources": [{"name": "a", "source": {"path": "file:///d"}}],
                "embedding": {"model": {"uri": "file:///m"}},
            },
            "status": status,
        }
    )


def progress(message: str = "512 of 1,024 chunks") -> Progress:
    return Progress(stage="embed", percent=45, eta_seconds=75, message=message)


LINES: dict[str, tuple[RAGIndex, str, Progress | None, str]] = {
    "what is waited for": (index(), "Pending: so", None, "w: Pending: so\n"),
    "a running stage with its figures": (
        index(run=RUN, progress={"stage": "embed"}),
        "",
        progress(),
        "w: 45 % embed: 512 of 1,024 chunks (about 1 min 15 s left)\n",
    ),
    "the metric of the version that serves meanwhile": (
        index(run=RUN, qualityText="ndcg@10 0.801"),
        "",
        progress(),
        "w: 45 % embed: 512 of 1,024 chunks [ndcg@10 0.801 now] (about 1 min 15 s left)\n",
    ),
    "a workload of an older release says nothing": (
        index(run=RUN),
        "",
        progress(""),
        "w: 45 % embed (about 1 min 15 s left)\n",
    ),
    "the end is no line": (index(run=RUN | {"done": True}, qualityText="ndcg@10 0.801"), "", progress(), ""),
}


@pytest.mark.parametrize(("thing", "text", "at", "shown"), LINES.values(), ids=LINES.keys())
def test_a_line_says_what_is_going_on(
    thing: RAGIndex, text: str, at: Progress | None, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_line("w") as line:
        for _ in range(2):
            _show_progress(line, WaitUpdate(thing, text, at, 1.0))
    assert capsys.readouterr().err == shown


def test_an_update_prints_as_one_line() -> None:
    assert str(WaitUpdate(index(), "embed 45 %: so", None, 3.2)) == "handbook: embed 45 %: so (3 s)"
    assert str(WaitUpdate(index(), "", None, 3.2)) == "handbook: done (3 s)"


def test_a_note_is_told_again_only_when_it_changed() -> None:
    told: list[str] = []
    tell = _once(told.append)
    for note in ("waits", "waits", "writes nothing", "waits"):
        tell(note)
    assert told == ["waits", "writes nothing", "waits"]

"""A watched namespace that may not be read, as one that was deleted, is left out, so that the others are looked at."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gradatim.api.reasons import Reason
from gradatim.operator import main, namespaces
from gradatim.operator.errors import TryLater, WillNeverWork
from gradatim.operator.kube import ApiUnreachable, Body, KubeError, Resource
from gradatim.operator.namespaces import TRIES, narrowed, until_readable
from gradatim.operator.settings import Settings

BOTH = Settings(watch_namespaces=("team-a", "team-b"))


class Lists:
    """An API server that refuses lists of a kind in a namespace, by that many answers, or for ever."""

    def __init__(self, *refused: str, status: int = 403, times: int | None = None) -> None:
        self.refused, self.status, self.times = set(refused), status, times
        self.asked: list[str] = []

    async def pages(self, resource: Resource, namespace: str, **_: Any) -> AsyncIterator[list[Body]]:
        """Yield one page."""
        resource.path(namespace)
        self.asked.append(f"{namespace} {resource.plural}")
        if f"{namespace} {resource.plural}" in self.refused and self.times != 0:
            self.times = None if self.times is None else self.times - 1
            raise KubeError(self.status, "Forbidden", "no")
        yield []

    async def close(self) -> None:
        """Close nothing."""


GONE = ("team-b datasets", "team-b ragindices")
CASES: list[tuple[str, Lists, tuple[str, ...], tuple[str, ...]]] = [
    ("all may be read", Lists(), ("team-a", "team-b"), ()),
    ("one is gone", Lists(*GONE), ("team-a",), ("team-b",)),
    ("one is not found", Lists(*GONE, status=404), ("team-a",), ("team-b",)),
    ("one may be read in part", Lists("team-b ragindices"), ("team-a",), ("team-b",)),
    ("rights come a moment later", Lists(*GONE, times=TRIES - 1), ("team-a", "team-b"), ()),
]


@pytest.mark.parametrize(("lists", "left", "refused"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_what_is_watched_where(
    lists: Any, left: tuple[str, ...], refused: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        found = await narrowed(lists, BOTH, pause=0.0)
    assert found == (dataclasses.replace(BOTH, watch_namespaces=left), refused)
    said = [r.getMessage() for r in caplog.records]
    assert [text.partition(":")[0] for text in said] == [f"namespace {name!r} is not watched" for name in refused]


async def test_a_name_that_no_namespace_can_have_is_left_out_too() -> None:
    odd: Any = Lists()
    assert await narrowed(odd, Settings(watch_namespaces=("Team_A", "team-b")), pause=0.0) == (
        Settings(watch_namespaces=("team-b",)),
        ("Team_A",),
    )


async def test_where_none_may_be_read_the_operator_watches_nothing_rather_than_everything() -> None:
    lists: Any = Lists(*GONE, "team-a datasets")
    with pytest.raises(WillNeverWork, match="team-a, team-b"):
        await narrowed(lists, BOTH, pause=0.0)


async def test_without_a_list_of_namespaces_nothing_is_asked() -> None:
    lists: Any = Lists("team-a datasets")
    assert await narrowed(lists, Settings(), pause=0.0) == (Settings(), ())
    assert lists.asked == []


@pytest.mark.parametrize("status", [401, 500])
async def test_another_answer_is_no_verdict_on_a_namespace(status: int) -> None:
    lists: Any = Lists("team-b datasets", status=status)
    with pytest.raises(KubeError):
        await narrowed(lists, BOTH, pause=0.0)


async def test_the_process_starts_anew_once_a_namespace_may_be_read() -> None:
    lists: Any = Lists(*GONE, times=3)
    with pytest.raises(TryLater, match="'team-b' may be read now"):
        await asyncio.wait_for(until_readable(lists, ("team-b",), 0.0), 1)
    assert lists.asked.count("team-b datasets") == 4


@pytest.mark.parametrize(
    "error",
    [WillNeverWork(Reason.CREDENTIALS_REFUSED, "no namespace may be read"), ApiUnreachable("no answer")],
    ids=["none may be read", "no answer"],
)
async def test_an_operator_that_cannot_start_says_why_and_ends(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(namespaces, "narrowed", refuse)
    with caplog.at_level(logging.ERROR):
        assert await main.run(BOTH) == 1
    assert [r.getMessage() for r in caplog.records] == [f"the operator cannot start: {error}"]

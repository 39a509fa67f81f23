"""Which worker gets which piece, and what happens to the pieces of a lost one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.workloads.dispatch import PIECES_PER_SEAT, Board, Seat
from gradatim.workloads.processors import share, usable


def seats(*ready: bool) -> list[Seat]:
    """Return seats, some of them with a worker that has started."""
    return [Seat(number, flag) for number, flag in enumerate(ready)]


def filled(places: list[Seat], items: str) -> Board:
    """Return a board that has taken inputs."""
    board = Board(places)
    for item in items:
        board.take(item)
    return board


def handed(board: Board) -> list[tuple[int, str]]:
    """Hand out all that can be; returns who got what."""
    return [(seat.number, piece.item) for seat, piece in board.hand_out()]


@pytest.mark.parametrize(
    ("ready", "items", "expected"),
    [
        ((True,), "abc", [(0, "a"), (0, "b")]),
        ((True, True), "abcd", [(0, "a"), (1, "b"), (0, "c"), (1, "d")]),
        ((False, True), "abc", [(1, "a"), (1, "b")]),
        ((False, False), "ab", []),
        ((True, True), "", []),
    ],
    ids=[
        "one worker gets no more than it needs", "two share", "one that has not started gets nothing", "nobody is there",
        "there is nothing to do",
    ],
)  # fmt: skip
def test_pieces_go_to_who_has_least_to_do(ready: tuple[bool, ...], items: str, expected: list[tuple[int, str]]) -> None:
    assert handed(filled(seats(*ready), items)) == expected


def test_a_lost_worker_s_pieces_go_first_and_only_the_one_in_work_is_blamed() -> None:
    places = seats(True, True)
    board = filled(places, "abcd")
    handed(board)
    blamed = board.lose(places[0])
    assert blamed is not None
    assert (blamed.item, blamed.losses, places[0].ready) == ("a", 1, False)
    assert handed(board) == [], "the other has enough"
    board.finish(places[1], places[1].pieces[0], "B")
    assert list(board.results()) == [], "the first is missing"
    assert handed(board) == [(1, "a")]
    places[0].ready = True
    assert handed(board) == [(0, "c")]
    assert board.lose(Seat(9)) is None


def test_no_more_is_taken_ahead_than_keeps_all_busy() -> None:
    board = filled(seats(True, False), "abc")
    assert board.room
    board.take("d")
    assert not board.room


def test_an_abandoned_pass_leaves_the_seats_free() -> None:
    places = seats(True)
    board = filled(places, "ab")
    handed(board)
    board.abandon()
    assert (board.empty, places[0].pieces) == (True, [])
    assert handed(filled(places, "c")) == [(0, "c")]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(0, 20), st.integers())
def test_whatever_is_lost_every_result_comes_once_and_in_order(workers: int, number: int, seed: int) -> None:
    chance = random.Random(seed)
    places = seats(*[False] * workers)
    board = Board(places)
    source: Iterator[int] = iter(range(number))
    more, out = True, []
    while True:
        while more and board.room:
            item = next(source, None)
            more = item is not None
            if more:
                board.take(item)
        if board.empty:
            break
        for seat, piece in board.hand_out():
            assert piece in seat.pieces
        assert all(len(seat.pieces) <= PIECES_PER_SEAT for seat in places)
        seat = chance.choice(places)
        if not seat.ready:
            seat.ready = True
        elif chance.random() < 0.3:
            board.lose(seat)
        elif seat.pieces:
            piece = chance.choice(seat.pieces)
            board.finish(seat, piece, piece.item)
        out += board.results()
    assert out == list(range(number))


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
    ids=[
        "version 2",
        "half a processor is one",
        "version 1",
        "no limit",
        "no limit in version 1",
        "nonsense",
        "no cgroup",
    ],
)
def test_a_container_s_processors_count_and_not_the_machine_s(
    tmp_path: Path, files: dict[str, str], most: int | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    nothing = tmp_path / "nothing"
    assert usable(tmp_path) == (usable(nothing) if most is None else most)


def test_workers_of_one_machine_share_its_processors() -> None:
    assert [share(16, places) for places in (1, 2, 16, 32, 0)] == [16, 8, 1, 1, 16]

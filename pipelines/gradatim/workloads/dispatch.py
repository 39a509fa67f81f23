"""Which worker does which piece next, and where the pieces of a lost worker go.

Pure bookkeeping of `actors.py`, which owns the processes. Results leave in the order of the inputs; a bounded number of pieces is taken ahead of
them; no worker has more than it needs to stay busy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

PIECES_PER_SEAT = 2


@dataclass(slots=True, eq=False)
class Piece:
    """One input and, once `done`, its result. `losses` counts the workers that were lost while they worked on it."""

    item: Any
    losses: int = 0
    done: bool = False
    result: Any = None


@dataclass(slots=True, eq=False)
class Seat:
    """The place of one worker. The first of its pieces is the one it works on."""

    number: int
    ready: bool = False
    pieces: list[Piece] = field(default_factory=list)


class Board:
    """The pieces of one pass over the inputs."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._order: deque[Piece] = deque()
        self._waiting: deque[Piece] = deque()

    @property
    def room(self) -> bool:
        """Whether another input may be taken."""
        return len(self._order) < PIECES_PER_SEAT * len(self._seats)

    @property
    def empty(self) -> bool:
        """Whether every result was given out."""
        return not self._order

    def take(self, item: Any) -> None:
        """Take an input."""
        piece = Piece(item)
        self._order.append(piece)
        self._waiting.append(piece)

    def hand_out(self) -> Iterator[tuple[Seat, Piece]]:
        """Yield who gets what now: always the one with least to do."""
        while self._waiting:
            free = [seat for seat in self._seats if seat.ready and len(seat.pieces) < PIECES_PER_SEAT]
            if not free:
                return
            seat = min(free, key=lambda seat: (len(seat.pieces), seat.number))
            piece = self._waiting.popleft()
            seat.pieces.append(piece)
            yield seat, piece

    def finish(self, seat: Seat, piece: Piece, result: Any) -> None:
        """Note a result."""
        seat.pieces.remove(piece)
        piece.done, piece.result, piece.item = True, result, None

    def lose(self, seat: Seat) -> Piece | None:
        """Take back a lost worker's pieces, to be handed out before all others; returns the one it worked on, if any."""
        lost, seat.pieces, seat.ready = seat.pieces, [], False
        self._waiting.extendleft(reversed(lost))
        if not lost:
            return None
        lost[0].losses += 1
        return lost[0]

    def results(self) -> Iterator[Any]:
        """Yield the results that are due, in order."""
        while self._order and self._order[0].done:
            yield self._order.popleft().result

    def abandon(self) -> None:
        """Forget everything: nobody wants the results any more."""
        self._order.clear()
        self._waiting.clear()
        for seat in self._seats:
            seat.pieces = []

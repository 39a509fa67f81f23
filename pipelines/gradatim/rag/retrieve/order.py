"""The order of passages in a prompt.

Called last by the retriever. Pure. Models read the beginning and the end of a long context best (Liu et al., "Lost in the Middle", 2023),
so `edges` puts the best passages at both ends and the weakest in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def edges(best_first: Sequence[Item]) -> list[Item]:
    """Return the items with ranks 1, 3, 5 … from the front and 2, 4, 6 … from the back.

    >>> edges([1, 2, 3, 4, 5])
    [1, 3, 5, 4, 2]
    """
    return [*best_first[0::2], *reversed(best_first[1::2])]

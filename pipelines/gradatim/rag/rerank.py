"""A cross-encoder that scores question and passage together.

The retriever calls it when an index asks for reranking; it is off by default. Weights come from a local folder in safetensors; no code of a
model is run and nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gradatim.rag.model import RagError

BATCH_PAIRS = 32


class RerankerError(RagError):
    """The cross-encoder cannot be loaded, or gives something else than one finite score per passage."""


@dataclass(frozen=True, slots=True)
class CrossEncoderReranker:
    """Scores from 0 to 1, higher is better."""

    model: Any
    name: str

    @classmethod
    def load(cls, folder: Path, max_tokens: int | None = None) -> Self:
        """Load weights and tokenizer from a folder. Raises RerankerError naming what is wrong with it."""
        if not any(folder.glob("*.safetensors")):
            raise RerankerError(f"{folder} holds no safetensors weights; give the folder of a cross-encoder")
        # Slow to import, and most queries never rerank.
        from sentence_transformers import CrossEncoder

        try:
            model = CrossEncoder(
                str(folder),
                max_length=max_tokens,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise RerankerError(f"the cross-encoder in {folder} cannot be loaded: {error}") from error
        if model.num_labels != 1:
            raise RerankerError(f"the model in {folder} gives {model.num_labels} scores per pair; a reranker gives one")
        model.eval()
        return cls(model, folder.name)

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one score per passage, in the order given. Pairs of like length share a batch, so that little is padding."""
        if not passages:
            return []
        from torch import nn

        order = sorted(range(len(passages)), key=lambda position: (-len(passages[position]), position))
        found = self.model.predict(
            [(question, passages[position]) for position in order],
            batch_size=BATCH_PAIRS,
            activation_fn=nn.Sigmoid(),
            show_progress_bar=False,
        )
        scores = [0.0] * len(passages)
        for position, value in zip(order, found, strict=True):
            score = float(value)
            if not 0.0 <= score <= 1.0:
                raise RerankerError(f"the cross-encoder {self.name} gave {score} for a pair; its weights are damaged")
            scores[position] = score
        return scores

"""Any sentence-transformers model, on a processor or a GPU.

Runs the model's own modules on padded batches of token ids, under autocast where bf16 is chosen. Slower on a processor than `bert`, but
right for every architecture. No code from the model folder is run.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradatim.rag.embed.architecture import Ids
from gradatim.rag.embed.files import ModelFiles
from gradatim.rag.embed.options import EncoderError


class PaddedModel:
    """A SentenceTransformer called below its tokenizer."""

    def __init__(self, files: ModelFiles, dtype: torch.dtype, device: str) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            self.model: Any = SentenceTransformer(
                str(files.path),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            ).eval()
        except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
            raise EncoderError(f"{files.path}: cannot be loaded: {error}") from error
        self.dtype, self.device = dtype, device
        self.pad = int(files.config.get("pad_token_id") or 0)
        self.step = 1  # a batch is padded to its longest text, whatever its length
        self.dimension = int(self([np.array([self.pad], dtype=np.int64)]).shape[1])

    def __call__(self, ids: list[Ids]) -> Tensor:
        """[n, dimension] float32 vectors of n texts, on the CPU."""
        longest = max(len(item) for item in ids)
        tokens = np.full((len(ids), longest), self.pad, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, item in enumerate(ids):
            tokens[row, : len(item)] = item
            mask[row, : len(item)] = 1
        features = {
            "input_ids": torch.from_numpy(tokens).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }
        low = self.dtype is torch.bfloat16
        with torch.inference_mode(), torch.autocast(self.device, dtype=torch.bfloat16) if low else nullcontext():
            vectors: Tensor = self.model(features)["sentence_embedding"]
        return vectors.float().cpu()

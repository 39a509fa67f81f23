"""Texts to vectors with a sentence-transformers model.

The index workload embeds whole blocks of chunks with it, serving embeds questions, the semantic chunker sentences. It tokenises each text
once, embeds equal texts once, sorts the block by length and batches by tokens. Loads from a local folder only; see `load` for fetching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from gradatim.rag.embed.architecture import Ids, Vectors, open_tokenizer, supported
from gradatim.rag.embed.batching import filled, plan_batches
from gradatim.rag.embed.bert import PackedBert
from gradatim.rag.embed.files import ModelFiles, read_model
from gradatim.rag.embed.general import PaddedModel
from gradatim.rag.embed.options import EmbedOptions, EncoderError, Kind, Precision

Progress = Callable[[int, int], None]

CPU_BATCH_TOKENS = 2048  # a larger batch leaves the processor's cache and is slower
FEW_TOKENS = 256  # a question or two: several threads would wait for each other longer than they work
TOKENIZE_TEXTS = 2048  # texts tokenised at once: the tokenizer keeps far more than the ids


@dataclass(frozen=True, slots=True)
class Encoded:
    """`vectors` [n, d] in the order of the texts; `truncated` texts were longer than the model reads; `tokens` were computed."""

    vectors: Vectors
    truncated: int
    tokens: int


class Encoder:
    """A loaded model. Not safe for use from several threads at once: one per actor."""

    def __init__(self, path: Path, options: EmbedOptions | None = None) -> None:
        self.options = options or EmbedOptions()
        self.files: ModelFiles = read_model(path)
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        self.device = _device(self.options.device)
        dtype = torch.bfloat16 if _use_bf16(self.options.precision, self.device) else torch.float32
        self.precision = Precision.BF16 if dtype is torch.bfloat16 else Precision.FP32
        self._tokenizer = open_tokenizer(self.files)
        fast = self.device == "cpu" and supported(self.files)
        self._model: PackedBert | PaddedModel = (
            PackedBert(self.files, dtype) if fast else PaddedModel(self.files, dtype, self.device)
        )
        self._always_normal = self.files.modules[-1] == "Normalize"

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the model's files."""
        return self.files.digest

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._model.dimension

    @property
    def fingerprint(self) -> str:
        """See `EmbedOptions.fingerprint`."""
        return self.options.fingerprint(self.digest)

    def max_text_tokens(self, kind: Kind = Kind.DOCUMENT) -> int:
        """Tokens of a text that the model reads, its special tokens and the prefix taken off: no chunk should be longer."""
        return self.files.max_tokens - len(self._tokenizer.encode(self.options.prefix(kind)).ids)

    def encode(self, texts: Sequence[str], kind: Kind = Kind.DOCUMENT, progress: Progress | None = None) -> Vectors:
        """[n, d] float32 vectors in the order of `texts`; see `encode_counted`."""
        return self.encode_counted(texts, kind, progress).vectors

    def encode_counted(
        self, texts: Sequence[str], kind: Kind = Kind.DOCUMENT, progress: Progress | None = None
    ) -> Encoded:
        """Embed `texts` with the prefix of their kind. `progress(done, total)` is called after each batch, in distinct texts."""
        if not texts:
            return Encoded(np.zeros((0, self.dimension), dtype=np.float32), 0, 0)
        position = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        where = [position[text] for text in texts]
        ids, cut = self._tokenize(list(position), self.options.prefix(kind))
        budget = min(self.options.batch_tokens, CPU_BATCH_TOKENS) if self.device == "cpu" else self.options.batch_tokens
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        done = 0
        with torch.inference_mode(), _one_thread(few=self.device == "cpu" and sum(map(len, ids)) <= FEW_TOKENS):
            step = self._model.step
            for batch in plan_batches([filled(len(item), step) for item in ids], budget):
                found = self._model([ids[index] for index in batch])
                if self.options.normalize or self._always_normal:
                    found = torch.nn.functional.normalize(found, dim=1)
                vectors[batch] = found.numpy()
                done += len(batch)
                if progress is not None:
                    progress(done, len(ids))
        truncated = sum(cut[index] for index in where)
        return Encoded(vectors[where], truncated, sum(len(item) for item in ids))

    def _tokenize(self, texts: list[str], prefix: str) -> tuple[list[Ids], list[bool]]:
        ids: list[Ids] = []
        cut: list[bool] = []
        for start in range(0, len(texts), TOKENIZE_TEXTS):
            part = texts[start : start + TOKENIZE_TEXTS]
            for encoding in self._tokenizer.encode_batch_fast([prefix + text for text in part] if prefix else part):
                ids.append(np.array(encoding.ids, dtype=np.int64))
                cut.append(bool(encoding.overflowing))
        return ids, cut


@contextmanager
def _one_thread(*, few: bool) -> Iterator[None]:
    threads = torch.get_num_threads()
    if not few or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _device(chosen: str) -> str:
    available = torch.cuda.is_available()
    if chosen == "cuda" and not available:
        raise EncoderError("device is cuda but this machine has none; use auto or cpu")
    return "cuda" if available and chosen != "cpu" else "cpu"


def _use_bf16(precision: Precision, device: str) -> bool:
    if precision is not Precision.AUTO:
        return precision is Precision.BF16
    return bool(torch.cuda.is_bf16_supported()) if device == "cuda" else cpu_has_bf16()


@cache
def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bf16 matrices by itself; false where it does not say."""
    if not cpuinfo.exists():
        return False
    for line in cpuinfo.read_text(errors="replace").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())
    return False

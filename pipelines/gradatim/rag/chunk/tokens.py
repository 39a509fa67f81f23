"""Token offsets of a text as an array, in time and memory linear in its length.

The chunkers need to know where tokens lie, never which ones. `HfTokenizer` reads a `tokenizer.json`, the very file the encoder uses, so
that a chunk of n tokens is n tokens for the encoder too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from gradatim.rag.model import RagError

Offsets = NDArray[np.int64]

SEGMENT = 200_000  # characters a tokenizer sees at once: it keeps about 200 bytes per token
LONG_TOKEN = 64  # WordPiece reads a word of more than 100 characters as one unknown token, whatever its length


class TokenizerError(RagError):
    """A tokenizer file that is missing or cannot be read."""


class Tokenizer(Protocol):
    """What the chunkers need. `additive`: a text cut at white space has as many tokens as its parts together."""

    @property
    def digest(self) -> str: ...

    @property
    def additive(self) -> bool: ...

    def offsets(self, text: str) -> Offsets:
        """[n, 2] character start and end of each token in order, without special tokens."""
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself, without special tokens."""
        ...


class HfTokenizer:
    """`tokenizers` fast tokenizer from a model folder or a `tokenizer.json`; truncation and padding stored in the file are ignored."""

    def __init__(self, path: Path) -> None:
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            content = file.read_bytes()
        except OSError as error:
            raise TokenizerError(
                f"{file}: cannot be read ({error.strerror}); the model needs a fast tokenizer file"
            ) from error
        try:
            self._fast = FastTokenizer.from_buffer(content)
        except ValueError as error:
            raise TokenizerError(f"{file}: is not a tokenizer file: {error}") from error
        self._fast.no_truncation()
        self._fast.no_padding()
        self._digest = hashlib.sha256(content).hexdigest()

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the tokenizer file."""
        return self._digest

    @property
    def additive(self) -> bool:
        """BERT's tokenizer works word by word; others let the space before a word count."""
        return isinstance(self._fast.pre_tokenizer, BertPreTokenizer)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself, without special tokens."""
        return [len(encoding) for encoding in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def offsets(self, text: str) -> Offsets:
        """[n, 2] character start and end of each token in order. Overlong tokens are replaced by those of their pieces."""
        parts = [self._encode(text[start:end]) + start for start, end in segments(text)]
        found = np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int64)
        long = np.flatnonzero(found[:, 1] - found[:, 0] > LONG_TOKEN)
        if not long.size:
            return found
        pieces, last = [], 0
        for index in long.tolist():
            start, end = found[index].tolist()
            pieces.append(found[last:index])
            cuts = range(start, end, LONG_TOKEN)
            encoded = self._fast.encode_batch(
                [text[cut : min(cut + LONG_TOKEN, end)] for cut in cuts], add_special_tokens=False
            )
            pieces.extend(_array(item.offsets) + cut for cut, item in zip(cuts, encoded, strict=True))
            last = index + 1
        return np.concatenate([*pieces, found[last:]])

    def _encode(self, text: str) -> Offsets:
        return _array(self._fast.encode(text, add_special_tokens=False).offsets)


def segments(text: str) -> list[tuple[int, int]]:
    """Spans of at most SEGMENT characters that tile the text, cut after a line end, else after a space, else anywhere."""
    spans, start = [], 0
    while len(text) - start > SEGMENT:
        end = start + SEGMENT
        cut = max(text.rfind("\n", start + SEGMENT // 2, end), -1)
        if cut < 0:
            cut = text.rfind(" ", start, end)
        end = cut + 1 if cut >= 0 else end
        spans.append((start, end))
        start = end
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _array(offsets: list[tuple[int, int]]) -> Offsets:
    return np.array(offsets, dtype=np.int64).reshape(-1, 2)

"""Vectors of a few texts with numpy alone, for programs that embed a question or some changed chunks and end.

Importing torch costs seconds of CPU time, embedding a question milliseconds. Used by the shelf of `gradatim index query` and by the worker of a
build; where many texts come, or the model is none that `architecture.supported` knows, `Encoder` takes over. Results equal its in fp32 to
rounding (tested).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from gradatim.rag.embed.architecture import Ids, Vectors, open_tokenizer, pooling_mode, supported
from gradatim.rag.embed.files import ModelFiles, read_model
from gradatim.rag.embed.options import EmbedOptions, EncoderError, Kind

if TYPE_CHECKING:
    from gradatim.rag.embed.encoder import Encoder

Floats = NDArray[np.float32]
FEW_TEXTS = 16
# Multiplications and additions that take numpy about as long as importing torch takes: a model of MiniLM's size reads some 9000 tokens.
FEW_OPERATIONS = 2e11
# Abramowitz and Stegun 7.1.26: erf to 1.5e-7, the rounding of a float32.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P = 0.3275911


class QuestionEncoder:
    """An encoder whose torch is loaded only for more than `FEW_TEXTS` texts or `FEW_OPERATIONS` at once, or for a model that needs it."""

    def __init__(self, path: Path, options: EmbedOptions | None = None) -> None:
        self.options = options or EmbedOptions()
        self._files = read_model(path)
        self._tokenizer = open_tokenizer(self._files)
        self._simple = supported(self._files) and _dtype(self._files) in {"float32", "float16"}
        self._light: NumpyBert | None = None
        self._full: Encoder | None = None

    @property
    def fingerprint(self) -> str:
        """See `EmbedOptions.fingerprint`."""
        return self.options.fingerprint(self._files.digest)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._files.config["hidden_size"]) if self._simple else self.full.dimension

    @property
    def full(self) -> Encoder:
        """The encoder for any number of texts, loaded at first use. Raises EncoderError."""
        if self._full is None:
            from gradatim.rag.embed.encoder import Encoder

            self._full = Encoder(self._files.path, self.options)
            self._light = None
        return self._full

    def encode(self, texts: Sequence[str], kind: Kind = Kind.DOCUMENT) -> Vectors:
        """[n, d] float32 vectors in the order of `texts`."""
        if not self._simple or self._full is not None or not 0 < len(texts) <= FEW_TEXTS:
            return self.full.encode(texts, kind)
        prefix = self.options.prefix(kind)
        ids = [self._tokenizer.encode(prefix + text).ids for text in texts]
        if sum(map(len, ids)) * _per_token(self._files) > FEW_OPERATIONS:
            return self.full.encode(texts, kind)
        if self._light is None:
            self._light = NumpyBert(self._files)
        found = np.stack([self._light(item) for item in ids])
        if self.options.normalize or self._files.modules[-1] == "Normalize":
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found


class NumpyBert:
    """A BERT encoder on one text at a time, in float32."""

    def __init__(self, files: ModelFiles) -> None:
        config = files.config
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._mean = pooling_mode(files.pooling) == "mean"
        file = files.transformer / "model.safetensors"
        try:
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise EncoderError(f"{file}: cannot be read: {error}") from error
        self._weights = {name.removeprefix("bert."): value for name, value in weights.items()}

    def __call__(self, ids: Sequence[int]) -> Floats:
        """[dimension] float32 pooled vector, not normalised, of one text."""
        where: Ids = np.asarray(ids, dtype=np.int64)
        words = self._get("embeddings.word_embeddings.weight", where)
        places = self._get("embeddings.position_embeddings.weight", np.arange(len(where)))
        kind = self._get("embeddings.token_type_embeddings.weight", np.zeros(1, dtype=np.int64))
        x = self._norm(words + places + kind, "embeddings.LayerNorm")
        for number in range(self._layers):
            name = f"encoder.layer.{number}."
            mixed = self._linear(self._attend(x, f"{name}attention.self."), f"{name}attention.output.dense")
            x = self._norm(x + mixed, f"{name}attention.output.LayerNorm")
            hidden = _gelu(self._linear(x, f"{name}intermediate.dense"))
            x = self._norm(x + self._linear(hidden, f"{name}output.dense"), f"{name}output.LayerNorm")
        pooled: Floats = x.mean(axis=0) if self._mean else x[0]
        return pooled

    def _get(self, name: str, rows: Ids | None = None) -> Floats:
        try:
            value = self._weights[name]
        except KeyError as error:
            raise EncoderError(f"the weights lack {error}; the model is incomplete") from error
        found: Floats = (value if rows is None else value[rows]).astype(np.float32, copy=False)
        return found

    def _linear(self, x: Floats, name: str) -> Floats:
        return x @ self._get(f"{name}.weight").T + self._get(f"{name}.bias")

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(self._epsilon))
        scaled: Floats = centred / scale
        return scaled * self._get(f"{name}.weight") + self._get(f"{name}.bias")

    def _attend(self, x: Floats, name: str) -> Floats:
        """[tokens, dimension] attention output before its projection."""
        size = x.shape[1] // self._heads
        query, key, value = (
            self._linear(x, name + part).reshape(len(x), self._heads, size).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(size))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        mixed: Floats = (weights @ value).transpose(1, 0, 2).reshape(len(x), -1)
        return mixed


def _dtype(files: ModelFiles) -> str:
    """Type of the weights as the configuration states it; numpy has no bfloat16."""
    return str(files.config.get("dtype") or files.config.get("torch_dtype") or "float32")


def _per_token(files: ModelFiles) -> float:
    """Operations of the linear layers for one token: most of all work."""
    size, inner = int(files.config["hidden_size"]), int(files.config["intermediate_size"])
    return 2.0 * int(files.config["num_hidden_layers"]) * (4 * size * size + 2 * size * inner)


def _gelu(x: Floats) -> Floats:
    scaled = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(_ERF_P) * scaled)
    series = np.zeros_like(t)
    for factor in reversed(_ERF):
        series = (series + np.float32(factor)) * t
    erf = np.copysign(1 - series * np.exp(-scaled * scaled), x)
    found: Floats = (x * (1 + erf) * np.float32(0.5)).astype(np.float32, copy=False)
    return found

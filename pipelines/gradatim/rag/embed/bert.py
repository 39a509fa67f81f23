"""BERT without padding, for processors.

The general path spends a third of its time on masked attention and on padding. Here the tokens of a batch lie in one [tokens, hidden]
matrix for all linear layers, and attention runs over groups of texts of nearly equal length: equal ones in fp32, which needs no mask; in bf16
filled up to a multiple of 32, because matrix units take up to three times as long for other lengths. Query, key and value are one product,
with the attention scale folded into the query's weights. What follows a product at once (GELU, the residual) is part of it where oneDNN can.
Results equal sentence-transformers' to rounding (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from gradatim.rag.embed.architecture import Ids, pooling_mode
from gradatim.rag.embed.batching import filled, groups
from gradatim.rag.embed.files import ModelFiles
from gradatim.rag.embed.options import EncoderError

PACKED_ROWS = 2048  # rows of a usual batch, for which oneDNN chooses the weight layout
BF16_STEP = 32  # tokens: texts are filled up to a multiple, the side of a tile, for attention
# Code is generated for every new number of rows, 13 ms for each: a batch has a multiple of this many, a large one of more.
LEAST_ROWS = 32


class _Linear:
    """A linear layer, its bf16 weight laid out once as oneDNN wants it: a tenth faster than reordering it in every call.

    The operators are those that torch's own compiler emits. A processor without them uses the ordinary layer.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight, self.bias = weight.to(dtype).contiguous(), bias.to(dtype).contiguous()
        self.packed = dtype is torch.bfloat16 and _multiplies_bf16()
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKED_ROWS)  # noqa: SLF001
            self._fused: Any = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - a torch without oneDNN has none of them

    def __call__(self, x: Tensor) -> Tensor:
        """[n, out] of [n, in]."""
        if not self.packed:
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = self._fused(x, self.weight, self.bias, "none", [], "")
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """GELU (exact, not its tanh approximation) of the product."""
        if not self.packed:
            return functional.gelu(self(x))
        out: Tensor = self._fused(x, self.weight, self.bias, "gelu", [], "none")
        return out

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The product and `residual` [n, out]."""
        if not self.packed:
            return residual + self(x)
        out: Tensor = self._fused.binary(x, residual, self.weight, self.bias, "add")
        return out


def _multiplies_bf16() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class _Layer:
    """One transformer layer; norms are (weight, bias)."""

    qkv: _Linear
    attention: _Linear
    attention_norm: tuple[Tensor, Tensor]
    up: _Linear
    down: _Linear
    norm: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts that attend in one call: rows `start` to `end` of the batch, as `count` texts of `length` tokens.

    Where some are shorter, `places` says where each row lies among count * length and `mask` hides the rest; both are None otherwise.
    """

    start: int
    end: int
    count: int
    length: int
    places: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, start: int, lengths: list[int], length: int, dtype: torch.dtype) -> _Group:
        """Return the group of texts of these lengths, filled up to `length`."""
        end, count = start + sum(lengths), len(lengths)
        if min(lengths) == length:
            return cls(start, end, count, length)
        there = torch.arange(length) < torch.tensor(lengths)[:, None]
        hidden = torch.zeros(count, 1, 1, length, dtype=dtype).masked_fill_(~there[:, None, None], float("-inf"))
        return cls(start, end, count, length, there.flatten().nonzero().flatten(), hidden)

    def spread(self, rows: Tensor) -> Tensor:
        """[count * length, width] of the group's rows, zero where a text has ended."""
        if self.places is None:
            return rows
        return rows.new_zeros(self.count * self.length, rows.shape[1]).index_copy_(0, self.places, rows)

    def gather(self, spread: Tensor) -> Tensor:
        """Take `spread` back."""
        return spread if self.places is None else spread.index_select(0, self.places)


class PackedBert:
    """A BERT encoder in `dtype` on the CPU. Call it with token ids of texts sorted by length."""

    def __init__(self, files: ModelFiles, dtype: torch.dtype) -> None:
        config = files.config
        self.heads = int(config["num_attention_heads"])
        self.dimension = int(config["hidden_size"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        self.mean = pooling_mode(files.pooling) == "mean"
        self.dtype = dtype
        self.step = BF16_STEP if dtype is torch.bfloat16 else 1
        try:
            weights = load_file(files.transformer / "model.safetensors")
        except (SafetensorError, OSError) as error:
            raise EncoderError(f"{files.transformer / 'model.safetensors'}: cannot be read: {error}") from error
        self.weights = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
        try:
            kinds = self.weights["embeddings.token_type_embeddings.weight"]
            self.words = self.weights["embeddings.word_embeddings.weight"].float()
            self.positions = (self.weights["embeddings.position_embeddings.weight"] + kinds[0]).float()
            self.embedding_norm = self._pair("embeddings.LayerNorm", torch.float32)
            self.layers = [self._layer(f"encoder.layer.{index}.") for index in range(int(config["num_hidden_layers"]))]
        except KeyError as error:
            raise EncoderError(f"{files.transformer}: the weights lack {error}; the model is incomplete") from error
        del self.weights
        _keep_memory()

    def _pair(self, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"].to(dtype).contiguous(), self.weights[f"{name}.bias"].to(
            dtype
        ).contiguous()

    def _layer(self, name: str) -> _Layer:
        scale = (self.dimension // self.heads) ** -0.5
        parts = [self._pair(f"{name}attention.self.{part}", torch.float32) for part in ("query", "key", "value")]
        weight = torch.cat([parts[0][0] * scale, parts[1][0], parts[2][0]])
        bias = torch.cat([parts[0][1] * scale, parts[1][1], parts[2][1]])
        return _Layer(
            qkv=_Linear(weight, bias, self.dtype),
            attention=_Linear(*self._pair(f"{name}attention.output.dense", torch.float32), self.dtype),
            attention_norm=self._pair(f"{name}attention.output.LayerNorm", self.dtype),
            up=_Linear(*self._pair(f"{name}intermediate.dense", torch.float32), self.dtype),
            down=_Linear(*self._pair(f"{name}output.dense", torch.float32), self.dtype),
            norm=self._pair(f"{name}output.LayerNorm", self.dtype),
        )

    def __call__(self, ids: list[Ids]) -> Tensor:
        """[n, dimension] float32 pooled vectors, not normalised, of n texts; neighbours of like length attend together."""
        lengths = [len(item) for item in ids]
        together = self._groups(lengths)
        flat = torch.from_numpy(np.concatenate(ids))
        places = torch.cat([torch.arange(length) for length in lengths])
        x = self._norm(self.words[flat] + self.positions[places], self.embedding_norm).to(self.dtype)
        if self.dtype is torch.bfloat16:
            x = functional.pad(x, (0, 0, 0, _rows(len(x)) - len(x)))
        for layer in self.layers:
            x = self._norm(layer.attention.plus(self._attend(layer.qkv(x), together), x), layer.attention_norm)
            x = self._norm(layer.down.plus(layer.up.gelu(x), x), layer.norm)
        return self._pool(x[: len(flat)].float(), lengths)

    def _norm(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, (self.dimension,), *norm, self.epsilon)

    def _groups(self, lengths: list[int]) -> list[_Group]:
        found, first, start = [], 0, 0
        for length, count in groups(lengths, self.step):
            found.append(_Group.of(start, lengths[first : first + count], length, self.dtype))
            first, start = first + count, found[-1].end
        return found

    def _attend(self, qkv: Tensor, together: list[_Group]) -> Tensor:
        """[rows, dimension] attention output; each text attends to itself only, rows after the last text stay zero."""
        shape = (3, self.heads, self.dimension // self.heads)
        mixed = []
        for group in together:
            spread = group.spread(qkv[group.start : group.end]).view(group.count, group.length, *shape)
            query, key, value = spread.permute(2, 0, 3, 1, 4)
            mask = None if group.mask is None else group.mask.expand(-1, 1, group.length, -1)
            out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
            mixed.append(group.gather(out.transpose(1, 2).reshape(-1, self.dimension)))
        return torch.cat([*mixed, qkv.new_zeros(len(qkv) - together[-1].end, self.dimension)])

    def _pool(self, x: Tensor, lengths: list[int]) -> Tensor:
        texts = torch.split(x, lengths)
        return torch.stack([text.mean(0) if self.mean else text[0] for text in texts])


def _rows(tokens: int) -> int:
    return filled(tokens, max(LEAST_ROWS, 1 << max(0, (tokens - 1).bit_length() - 3)))


def _keep_memory() -> None:
    """Make glibc reuse what the layers free in turn: once it has seen a block of this size freed, it gives back only what is larger.

    Otherwise the same pages are asked for and given back in every layer.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)

"""BERT without padding, for processors.

The general path spends a third of its time on masked attention and on padding. Here the tokens of a batch lie in one [tokens, hidden]
matrix for all linear layers, and attention runs over groups of texts of equal length, so that no mask is needed. Query, key and value are
one product, with the attention scale folded into the query's weights. What follows a product at once (GELU, the residual) is part of it
where oneDNN can. Results equal sentence-transformers' to rounding (tested).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from gradatim.rag.embed.architecture import Ids, pooling_mode
from gradatim.rag.embed.batching import runs
from gradatim.rag.embed.files import ModelFiles
from gradatim.rag.embed.options import EncoderError

PACKED_ROWS = 2048  # rows of a usual batch, for which oneDNN chooses the weight layout


class _Linear:
    """A linear layer, its bf16 weight laid out once as oneDNN wants it: a tenth faster than reordering it in every call.

    The operators are those that torch's own compiler emits. A processor without them uses the ordinary layer.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight, self.bias = weight.to(dtype).contiguous(), bias.to(dtype).contiguous()
        self.packed = dtype is torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKED_ROWS)  # noqa: SLF001
        self._fused = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001

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


@dataclass(frozen=True, slots=True)
class _Layer:
    """One transformer layer; norms are (weight, bias)."""

    qkv: _Linear
    attention: _Linear
    attention_norm: tuple[Tensor, Tensor]
    up: _Linear
    down: _Linear
    norm: tuple[Tensor, Tensor]


class PackedBert:
    """A BERT encoder in `dtype` on the CPU. Call it with token ids of texts sorted by length."""

    def __init__(self, files: ModelFiles, dtype: torch.dtype) -> None:
        config = files.config
        self.heads = int(config["num_attention_heads"])
        self.dimension = int(config["hidden_size"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        self.mean = pooling_mode(files.pooling) == "mean"
        self.dtype = dtype
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
        """[n, dimension] float32 pooled vectors, not normalised, of n texts; neighbours of equal length are computed together."""
        groups = runs([len(item) for item in ids])
        flat = torch.from_numpy(np.concatenate(ids))
        places = torch.cat([torch.arange(length) for length, count in groups for _ in range(count)])
        x = self._norm(self.words[flat] + self.positions[places], self.embedding_norm).to(self.dtype)
        for layer in self.layers:
            x = self._norm(layer.attention.plus(self._attend(layer.qkv(x), groups), x), layer.attention_norm)
            x = self._norm(layer.down.plus(layer.up.gelu(x), x), layer.norm)
        return self._pool(x.float(), groups)

    def _norm(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, (self.dimension,), *norm, self.epsilon)

    def _attend(self, qkv: Tensor, groups: list[tuple[int, int]]) -> Tensor:
        """[tokens, dimension] attention output; each text of `groups` attends to itself only."""
        shape = (3, self.heads, self.dimension // self.heads)
        mixed, start = [], 0
        for length, count in groups:
            end = start + length * count
            query, key, value = qkv[start:end].view(count, length, *shape).permute(2, 0, 3, 1, 4)
            out = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
            mixed.append(out.transpose(1, 2).reshape(length * count, self.dimension))
            start = end
        return torch.cat(mixed)

    def _pool(self, x: Tensor, groups: list[tuple[int, int]]) -> Tensor:
        pooled, start = [], 0
        for length, count in groups:
            end = start + length * count
            texts = x[start:end].view(count, length, self.dimension)
            pooled.append(texts.mean(1) if self.mean else texts[:, 0])
            start = end
        return torch.cat(pooled)

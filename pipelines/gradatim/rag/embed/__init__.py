"""Embeds texts with sentence-transformers models from local folders, the hub, object stores or a packaged model.

`load_model` fetches, `Encoder` computes. The names below are loaded on first use, so that code that only needs options or the digest of a
model does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradatim.rag.embed.encoder import Encoded, Encoder
    from gradatim.rag.embed.load import load_model
    from gradatim.rag.embed.options import EmbedOptions, EncoderError, Kind, Precision

__all__ = ["EmbedOptions", "Encoded", "Encoder", "EncoderError", "Kind", "Precision", "load_model"]

_HOMES = {
    "EmbedOptions": "options", "Encoded": "encoder", "Encoder": "encoder", "EncoderError": "options", "Kind": "options",
    "Precision": "options", "load_model": "load",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

"""Which models our own BERT computes, and the tokenizer of a model: what needs no torch.

Read by `encoder` and `question`, the two ways to compute a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gradatim.rag.embed.files import ModelFiles
from gradatim.rag.embed.options import EncoderError

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]


def supported(files: ModelFiles) -> bool:
    """True for a plain BERT encoder with mean or first-token pooling; everything else takes the general path."""
    config = files.config
    return (
        files.modules in {("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")}
        and config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
        and (files.transformer / "model.safetensors").exists()
        and pooling_mode(files.pooling) in {"mean", "cls"}
    )


def pooling_mode(config: dict[str, Any]) -> str:
    """The one pooling mode a configuration turns on, in its old or new form; empty if it turns on several."""
    if isinstance(config.get("pooling_mode"), str):
        return str(config["pooling_mode"])
    prefix = "pooling_mode_"
    active = [
        key.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token")
        for key in config
        if key.startswith(prefix) and config[key]
    ]
    return active[0] if len(active) == 1 else ""


def open_tokenizer(files: ModelFiles) -> Tokenizer:
    """Return the model's fast tokenizer, cutting at what the model reads. Raises EncoderError."""
    file = files.transformer / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_buffer(file.read_bytes())
    except OSError as error:
        raise EncoderError(
            f"{file}: cannot be read ({error.strerror}); the model needs a fast tokenizer file"
        ) from error
    except ValueError as error:
        raise EncoderError(f"{file}: is not a tokenizer file: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(files.max_tokens)
    return tokenizer

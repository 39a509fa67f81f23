"""Embeds texts with sentence-transformers models from local folders, the hub, object stores or a packaged model.

`load_model` fetches, `Encoder` computes. Importing this package loads torch; code that only needs options imports `embed.options`.
"""

from gradatim.rag.embed.encoder import Encoded, Encoder
from gradatim.rag.embed.load import load_model
from gradatim.rag.embed.options import EmbedOptions, EncoderError, Kind, Precision

__all__ = ["EmbedOptions", "Encoded", "Encoder", "EncoderError", "Kind", "Precision", "load_model"]

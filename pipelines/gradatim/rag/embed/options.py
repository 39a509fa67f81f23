"""What a caller may choose about embedding, and the errors of this package.

The index workload and serving fill `EmbedOptions` from the API spec and the retrieval manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from gradatim.rag.model import RagError


class Kind(StrEnum):
    """Which prefix a text gets: some encoders were trained with different ones for questions and passages."""

    QUERY = "query"
    DOCUMENT = "document"


class Precision(StrEnum):
    """`auto` takes bf16 where the processor has instructions for it: elsewhere it is emulated, a hundred times slower."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


class EncoderError(RagError):
    """A model that cannot be loaded or used as an encoder."""


class ModelUnreachable(EncoderError):
    """A hub or store that does not answer; it may later."""


class ModelRefused(EncoderError):
    """A hub or store that wants other credentials."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """`batch_tokens` bounds a batch, padding included. `threads` is for the whole process; None leaves it as it is.

    `device` is auto (CUDA if there is one), cpu or cuda.
    """

    batch_tokens: int = 8192
    normalize: bool = True
    query_prefix: str = ""
    document_prefix: str = ""
    precision: Precision = Precision.AUTO
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise EncoderError(f"batchTokens is {self.batch_tokens}; use at least 1")
        if self.device not in {"auto", "cpu", "cuda"}:
            raise EncoderError(f"device is {self.device!r}; use auto, cpu or cuda")
        if self.threads is not None and self.threads < 1:
            raise EncoderError(f"threads is {self.threads}; use at least 1")

    def fingerprint(self, model_digest: str) -> str:
        """Hex SHA-256 over all that decides a document's vector but its text: cache key and store identity.

        Precision and device are left out on purpose: they change a vector by less than the index itself does.
        """
        parts = [model_digest, self.normalize, self.query_prefix, self.document_prefix]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def prefix(self, kind: Kind) -> str:
        """What is put before a text of this kind."""
        return self.query_prefix if kind is Kind.QUERY else self.document_prefix

"""Turns errors of the retrieval library into failures of the Run.

The one place that decides which of them another attempt may cure. Used as a block around everything the index workload does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.rag.embed.options import EncoderError
from gradatim.rag.model import RagError
from gradatim.rag.rerank import RerankerError
from gradatim.rag.retrieve.filters import FilterError
from gradatim.rag.retrieve.plan import QueryError
from gradatim.rag.store.errors import (
    CollectionNotFound,
    CountMismatch,
    CredentialsRefused,
    EncoderMismatch,
    LoadRefused,
    TenantError,
    VectorStoreError,
    VectorStoreUnreachable,
)
from gradatim.workloads.errors import WorkloadError

_KINDS: tuple[tuple[type[RagError], Failure, Reason], ...] = (
    (VectorStoreUnreachable, Failure.DEPENDENCY, Reason.VECTOR_STORE_UNREACHABLE),
    (CredentialsRefused, Failure.USER, Reason.CREDENTIALS_REFUSED),
    (CountMismatch, Failure.DEPENDENCY, Reason.COUNT_MISMATCH),
    # Dropped by somebody while it was loaded: the next attempt creates it again.
    (CollectionNotFound, Failure.DEPENDENCY, Reason.COUNT_MISMATCH),
    (LoadRefused, Failure.DATA, Reason.DATA_INVALID),
    (EncoderMismatch, Failure.USER, Reason.MODEL_NOT_FOUND),
    (EncoderError, Failure.USER, Reason.MODEL_NOT_FOUND),
    (RerankerError, Failure.USER, Reason.MODEL_NOT_FOUND),
    (QueryError, Failure.DATA, Reason.EVALUATION_FAILED),
    # Documents have one that can be, or are refused: what is left is a question's.
    (TenantError, Failure.DATA, Reason.EVALUATION_FAILED),
    (FilterError, Failure.USER, Reason.INVALID_SPEC),
    (VectorStoreError, Failure.DEPENDENCY, Reason.VECTOR_STORE_UNREACHABLE),
)


@contextlib.contextmanager
def rag_failures() -> Iterator[None]:
    """Raise every RagError of the block as a WorkloadError."""
    try:
        yield
    except RagError as error:
        for kind, failure, reason in _KINDS:
            if isinstance(error, kind):
                raise WorkloadError(failure, reason, str(error)) from error
        raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, str(error)) from error

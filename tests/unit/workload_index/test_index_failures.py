"""Which failure an error of the retrieval library is: what no other attempt cures is not tried again."""

from __future__ import annotations

import pytest

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.rag.model import RagError
from gradatim.rag.store.errors import TenantError, VectorStoreError, VectorStoreUnreachable
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.failures import rag_failures


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        pytest.param(TenantError, Failure.DATA, Reason.EVALUATION_FAILED, id="a tenant that a question names"),
        pytest.param(VectorStoreUnreachable, Failure.DEPENDENCY, Reason.VECTOR_STORE_UNREACHABLE, id="no answer"),
        pytest.param(VectorStoreError, Failure.DEPENDENCY, Reason.VECTOR_STORE_UNREACHABLE, id="an unknown answer"),
        pytest.param(RagError, Failure.USER, Reason.INVALID_SPEC, id="anything else"),
    ],
)
def test_an_error_of_the_library_becomes_a_failure(error: type[RagError], failure: Failure, reason: Reason) -> None:
    with pytest.raises(WorkloadError) as caught, rag_failures():
        raise error("what it is")
    assert (caught.value.failure, caught.value.reason, caught.value.message) == (failure, reason, "what it is")

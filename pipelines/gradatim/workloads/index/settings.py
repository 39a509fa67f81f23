"""What workers need to know, taken from the spec once: plain values that travel to Ray actors.

Made at the start of a Run by `run`, given to every worker. Checks the few things that the API cannot: combinations that the vector store or
the chunkers refuse.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.api.ragindex import Embedding, MetadataField, MetadataType, RAGIndexSpec
from gradatim.api.reasons import Reason
from gradatim.api.run import IndexInputs, RunConfig
from gradatim.api.runstatus import Failure
from gradatim.rag.chunk.options import ChunkOptions, ChunkOptionsError, Strategy
from gradatim.rag.ocr import OcrUnavailable
from gradatim.rag.ocr.engine import identity
from gradatim.rag.parse import ParseOptions, TableForm
from gradatim.rag.store.rows import TENANT_PATTERN, TypedValue
from gradatim.workloads.errors import WorkloadError


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Plain values for workers."""

    parse: ParseOptions
    chunk: ChunkOptions
    embedding: Embedding
    fields: tuple[MetadataField, ...]
    tenant_field: str | None

    @property
    def dates(self) -> frozenset[str]:
        """The names of metadata fields of type date."""
        return frozenset(field.name for field in self.fields if field.type is MetadataType.DATE)

    def tenant_problem(self, value: TypedValue | None) -> tuple[str, str] | None:
        """Return reason and message for a document whose tenant cannot be used; None for a good one."""
        if value is None or value == "":
            return (
                "MissingTenant",
                f"has no value for the tenant field {self.tenant_field}; add it to the source's metadata",
            )
        if not TENANT_PATTERN.fullmatch(str(value)):
            text = "use 1 to 64 letters, digits, hyphens or underscores"
            return (
                "TenantName",
                f"tenant {str(value)[:80]!r} in field {self.tenant_field} is not a tenant's name; {text}",
            )
        return None


def inputs_of(config: RunConfig) -> IndexInputs:
    """Return the inputs of an index Run. Raises WorkloadError User/InvalidSpec where there are none."""
    if config.index_inputs is None:
        raise _invalid("the run config has no indexInputs; it was not made by this operator")
    return config.index_inputs


def settings_of(config: RunConfig) -> tuple[RAGIndexSpec, IndexSettings]:
    """Return spec and settings of an index Run. Raises WorkloadError User/InvalidSpec naming the field."""
    spec = config.index
    if spec is None or config.vector_store is None:
        raise _invalid("the run config has no index or no vectorStore; set vectorStore in the ComputeProfile")
    chunking = spec.chunking
    try:
        chunk = ChunkOptions(
            strategy=Strategy(chunking.strategy.value),
            max_tokens=chunking.max_tokens,
            overlap_tokens=chunking.overlap_tokens,
            parent_max_tokens=chunking.parent.max_tokens if chunking.parent.enabled else None,
        )
    except ChunkOptionsError as error:
        raise _invalid(f"chunking: {error}") from error
    parse = ParseOptions(
        max_bytes=config.limits.max_document_bytes,
        max_pages=spec.parsing.max_pages,
        tables=TableForm(spec.parsing.tables),
        ocr=_ocr_identity() if spec.parsing.ocr else "",
        metadata_columns=tuple(field.name for field in spec.schema_.metadata),
    )
    tenant = spec.tenancy.field if spec.tenancy.enabled else None
    return spec, IndexSettings(parse, chunk, spec.embedding, tuple(spec.schema_.metadata), tenant)


def _ocr_identity() -> str:
    try:
        return identity()
    except OcrUnavailable as error:
        raise _invalid(f"parsing.ocr: {error}; the image gradatim/index carries it") from error


def _invalid(message: str) -> WorkloadError:
    return WorkloadError(Failure.USER, Reason.INVALID_SPEC, message)

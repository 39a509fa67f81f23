"""One request to the store: builds it from a plan, sends it, makes candidates of the answer.

Called by the retriever. Alpha and fusion are always passed: the server's own defaults change between releases. Filters are applied by the
store before it searches, never afterwards to what it found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from weaviate.classes.query import HybridFusion, MetadataQuery
from weaviate.collections import Collection

from gradatim.api.ragindex import Retrieval
from gradatim.rag.retrieve.candidates import Candidate, Vector, similarity
from gradatim.rag.retrieve.filters import Condition, to_store
from gradatim.rag.store import names as s
from gradatim.rag.store.connection import translated
from gradatim.rag.store.manifest import RetrievalManifest
from gradatim.rag.store.rows import from_properties

_FUSION = {"relativeScore": HybridFusion.RELATIVE_SCORE, "ranked": HybridFusion.RANKED}
_PART = re.compile(r"Result Set (\w+),\w+\).*?original score (\S+?), normalized score: (\S+)")
_KEPT = (
    s.TEXT, s.DOCUMENT, s.SOURCE, s.URI, s.INDEX, s.START, s.END, s.PAGE, s.ROW, s.HEADINGS, s.PARENT, s.PARENT_CARRIER,
    s.PARENT_START, s.PARENT_END,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What the store is asked for. `vector` is None for keyword search only."""

    question: str
    vector: Vector | None
    retrieval: Retrieval
    conditions: tuple[Condition, ...]
    limit: int
    tenant: str | None
    explain: bool


def search(handle: Collection[Any, Any], manifest: RetrievalManifest, request: SearchRequest) -> list[Candidate]:
    """Return the store's candidates, best first. Raises VectorStoreError and its kinds."""
    mode = request.retrieval.mode
    options: dict[str, Any] = {
        "limit": request.limit,
        "filters": to_store(request.conditions),
        "return_properties": [*_KEPT, *(s.metadata_property(field.name) for field in manifest.fields)],
        "return_metadata": MetadataQuery(score=True, distance=mode == "vector", explain_score=request.explain),
        "include_vector": [manifest.vector_name] if request.retrieval.diversity is not None else False,
    }
    with translated("querying the index"):
        if mode == "keyword":
            found = handle.query.bm25(query=request.question, query_properties=[s.TEXT], **options)
        elif mode == "vector":
            found = handle.query.near_vector(_listed(request.vector), target_vector=manifest.vector_name, **options)
        else:
            found = handle.query.hybrid(
                query=request.question,
                vector=_listed(request.vector),
                target_vector=manifest.vector_name,
                alpha=request.retrieval.alpha,
                fusion_type=_FUSION[request.retrieval.fusion],
                query_properties=[s.TEXT],
                **options,
            )
    return [_candidate(item, manifest, request) for item in found.objects]


def parent_texts(handle: Collection[Any, Any], carriers: Sequence[str]) -> dict[str, str]:
    """Return the parent texts that these chunks carry; one that has vanished is left out."""
    if not carriers:
        return {}
    with translated("reading parent passages"):
        found = handle.query.fetch_objects_by_ids(
            carriers, limit=len(carriers), return_properties=[s.PARENT_TEXT], include_vector=False
        )
    return {
        str(item.uuid): str(item.properties[s.PARENT_TEXT])
        for item in found.objects
        if item.properties.get(s.PARENT_TEXT)
    }


def explained(text: str | None) -> dict[str, float]:
    """Read the store's explanation of a hybrid score: the normalised shares of keyword and vector search.

    >>> explained("Hybrid (Result Set keyword,bm25) Document x: original score 3.4, normalized score: 0.5")
    {'keyword': 0.5, 'keywordRaw': 3.4}
    """
    found: dict[str, float] = {}
    for name, raw, share in _PART.findall(text or ""):
        found[name] = float(share)
        found[f"{name}Raw"] = float(raw)
    return found


def _candidate(item: Any, manifest: RetrievalManifest, request: SearchRequest) -> Candidate:
    if request.retrieval.mode == "vector":
        score = similarity(manifest.vector_index.distance, float(item.metadata.distance))
    else:
        score = max(0.0, float(item.metadata.score or 0.0))
    raw: Mapping[str, Any] = item.vector or {}
    vector = np.asarray(raw[manifest.vector_name], dtype=np.float32) if manifest.vector_name in raw else None
    scores: dict[str, float] = {str(request.retrieval.mode): score}
    if request.explain and request.retrieval.mode == "hybrid":
        scores |= explained(item.metadata.explain_score)
    row = from_properties(str(item.uuid), item.properties, request.tenant)
    return Candidate(row=row, score=score, vector=vector, scores=scores)


def _listed(vector: Vector | None) -> list[float]:
    return [] if vector is None else [float(value) for value in vector]

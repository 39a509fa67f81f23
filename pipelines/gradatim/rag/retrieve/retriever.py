"""The retriever: resolves an index by alias, encodes a question, asks the store, and runs the later stages.

Used by the evaluation of a build, `gradatim index query`, the SDK and serving. It holds one resolved version at a time and never mixes two:
vectors of another encoder are refused, a version that was switched or dropped is resolved again once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import weaviate
from weaviate.collections import Collection

from gradatim.api.ragindex import Retrieval
from gradatim.rag.retrieve.candidates import Answer, Candidate, Citation, Hit, Vector, Vectors, ranked
from gradatim.rag.retrieve.diversity import mmr_order
from gradatim.rag.retrieve.filters import FilterInput, parse_filters
from gradatim.rag.retrieve.models import Models, QueryEncoder
from gradatim.rag.retrieve.order import edges
from gradatim.rag.retrieve.parents import best_of_each_parent, missing_carriers, window
from gradatim.rag.retrieve.plan import check_question, fetch_limit, plan_query
from gradatim.rag.retrieve.recency import decay
from gradatim.rag.retrieve.search import SearchRequest, parent_texts, search
from gradatim.rag.store.connection import VectorStoreAddress, open_client, translated
from gradatim.rag.store.errors import CollectionNotFound, EncoderMismatch, TenantError
from gradatim.rag.store.manifest import RetrievalManifest, read_manifest


@dataclass(frozen=True, slots=True)
class Resolved:
    """One version, as found behind a name at a moment."""

    collection: str
    manifest: RetrievalManifest
    encoder: QueryEncoder
    handle: Collection[Any, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Query:
    """A question with its options, independent of the version that will answer it.

    `vector` is for callers that ask many questions: what `Retriever.encode` gave for this one, from the same encoder.
    """

    question: str
    k: int | None = None
    filters: FilterInput | None = None
    tenant: str | None = None
    explain: bool = False
    overrides: dict[str, object] = field(default_factory=dict)
    vector: Vector | None = field(default=None, repr=False)


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds by stage; what no stage claims is our own share."""

    started: float
    parts: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, since: float) -> None:
        """Book the time since a moment to a stage."""
        self.parts[stage] = self.parts.get(stage, 0.0) + (time.perf_counter() - since) * 1000

    def report(self) -> dict[str, float]:
        """Return all stages with `own` and `total`."""
        total = (time.perf_counter() - self.started) * 1000
        own = total - sum(self.parts.values())
        return {name: round(value, 3) for name, value in {**self.parts, "own": own, "total": total}.items()}


class Retriever:
    """Queries one index. Safe to share between threads. Use as a context manager, or call `close`."""

    def __init__(self, client: weaviate.WeaviateClient, name: str, models: Models, max_age: float = 5.0) -> None:
        """Wrap an open client. `max_age` is the number of seconds after which the alias is read again."""
        self._client = client
        self._name = name
        self._models = models
        self._max_age = max_age
        self._lock = threading.Lock()
        self._resolved = self._resolve()

    @classmethod
    def open(cls, address: VectorStoreAddress, name: str, models: Models, max_age: float = 5.0) -> Self:
        """Connect and resolve an alias or a collection.

        Raises VectorStoreUnreachable, CredentialsRefused, CollectionNotFound, ManifestError or EncoderMismatch.
        """
        client = open_client(address)
        try:
            return cls(client, name, models, max_age)
        except BaseException:
            client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @property
    def manifest(self) -> RetrievalManifest:
        """The manifest of the version resolved last."""
        return self._resolved.manifest

    @property
    def collection(self) -> str:
        """The collection resolved last."""
        return self._resolved.collection

    def encode(self, questions: Sequence[str]) -> Vectors:
        """Return the vectors of many questions at once, shape (questions, dimension): far cheaper than one by one."""
        return self._current().encoder.encode_queries([check_question(question) for question in questions])

    def query(
        self, question: str, k: int | None = None, *, filters: FilterInput | None = None, tenant: str | None = None,
        **overrides: object,
    ) -> list[Hit]:  # fmt: skip
        """Return the best passages. `overrides` are fields of the index's `retrieval`: mode, alpha, fusion, candidates, rerank …

        Raises QueryError, FilterError, TenantError, and what `open` raises.
        """
        return list(self.answer(Query(question, k, filters, tenant, explain=False, overrides=overrides)).hits)

    def answer(self, query: Query) -> Answer:
        """Return the best passages with version and, if explained, scores by stage and timings."""
        resolved = self._current()
        try:
            return self._run(resolved, query)
        except (CollectionNotFound, EncoderMismatch):
            # The version was switched and dropped since it was resolved.
            return self._run(self._refresh(), query)

    def _current(self) -> Resolved:
        if time.monotonic() - self._resolved.at > self._max_age:
            return self._refresh()
        return self._resolved

    def _refresh(self) -> Resolved:
        with self._lock:
            self._resolved = self._resolve(self._resolved)
            return self._resolved

    def _resolve(self, former: Resolved | None = None) -> Resolved:
        handle = self._client.collections.use(self._name)
        with translated(f"resolving index {self._name}"):
            found = handle.config.get(simple=True)
        if former and former.collection == found.name and former.manifest.to_description() == found.description:
            return Resolved(former.collection, former.manifest, former.encoder, former.handle, time.monotonic())
        manifest = read_manifest(found.name, found.description)
        encoder = self._models.encoder(manifest.encoder)
        if encoder.digest != manifest.encoder.digest:
            raise EncoderMismatch(
                f"the encoder at {manifest.encoder.uri} is {encoder.digest[:19]}…, but collection {found.name} was built with "
                f"{manifest.encoder.digest[:19]}…; use the model that built it or rebuild the index"
            )
        return Resolved(found.name, manifest, encoder, self._client.collections.use(found.name), time.monotonic())

    def _run(self, resolved: Resolved, query: Query) -> Answer:
        watch = Stopwatch(time.perf_counter())
        manifest = resolved.manifest
        question = check_question(query.question)
        retrieval = plan_query(manifest.retrieval, query.k, query.overrides)
        request = SearchRequest(
            question=question,
            vector=None,
            retrieval=retrieval,
            conditions=parse_filters(query.filters, manifest.fields),
            limit=fetch_limit(retrieval, parents=manifest.parents),
            tenant=_tenant(manifest, query.tenant),
            explain=query.explain,
        )
        handle = resolved.handle.with_tenant(request.tenant) if request.tenant else resolved.handle
        vector = None if retrieval.mode == "keyword" else _vector_of(resolved, query, watch)
        since = time.perf_counter()
        found = search(handle, manifest, _with_vector(request, vector))
        watch.add("store", since)
        best = self._choose(found, question, retrieval, watch)
        since = time.perf_counter()
        texts = parent_texts(handle, missing_carriers(best)) if manifest.parents else {}
        if texts:
            watch.add("store", since)
        hits = [_hit(candidate, texts, manifest.digest, explain=query.explain) for candidate in best]
        if retrieval.ordering == "edges":
            hits = edges(hits)
        return Answer(tuple(hits), manifest.digest, resolved.collection, watch.report() if query.explain else {})

    def _choose(self, found: list[Candidate], question: str, retrieval: Retrieval, watch: Stopwatch) -> list[Candidate]:
        """Run the stages after the store: rerank, recency, siblings, diversity; returns the best, best first."""
        best = ranked(found)
        if retrieval.rerank is not None and best:
            since = time.perf_counter()
            scores = self._models.reranker(retrieval.rerank.model.uri).score(question, [item.row.text for item in best])
            best = ranked([item.scored("rerank", score) for item, score in zip(best, scores, strict=True)])
            best = best[: retrieval.rerank.top_n]
            watch.add("rerank", since)
        if retrieval.recency is not None:
            best = ranked([_aged(item, retrieval, datetime.now(UTC)) for item in best])
        best = best_of_each_parent(best)
        if retrieval.diversity is not None and len(best) > 1:
            vectors = np.stack([_vector(item) for item in best])
            order = mmr_order([i.score for i in best], vectors, retrieval.diversity.mmr_lambda, retrieval.top_k)
            best = [best[position] for position in order]
        return best[: retrieval.top_k]


def _tenant(manifest: RetrievalManifest, tenant: str | None) -> str | None:
    if manifest.tenant_field is None and tenant is not None:
        raise TenantError("this index has no tenants; leave the tenant out")
    if manifest.tenant_field is not None and not tenant:
        raise TenantError(f"this index keeps tenants apart by {manifest.tenant_field}; name a tenant")
    return tenant


def _vector_of(resolved: Resolved, query: Query, watch: Stopwatch) -> Vector:
    since = time.perf_counter()
    vector: Vector = (
        resolved.encoder.encode_queries([check_question(query.question)])[0] if query.vector is None else query.vector
    )
    watch.add("encode", since)
    if vector.shape != (resolved.manifest.encoder.dimension,):
        raise EncoderMismatch(
            f"the encoder gives {vector.shape} values, the collection needs {resolved.manifest.encoder.dimension}"
        )
    return vector


def _with_vector(request: SearchRequest, vector: Vector | None) -> SearchRequest:
    return SearchRequest(
        request.question, vector, request.retrieval, request.conditions, request.limit, request.tenant, request.explain
    )


def _aged(item: Candidate, retrieval: Retrieval, now: datetime) -> Candidate:
    if retrieval.recency is None:
        return item
    value = item.row.metadata.get(retrieval.recency.field)
    published = value if isinstance(value, datetime) else None
    return item.scored("recency", item.score * decay(published, now, retrieval.recency.half_life_days))


def _vector(item: Candidate) -> Vector:
    if item.vector is None:
        raise EncoderMismatch(f"chunk {item.row.id} came without its vector; rebuild the index")
    return item.vector


def _hit(item: Candidate, texts: dict[str, str], version: str, *, explain: bool) -> Hit:
    row = item.row
    text, start, end = window(item, texts)

    def cite(first: int, last: int) -> Citation:
        return Citation(row.source, row.uri, first, last, row.page, row.row, row.headings)

    return Hit(
        text=text,
        score=item.score,
        chunk_id=row.id,
        document_id=row.document_id,
        version=version,
        citation=cite(row.start, row.end),
        context=cite(start, end),
        metadata=dict(row.metadata),
        scores=dict(item.scores) if explain else {},
    )

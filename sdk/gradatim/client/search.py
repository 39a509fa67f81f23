"""Asks an index questions: finds its Weaviate and its encoder, and gives passages with their citations.

Used by `gradatim index query` and by notebooks. The retrieval itself is `gradatim.rag`, found by name at run time because it belongs to the
extra `index`; answers of evaluation, of this module and of serving come from the same code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gradatim.api.ragindex import RAGIndex
from gradatim.api.runstatus import NamedMetric
from gradatim.client.errors import (
    MissingExtraError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from gradatim.client.filters import Condition, FilterMapping, filter_input
from gradatim.client.localstate import LocalState
from gradatim.client.measuring import ArtifactPlace, measure_index
from gradatim.client.vectorstore import KEY_ENV, VectorAccess, find_key


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage: `citation` says source, file, page or row, and characters; `scores` has one entry per stage when explained.

    `file` is what a filter calls `uri`, and `document` the id that it calls so.
    """

    citation: str
    text: str
    score: float
    source: str
    file: str
    start: int
    end: int
    page: int | None = None
    row: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    document: str = ""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The passages of one question, best first, and the version that gave them. `timings` are milliseconds when explained."""

    question: str
    version: str
    collection: str
    passages: tuple[Passage, ...]
    timings: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        found = asdict(self)
        for passage in found["passages"]:
            passage["metadata"] = {k: _plain(v) for k, v in passage["metadata"].items()}
        return found

    def _repr_html_(self) -> str:
        from gradatim.client.display import html_table

        rows = [[str(n), p.citation, f"{p.score:.4f}", p.text] for n, p in enumerate(self.passages, start=1)]
        return html_table(("", "where", "score", "text"), rows)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


class IndexSearch:
    """An index open for questions. Use as a context manager."""

    def __init__(self, retriever: Any, error: type[Exception], place: ArtifactPlace) -> None:
        self._retriever = retriever
        self._error = error
        self._place = place

    def __enter__(self) -> Self:
        """Return the search itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._retriever.close()

    def query(
        self,
        question: str,
        k: int | None = None,
        *,
        filters: FilterMapping | Sequence[Condition] = (),
        tenant: str | None = None,
        explain: bool = False,
    ) -> SearchAnswer:
        """Return the best `k` passages (the index's own number by default) that meet all filters.

        Filters are a mapping such as `{"uri": {"eq": "guides/a.md"}}`, or what `gradatim.client.filters.parse_filters` returns. Raises
        `UnsupportedError` for a filter or option that the index does not have, `UnreachableError` if Weaviate does not answer.
        """
        retriever = import_module("gradatim.rag.retrieve.retriever")
        conditions = filter_input(filters, self._retriever.manifest.fields)
        with _translated(self._error):
            answer = self._retriever.answer(retriever.Query(question, k, conditions, tenant, explain=explain))
        passages = tuple(_passage(hit) for hit in answer.hits)
        return SearchAnswer(question, answer.version, answer.collection, passages, dict(answer.timings))

    def evaluate(
        self, questions: Path, k: Sequence[int] = (1, 5, 10), on_progress: Callable[[int, int], None] | None = None
    ) -> list[NamedMetric]:
        """Measure the index on a file of questions with gold passages, as its evaluation does.

        Raises `ManifestError` for a wrong question, `NotFoundError` if the version's artifact cannot be read from here.
        """
        with _translated(self._error):
            return measure_index(
                self._retriever, questions, k, self._place, on_progress or (lambda _done, _total: None)
            )


def open_search(
    index: RAGIndex, *, endpoint: str | None = None, grpc_endpoint: str | None = None, state: Path | None = None
) -> IndexSearch:
    """Open an index by its status. `endpoint` replaces the Weaviate address there, for example with a forwarded port.

    Raises `NotFoundError` if it has no version yet, `MissingExtraError` without the extra `index`, `UnreachableError` or `UnauthorizedError`.
    """
    status = index.status
    name = (status.alias or (status.active.collection if status.active else None)) if status else None
    if status is None or name is None or status.active is None:
        why = (
            next((c for c in status.conditions if c.type == "Stalled" and c.status == "True"), None) if status else None
        )
        told = f"; it is stalled: {why.reason}: {why.message}" if why is not None else ""
        todo = "describe" if why is not None else "wait"
        raise NotFoundError(
            f"ragindex {index.metadata.name} has no version that serves yet{told}",
            hint=f"gradatim {todo} ragindex {index.metadata.name}",
        )
    address = endpoint or status.endpoint
    if address is None:
        raise UnsupportedError("the index's status names no Weaviate address", hint="give one with --endpoint")
    grpc = grpc_endpoint or (status.grpc_endpoint if endpoint is None else None)
    store = status.store
    place = ArtifactPlace(store.artifact_endpoint, store.artifact_region) if store else ArtifactPlace()
    access = VectorAccess.of_address(address, grpc)
    return _open(access, find_key(access, state), name, place)


def read_local_index(folder: Path, name: str, *, namespace: str | None) -> RAGIndex:
    """Return an index that `gradatim run` made in a state folder. Raises `NotFoundError`."""
    found = LocalState(folder.expanduser().absolute()).read(RAGIndex, namespace or "default", name)
    if found is None:
        raise NotFoundError(f"{folder} holds no ragindex {name}", hint="gradatim run -f makes one")
    return found


def open_local_search(folder: Path, name: str, *, namespace: str | None, state: Path | None = None) -> IndexSearch:
    """Open an index that `gradatim run` made in a state folder. Raises as `open_search`."""
    found = read_local_index(folder, name, namespace=namespace)
    if found.status is None or found.status.active is None or found.status.endpoint is None:
        raise NotFoundError(f"ragindex {name} in {folder} has no version that passed its gates")
    access = VectorAccess.of_address(found.status.endpoint, found.status.grpc_endpoint)
    return _open(access, find_key(access, state), found.status.active.collection, ArtifactPlace())


def _open(access: VectorAccess, key: str | None, name: str, place: ArtifactPlace) -> IndexSearch:
    try:
        connection = import_module("gradatim.rag.store.connection")
        retriever = import_module("gradatim.rag.retrieve.retriever")
        shelf = import_module("gradatim.rag.retrieve.shelf").ModelShelf(_model_cache(), few=True)
        base: type[Exception] = import_module("gradatim.rag.model").RagError
    except ImportError as error:
        raise MissingExtraError("index", "asking an index") from error
    config = access.config
    address = connection.VectorStoreAddress(config.endpoint, config.grpc_endpoint, key)
    with _translated(base):
        return IndexSearch(retriever.Retriever.open(address, name, shelf.models()), base, place)


def _model_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradatim" / "models"


_NOT_REACHED = (
    "on the local platform `gradatim up` starts what does not run; on a cluster reach it with `kubectl port-forward` and give --endpoint and "
    "--grpc-endpoint"
)


class _translated:  # noqa: N801 - a context manager, used like a function
    """Turn the retrieval library's errors into the client's, by what the caller would do about them."""

    def __init__(self, base: type[Exception]) -> None:
        self._base = base

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not isinstance(error, self._base):
            return
        cause = type(error).__name__
        if cause == "VectorStoreUnreachable":
            raise UnreachableError(str(error), hint=_NOT_REACHED) from error
        if cause == "CredentialsRefused":
            raise UnauthorizedError(
                str(vars(error)["problem"]), hint=f"name a file with Weaviate's API key in {KEY_ENV}"
            ) from error
        if cause == "CollectionNotFound":
            raise NotFoundError(str(error)) from error
        raise UnsupportedError(str(error)) from error


def _passage(hit: Any) -> Passage:
    where = hit.context
    return Passage(
        citation=str(where),
        text=hit.text,
        score=hit.score,
        source=where.source,
        file=where.file,
        start=where.start,
        end=where.end,
        page=where.page,
        row=where.row,
        metadata=dict(hit.metadata),
        scores=dict(hit.scores),
        document=hit.document_id,
    )

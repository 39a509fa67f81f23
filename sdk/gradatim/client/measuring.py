"""Measures an open index on a file of questions, with the workload's own evaluation, so that figures can be compared.

Called by `IndexSearch.evaluate`. Questions are located in the documents of the version's artifact, which must be readable from here: a folder
of this machine, or an object store with this machine's own identity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gradatim.api.run import StoreConfig
from gradatim.api.runstatus import NamedMetric
from gradatim.client.errors import ManifestError, MissingExtraError, NotFoundError

_WORKLOAD = "gradatim.workloads"


@dataclass(frozen=True, slots=True)
class ArtifactPlace:
    """What an index's status says about its artifact store besides the address in the manifest."""

    endpoint: str | None = None
    region: str | None = None


def measure_index(
    retriever: Any, questions: Path, ks: Sequence[int], place: ArtifactPlace, on_progress: Callable[[int, int], None]
) -> list[NamedMetric]:
    """Ask every question and return the metrics with their intervals.

    Raises `ManifestError` naming the line of a wrong question or a gold passage that is not in the index, `NotFoundError` if the artifact
    cannot be read from here.
    """
    try:
        load = _Library.load()
    except ImportError as error:
        raise MissingExtraError("index", "evaluating an index") from error
    try:
        found = [load.questions.parse_question(values, where) for values, where in _lines(questions)]
        _all_different(found)
        uri = retriever.manifest.artifact_uri
        root = uri if uri.endswith("/") else f"{uri}/"
        config = StoreConfig(root=root, endpoint=place.endpoint, region=place.region)
        store = load.store.ArtifactStore.open(config, load.secrets.SecretFolder(None))
        documents = load.reading.ParquetRows(store, load.artifact.DOCUMENTS_FILE)
        located = load.questions.locate_questions(found, documents)
        wanted = {gold.document for question in located for gold in question.gold}
        units = load.units.units_of_documents(load.reading.ParquetRows(store, load.artifact.CHUNKS_FILE), wanted)
    except load.errors.WorkloadError as error:
        raise ManifestError(str(error)) from error
    except (load.errors.StoreError, OSError) as error:
        hint = "the version's artifact must be readable from here: run this where the artifact store is mounted"
        raise NotFoundError(f"the index's artifact cannot be read: {error}", hint=hint) from error
    cutoffs = sorted(set(ks))
    rankings = []
    for number, question in enumerate(located, start=1):
        rankings.append(load.rank(retriever, question, units, cutoffs))
        on_progress(number, len(located))
    return list(load.measures.summarise(load.measures.measure(rankings, cutoffs)))


@dataclass(frozen=True, slots=True)
class _Library:
    """The workload's modules, loaded by name: the client's own install has none of them."""

    questions: Any
    store: Any
    secrets: Any
    reading: Any
    artifact: Any
    units: Any
    errors: Any
    measures: Any
    retriever: Any

    @classmethod
    def load(cls) -> _Library:
        def index(name: str) -> Any:
            return import_module(f"{_WORKLOAD}.index.{name}")

        return cls(
            questions=index("questions"),
            store=import_module(f"{_WORKLOAD}.store"),
            secrets=import_module(f"{_WORKLOAD}.secrets"),
            reading=index("reading"),
            artifact=index("artifact"),
            units=index("units"),
            errors=import_module(f"{_WORKLOAD}.errors"),
            measures=index("measures"),
            retriever=import_module("gradatim.rag.retrieve.retriever"),
        )

    def rank(self, retriever: Any, located: Any, units: Any, ks: list[int]) -> Any:
        """Ask one question as the evaluation of a build does: a ranking is measured, so the order for prompts is left out."""
        question = located.question
        depth = self.measures.depth(ks)
        query = self.retriever.Query(question.text, depth, tenant=question.tenant, overrides={"ordering": "score"})
        found = [self.units.unit_of(hit) for hit in retriever.answer(query).hits]
        return self.measures.Ranking(question.id, found, self.units.relevant_units(located, units), located.gold)


def _lines(path: Path) -> list[tuple[dict[str, Any], str]]:
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    # Not `splitlines`: a JSON string may hold U+2028 or U+0085 as it is.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise ManifestError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ManifestError(f"{path}:{number} is not a JSON object")
        found.append((values, f"{path}:{number}"))
    if not found:
        raise ManifestError(f"{path} holds no questions; write one JSON object per line")
    return found


def _all_different(questions: list[Any]) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ManifestError(f"{question.place}: question id {question.id!r} occurs twice; ids must be unique")
        seen.add(question.id)

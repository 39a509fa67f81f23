"""What may be taken from another object's artifacts: a table of good, damaged and forged ones, by vectors that fit and a key that matches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.reasons import Reason
from gradatim.api.run import IndexInputs, RunConfig, RunObject, StoreConfig, VectorStoreConfig, canonical_digest
from gradatim.rag.store.manifest import EncoderInfo, RetrievalManifest
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.adopting import Adopted, Wanted, open_adopted, versions_of
from gradatim.workloads.index.artifact import CHUNKS_FILE, Artifact, ArtifactManifest, parquet_writer, version_path
from gradatim.workloads.index.identity import VersionHash
from gradatim.workloads.index.reading import vector_array
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

OLD, NEW = "3f2a9c01-77de-4b7c-9d54-2f1f5a1e0c11", "b7d0c1aa-0000-4b7c-9d54-2f1f5a1e0c12"
ENCODER = canonical_digest("encoder")
FOLDER = f"ragindex/handbook/{OLD}"
WANTED = Wanted(ENCODER, 2, normalize=True)
RESOLVED = canonical_digest("resolved")


def context(root: Path, name: str = "handbook") -> RunContext:
    spec = {
        "sources": [{"name": "docs", "source": {"path": "file:///docs"}}],
        "embedding": {"model": {"uri": "file:///m"}},
    }
    config = RunConfig(
        workload="index",
        object=RunObject(kind="RAGIndex", namespace="n", name=name, uid=NEW),
        run="r",
        attempt=1,
        index=RAGIndexSpec.model_validate(spec),
        index_inputs=IndexInputs(collection_prefix="G0123456789_", adopt_from=OLD),
        store=StoreConfig(root=f"file://{root}/"),
        vector_store=VectorStoreConfig(endpoint="http://w:1", grpc_endpoint="http://w:2"),
    )
    return RunContext(config, ArtifactStore.open(config.store, SecretFolder(None)))


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def written(
    ctx: RunContext,
    names: str = "ab",
    *,
    folder: str = FOLDER,
    vectors: list[list[float]] | None = None,
    table: pa.Table | None = None,
    **manifest: Any,
) -> Artifact:
    """Write a version whose chunks are called by the letters of `names`; what is given replaces what would be right."""
    named = VersionHash(RESOLVED)
    named.add(names)
    digest = manifest.get("digest", named.digest())
    info = EncoderInfo(uri="file:///m", digest=ENCODER, dimension=2, normalize=True)
    base: dict[str, Any] = {
        "digest": digest,
        "resolved_digest": RESOLVED,
        "parse_digest": RESOLVED,
        "chunk_digest": RESOLVED,
        "encoder_digest": ENCODER,
        "dimension": 2,
        "files": 1,
        "documents": 1,
        "chunks": len(names),
        "retrieval": RetrievalManifest(digest=digest, artifact_uri="file:///x", encoder=info, vector_index={}),
    }
    artifact = Artifact(ctx.store, version_path(folder, manifest.pop("at", digest)))
    values = np.array(vectors or [[1.0, 0.0]] * len(names), dtype=np.float32)
    columns = {
        "id": pa.array(list(names)),
        "key": pa.array([key(name) for name in names], pa.binary(32)),
        "vector": vector_array(values),
    }
    found = pa.table(columns) if table is None else table
    with parquet_writer(ctx.store, artifact.file(CHUNKS_FILE), found.schema) as write:
        write(found)
    artifact.finish(ArtifactManifest(**(base | manifest)))
    return artifact


def taken(adopted: Adopted, names: str) -> str:
    return "".join(name for name in names if key(name) in adopted.library)


def failure(ctx: RunContext) -> str:
    with pytest.raises(WorkloadError) as caught:
        open_adopted(ctx, OLD, WANTED)
    assert (caught.value.failure.value, caught.value.reason) == ("User", Reason.ADOPTION_FAILED)
    assert caught.value.message.endswith("or remove adoptFrom to embed everything")
    return caught.value.message


def test_vectors_of_all_finished_versions_are_taken_and_those_that_cannot_be_one_are_not(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    written(ctx, "abcd", vectors=[[1, 0], [float("nan"), 0], [3, 4], [0.6, 0.8]])
    written(ctx, "xyz")
    adopted = open_adopted(ctx, OLD, WANTED)
    assert taken(adopted, "abcdwxyz") == "adxyz"
    assert adopted.library.take([key("d")], 2).tolist() == [[np.float32(0.6), np.float32(0.8)]]
    plain = open_adopted(ctx, OLD, Wanted(ENCODER, 2, normalize=False))
    assert taken(plain, "abcd") == "acd", "a length is only known where the encoder normalises"


def _with(**columns: pa.Array) -> pa.Table:
    base = {
        "id": pa.array(["a", "b"]),
        "key": pa.array([key("a"), key("b")], pa.binary(32)),
        "vector": vector_array(np.array([[1, 0], [0, 1]], dtype=np.float32)),
    }
    return pa.table({name: column for name, column in (base | columns).items() if column is not None})


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("chunks that the digest does not name", {"table": _with(id=pa.array(["a", "c"]))}, "its digest stands for"),
    ("chunks in another order", {"table": _with(id=pa.array(["b", "a"]))}, "its digest stands for"),
    ("chunks without an id", {"table": _with(id=pa.array(["a", None]))}, "rows without id or vector"),
    (
        "chunks without a vector",
        {"table": _with(vector=pa.array([[1.0, 0.0], None], pa.list_(pa.float32(), 2)))},
        "rows without id or vector",
    ),
    ("fewer chunks than the manifest says", {"chunks": 3}, "not that of a finished version"),
    ("vectors of another length", {"vectors": [[1, 0, 0]] * 2}, "not that of a finished version"),
    ("vectors of other numbers", {"table": _with(vector=pa.array(["v", "w"]))}, "not that of a finished version"),
    ("keys of another kind", {"table": _with(key=pa.array(["a", "b"]))}, "not that of a finished version"),
    ("no keys", {"table": _with(key=None)}, "key"),
    ("another encoder", {"encoder_digest": canonical_digest("other")}, "another encoder"),
    ("another dimension", {"dimension": 3}, "another encoder"),
    ("the folder of another version", {"at": canonical_digest("elsewhere")}, "names another version"),
]


@pytest.mark.parametrize(("case", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_an_artifact_is_refused_for(tmp_path: Path, case: dict[str, Any], message: str) -> None:
    ctx = context(tmp_path)
    written(ctx, **case)
    assert message in failure(ctx)
    written(ctx, "xyz")
    assert taken(open_adopted(ctx, OLD, WANTED), "abxyz") == "xyz", "a good one beside it still lends"


def test_damaged_files_are_refused_and_named(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    artifact = written(ctx)
    chunks = tmp_path / artifact.file(CHUNKS_FILE)
    data = chunks.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    torn = data[: len(data) // 2]
    holed = [data[:at] + b"\xff" * 32 + data[at + 32 :] for at in (footer, 4)]
    for damaged in (b"", b"PAR1", torn, *holed):
        chunks.write_bytes(damaged)
        assert artifact.path.rpartition("/")[2] in failure(ctx)
    chunks.unlink()
    assert "is not in the artifact store" in failure(ctx)
    (tmp_path / artifact.file("manifest.json")).write_text("{}")
    assert "is not a manifest" in failure(ctx)


def test_only_finished_versions_of_that_name_and_uid_count(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    assert "has no finished version" in failure(ctx)
    written(ctx, folder=f"ragindex/other/{OLD}")
    written(ctx, folder=f"dataset/handbook/{OLD}")
    written(ctx, folder=f"ragindex/handbook/{NEW}")
    written(ctx, folder=f"{FOLDER}/run-1/checkpoints")
    (tmp_path / written(ctx).file("manifest.json")).unlink()
    message = failure(ctx)
    assert f"file://{tmp_path}/{FOLDER} has no finished version" in message


def test_a_folder_that_was_copied_to_another_store_and_name_lends_as_before(tmp_path: Path) -> None:
    written(context(tmp_path / "old"), "abc")
    shutil.copytree(tmp_path / "old" / FOLDER, tmp_path / "new" / "ragindex" / "manual" / OLD)
    assert taken(open_adopted(context(tmp_path / "new", "manual"), OLD, WANTED), "abcx") == "abc"


def test_a_link_out_of_the_store_is_not_followed(tmp_path: Path) -> None:
    ctx, stranger = context(tmp_path / "mine"), context(tmp_path / "theirs")
    written(stranger)
    (tmp_path / "mine" / "ragindex" / "handbook").mkdir(parents=True)
    (tmp_path / "mine" / FOLDER).symlink_to(tmp_path / "theirs" / FOLDER)
    assert "leads out of the artifact store through a link" in failure(ctx)


def test_the_newest_versions_come_first_and_no_more_than_ten(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    made = [written(ctx, chr(ord("a") + number)) for number in range(12)]
    for number, artifact in enumerate(made):
        os.utime(tmp_path / artifact.file("manifest.json"), (1000 + number, 1000 + number))
    assert versions_of(ctx, FOLDER) == [artifact.path for artifact in reversed(made[2:])]


def test_chunks_are_counted_and_none_at_all_is_a_failure(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    written(ctx, "ab")
    adopted = open_adopted(ctx, OLD, WANTED)
    for name, keys in (("one", "aab"), ("two", "xb"), ("none", "xy")):
        table = pa.table({"key": pa.array([key(letter) for letter in keys], pa.binary(32))})
        with parquet_writer(ctx.store, f"{name}.parquet", table.schema) as write:
            write(table)
    assert adopted.covered(ctx, ["one.parquet", "two.parquet"]) == 4
    with pytest.raises(WorkloadError, match="none of the chunks has a vector"):
        adopted.covered(ctx, ["none.parquet"])

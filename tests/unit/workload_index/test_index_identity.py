"""Digests of the index workload: each changes with what it covers and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.workloads.index.identity import (
    FileIdentity,
    VersionHash,
    chunk_key,
    parse_digest,
    part_name,
    resolved_digest,
)

SPEC: dict[str, Any] = {
    "sources": [{"name": "docs", "source": {"path": "file:///docs"}}],
    "embedding": {"model": {"uri": "file:///models/a"}},
}
FILES = [FileIdentity("docs", "a.md", "sha256:1"), FileIdentity("docs", "b.md", "sha256:2", (("team", "x"),))]


def digest(files: list[FileIdentity] = FILES, extra: str = "encoder", **changes: Any) -> str:
    return resolved_digest(files, RAGIndexSpec.model_validate(SPEC | changes), [extra])


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(digest([FILES[0]]), id="a file less"),
        pytest.param(digest([FileIdentity("docs", "a.md", "sha256:9"), FILES[1]]), id="other content"),
        pytest.param(digest([FileIdentity("docs", "c.md", "sha256:1"), FILES[1]]), id="another name"),
        pytest.param(digest([FILES[0], FileIdentity("docs", "b.md", "sha256:2")]), id="other metadata"),
        pytest.param(digest(extra="other encoder"), id="another encoder"),
        pytest.param(digest(chunking={"maxTokens": 100}), id="another chunk size"),
        pytest.param(digest(parsing={"maxPages": 3}), id="another parser limit"),
        pytest.param(digest(schema={"metadata": [{"name": "team"}]}), id="another schema"),
        pytest.param(digest(vectorIndex={"type": "flat"}), id="another vector index"),
        pytest.param(digest(retrieval={"alpha": 0.9}), id="another default retrieval"),
        pytest.param(digest(validation={"onFailure": "quarantine"}), id="another validation"),
        pytest.param(
            digest(embedding={"model": {"uri": "file:///models/a"}, "prefix": {"query": "q: "}}), id="another prefix"
        ),
    ],
)
def test_a_build_is_named_anew_by(changed: str) -> None:
    assert changed != digest()


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(digest(list(reversed(FILES))), id="order of the listing"),
        pytest.param(
            digest(embedding={"model": {"uri": "file:///moved"}, "batchTokens": 999}), id="place of the weights"
        ),
        pytest.param(digest(versions={"keep": 5}, suspend=True, retry={"maxRetries": 0}), id="how runs are managed"),
        pytest.param(digest(evaluation={"questions": {"path": "file:///q.jsonl"}}), id="how it is measured"),
        pytest.param(digest(compute={"workers": 4}), id="how many workers build it"),
        pytest.param(
            digest(sources=[{"name": "docs", "source": {"path": "file:///moved"}}]), id="where equal files lie"
        ),
    ],
)
def test_a_build_keeps_its_name_whatever_the(same: str) -> None:
    assert same == digest()


def parsing(*, level: str = "text", filterable: bool = True, tenant: str | None = None) -> str:
    schema = {
        "metadata": [{"name": "level", "type": level, "filterable": filterable}, {"name": "team"}, {"name": "site"}]
    }
    tenancy = {"tenancy": {"enabled": True, "field": tenant}} if tenant else {}
    return parse_digest(RAGIndexSpec.model_validate(SPEC | tenancy | {"schema": schema}), "options")


def test_documents_are_read_again_where_their_metadata_must_fit_otherwise() -> None:
    assert len({parsing(), parsing(level="int"), parsing(tenant="team"), parsing(tenant="site")}) == 4
    assert parsing() == parsing(filterable=False)


def test_a_version_is_named_by_its_chunks_in_order() -> None:
    def version(resolved: str, *ids: str) -> str:
        found = VersionHash(resolved)
        for part in ids:
            found.add([part])
        return found.digest()

    assert version("r", "a", "b") == version("r", "a", "b")
    assert len({version("r", "a", "b"), version("r", "b", "a"), version("r", "ab"), version("s", "a", "b")}) == 4


def test_a_vector_is_shared_by_equal_text_whatever_its_unicode_form() -> None:
    key = chunk_key("caf\u00e9", "c", "e")
    assert len(key) == 32
    assert key == chunk_key("cafe\u0301", "c", "e")
    assert (
        len({key, chunk_key("cafe", "c", "e"), chunk_key("caf\u00e9", "d", "e"), chunk_key("caf\u00e9", "c", "f")}) == 4
    )


def test_a_file_is_read_again_when_anything_that_shapes_its_text_changes() -> None:
    base = FILES[1].key("p")
    others = [
        FileIdentity("other", "b.md", "sha256:2", (("team", "x"),)).key("p"),
        FileIdentity("docs", "b.md", "sha256:2", (("team", "y"),)).key("p"),
        FileIdentity("docs", "b.md", "sha256:3", (("team", "x"),)).key("p"),
        FILES[1].key("q"),
    ]
    assert len({base, *others}) == 5
    assert base == FileIdentity("docs", "b.md", "sha256:2", (("team", "x"),)).key("p")


def test_the_same_work_has_the_same_checkpoint() -> None:
    assert part_name("vectors", ["a", "b"]) == part_name("vectors", ["a", "b"]) != part_name("vectors", ["b", "a"])
    assert part_name("vectors", ["a"]).endswith(".parquet")

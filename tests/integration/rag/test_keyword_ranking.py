"""Keyword search right after a load finds what an exhaustive BM25 finds, however few results are asked for."""

from __future__ import annotations

import uuid

import numpy as np
from tests.support.platform import WeaviateServer

from gradatim.api.ragindex import VectorIndex
from gradatim.rag.store.connection import VectorStoreAddress, connected
from gradatim.rag.store.rows import IndexRow
from gradatim.rag.store.schema import CollectionDesign
from gradatim.rag.store.writer import CollectionWriter, LoadSettings

COMMON = (
    "main",
    "challenges",
    "faced",
    "known",
    "group",
    "place",
    "water",
    "early",
    "house",
    "world",
    "found",
    "state",
)
RARE = {70: "valkyria nameless", 85: "plasmodium transcriptome"}


def text_of(number: int) -> str:
    """Ten common words, more often in early passages; two passages late in the order hold rare words too."""
    words = [COMMON[(number * 5 + step * 7) % len(COMMON)] for step in range(10)]
    return " ".join(words * (3 if number < 40 else 1)) + " " + RARE.get(number, "")


def test_a_rare_word_decides_among_many_common_ones(weaviate_server: WeaviateServer) -> None:
    address = VectorStoreAddress(weaviate_server.endpoint, weaviate_server.grpc_endpoint, weaviate_server.workload_key)
    settings = LoadSettings(pause=lambda _: None, progress=lambda _: None)
    random = np.random.default_rng(1)
    rows = [
        (
            IndexRow(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), document_id="d", source="docs", uri="d.md",
                index=number, start=0, end=1, text=text_of(number),
            ),
            random.normal(size=8).astype(np.float32),
        )
        for number in range(100)
    ]  # fmt: skip
    with connected(address) as client:
        writer = CollectionWriter(
            client, f"Gtest_{uuid.uuid4().hex[:10]}", "e_00000000", tenants=False, settings=settings
        )
        writer.create(CollectionDesign(writer.name, "e_00000000", VectorIndex(), (), tenants=False, description="{}"))
        writer.sync(rows)
        try:
            ask = client.collections.use(writer.name).query.bm25
            best = {
                number: ask(f"main challenges faced by the {words} group", query_properties=["text"], limit=3)
                for number, words in RARE.items()
            }
        finally:
            writer.drop()
    assert {number: found.objects[0].properties["index"] for number, found in best.items()} == {70: 70, 85: 85}

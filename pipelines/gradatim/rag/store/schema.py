"""Builds the definition of a collection: properties, named vector, index, quantisation, replicas, shards, tenants.

Called when a collection is created. Pure: values in, the client's configuration objects out. Properties are explicit, nothing is guessed by
the server from the first object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import weaviate.classes.config as wc

from gradatim.api.ragindex import MetadataField, MetadataType, VectorIndex
from gradatim.rag.store.names import (
    DOCUMENT,
    END,
    FINGERPRINT,
    HEADINGS,
    INDEX,
    PAGE,
    PARENT,
    PARENT_CARRIER,
    PARENT_END,
    PARENT_START,
    PARENT_TEXT,
    ROW,
    SOURCE,
    START,
    TEXT,
    URI,
    metadata_property,
)  # fmt: skip

_TYPES = {
    MetadataType.TEXT: wc.DataType.TEXT,
    MetadataType.INT: wc.DataType.INT,
    MetadataType.NUMBER: wc.DataType.NUMBER,
    MetadataType.BOOLEAN: wc.DataType.BOOL,
    MetadataType.DATE: wc.DataType.DATE,
}
_RANGED = frozenset({MetadataType.INT, MetadataType.NUMBER, MetadataType.DATE})
_DISTANCES = {
    "cosine": wc.VectorDistances.COSINE,
    "dot": wc.VectorDistances.DOT,
    "l2-squared": wc.VectorDistances.L2_SQUARED,
}
_QUANTIZERS: dict[str, Callable[[], Any]] = {
    "none": wc.Configure.VectorIndex.Quantizer.none,
    "rq": wc.Configure.VectorIndex.Quantizer.rq,
    "pq": wc.Configure.VectorIndex.Quantizer.pq,
    "bq": wc.Configure.VectorIndex.Quantizer.bq,
}


@dataclass(frozen=True, slots=True)
class CollectionDesign:
    """What a collection is made from. `description` holds the retrieval manifest."""

    name: str
    vector_name: str
    vector_index: VectorIndex
    fields: tuple[MetadataField, ...]
    tenants: bool
    description: str


def properties(fields: tuple[MetadataField, ...]) -> list[wc.Property]:
    """Return every property: the text is the only searchable one, names and numbers are filterable, the rest is only kept."""
    kept = [
        _plain(name, kind)
        for name, kind in (
            (INDEX, wc.DataType.INT),
            (START, wc.DataType.INT),
            (END, wc.DataType.INT),
            (HEADINGS, wc.DataType.TEXT_ARRAY),
            (FINGERPRINT, wc.DataType.TEXT),
            (PARENT_CARRIER, wc.DataType.TEXT),
            (PARENT_TEXT, wc.DataType.TEXT),
            (PARENT_START, wc.DataType.INT),
            (PARENT_END, wc.DataType.INT),
        )
    ]
    names = [_exact(name) for name in (DOCUMENT, SOURCE, URI, PARENT)]
    numbers = [
        wc.Property(name=name, data_type=wc.DataType.INT, index_filterable=True, index_range_filters=True)
        for name in (PAGE, ROW)
    ]
    text = wc.Property(
        name=TEXT,
        data_type=wc.DataType.TEXT,
        tokenization=wc.Tokenization.WORD,
        index_searchable=True,
        index_filterable=False,
    )
    return [text, *names, *numbers, *kept, *(_metadata(field) for field in fields)]


def create_arguments(design: CollectionDesign) -> dict[str, Any]:
    """Return the arguments of `client.collections.create`."""
    index = design.vector_index
    vector = wc.Configure.Vectors.self_provided(
        name=design.vector_name,
        quantizer=_QUANTIZERS[index.quantization](),
        vector_index_config=_vector_index(index),
    )
    return {
        "name": design.name,
        "description": design.description,
        "properties": properties(design.fields),
        "vector_config": [vector],
        "inverted_index_config": wc.Configure.inverted_index(bm25_b=0.75, bm25_k1=1.2),
        "replication_config": wc.Configure.replication(factor=index.replicas),
        # With tenants every tenant is a shard of its own: the server refuses a count.
        "sharding_config": None if design.tenants else wc.Configure.sharding(desired_count=index.shards),
        "multi_tenancy_config": wc.Configure.multi_tenancy(
            enabled=design.tenants, auto_tenant_creation=False, auto_tenant_activation=design.tenants
        ),
    }


def _vector_index(index: VectorIndex) -> Any:
    distance = _DISTANCES[index.distance]
    if index.type == "flat":
        return wc.Configure.VectorIndex.flat(distance_metric=distance)
    return wc.Configure.VectorIndex.hnsw(
        distance_metric=distance, ef_construction=index.ef_construction, max_connections=index.max_connections
    )


def _plain(name: str, kind: wc.DataType) -> wc.Property:
    searchable = False if kind in (wc.DataType.TEXT, wc.DataType.TEXT_ARRAY) else None
    return wc.Property(name=name, data_type=kind, index_filterable=False, index_searchable=searchable)


def _exact(name: str) -> wc.Property:
    return wc.Property(
        name=name,
        data_type=wc.DataType.TEXT,
        tokenization=wc.Tokenization.FIELD,
        index_filterable=True,
        index_searchable=False,
    )


def _metadata(field: MetadataField) -> wc.Property:
    kind = _TYPES[field.type]
    text = field.type is MetadataType.TEXT
    return wc.Property(
        name=metadata_property(field.name),
        data_type=kind,
        tokenization=wc.Tokenization.FIELD if text else None,
        index_filterable=field.filterable,
        index_searchable=False if text else None,
        index_range_filters=True if field.filterable and field.type in _RANGED else None,
    )

"""Filters are typed by the index's schema; what is none, or of the wrong type, is an error and never dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api import RAGIndex
from gradatim.api.ragindex import MetadataField
from gradatim.client.errors import NotFoundError, UnsupportedError
from gradatim.client.filters import Condition, filter_input, parse_filters
from gradatim.client.measuring import ArtifactPlace
from gradatim.client.search import IndexSearch, open_local_search, open_search
from gradatim.client.vectorstore import VectorAccess
from gradatim.rag.model import RagError
from gradatim.rag.retrieve.filters import parse_filters as library_filters

FIELDS = [
    MetadataField.model_validate({"name": name, "type": kind})
    for name, kind in (
        ("year", "int"),
        ("price", "number"),
        ("draft", "boolean"),
        ("published", "date"),
        ("team", "text"),
    )
]
CASES: dict[str, tuple[list[str], dict[str, dict[str, object]]]] = {
    "a text": (["team=hr"], {"team": {"eq": "hr"}}),
    "a text with an equals sign": (["team=a=b"], {"team": {"eq": "a=b"}}),
    "numbers": (["year>=2020", "price<1.5"], {"year": {"gte": 2020}, "price": {"lt": 1.5}}),
    "a range": (["year>2019", "year<=2024"], {"year": {"gt": 2019, "lte": 2024}}),
    "a flag": (["draft!=True"], {"draft": {"ne": True}}),
    "a date stays text": (["published>=2024-05-31"], {"published": {"gte": "2024-05-31"}}),
    "any of several": (["team=a", "team=b", "team=c"], {"team": {"in": ["a", "b", "c"]}}),
    "a page is a number": (["page=3"], {"page": {"eq": 3}}),
    "an unknown field is for the index to refuse": (["other=x"], {"other": {"eq": "x"}}),
}


@pytest.mark.parametrize(("texts", "want"), CASES.values(), ids=CASES.keys())
def test_filters_are_typed(texts: list[str], want: dict[str, dict[str, object]]) -> None:
    assert filter_input(parse_filters(texts), FIELDS) == want


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["team"], "is no filter"),
        (["=x"], "is no filter"),
        (["year=soon"], "year is of type int"),
        (["draft=maybe"], "write true or false"),
        (["year>1", "year>2"], "given twice"),
    ],
    ids=["no operator", "no field", "no number", "no flag", "twice"],
)
def test_wrong_filters_are_named(texts: list[str], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        filter_input(parse_filters(texts), FIELDS)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("uri=a.md", "'uri=a.md' is no filter; write a mapping such as"),
        (7, "7 is no filter"),
        (["uri=a.md"], "'uri=a.md' in the filters is no Condition"),
        ({"uri": "a.md"}, "the filter on uri has no operator"),
    ],
    ids=["a text", "a number", "texts", "a field without operator"],
)
def test_what_is_neither_a_mapping_nor_conditions_is_named(filters: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        filter_input(filters, FIELDS)


class Asked:
    """Stands for the retriever: takes a query as the library does, reads its filters and finds nothing."""

    manifest = SimpleNamespace(fields=FIELDS)

    def __init__(self) -> None:
        self.conditions: list[tuple[str, str, object]] = []

    def answer(self, query: Any) -> Any:
        """Note what the library makes of the filters."""
        found = library_filters(query.filters, FIELDS)
        self.conditions = [(item.property, item.operator.value, item.value) for item in found]
        return SimpleNamespace(hits=(), version="v1", collection="G1", timings={})


FORMS: dict[str, Mapping[str, Mapping[str, object]] | Sequence[Condition]] = {
    "a mapping": {"uri": {"eq": "notice.md"}, "page": {"gte": 2, "lt": 9}},
    "conditions": parse_filters(["uri=notice.md", "page>=2", "page<9"]),
}


@pytest.mark.parametrize("filters", FORMS.values(), ids=FORMS.keys())
def test_both_forms_reach_the_library(filters: Mapping[str, Mapping[str, object]] | Sequence[Condition]) -> None:
    asked = Asked()
    IndexSearch(asked, RagError, ArtifactPlace()).query("why?", filters=filters)
    assert asked.conditions == [("uri", "eq", "notice.md"), ("page", "gte", 2), ("page", "lt", 9)]


def test_the_library_refuses_what_an_index_does_not_have() -> None:
    search = IndexSearch(Asked(), RagError, ArtifactPlace())
    with pytest.raises(UnsupportedError, match="filter field 'url' is not known; filterable are document"):
        search.query("why?", filters={"url": {"eq": "a"}})
    with pytest.raises(UnsupportedError, match="unknown operator '>='; known are eq"):
        search.query("why?", filters={"page": {">=": 2}})


def index(**status: object) -> RAGIndex:
    spec = {"sources": [{"name": "a", "source": {"path": "file:///d"}}], "embedding": {"model": {"uri": "package://m"}}}
    return RAGIndex.model_validate({"metadata": {"name": "i"}, "spec": spec, "status": status})


def test_an_index_that_cannot_be_asked_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no version that serves yet"):
        open_search(index(alias="A"))
    stalled = {"type": "Stalled", "status": "True", "reason": "GateUnproven", "message": "one question is too few"}
    with pytest.raises(NotFoundError, match="GateUnproven: one question is too few") as error:
        open_search(index(alias="A", conditions=[stalled | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]))
    assert error.value.hint == "gradatim describe ragindex i"
    active = {"digest": "sha256:" + "a" * 64, "label": "v1", "collection": "G1", "uri": "file:///s/"}
    with pytest.raises(UnsupportedError, match="names no Weaviate address"):
        open_search(index(alias="A", active=active))
    with pytest.raises(NotFoundError, match="holds no ragindex i"):
        open_local_search(tmp_path, "i", namespace=None)


def test_a_weaviate_by_address_needs_its_key_where_secrets_lie(tmp_path: Path) -> None:
    found = VectorAccess.of_address("http://w:8080", None, tmp_path / "key" / "api-key")
    assert (found.config.grpc_endpoint, found.config.secret_name, found.secrets) == ("http://w:50051", "key", tmp_path)
    with pytest.raises(UnsupportedError, match="a file called api-key"):
        VectorAccess.of_address("http://w:8080", None, tmp_path / "mykey")
    with pytest.raises(UnsupportedError, match="is no address"):
        VectorAccess.of_address("w:8080")

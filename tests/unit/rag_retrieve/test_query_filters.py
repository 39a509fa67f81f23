"""Filters: what a user may write, what it means, and how a wrong one is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gradatim.api.ragindex import MetadataField, MetadataType
from gradatim.rag.retrieve.filters import Condition, FilterError, Operator, parse_filters, to_store

FIELDS = [
    MetadataField(name="department"),
    MetadataField(name="published", type=MetadataType.DATE),
    MetadataField(name="level", type=MetadataType.INT),
    MetadataField(name="weight", type=MetadataType.NUMBER),
    MetadataField(name="public", type=MetadataType.BOOLEAN),
    MetadataField(name="note", filterable=False),
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param(None, (), id="no filter has no condition"),
        pytest.param(
            {"department": "hr"}, (Condition("m_department", Operator.EQ, "hr"),), id="a plain value means equality"
        ),
        pytest.param(
            {"department": ["hr", "it"]},
            (Condition("m_department", Operator.IN, ("hr", "it")),),
            id="a list means any of its values",
        ),
        pytest.param(
            {"published": {"gte": "2024-01-01", "lt": date(2025, 1, 1)}},
            (
                Condition("m_published", Operator.GTE, datetime(2024, 1, 1, tzinfo=UTC)),
                Condition("m_published", Operator.LT, datetime(2025, 1, 1, tzinfo=UTC)),
            ),
            id="two bounds of a date both hold",
        ),
        pytest.param(
            {"weight": 2, "public": True, "level": {"ne": 3}},
            (
                Condition("m_weight", Operator.EQ, 2.0),
                Condition("m_public", Operator.EQ, value=True),
                Condition("m_level", Operator.NE, 3),
            ),
            id="whole numbers serve as numbers and booleans stay booleans",
        ),
        pytest.param(
            {"source": "handbook", "page": {"lte": 3}},
            (Condition("source", Operator.EQ, "handbook"), Condition("page", Operator.LTE, 3)),
            id="built-in fields need no declaration",
        ),
    ],
)
def test_filters_become_conditions(filters: dict[str, object] | None, expected: tuple[Condition, ...]) -> None:
    assert parse_filters(filters, FIELDS) == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        pytest.param(
            {"departmnet": "hr"},
            "filter field 'departmnet' is not known; filterable are "
            "department, document, level, page, public, published, row, source, uri, weight",
            id="an unknown field names those that exist",
        ),
        pytest.param(
            {"note": "x"}, "is not filterable: set filterable in the schema", id="a field kept but not indexed"
        ),
        pytest.param(
            {"level": {"above": 3}},
            "unknown operator 'above'; known are eq, ne, gt, gte, lt, lte, in",
            id="an unknown operator",
        ),
        pytest.param({"level": "three"}, "needs a value of type int, not 'three'", id="text for a whole number"),
        pytest.param({"level": True}, "needs a value of type int, not True", id="a boolean for a whole number"),
        pytest.param({"department": 3}, "needs a value of type text, not 3", id="a number for text"),
        pytest.param({"published": "soon"}, "needs a date such as 2024-05-31, not 'soon'", id="text that is no date"),
        pytest.param({"department": {"gte": "a"}}, "is of type text and cannot be compared", id="order of text"),
        pytest.param({"department": []}, "'in' needs a list of 1 to 1000 values", id="an empty list"),
        pytest.param({"department": {}}, "has no condition", id="an empty condition"),
    ],
)
def test_a_wrong_filter_is_refused_with_what_to_do(filters: dict[str, object], message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filters(filters, FIELDS)
    assert message in str(caught.value)


def test_conditions_become_one_store_filter_that_needs_all_of_them() -> None:
    assert to_store(()) is None
    single = to_store(parse_filters({"department": "hr"}, FIELDS))
    assert (single.target, single.operator.value, single.value) == ("m_department", "Equal", "hr")
    both = to_store(parse_filters({"department": ["hr"], "level": {"gt": 1}}, FIELDS))
    assert both.operator.value == "And"
    assert [(part.target, part.operator.value, part.value) for part in both.filters] == [
        ("m_department", "ContainsAny", ["hr"]),
        ("m_level", "GreaterThan", 1),
    ]

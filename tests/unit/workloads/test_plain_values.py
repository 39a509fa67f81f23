"""Values as metadata columns of a Dataset and the metadata of an index hold them, type included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from gradatim.workloads.tables.columns import plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Decimal("19.90"), 19.9, id="a price"),
        pytest.param(Decimal("-20.00"), -20, id="a whole price"),
        pytest.param(Decimal("1E+3"), 1000, id="thousands"),
        pytest.param(Decimal("0.3000000000000000000"), 0.3, id="places that say nothing"),
        pytest.param(Decimal("0.3333333333333333333"), "0.3333333333333333333", id="more places than a float has"),
        pytest.param(Decimal("9007199254740993.00"), "9007199254740993.00", id="more digits than a float has"),
        pytest.param(Decimal("9007199254740993"), 9007199254740993, id="a whole number of 64 bits"),
        pytest.param(Decimal("9223372036854775808"), "9223372036854775808", id="a whole number of 65 bits"),
        pytest.param(Decimal("1E+999999"), "1E+999999", id="a number without end"),
        pytest.param(Decimal("NaN"), None, id="a decimal that is none"),
        pytest.param(Decimal("-Infinity"), None, id="an infinite decimal"),
        pytest.param(float("inf"), None, id="an infinite float"),
        pytest.param(True, True, id="a boolean"),
        pytest.param("x", "x", id="text"),
        pytest.param(date(2024, 5, 1), "2024-05-01", id="a day"),
        pytest.param(datetime(2024, 5, 1, tzinfo=UTC), "2024-05-01T00:00:00+00:00", id="a time"),
        pytest.param(timedelta(hours=1), "1:00:00", id="a duration"),
        pytest.param(UUID(int=1), "00000000-0000-0000-0000-000000000001", id="a UUID"),
    ],
)
def test_values_of_other_types_become_plain(value: object, expected: object) -> None:
    found = plain(value)
    assert (type(found), found) == (type(expected), expected)

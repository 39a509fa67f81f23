"""A run config travels in one environment variable, whatever its size."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from gradatim.api.run import MAX_DOCUMENT_BYTES, packed, unpacked


@pytest.mark.parametrize("size", [10, 1000, 300_000])
def test_a_config_comes_back_as_it_was(size: int) -> None:
    text = json.dumps({"suite": [{"type": "expect_column_to_exist", "n": n} for n in range(size // 45 + 1)]})
    assert unpacked(packed(text, 1000)) == text


def test_a_large_suite_fits_into_a_variable_of_linux() -> None:
    text = json.dumps({"suite": [{"type": "expect_column_to_exist", "n": n} for n in range(6000)]})
    assert len(text) > 250_000
    assert len(packed(text, 64 * 1024)) < 100_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("zlib:!!!", id="not base64"),
        pytest.param("zlib:" + base64.b64encode(b"plain").decode(), id="not compressed"),
        pytest.param("zlib:" + base64.b64encode(zlib.compress(b"x" * 100)[:-6]).decode(), id="cut off"),
        pytest.param("zlib:" + base64.b64encode(zlib.compress(b"0" * (MAX_DOCUMENT_BYTES + 1))).decode(), id="a bomb"),
    ],
)
def test_a_damaged_or_oversized_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="packed run config"):
        unpacked(text)

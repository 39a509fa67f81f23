"""A status in which one word cannot be read keeps the rest: stores, versions and the active Run are not forgotten for it."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api.dataset import DatasetStatus
from gradatim.operator.reading import typed_status

STORE = {"profile": "p", "profileUid": "u", "artifactRoot": "file:///s/{namespace}/"}
RUN = {"name": "one-1", "trigger": "generation", "attempts": [{"number": 1}]}


@pytest.mark.parametrize(
    ("raw", "store", "run"),
    [
        pytest.param({"state": "Hibernating"}, True, True, id="a state of a newer release"),
        pytest.param({"conditions": [{"type": "Ready", "status": "Maybe"}]}, True, True, id="a foreign condition"),
        pytest.param({"run": RUN | {"attempts": [{"number": 0}]}}, True, False, id="a Run that makes no sense"),
        pytest.param({"state": 1, "run": 2, "store": 3}, False, False, id="nothing that can be read"),
    ],
)
def test_what_can_be_read_is_kept(raw: dict[str, Any], store: bool, run: bool) -> None:
    found = typed_status(DatasetStatus, {"status": {"store": STORE, "run": RUN} | raw})
    assert (found.store is not None, found.run is not None) == (store, run)


def test_an_object_without_a_status_was_never_looked_at() -> None:
    assert typed_status(DatasetStatus, {}) == DatasetStatus()

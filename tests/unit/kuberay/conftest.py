"""An API server of answers for the tests of the runtime `kuberay`."""

from __future__ import annotations

import pytest
from tests.support.kuberay_api import Serve, serving


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that makes the calls on an API server which answers so."""
    return serving(monkeypatch)

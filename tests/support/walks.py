"""Random walks through valid specs of a kind: what lies over the smallest spec at each step, and how long it stays so.

Used by the walks of both runtimes.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tests.support.watcher import Body

COMMON: dict[str, st.SearchStrategy[Any]] = {
    "validation": st.fixed_dictionaries({"maxRejectedFraction": st.sampled_from([0.0, 0.1, 0.5])}),
    "retry": st.fixed_dictionaries({"maxRetries": st.integers(0, 3)}),
    "suspend": st.booleans(),
    "refresh": st.sampled_from([{"schedule": "0 3 1 1 *"}, {"jitterSeconds": 5}]),
    "activeDeadlineSeconds": st.sampled_from([600, 1200]),
}
OWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "Dataset": {
        "columns": st.sampled_from([{"text": "body"}, {"text": "content"}]),
        "dedup": st.fixed_dictionaries({"exact": st.booleans()}),
        "format": st.sampled_from(["csv", "jsonl"]),
    },
    "RAGIndex": {
        "parsing": st.fixed_dictionaries({"maxPages": st.integers(1, 5)}),
        "chunking": st.fixed_dictionaries({"maxTokens": st.sampled_from([64, 128])}),
        "versions": st.fixed_dictionaries({"keep": st.integers(1, 3)}),
        "retrieval": st.fixed_dictionaries({"topK": st.integers(1, 8)}),
    },
}


@st.composite
def walks(draw: st.DrawFn, kind: str) -> tuple[str, list[tuple[Body, str]]]:
    """Return a kind and steps: what lies over the smallest spec, and how long to stay there."""
    spec = st.fixed_dictionaries({}, optional=COMMON | OWN[kind])
    pause = st.sampled_from(["not at all", "until it is seen", "until it is settled"])
    return kind, draw(st.lists(st.tuples(spec, pause), min_size=3, max_size=5))

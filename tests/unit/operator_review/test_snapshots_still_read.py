"""A snapshot that is no longer kept stays while the active Run of a reader was given it, and goes once none was."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gradatim.api.dataset import DatasetVersion
from gradatim.api.run import ResolvedDataset, RunConfig, canonical_digest
from gradatim.api.runstatus import RunStatus
from gradatim.operator.applying import config_map
from gradatim.operator.dataset.reconcile import _still_read
from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import Body, Resource
from gradatim.operator.queue import Key
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import frozen_inputs
from gradatim.operator.slots import Slots

PAPERS, READER = Key("datasets", "team", "papers"), Key("ragindices", "team", "docs")
OLD = DatasetVersion(digest=canonical_digest("old"), uri="file:///store/team/dataset/papers/u/snapshots/old/")
OTHER = DatasetVersion(digest=canonical_digest("other"), uri="file:///store/team/dataset/papers/u/snapshots/other/")


@pytest.fixture
def config(world: Callable[..., World]) -> RunConfig:
    """Return inputs that name the old snapshot."""
    made = frozen_inputs(world(), RunStatus(name="docs-2", trigger="generation", generation=1), force=False)
    given = [ResolvedDataset(name="papers", digest=OLD.digest, uri=OLD.uri)]
    return made.model_copy(update={"datasets": given}).sealed()


RUN = {"name": "docs-2", "trigger": "generation", "attempts": [{"number": 1}]}
CASES: list[tuple[str, dict[str, Any], bool, list[str]]] = [
    ("a Run that is active", RUN, True, [OLD.digest]),
    ("a Run that is over", RUN | {"done": True}, True, []),
    ("a Run without inputs", RUN | {"name": "docs-3"}, True, []),
    ("no Run at all", {}, True, []),
    ("readers that are not all known yet", RUN | {"done": True}, False, [OLD.digest, OTHER.digest]),
]


@pytest.mark.parametrize(("run", "primed", "kept"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_a_snapshot_and(config: RunConfig, run: dict[str, Any], primed: bool, kept: list[str]) -> None:
    index: Body = {"apiVersion": "v", "kind": "RAGIndex", "status": {"run": run}}
    index["metadata"] = {"name": "docs", "namespace": "team", "uid": "u"}
    held = {("ragindices", "docs"): index, ("configmaps", "docs-2"): json.loads(json.dumps(config_map(index, config)))}

    async def find(resource: Resource, namespace: str, name: str) -> Body | None:
        assert namespace == "team"
        return held.get((resource.plural, name))

    context: Any = SimpleNamespace(kube=SimpleNamespace(find=find), slots=Slots(primed=primed), dependents=Dependents())
    context.dependents.update(READER, [PAPERS])
    found = await _still_read(context, PAPERS, (OLD, OTHER))
    assert [v.digest for v in found] == kept

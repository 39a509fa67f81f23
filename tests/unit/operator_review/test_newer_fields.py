"""Fields of a newer release, in objects and in frozen inputs: this one goes on without them, and refuses what is really wrong."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset
from gradatim.api.ragindex import RAGIndex, RAGIndexSpec, RAGIndexStatus
from gradatim.api.reasons import Reason
from gradatim.api.run import RunConfig, document_digest
from gradatim.api.runstatus import Attempt, RunStatus
from gradatim.operator import newer
from gradatim.operator.applying import config_map, take
from gradatim.operator.errors import WillNeverWork
from gradatim.operator.kube import Body
from gradatim.operator.newer import MOST, understood
from gradatim.operator.observing import evidence, frozen, readable
from gradatim.operator.ragindex.model import World
from gradatim.operator.ragindex.plan import frozen_inputs, plan
from gradatim.operator.reading import InvalidSpecError, typed
from gradatim.operator.runs.model import Kill, RequestStop, Submit
from gradatim.operator.runtimes.base import Launch, Observed, Phase, Tenant
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER: Body = {"apiVersion": "v", "kind": "RAGIndex", "metadata": {"name": "docs", "namespace": "team", "uid": "u"}}
SPEC: Body = {
    "sources": [{"name": "a", "source": {"path": "file:///a"}}, {"name": "b", "source": {"path": "file:///b"}}],
    "embedding": {"model": {"uri": "file:///models/m"}},
    "validation": {"expectations": [{"type": "expect_x", "kwargs": {"column": "text", "free": {"form": 1}}}]},
}
KNOWN = RAGIndexSpec.model_validate(SPEC)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    newer._tell.cache_clear()
    yield
    newer._tell.cache_clear()


def index(*path: int | str, value: Any = "new", generation: int = 1) -> Body:
    """Return an index with a member more at this path of its spec."""
    spec = copy.deepcopy(SPEC)
    at: Any = spec
    for part in path[:-1]:
        at = at[part]
    if path:
        at[path[-1]] = value
    metadata = {"name": "docs", "namespace": "team", "uid": "u", "generation": generation}
    return {"kind": "RAGIndex", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(index("fresh"), id="a field of the spec"),
        pytest.param(index("fresh", value={"a": [1]}), id="one with members of its own"),
        pytest.param(index("embedding", "model", "fresh"), id="one far inside"),
        pytest.param(index("sources", 1, "fresh"), id="one in a list"),
        pytest.param(index("sources", 0, "source", "fresh"), id="one below a list"),
    ],
)
def test_an_object_is_read_without_what_is_not_known(body: Body) -> None:
    before = copy.deepcopy(body)
    found, left_out = typed(RAGIndex, body)
    assert found.spec == KNOWN
    assert [path.rpartition(".")[2] for path in left_out] == ["fresh"]
    assert body == before, "what was read is written back with a status"


def test_free_form_members_are_kept() -> None:
    found, _ = typed(RAGIndex, index("fresh"))
    assert found.spec.validation.expectations[0].kwargs == {"column": "text", "free": {"form": 1}}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        pytest.param(("embedding", "batchTokens"), "many", "spec.embedding.batchTokens", id="beside a wrong value"),
        pytest.param(
            ("sources", 0, "source"), {"fresh": {}}, "spec.sources.0.source", id="where a known one has to be"
        ),
    ],
)
def test_what_is_really_wrong_is_named_alone(path: tuple[int | str, ...], value: Any, named: str) -> None:
    body = index(*path, value=value)
    body["spec"]["fresh"] = body["spec"]["embedding"]["fresh"] = 1
    with pytest.raises(InvalidSpecError) as refused:
        typed(RAGIndex, body)
    assert named in str(refused.value)
    assert "fresh:" not in str(refused.value)
    assert ";" not in str(refused.value)


def test_objects_that_others_read_are_read_alike() -> None:
    profile = {
        "runtime": {"rayCluster": {"address": "http://ray", "fresh": 1}},
        "artifactStore": {"root": "file:///s/{namespace}/"},
        "fresh": {},
    }
    body: Body = {"kind": "ComputeProfile", "metadata": {"name": "p"}, "spec": profile}
    assert readable(ComputeProfile, body).spec.artifact_store.root == "file:///s/{namespace}/"
    del profile["artifactStore"]
    with pytest.raises(WillNeverWork, match=r"spec\.artifactStore: Field required"):
        readable(ComputeProfile, body)


@pytest.mark.parametrize("member", ["allowedNamespaces", "limits"])
def test_a_restriction_that_is_not_known_closes_a_profile(member: str) -> None:
    spec = {
        "runtime": {"rayCluster": {"address": "http://ray"}},
        "artifactStore": {"root": "file:///s/{namespace}/"},
        member: {"fresh": 1},
    }
    with pytest.raises(WillNeverWork, match=rf"spec\.{member}\.fresh"):
        readable(ComputeProfile, {"kind": "ComputeProfile", "metadata": {"name": "p"}, "spec": spec})


@pytest.mark.parametrize("done", [True, False], ids=["an idle object", "an active Run"])
def test_a_run_for_a_spec_with_newer_fields_is_neither_stopped_nor_followed(
    world: Callable[..., World], done: bool
) -> None:
    """The newer release has recorded a digest over a spec that this one cannot see whole."""
    steady = world()
    run = RunStatus(
        name="docs-2", trigger="generation", generation=1, spec_digest="of-the-whole-spec", done=done, succeeded=done,
        attempts=[Attempt(number=1, outcome="Succeeded" if done else "Running", started_at="2026-03-01T11:59:00Z")],
    )  # fmt: skip
    here = dataclasses.replace(steady, status=steady.status.model_copy(update={"run": run}))
    seen = plan(dataclasses.replace(here, unknown=("spec.parsing.fresh",)), RunSettings()).decision
    assert (seen.start, seen.step.run and seen.step.run.name, seen.behind) == (None, "docs-2", False)
    assert not any(isinstance(action, RequestStop | Kill) for action in seen.step.actions)
    if done:
        assert seen.block is not None
        assert (seen.block.reason, seen.block.stalled) == (Reason.INVALID_SPEC, True)
        assert "spec.parsing.fresh" in seen.block.message
    otherwise = plan(here, RunSettings()).decision
    assert otherwise.start is not None or otherwise.step.actions, "known whole, such a spec is another one"


def test_nothing_is_begun_without_newer_fields(world: Callable[..., World]) -> None:
    steady = world()
    new = dataclasses.replace(steady, status=RAGIndexStatus(store=steady.status.store), unknown=("spec.fresh",))
    assert plan(new, RunSettings()).decision.start is None
    assert plan(dataclasses.replace(new, unknown=()), RunSettings()).decision.start is not None


def test_it_is_said_once_for_each_version_of_an_object(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            typed(RAGIndex, index("sources", 1, "fresh"))
        typed(RAGIndex, index())
    said = "RAGIndex team/docs has fields that this release does not know and goes on without: 'spec.sources.1.fresh'"
    assert [r.getMessage() for r in caplog.records] == [said]
    typed(RAGIndex, index("sources", 1, "fresh", generation=2))
    assert len(caplog.records) == 2


def test_a_forged_document_costs_one_look() -> None:
    spec = {"source": {"path": "file:///d"}} | {f"x{n}": n for n in range(MOST + 1)}
    with pytest.raises(ValidationError):
        understood(Dataset, {"metadata": {"name": "d"}, "spec": spec})


class Maps:
    """Holds one ConfigMap, and is a runtime and a store that hold nothing."""

    def __init__(self, body: Body) -> None:
        self.body, self.launched = body, list[Launch]()

    async def find(self, *_: Any) -> Body:
        """Return the ConfigMap."""
        return self.body

    async def opened(self, *_: Any) -> Maps:
        """Return itself."""
        return self

    async def observe(self, _: str) -> Observed:
        """Know of no attempt."""
        return Observed(Phase.ABSENT)

    async def read(self, _: str) -> None:
        """Hold no document."""

    async def delete(self, *_: Any, **__: Any) -> None:
        """Hold nothing to delete."""

    async def submit(self, launch: Launch) -> None:
        """Take an attempt."""
        self.launched.append(launch)


def newer_inputs(config: RunConfig) -> tuple[Body, dict[str, Any]]:
    """Return the ConfigMap in which a newer release has frozen these inputs, and what it holds."""
    body = config_map(OWNER, config)
    document: dict[str, Any] = json.loads(body["data"]["config.json"])
    document["fresh"] = {"a": 0.1}
    document["index"]["sources"][0]["fresh"] = "é"
    document["digest"] = document_digest(document)
    body["data"]["config.json"] = json.dumps(document)
    return body, document


async def test_a_run_that_a_newer_release_began_goes_on_with_all_that_it_was_given(
    world: Callable[..., World],
) -> None:
    run = RunStatus(name="docs-2", trigger="generation", generation=1, attempts=[Attempt(number=1)])
    config = frozen_inputs(world(), run, force=False)
    body, document = newer_inputs(config)
    run = run.model_copy(update={"config_digest": document["digest"]})
    maps: Any = Maps(body)
    held = await frozen(maps, "team", "u", run)
    assert held.conflict is None
    assert held.config is not None
    assert held.config.model_copy(update={"digest": config.digest}) == config
    edges: Any = SimpleNamespace(runtime=maps.opened, artifacts=maps.opened)
    tenant, identity = Tenant("team", "u"), world().status.store
    assert identity is not None
    seen = await evidence(edges, identity, tenant, run, held)
    await take((Submit(1),), edges, identity, tenant, run, seen)
    (launch,) = maps.launched
    assert json.loads(launch.config_json) == document | {"attempt": 1}
    assert launch.config_digest == document_digest(json.loads(launch.config_json)), "the workload compares them"


async def test_inputs_that_somebody_has_added_to_are_not_used(world: Callable[..., World]) -> None:
    run = RunStatus(name="docs-2", trigger="generation", generation=1)
    config = frozen_inputs(world(), run, force=False)
    run = run.model_copy(update={"config_digest": config.digest})
    for digest in (config.digest, None):
        body, document = newer_inputs(config)
        document["digest"] = digest or document["digest"]
        body["data"]["config.json"] = json.dumps(document)
        maps: Any = Maps(body)
        held = await frozen(maps, "team", "u", run)
        assert (held.config, held.document) == (None, None)


async def test_inputs_without_a_digest_are_a_conflict(world: Callable[..., World]) -> None:
    run = RunStatus(name="docs-2", trigger="generation", generation=1)
    body, document = newer_inputs(frozen_inputs(world(), run, force=False))
    body["data"]["config.json"] = json.dumps(document | {"fresh": float("nan")})
    maps: Any = Maps(body)
    assert "does not hold a RunConfig" in ((await frozen(maps, "team", "u", run)).conflict or "")

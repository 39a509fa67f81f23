"""Acceptance 11: objects that an earlier release left in the middle of a Run go on as if nothing had happened.

`tests/data/objects_v1alpha1_first_release.json` holds a Dataset and a RAGIndex with a first version, a running attempt, its frozen inputs and
the runtime's record, as the first release wrote them. It is never regenerated: a release that cannot go on from it breaks every user.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator import Bench, bench
from tests.support.watcher import Body, kstatus

from gradatim.api.build import collection_prefix
from gradatim.api.run import document_digest
from gradatim.platform import PlatformState

GOLDEN = Path(__file__).parents[2] / "data" / "objects_v1alpha1_first_release.json"


async def restored(b: Bench, kind: str, ns: str, **frozen: Any) -> tuple[tuple[str, str, str], Body]:
    """Put an object back as it was, with its children, and return its key and what was written.

    `frozen` are members more of the frozen inputs.
    """
    golden = json.loads(GOLDEN.read_text())[kind]
    profile = await b.cluster.get("ComputeProfile", "", b.profile)
    known = {"@STORE@": str(b.store), "@VECTORS@": b.vectors.url, "@PROFILE@": b.profile, "@NS@": ns}
    known |= {"@PROFILE_UID@": profile["metadata"]["uid"]}
    spec = _filled(golden["spec"], known)
    body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": kind, "spec": spec}
    made = await b.cluster.create(
        body | {"metadata": {"name": "one", "namespace": ns, "annotations": golden["annotations"]}}
    )
    uid = made["metadata"]["uid"]
    found = _sealed(_filled(golden, known | {"@UID@": uid, "@PREFIX@": collection_prefix(uid)}), frozen)
    key = (kind, ns, "one")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for attempt in found["status"]["run"]["attempts"]:  # the deadline counts from now, not from when it was recorded
        attempt |= {"recordedAt": now, "startedAt": now, "heartbeatAt": now}
    await b.cluster.merge(*key, {"metadata": {"finalizers": ["gradatim.dev/cleanup"]}})
    await b.cluster.merge(*key, {"status": found["status"]}, "/status")
    owner = {"apiVersion": body["apiVersion"], "kind": kind, "name": "one", "uid": uid, "controller": True}
    config = found["configMap"]
    config["metadata"] |= {"namespace": ns, "ownerReferences": [owner]}
    await b.cluster.create({"apiVersion": "v1", "kind": "ConfigMap"} | config)
    if kind == "RAGIndex":
        active = found["status"]["active"]["collection"]
        assert await b.vectors_call("POST", "/v1/schema", {"class": active, "vectorizer": "none"}) == 200
        alias = {"alias": found["status"]["alias"], "class": active}
        assert await b.vectors_call("POST", "/v1/aliases", alias) == 200
    folder = b.instant.folder / "submissions"
    folder.mkdir(exist_ok=True)
    found["submission"]["started"] = time.time()
    (folder / f"{found['status']['run']['name']}-a1.json").write_text(json.dumps(found["submission"]))
    return key, found


def _filled(value: Any, known: dict[str, str]) -> Any:
    text = json.dumps(value)
    for name, actual in known.items():
        text = text.replace(name, actual)
    return json.loads(text)


def _sealed(found: Body, frozen: Body) -> Body:
    """Give the frozen inputs the digest that they have with this object's names and these members in them."""
    document = json.loads(found["configMap"]["data"]["config.json"]) | frozen
    found["configMap"]["data"]["config.json"] = json.dumps(document)
    return _filled(found, {document["digest"]: document_digest(document)})  # type: ignore[no-any-return]


async def test_a_running_job_of_the_first_release_is_left_alone_and_ends_well(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async with bench(operator_platform, tmp_path) as b:
        ns = await b.namespace()
        both = [await restored(b, kind, ns) for kind in ("Dataset", "RAGIndex")]
        await b.operator().start()
        lists = len([c for c in b.api.calls if c.plural == "ragindices" and not c.name])
        async with asyncio.timeout(60):
            while len([c for c in b.api.calls if c.plural == "ragindices" and not c.name]) < lists + 3:
                await asyncio.sleep(0.1)
        for key, golden in both:
            body = await b.cluster.get(*key)
            run = golden["status"]["run"]
            before, after = golden["status"]["active"], body["status"]["active"]
            # A later release may add members; those of the first one stay.
            assert (body["status"]["run"]["name"], {k: after.get(k) for k in before}) == (run["name"], before)
            assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Running"]
        assert [e for op in ("submit", "stop", "delete") for e in b.instant.log(op)] == []
        for _, golden in both:
            b.instant.finish(f"{golden['status']['run']['name']}-a1")
        for key, golden in both:
            body = await b.watcher.until(key, lambda o: kstatus(o) == "Current" and o["status"]["run"]["done"], "ended")
            assert (body["status"]["run"]["name"], body["status"]["run"]["succeeded"]) == (
                golden["status"]["run"]["name"],
                True,
            )
            assert body["status"]["active"]["digest"] != golden["status"]["active"]["digest"]
        assert b.instant.log("submit") == []
        assert b.watcher.all_violations() == []
        await b.purge()


async def test_a_running_job_of_a_newer_release_goes_on_after_a_rollback(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async with bench(operator_platform, tmp_path) as b:
        ns = await b.namespace()
        both = [await restored(b, kind, ns, fresh={"a": 1}) for kind in ("Dataset", "RAGIndex")]
        for _, golden in both:
            b.instant.finish(f"{golden['status']['run']['name']}-a1")
        await b.operator().start()
        for key, golden in both:
            body = await b.watcher.until(key, lambda o: kstatus(o) == "Current" and o["status"]["run"]["done"], "ended")
            run = golden["status"]["run"]["name"]
            assert (body["status"]["run"]["name"], body["status"]["run"]["succeeded"]) == (run, True)
        assert b.instant.log("submit") == []
        await b.purge()


@pytest.mark.parametrize("kind", ["Dataset", "RAGIndex"])
def test_the_golden_objects_are_those_of_a_run_in_progress(kind: str) -> None:
    status = json.loads(GOLDEN.read_text())[kind]["status"]
    assert [a["outcome"] for a in status["run"]["attempts"]] == ["Running"]
    assert status["active"] is not None

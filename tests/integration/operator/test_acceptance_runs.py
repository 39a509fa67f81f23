"""Runs and attempts on a real API server: stopping, retrying, giving up, and who may start when."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator import Bench
from tests.support.watcher import Body, kstatus, truth

pytestmark = pytest.mark.asyncio(loop_scope="module")
FOR_EVER = {"afterSeconds": None}
KINDS = ("Dataset", "RAGIndex")


def made(b: Bench, kind: str, ns: str, **spec: Any) -> Body:
    """Return an object of a kind."""
    return b.dataset(ns, "one", **spec) if kind == "Dataset" else b.index(ns, "one", **spec)


def outcomes(body: Body) -> list[tuple[int, str, str]]:
    """Return number, outcome and failure of the attempts."""
    return [(a["number"], a["outcome"], a.get("failure", "")) for a in body["status"]["run"]["attempts"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("honoured", [True, False], ids=["honours the request", "has to be killed"])
async def test_a_suspended_run_that(b: Bench, kind: str, *, honoured: bool) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", **FOR_EVER, honoursStop=honoured)
    key = await b.apply(made(b, kind, ns))
    await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
    await b.cluster.merge(*key, {"spec": {"suspend": True}})
    body = await b.run_until(key, lambda r: r["attempts"][0]["outcome"] == "Stopped", "stopped")
    run = body["status"]["run"]["name"]
    assert bool(b.instant.log("stop", run)) is not honoured
    body = await b.watcher.until(key, lambda o: truth(o, "Suspended")[0] == "True", "suspended")
    assert (body["status"]["state"], truth(body, "Reconciling")[0], truth(body, "Stalled")[0]) == (
        "Suspended",
        "False",
        "False",
    )
    b.instant.script(f"{ns}.one", collectionObjects=1, afterSeconds=1)  # long enough to see an old request to stop
    await b.cluster.merge(*key, {"spec": {"suspend": False}})
    body = await b.current(key)
    assert body["status"]["run"]["name"] == run, "resuming goes on with the same Run"
    assert outcomes(body) == [(1, "Stopped", ""), (2, "Succeeded", "")]
    assert b.instant.started(run) == [f"{run}-a1", f"{run}-a2"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_spec_that_changes_during_a_run_stops_it_and_starts_its_own(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1, content="1")
    key = await b.apply(made(b, kind, ns))
    first = await b.current(key)
    b.instant.script(f"{ns}.one", **FOR_EVER)
    changes = {"Dataset": ({"columns": {"a": "b"}}, {"columns": {"a": "c"}})}.get(
        kind, ({"parsing": {"maxPages": 7}}, {"parsing": {"maxPages": 8}})
    )
    await b.cluster.merge(*key, {"spec": changes[0]})
    old = await b.run_until(
        key, lambda r: r["generation"] == 2 and r["attempts"][-1]["outcome"] == "Running", "running for generation 2"
    )
    b.instant.script(f"{ns}.one", collectionObjects=1, content="3")
    await b.cluster.merge(*key, {"spec": changes[1]})
    body = await b.watcher.until(
        key, lambda o: kstatus(o) == "Current" and o["metadata"]["generation"] == 3, "Current for generation 3"
    )
    assert body["status"]["run"]["generation"] == 3
    assert body["status"]["active"]["digest"] != first["status"]["active"]["digest"]
    assert old["status"]["run"]["name"] not in {s.rpartition("-")[0] for s in b.instant.submissions()}
    since = int(first["metadata"]["generation"])
    for state in b.watcher.states[body["metadata"]["uid"]]:
        if state["metadata"]["generation"] > since and state["status"]["run"]["generation"] < 3:
            assert kstatus(state) == "InProgress", f"Current before generation {state['metadata']['generation']} was"
            assert truth(state, "Ready")[0] == "True", "the old version went on serving"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_spec_that_is_changed_back_while_its_run_stops_gets_a_run(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", **FOR_EVER)
    key = await b.apply(made(b, kind, ns))
    await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
    b.instant.script(f"{ns}.one", collectionObjects=1)
    await b.cluster.merge(*key, {"spec": {"validation": {"maxRejectedFraction": 0.5}}})
    await b.run_until(key, lambda r: "stopRequestedAt" in r, "stopping")
    await b.cluster.merge(*key, {"spec": {"validation": {"maxRejectedFraction": 0.05}}})
    body = await b.current(key)
    assert body["status"]["run"]["succeeded"] is True


@pytest.mark.parametrize("kind", KINDS)
async def test_the_annotation_requested_at_starts_one_run_each_time_its_value_changes(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", collectionObjects=1)
    key = await b.apply(made(b, kind, ns))
    runs = [(await b.current(key))["status"]["run"]["name"]]
    for value in ("monday", "tuesday", "monday"):
        await b.cluster.merge(*key, {"metadata": {"annotations": {"gradatim.dev/requested-at": value}}})
        body = await b.watcher.until(
            key,
            lambda o: kstatus(o) == "Current" and o["status"]["run"]["name"] not in runs and o["status"]["run"]["done"],
            f"rerun for {value}",
        )
        assert (body["status"]["run"]["trigger"], body["status"]["lastRequested"]) == ("request", value)
        assert outcomes(body) == [(1, "Succeeded", "")], "Current is also what serves after a refresh that failed"
        runs.append(body["status"]["run"]["name"])

    assert Counter(b.instant.started())[f"{runs[1]}-a1"] == 1


RETRIES: list[tuple[str, dict[str, Any], list[str], str]] = [
    ("a user's mistake is never tried again", {"failure": "User"}, ["User"], "UserError"),
    ("bad data are never tried again", {"failure": "Data", "reason": "DataInvalid"}, ["Data"], "DataInvalid"),
    ("a lost node is tried again to the cap", {"failure": "NodeLost"}, ["NodeLost"] * 3, "NodeLost"),
    ("a preemption is tried again to the cap", {"failure": "Preempted"}, ["Preempted"] * 3, "Preempted"),
    ("a silent dependency is tried again to the cap", {"failure": "Dependency"}, ["Dependency"] * 3, "Retrying"),
    ("too little memory is tried once more", {"failure": "OutOfMemory"}, ["OutOfMemory"] * 2, "OutOfMemory"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_failures_are_retried_by_class(b: Bench, kind: str) -> None:
    ns = await b.namespace()

    async def one(name: str, script: dict[str, Any], failures: list[str], reason: str) -> None:
        b.instant.script(f"{ns}.{name}", outcome="Failed", phase="Failed", message="it broke", **script)
        body = b.dataset(ns, name) if kind == "Dataset" else b.index(ns, name)
        body["spec"]["retry"] = {"maxRetries": 2}
        key = await b.apply(body)
        found = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "failed")
        case = (kind, name)
        assert [a["failure"] for a in found["status"]["run"]["attempts"]] == failures, case
        assert truth(found, "Stalled") == ("True", reason), case
        assert truth(found, "Ready") == ("False", reason), case
        assert found["status"]["state"] == "Failed", case
        run = found["status"]["run"]["name"]
        assert b.instant.started(run) == [f"{run}-a{n + 1}" for n in range(len(failures))], case

    cases = enumerate(RETRIES)
    await asyncio.gather(*(one(f"case-{n}", script, failures, why) for n, (_, script, failures, why) in cases))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("script", "spec", "failure", "reason"),
    [
        pytest.param(
            {"heartbeats": False},
            {"retry": {"maxRetries": 1}},
            "Dependency",
            "StoreNotReadable",
            id="never gives a sign of life",
        ),
        pytest.param({}, {"activeDeadlineSeconds": 1}, "Deadline", "DeadlineExceeded", id="is past its deadline"),
        pytest.param(
            {"honoursStop": False, "heartbeats": False},
            {"activeDeadlineSeconds": 1},
            "Deadline",
            "DeadlineExceeded",
            id="is past its deadline and silent",
        ),
    ],
)
async def test_an_attempt_is_ended_by_force_when_it(
    b: Bench, kind: str, script: dict[str, Any], spec: dict[str, Any], failure: str, reason: str
) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", **FOR_EVER, **script)
    key = await b.apply(made(b, kind, ns, **spec))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "failed")
    assert {f for _, _, f in outcomes(body)} == {failure}
    assert truth(body, "Stalled") == ("True", reason)
    run = body["status"]["run"]["name"]
    assert b.instant.log("stop", run), "nobody ended the process"
    assert len(b.instant.started(run)) == len(outcomes(body))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_attempt_that_waits_for_room_owes_no_sign_of_life(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", afterSeconds=6, runningPhase="Pending", heartbeats=False, collectionObjects=1)
    key = await b.apply(made(b, kind, ns))
    body = await b.current(key)
    assert outcomes(body) == [(1, "Succeeded", "")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", ["{", '{"outcome": "Succeeded"}', "x" * 1_200_000], ids=["broken", "partial", "huge"])
async def test_a_result_that_no_workload_writes_is_refused(b: Bench, kind: str, raw: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", rawResult=raw)
    key = await b.apply(made(b, kind, ns))
    body = await b.watcher.until(key, lambda o: kstatus(o) == "Failed", "failed")
    assert truth(body, "Stalled") == ("True", "ResultRejected")
    assert "active" not in body["status"]


@pytest.mark.parametrize("kind", KINDS)
async def test_frozen_inputs_that_somebody_deletes_are_frozen_again(b: Bench, kind: str) -> None:
    ns = await b.namespace()
    b.instant.script(f"{ns}.one", afterSeconds=3, collectionObjects=1)
    key = await b.apply(made(b, kind, ns))
    body = await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
    run = body["status"]["run"]["name"]
    await b.cluster.delete("ConfigMap", ns, run)
    body = await b.current(key)
    assert outcomes(body) == [(1, "Succeeded", "")]
    assert b.instant.started(run) == [f"{run}-a1"]


async def test_a_suspended_run_leaves_its_slot_to_another_and_waits_for_one_to_go_on(b: Bench) -> None:
    profile = f"{b.profile}-single"
    await b.cluster.create(b.profile_body(profile, limits={"maxConcurrentRuns": {"perNamespace": 1}}))
    ns = await b.namespace()
    for name in ("first", "second"):
        b.instant.script(f"{ns}.{name}", **FOR_EVER)
    compute = {"profileRef": {"name": profile}}
    first = await b.apply(b.dataset(ns, "first", compute=compute))
    await b.run_until(first, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
    second = await b.apply(b.dataset(ns, "second", compute=compute))
    await b.watcher.until(second, lambda o: truth(o, "Reconciling") == ("True", "ConcurrencyLimit"), "waiting")
    await b.change(first, {"spec": {"suspend": True}})
    other = await b.run_until(second, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
    await b.change(first, {"spec": {"suspend": False}})
    body = await b.watcher.until(first, lambda o: truth(o, "Reconciling") == ("True", "ConcurrencyLimit"), "waiting")
    assert outcomes(body) == [(1, "Stopped", "")]
    b.instant.script(f"{ns}.first")
    b.instant.finish(f"{other['status']['run']['name']}-a1")
    assert outcomes(await b.current(second)) == [(1, "Succeeded", "")]
    assert outcomes(await b.current(first)) == [(1, "Stopped", ""), (2, "Succeeded", "")]
    await b.cluster.delete("ComputeProfile", "", profile)


async def test_a_full_profile_lets_the_namespace_with_the_fewest_runs_go_first(b: Bench) -> None:
    profile = f"{b.profile}-narrow"
    await b.cluster.create(b.profile_body(profile, limits={"maxConcurrentRuns": {"total": 2}}))
    busy, quiet = await b.namespace(), await b.namespace()
    b.instant.script("Dataset", afterSeconds=1.0)
    compute = {"profileRef": {"name": profile}}
    keys = [await b.apply(b.dataset(busy, f"busy-{n}", compute=compute)) for n in range(5)]
    keys += [await b.apply(b.dataset(quiet, "quiet", compute=compute))]
    for key in keys:
        await b.current(key)
    states = [s for key in keys for s in b.watcher.states[(await b.cluster.get(*key))["metadata"]["uid"]]]
    queued = [s for s in states if truth(s, "Reconciling") == ("True", "ConcurrencyLimit")]
    assert {(s["status"]["state"], kstatus(s)) for s in queued} == {("Queued", "InProgress")}
    entries = [e for e in b.instant.log("submit") if e["created"] and e["name"].startswith(("busy", "quiet"))]
    order = [e["name"].split("-")[0] for e in sorted(entries, key=lambda e: float(e["at"]))]
    assert len(order) == 6
    assert "quiet" in order[:4], f"the lone object of its namespace waited behind a busy one: {order}"
    times = sorted(float(e["at"]) for e in entries)
    assert all(later - earlier >= 0.9 for earlier, later in zip(times, times[2:], strict=False)), (
        "more than two at once"
    )
    (Path(b.instant.folder) / "scripts" / "Dataset.json").unlink()
    await b.cluster.delete("ComputeProfile", "", profile)

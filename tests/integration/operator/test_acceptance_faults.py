"""Acceptance 2 to 6 and 10: lost events, stale reads, foreign writers, outages, lying dependencies, two operators at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.faultproxy import Answer, Call, Cut, refusal
from tests.support.operator import Bench, Operator, bench
from tests.support.watcher import Body, condition, truth

from gradatim.api.run import canonical_digest
from gradatim.platform import PlatformState

KINDS = ("Dataset", "RAGIndex")
CHANGE = {"Dataset": {"columns": {"text": "body"}}, "RAGIndex": {"parsing": {"maxPages": 9}}}


@contextlib.asynccontextmanager
async def running(state: PlatformState, folder: Path, **env: str) -> AsyncIterator[tuple[Bench, Operator]]:
    """Give a bench with one operator; whatever was seen must have been true and every attempt started once."""
    async with bench(state, folder, **env) as b:
        operator = b.operator()
        await operator.start()
        b.instant.script("default", collectionObjects=1)
        try:
            yield b, operator
        finally:
            await b.purge()
        assert b.watcher.all_violations() == []
        assert {name: n for name, n in Counter(b.instant.started()).items() if n != 1} == {}


def both(b: Bench, ns: str) -> list[Body]:
    """Return one object of each kind."""
    return [b.dataset(ns, "one"), b.index(ns, "one")]


async def renew(b: Bench, keys: list[tuple[str, str, str]]) -> None:
    """Change the specs and wait until the change has been served."""
    for key in keys:
        await b.change(key, {"spec": CHANGE[key[0]]})
    for key in keys:
        body = await b.current(key)
        assert body["status"]["run"]["generation"] == body["metadata"]["generation"]


async def test_without_any_watch_event_everything_converges_by_resync(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async def drop(call: Call, line: bytes) -> bytes | None:
        return None if json.loads(line)["type"] in {"ADDED", "MODIFIED", "DELETED"} else line

    async with running(operator_platform, tmp_path) as (b, _):
        with b.api.fault(on_event=drop):
            ns = await b.namespace()
            keys = [await b.apply(body) for body in both(b, ns)]
            for key in keys:
                await b.current(key)
            await renew(b, keys)
            for key in keys:
                await b.remove(key)


@pytest.mark.parametrize("kind", ["410", "500"])
async def test_a_watch_that_ends_in_an_error_is_begun_again(
    operator_platform: PlatformState, tmp_path: Path, kind: str
) -> None:
    broken = 0

    async def end(call: Call, line: bytes) -> bytes | None:
        nonlocal broken
        if json.loads(line)["type"] == "BOOKMARK" or broken > 5:
            return line
        broken += 1
        status = json.loads(refusal(int(kind), "Expired" if kind == "410" else "InternalError").body)
        return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

    async with running(operator_platform, tmp_path) as (b, operator):
        operator.keep()
        ns = await b.namespace()
        with b.api.fault(on_event=end):
            keys = [await b.apply(body) for body in both(b, ns)]
            for key in keys:
                await b.current(key)
        assert broken > 0
        await renew(b, keys)
        assert all(code != 0 for code in operator.exits)


async def test_every_watch_may_break_at_any_time(operator_platform: PlatformState, tmp_path: Path) -> None:
    async with running(operator_platform, tmp_path) as (b, operator):
        operator.keep()
        ns = await b.namespace()
        keys = []
        for body in both(b, ns):
            b.api.cut_streams()
            keys.append(await b.apply(body))
        for key in keys:
            b.api.cut_streams()
            await b.current(key)
        await renew(b, keys)


async def test_nothing_is_made_or_removed_on_a_stale_read(operator_platform: PlatformState, tmp_path: Path) -> None:
    old: dict[str, Answer] = {}
    served = 0

    async def remember_or_replay(call: Call, answer: Answer) -> Answer:
        nonlocal served
        if call.method != "GET" or not call.name or call.plural not in {"datasets", "ragindices"}:
            return answer
        if call.path in old and served < 40:
            served += 1
            return old[call.path]
        return answer

    async with running(operator_platform, tmp_path) as (b, _):
        ns = await b.namespace()
        b.instant.script("default", collectionObjects=1, content="1")
        keys = [await b.apply(body) for body in both(b, ns)]
        first = [await b.current(key) for key in keys]
        b.instant.script("default", collectionObjects=1, content="2")
        await renew(b, keys)
        await asyncio.gather(*(b.watcher.until(k, lambda o: len(o["status"]["history"]) == 2, "two") for k in keys))
        for body, key in zip(first, keys, strict=True):
            path = f"/apis/gradatim.dev/v1alpha1/namespaces/{ns}/{'datasets' if key[0] == 'Dataset' else 'ragindices'}"
            slim = {k: v for k, v in body.items() if k != "kind"} | {"kind": key[0]}
            old[f"{path}/one"] = Answer(200, json.dumps(slim).encode())
        started, aliases = b.instant.started(), await b.aliases()
        collections = await b.collections(first[1])
        with b.api.fault(after=remember_or_replay):
            for key in keys:
                await b.change(key, {"metadata": {"labels": {"touched": "yes"}}})
            async with asyncio.timeout(60):
                while served < 40:
                    for key in keys:
                        await b.change(key, {"metadata": {"labels": {"touched": str(served)}}})
                    await asyncio.sleep(0.1)
        for key in keys:
            await b.current(key)
        assert b.instant.started() == started
        assert await b.aliases() == aliases
        assert await b.collections(first[1]) == collections
        assert b.instant.log("delete", "nothing") == []


async def test_what_a_foreign_writer_changes_between_read_and_write_survives(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    meddled: Counter[str] = Counter()

    async with running(operator_platform, tmp_path) as (b, _):
        ns = await b.namespace()

        async def meddle(call: Call) -> Answer | None:
            ours = call.namespace == ns and call.plural in {"datasets", "ragindices"} and call.write
            if ours and meddled[call.plural] < 6:
                meddled[call.plural] += 1
                kind = "Dataset" if call.plural == "datasets" else "RAGIndex"
                number = meddled[call.plural]
                labels = {"metadata": {"labels": {f"foreign-{number}": "kept"}, "finalizers": None}}
                if number % 3 == 0:
                    labels = {"metadata": {"annotations": {f"foreign-{number}": "kept"}}}
                if number % 3 == 1:
                    labels = {"metadata": {"labels": {f"foreign-{number}": "kept"}}}
                if number == 5:
                    await b.cluster.merge(kind, ns, call.name, {"status": {"state": "Degraded"}}, "/status")
                elif number != 2:
                    await b.cluster.merge(kind, ns, call.name, labels)
                else:
                    await b.cluster.merge(kind, ns, call.name, {"spec": {"retry": {"maxRetries": 7}}})
            return None

        with b.api.fault(before=meddle):
            keys = [await b.apply(body) for body in both(b, ns)]
            await asyncio.gather(*(b.current(key) for key in keys))
        assert meddled == {"datasets": 6, "ragindices": 6}
        for key in keys:
            found = await b.cluster.get(*key)
            assert set(found["metadata"]["labels"]) >= {"foreign-1", "foreign-4"}
            assert set(found["metadata"]["annotations"]) >= {"foreign-3", "foreign-6"}
            assert found["spec"]["retry"]["maxRetries"] == 7
            assert found["status"]["state"] == "Ready"
            assert found["metadata"]["finalizers"] == ["gradatim.dev/cleanup"]


@pytest.mark.parametrize("fault", ["503", "429", "403", "cut"])
async def test_an_outage_of_the_api_server_is_outlived_or_ends_the_process(
    operator_platform: PlatformState, tmp_path: Path, fault: str
) -> None:
    async def refuse(call: Call) -> Answer | None:
        if fault == "cut":
            raise Cut
        return refusal(int(fault), "Outage", **({"Retry-After": "1"} if fault == "429" else {}))

    async with running(operator_platform, tmp_path) as (b, operator):
        ns = await b.namespace()
        keys = [await b.apply(body) for body in both(b, ns)]
        for key in keys:
            await b.current(key)
        operator.keep()
        with b.api.fault(before=refuse):
            b.api.cut_streams()
            for key in keys:
                await b.change(key, {"spec": CHANGE[key[0]]})
            before = len(b.api.calls)
            async with asyncio.timeout(60):
                while len(b.api.calls) < before + 8:
                    await asyncio.sleep(0.1)
        for key in keys:
            body = await b.current(key)
            assert body["status"]["run"]["generation"] == body["metadata"]["generation"]
        assert all(code != 0 for code in operator.exits)
        late = await b.namespace()
        for body in both(b, late):
            await b.current(await b.apply(body))


async def weaviate_fault(call: Call) -> Answer | None:
    """Answer 500 to everything."""
    return Answer(500, b"{}")


async def weaviate_hangs(call: Call) -> Answer | None:
    """Answer nothing."""
    await asyncio.sleep(3600)
    return None


async def weaviate_lies(call: Call) -> Answer | None:
    """Answer something that is no answer."""
    return Answer(200, b'["hello"]')


async def weaviate_refuses_writes(call: Call) -> Answer | None:
    """Answer reads, refuse changes."""
    return Answer(503, b"{}") if call.write else None


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(weaviate_fault, id="Weaviate answers 500"),
        pytest.param(weaviate_lies, id="Weaviate lies"),
        pytest.param(weaviate_refuses_writes, id="Weaviate is read-only"),
    ],
)
async def test_a_promotion_waits_while(operator_platform: PlatformState, tmp_path: Path, fault: Any) -> None:
    async with running(operator_platform, tmp_path) as (b, _):
        ns = await b.namespace()
        b.instant.script("default", afterSeconds=2)
        key = await b.apply(b.index(ns, "one"))
        built = await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
        run = built["status"]["run"]["name"]
        record = b.instant.folder / "submissions" / f"{run}-a1.json"
        config = json.loads(json.loads(record.read_text())["config"])
        digest = canonical_digest({"uid": built["metadata"]["uid"], "content": "1"}).removeprefix("sha256:")
        collection = config["indexInputs"]["collectionPrefix"] + digest[:10]
        assert await b.vectors_call("POST", "/v1/schema", {"class": collection, "vectorizer": "none"}) == 200
        with b.vectors.fault(before=fault):
            body = await b.watcher.until(
                key,
                lambda o: o["status"]["run"]["succeeded"] and "Weaviate" in condition(o, "Reconciling")["message"],
                "waiting for Weaviate",
            )
            assert truth(body, "Reconciling")[1] in {"VectorStoreUnreachable", "ProfileNotReady"}
            calls = len(b.vectors.calls)
            body = await b.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "True", "overdue")
            assert "Weaviate" in condition(body, "Stalled")["message"]
            assert "active" not in body["status"]
            assert truth(body, "Ready")[0] != "True"
            assert len(b.vectors.calls) - calls < 150, "no back-off"
        body = await b.current(key)
        assert (body["status"]["active"]["label"], body["status"]["active"]["collection"]) == ("v1", collection)


async def test_an_artifact_store_that_vanishes_makes_no_run_fail(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    # The instant runtime lives in the operator and would make the folder anew with a heartbeat.
    async with running(operator_platform, tmp_path, GRADATIM_HEARTBEAT_TIMEOUT_SECONDS="60") as (b, _):
        ns = await b.namespace()
        b.instant.script("default", afterSeconds=None, heartbeats=False, collectionObjects=1)
        keys = [await b.apply(body) for body in both(b, ns)]
        for key in keys:
            await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
        hidden = b.store.rename(tmp_path / "hidden")
        # Both are looked for before either is overdue: one that is Stalled no longer says what it waits for.
        waiting = [
            b.watcher.until(key, lambda o: "artifact store" in condition(o, "Reconciling")["message"], "waiting")
            for key in keys
        ]
        for body in await asyncio.gather(*waiting):
            assert truth(body, "Reconciling")[0] == "True"
        for key in keys:
            await b.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "True", "overdue")
        hidden.rename(b.store)
        for key in keys:
            b.instant.finish(f"{(await b.cluster.get(*key))['status']['run']['name']}-a1")
        for key in keys:
            body = await b.current(key)
            assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Succeeded"]


async def test_a_runtime_that_is_silent_or_loses_its_answer_starts_nothing_twice(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async with running(operator_platform, tmp_path) as (b, _):
        ns = await b.namespace()
        with b.instant.fault(unreachable=True):
            keys = [await b.apply(body) for body in both(b, ns)]
            for key in keys:
                body = await b.watcher.until(key, lambda o: truth(o, "Stalled")[0] == "True", "overdue")
                assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Recorded"]
                assert truth(body, "Stalled")[1] == "RuntimeUnreachable"
        with b.instant.fault(loseAnswer=True):
            for key in keys:
                await b.current(key)
        later = await b.namespace()
        b.instant.script("default", afterSeconds=1.5, collectionObjects=1)
        keys = [await b.apply(body) for body in both(b, later)]
        for key in keys:
            await b.run_until(key, lambda r: bool(r) and r["attempts"][0]["outcome"] == "Running", "running")
        with b.instant.fault(unreachable=True):
            for key in keys:
                await b.watcher.until(key, lambda o: "runtime" in condition(o, "Reconciling")["message"], "waiting")
        for key in keys:
            body = await b.current(key)
            assert [a["outcome"] for a in body["status"]["run"]["attempts"]] == ["Succeeded"]


async def test_a_new_spec_whose_run_cannot_start_is_neither_current_nor_failed(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    waits = {("True", "RuntimeUnreachable"), ("True", "ProfileNotReady")}
    async with running(operator_platform, tmp_path) as (b, _):
        ns = await b.namespace()
        b.instant.script(f"{ns}.failed", outcome="Failed", phase="Failed", failure="User", message="it broke")
        keys = [await b.apply(body) for body in both(b, ns)]
        for key in keys:
            await b.current(key)
        failed = await b.apply(b.dataset(ns, "failed"))
        await b.watcher.until(failed, lambda o: truth(o, "Stalled")[0] == "True", "failed")
        b.instant.script(f"{ns}.failed")
        with b.instant.fault(unreachable=True):
            for key in (*keys, failed):
                await b.change(key, {"spec": CHANGE[key[0]]})
            held = (
                b.watcher.until(key, lambda o: truth(o, "Reconciling") in waits, "waiting") for key in (*keys, failed)
            )
            for body in await asyncio.gather(*held):
                assert body["status"]["run"]["generation"] == 1
                assert truth(body, "Stalled")[0] == "False"
                current = condition(body, "Current")
                assert (current["status"], current["observedGeneration"]) != ("True", 2)
        for key in (*keys, failed):
            body = await b.current(key)
            assert body["status"]["run"]["generation"] == body["metadata"]["generation"] == 2


async def test_a_watched_namespace_that_may_not_be_read_costs_one_restart(
    operator_platform: PlatformState, tmp_path: Path
) -> None:
    async with bench(operator_platform, tmp_path) as b:
        kept, lost = await b.namespace(), await b.namespace()
        b.instant.script("default", collectionObjects=1)

        async def refuse(call: Call) -> Answer | None:
            return refusal(403, "Forbidden") if call.namespace == lost else None

        operator = b.operator(GRADATIM_WATCH_NAMESPACES=f"{kept},{lost}")
        await operator.start()
        operator.keep()
        for body in both(b, kept):
            await b.current(await b.apply(body))
        with b.api.fault(before=refuse):
            b.api.cut_streams()
            async with asyncio.timeout(60):
                while not operator.exits:
                    await asyncio.sleep(0.1)
            await b.current(await b.apply(b.dataset(kept, "later")))
            await asyncio.sleep(5)  # two resyncs
            assert (len(operator.exits), operator.exits[0] != 0) == (1, True)
        await b.current(await b.apply(b.dataset(lost, "back")))
        await b.purge()
        assert b.watcher.all_violations() == []


async def _ended(task: asyncio.Task[None], operators: list[Operator]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for operator in operators:
        assert operator.process is not None
        operator.process.send_signal(signal.SIGCONT)


async def test_two_operators_at_once_make_one_of_everything(operator_platform: PlatformState, tmp_path: Path) -> None:
    async def pause(operators: list[Operator]) -> None:
        for operator in itertools.cycle(operators):  # as a long garbage collection or a busy node would
            assert operator.process is not None
            operator.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.5)
            operator.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.3)

    async with running(operator_platform, tmp_path) as (b, first), contextlib.AsyncExitStack() as stack:
        second = b.operator()
        await second.start()
        pausing = asyncio.create_task(pause([first, second]))
        stack.push_async_callback(_ended, pausing, [first, second])
        spaces = [await b.namespace() for _ in range(6)]
        b.instant.script("default", afterSeconds=0.3, collectionObjects=1, content="1")
        keys = [await b.apply(body) for ns in spaces for body in both(b, ns)]
        for key in keys:
            await b.current(key)
        b.instant.script("default", collectionObjects=1, content="2")
        await renew(b, keys)
        for key in keys:
            body = await b.cluster.get(*key)
            assert len(body["status"]["history"]) == 2
            if key[0] == "RAGIndex":
                assert len(await b.collections(body)) == 2
        for states in b.watcher.states.values():
            runs = {
                r["name"]: (r["trigger"], r["attempts"]) for r in (s.get("status", {}).get("run") for s in states) if r
            }
            assert len(runs) == 2, runs
            assert all(len(attempts) == 1 for _, attempts in runs.values()), runs
        assert len(b.instant.started()) == 2 * len(keys)

"""What the API server holds, past the operator: the administrator's calls, every state that objects pass through, and what must never be seen.

Used by the benches of `operator` and `kuberay` in this folder and by the tests on them. Changes nothing unless a test asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from gradatim.platform import PlatformState

Body = dict[str, Any]
GROUP = "/apis/gradatim.dev/v1alpha1"
PLURALS = {"Dataset": "datasets", "RAGIndex": "ragindices", "ComputeProfile": "computeprofiles"}
PATHS = {kind: f"{GROUP}/namespaces/{{ns}}/{plural}" for kind, plural in PLURALS.items()} | {
    "ComputeProfile": f"{GROUP}/computeprofiles",
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Event": "/api/v1/namespaces/{ns}/events",
    "Namespace": "/api/v1/namespaces",
}
WAIT = 60.0


class Cluster:
    """The administrator's view of the API server, past the proxy."""

    def __init__(self, state: PlatformState, session: aiohttp.ClientSession) -> None:
        self._base = state.api_server
        self._session = session

    async def call(self, method: str, path: str, body: Body | None = None, content: str = "application/json") -> Body:
        """Return the answer's document. Raises `aiohttp.ClientResponseError` with the server's message."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content}
        async with self._session.request(method, self._base + path, data=data, headers=headers) as response:
            found: Body = await response.json()
            if response.status >= 300:
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, message=str(found.get("message"))
                )
            return found

    async def create(self, body: Body) -> Body:
        """Create an object."""
        return await self.call("POST", PATHS[body["kind"]].format(ns=body["metadata"].get("namespace")), body)

    async def get(self, kind: str, ns: str, name: str) -> Body:
        """Return an object."""
        return await self.call("GET", f"{PATHS[kind].format(ns=ns)}/{name}")

    async def find(self, kind: str, ns: str, name: str) -> Body | None:
        """Return an object, or None when there is none."""
        try:
            return await self.get(kind, ns, name)
        except aiohttp.ClientResponseError as error:
            if error.status != 404:
                raise
            return None

    async def items(self, kind: str, ns: str) -> list[Body]:
        """Return all objects of a kind in a namespace."""
        found: list[Body] = (await self.call("GET", PATHS[kind].format(ns=ns)))["items"]
        return found

    async def merge(self, kind: str, ns: str, name: str, patch: Body, subresource: str = "") -> Body:
        """Apply a JSON merge patch."""
        path = f"{PATHS[kind].format(ns=ns)}/{name}{subresource}"
        return await self.call("PATCH", path, patch, "application/merge-patch+json")

    async def delete(self, kind: str, ns: str, name: str) -> None:
        """Delete an object; absent is fine."""
        with contextlib.suppress(aiohttp.ClientResponseError):
            await self.call("DELETE", f"{PATHS[kind].format(ns=ns)}/{name}")


def condition(body: Body | None, kind: str) -> Body:
    """Return a condition, or an empty one."""
    conditions = (body or {}).get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def truth(body: Body | None, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = condition(body, kind)
    return found.get("status", ""), found.get("reason", "")


def kstatus(body: Body) -> str:
    """Return what kstatus, and with it Argo CD's and Flux's wait, makes of an object: the rules of cli-utils."""
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    observed = body.get("status", {}).get("observedGeneration")
    if observed is not None and observed != body["metadata"]["generation"]:
        return "InProgress"
    if truth(body, "Reconciling")[0] == "True":
        return "InProgress"
    if truth(body, "Stalled")[0] == "True":
        return "Failed"
    ready = truth(body, "Ready")[0]
    return "Current" if ready in {"True", ""} else "InProgress"


OVER = frozenset({"Succeeded", "Unchanged", "Stopped", "Failed", "Gone"})


def violations(states: list[Body]) -> list[str]:
    """Return what must never be seen in the successive states of one object."""
    found: list[str] = []
    runs: dict[str, Body] = {}
    for body in states:
        status, version = body.get("status", {}), body["metadata"]["resourceVersion"]
        if kstatus(body) == "Current" and status.get("active") is None:
            found.append(f"{version}: Current although no version exists")
        if truth(body, "Stalled")[0] == "True" and truth(body, "Reconciling")[0] == "True":
            found.append(f"{version}: Stalled and Reconciling")
        run = status.get("run")
        if run is None:
            continue
        attempts = run.get("attempts", [])
        numbers = [a["number"] for a in attempts]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            found.append(f"{version}: attempts {numbers}")
        if any(a["outcome"] not in OVER for a in attempts[:-1]):
            found.append(f"{version}: an attempt follows one that is not over: {attempts}")
        before = runs.get(run["name"])
        if before is not None and before.get("done") and before != run:
            found.append(f"{version}: the finished Run {run['name']} changed")
        known = {a["number"]: a for a in (before or {}).get("attempts", [])}
        for attempt in attempts:
            old = known.get(attempt["number"])
            if old is not None and old["outcome"] in OVER and old != attempt:
                found.append(f"{version}: attempt {attempt['number']} changed after its end: {old} to {attempt}")
        runs[run["name"]] = run
    return found


class Watcher:
    """Keeps every state of every Dataset and RAGIndex, by uid, straight from the API server."""

    def __init__(self, cluster: Cluster, state: PlatformState, session: aiohttp.ClientSession) -> None:
        self._cluster, self._base, self._session = cluster, state.api_server, session
        self.now: dict[tuple[str, str, str], Body] = {}
        self.states: dict[str, list[Body]] = {}
        self._by_key: dict[tuple[str, str, str], list[Body]] = {}
        self._changed = asyncio.Condition()
        self._ended: list[BaseException] = []
        self._judged: dict[str, int] = {}
        self._told: set[str] = set()

    def ended(self, watch: asyncio.Task[None]) -> None:
        """Take note of a watch that ended by an error, so that who waits in vain says so."""
        if not watch.cancelled() and (error := watch.exception()) is not None:
            self._ended.append(error)

    async def follow(self, kind: str) -> None:
        """Watch one kind from now on; a watch that ends, as the server ends one that falls behind, goes on where it was."""
        plural = PLURALS[kind]
        found = await self._cluster.call("GET", f"{GROUP}/{plural}")
        for item in found["items"]:
            self._take("ADDED", item | {"kind": kind})
        version = found["metadata"]["resourceVersion"]
        while True:
            params = {"watch": "1", "resourceVersion": version}
            async with self._session.get(f"{self._base}{GROUP}/{plural}", params=params) as response:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise AssertionError(f"the watch of {plural} has lost states: {event['object']}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event["type"], event["object"])
                    async with self._changed:
                        self._changed.notify_all()

    def _take(self, kind: str, body: Body) -> None:
        metadata = body["metadata"]
        key = (body["kind"], metadata.get("namespace", ""), metadata["name"])
        if kind == "DELETED":
            self.now.pop(key, None)
        else:
            self.now[key] = body
            self.states.setdefault(metadata["uid"], []).append(body)
            self._by_key.setdefault(key, []).append(body)

    async def until(
        self, key: tuple[str, str, str], holds: Callable[[Body], bool], what: str, seconds: float = WAIT
    ) -> Body:
        """Return the first state from now on that `holds`, however short it lasts; fails with the last status otherwise."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                seen = max(len(self._by_key.get(key, ())) - 1, 0)
                while True:
                    states = self._by_key.get(key, [])
                    for body in states[seen:]:
                        if holds(body):
                            return body
                    seen = len(states)
                    await self._changed.wait()
        except TimeoutError:
            status = (self.now.get(key) or {}).get("status")
            shown = json.dumps(status, indent=1)
            why = f"; watches ended by {self._ended}" if self._ended else ""
            raise AssertionError(f"{key} is not {what} after {seconds} s{why}: {shown}") from None

    async def until_gone(self, key: tuple[str, str, str], seconds: float = WAIT) -> None:
        """Return once the object does not exist."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                while key in self.now:
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{key} still exists: {json.dumps(self.now[key])}") from None

    def all_violations(self) -> list[str]:
        """Return what must never be seen, over everything seen."""
        return _named(self.states)

    def new_violations(self) -> list[str]:
        """Return those that no earlier call returned; objects without a new state are not judged again."""
        grown = {uid: states for uid, states in self.states.items() if self._judged.get(uid) != len(states)}
        self._judged |= {uid: len(states) for uid, states in grown.items()}
        found = [text for text in _named(grown) if text not in self._told]
        self._told.update(found)
        return found


def _named(by_uid: Mapping[str, list[Body]]) -> list[str]:
    found: list[str] = []
    for states in by_uid.values():
        name = "{kind} {metadata[namespace]}/{metadata[name]}".format(**states[-1])
        found += [f"{name} {text}" for text in violations(states)]
    return found

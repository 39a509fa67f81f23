"""Runs real operator processes against a real API server and Weaviate, with a fault proxy before each.

Used by `tests/integration/operator`. Attempts finish as scripts say (the runtime `instant`); everything else is real: the shipped RBAC,
TLS behind the proxy, Weaviate with keys, artifacts in a folder. What objects pass through is kept and judged in `watcher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.faultproxy import Proxy
from tests.support.platform import WeaviateServer, weaviate_of
from tests.support.watcher import PATHS, WAIT, Body, Cluster, Watcher, kstatus

from gradatim.api.build import collection_prefix
from gradatim.platform import PlatformState, health, pki
from gradatim.platform.dirs import Layout

FAST = {
    "GRADATIM_POLL_MIN_SECONDS": "0.1",
    "GRADATIM_POLL_MAX_SECONDS": "0.5",
    "GRADATIM_RESULT_GRACE_SECONDS": "0.3",
    "GRADATIM_STOP_GRACE_SECONDS": "2",
    "GRADATIM_DEADLINE_GRACE_SECONDS": "2",
    "GRADATIM_RETRY_BASE_SECONDS": "0.1",
    "GRADATIM_RETRY_MAX_SECONDS": "0.5",
    "GRADATIM_HEARTBEAT_TIMEOUT_SECONDS": "3",
    "GRADATIM_RESYNC_SECONDS": "2",
    "GRADATIM_DRIFT_SECONDS": "2",
    "GRADATIM_STRAY_AGE_SECONDS": "1",
    "GRADATIM_PROGRESS_SECONDS": "0",
    "GRADATIM_DEPENDENCY_DEADLINE_SECONDS": "4",
    "GRADATIM_CLEANUP_DEADLINE_SECONDS": "60",
    "GRADATIM_STORE_READS_PER_SECOND": "1000",
    "GRADATIM_LOG_FORMAT": "full",
}


class Instant:
    """The folder that the instant runtime shares with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir(parents=True, exist_ok=True)

    def script(self, key: str, **members: Any) -> None:
        """Say how attempts go; see `instant_output.Script`."""
        path = self.folder / "scripts" / f"{key}.json"
        path.with_suffix(".part").write_text(json.dumps(members))
        path.with_suffix(".part").replace(path)

    @contextlib.contextmanager
    def fault(self, **members: bool) -> Any:
        """Break the runtime until the end of the block."""
        path = self.folder / "faults.json"
        path.write_text(json.dumps(members))
        try:
            yield
        finally:
            path.unlink()

    def log(self, op: str, run: str = "") -> list[Body]:
        """Return the calls of one operation on the attempts of a Run."""
        try:
            lines = (self.folder / "log.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [e for e in entries if e["op"] == op and e["name"].startswith(run)]

    def started(self, run: str = "") -> list[str]:
        """Return the attempts that were really started, in order, each as often as it was."""
        return [e["name"] for e in self.log("submit", run) if e["created"]]

    def finish(self, attempt: str) -> None:
        """Let an attempt that was started with other orders end now, well."""
        path = self.folder / "submissions" / f"{attempt}.json"
        held = json.loads(path.read_text())
        held["script"]["after_seconds"] = 0.0
        path.with_suffix(".part").write_text(json.dumps(held))
        path.with_suffix(".part").replace(path)

    def submissions(self) -> set[str]:
        """Return the attempts that the runtime holds."""
        return {p.stem for p in (self.folder / "submissions").glob("*.json")}


@dataclass(repr=False)
class Operator:
    """One operator process."""

    env: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    exits: list[int] = field(default_factory=list)
    _health: int = 0
    _keeper: asyncio.Task[None] | None = None

    async def start(self, *, ready: bool = True) -> None:
        """Start it, and wait until every object has been looked at."""
        self._health = _free_port()
        env = dict(self.env) | {"GRADATIM_HEALTH_PORT": str(self._health)}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gradatim.operator", env=env, stdout=log, stderr=log
            )
        if ready:
            await self.ready()

    async def ready(self) -> None:
        """Wait until it says that it is ready."""
        async with asyncio.timeout(WAIT), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self._health}/readyz") as answer:
                        if answer.status == 200:
                            return
                assert self.process is not None
                assert self.process.returncode is None or self._keeper is not None, self.tail()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def keep(self) -> None:
        """From now on, start it again whenever it exits, as Kubernetes would."""
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            assert self.process is not None
            self.exits.append(await self.process.wait())
            await asyncio.sleep(0.2)
            await self.start(ready=False)

    async def stop(self) -> None:
        """End it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(30):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()
                raise AssertionError(f"the operator did not end on SIGTERM: {self.tail()}") from None

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-6000:]


_PORTS = itertools.count(21_000 + os.getpid() % 3000)


def _free_port() -> int:
    from gradatim.platform.ports import is_free

    return next(port for port in _PORTS if is_free(port))


@dataclass(repr=False)
class Bench:
    """A platform with proxies, an instant runtime and any number of operators."""

    state: PlatformState
    cluster: Cluster
    watcher: Watcher
    api: Proxy
    vectors: Proxy
    weaviate: WeaviateServer
    instant: Instant
    folder: Path
    profile: str
    session: aiohttp.ClientSession
    env: Mapping[str, str]
    operators: list[Operator] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)

    @property
    def store(self) -> Path:
        """Return the folder of the artifact store."""
        return self.folder / "store"

    def operator(self, **env: str) -> Operator:
        """Return an operator that talks through the proxy; it is not started."""
        found = Operator(dict(self.env) | env, self.folder / f"operator-{len(self.operators)}.log")
        self.operators.append(found)
        return found

    async def namespace(self, **labels: str) -> str:
        """Return a new namespace."""
        name = f"t{uuid.uuid4().hex[:10]}"
        await self.cluster.create({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.namespaces.add(name)
        return name

    def dataset(self, ns: str, name: str = "papers", **spec: Any) -> Body:
        """Return a Dataset."""
        base = {"source": {"path": "file:///data/papers"}, "compute": {"profileRef": {"name": self.profile}}}
        return _object("Dataset", ns, name, merged(base, spec))

    def index(self, ns: str, name: str = "handbook", **spec: Any) -> Body:
        """Return a RAGIndex."""
        base = {
            "sources": [{"name": "docs", "source": {"path": "file:///data/docs"}}],
            "embedding": {"model": {"uri": "file:///models/base"}},
            "versions": {"dropAfterSeconds": 0},
            "compute": {"profileRef": {"name": self.profile}},
        }
        return _object("RAGIndex", ns, name, merged(base, spec))

    def profile_body(self, name: str, **spec: Any) -> Body:
        """Return a ComputeProfile on this bench's stores."""
        base = {
            "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://127.0.0.1:9", "sharedTrust": True}},
            "artifactStore": {"root": f"file://{self.store}/{{namespace}}/"},
            "vectorStore": {
                "endpoint": self.vectors.url,
                "grpcEndpoint": self.vectors.url,
                "operatorSecretName": "weaviate-operator",
            },
            "probeIntervalSeconds": 5,
        }
        body = _object("ComputeProfile", "", name, merged(base, spec))
        del body["metadata"]["namespace"]
        return body

    async def apply(self, body: Body) -> tuple[str, str, str]:
        """Create an object and return its key."""
        made = await self.cluster.create(body)
        return body["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]

    async def change(self, key: tuple[str, str, str], patch: Body, subresource: str = "") -> Body:
        """Patch an object, and wait until the watcher has seen it, so that what follows is not taken from before."""
        return await self._seen(key, await self.cluster.merge(*key, patch, subresource))

    async def replace(self, key: tuple[str, str, str], spec: Body) -> Body:
        """Give an object another spec as a whole, and wait until the watcher has seen it."""
        while True:
            body = await self.cluster.get(*key)
            try:
                made = await self.cluster.call(
                    "PUT", f"{PATHS[key[0]].format(ns=key[1])}/{key[2]}", body | {"spec": spec}
                )
            except aiohttp.ClientResponseError as error:
                if error.status != 409:
                    raise
                continue
            return await self._seen(key, made)

    async def _seen(self, key: tuple[str, str, str], made: Body) -> Body:
        version = int(made["metadata"]["resourceVersion"])
        return await self.watcher.until(key, lambda o: int(o["metadata"]["resourceVersion"]) >= version, "seen")

    async def settled(self, key: tuple[str, str, str], what: str = "settled", seconds: float = WAIT) -> Body:
        """Return the object once kstatus calls it Current or Failed."""
        return await self.watcher.until(key, lambda b: kstatus(b) in {"Current", "Failed"}, what, seconds)

    async def current(self, key: tuple[str, str, str], seconds: float = WAIT) -> Body:
        """Return the object once kstatus calls it Current."""
        return await self.watcher.until(key, lambda b: kstatus(b) == "Current", "Current", seconds)

    async def remove(self, key: tuple[str, str, str]) -> None:
        """Delete an object and wait until it is gone."""
        await self.cluster.delete(*key)
        await self.watcher.until_gone(key)

    async def purge(self) -> None:
        """Delete every object of this bench that is left, and wait until all are gone.

        Those of a module's bench stay: its proxies stand still while a test runs in a loop of its own, so that nobody could clean up.
        """
        left = [key for key in self.watcher.now if key[1] in self.namespaces]
        for key in left:
            await self.cluster.delete(*key)
        for key in left:
            await self.watcher.until_gone(key)

    async def run_until(self, key: tuple[str, str, str], holds: Callable[[Body], bool], what: str) -> Body:
        """Return the object once its Run `holds`."""
        return await self.watcher.until(key, lambda o: holds(o.get("status", {}).get("run", {})), what)

    async def collections(self, body: Body) -> list[str]:
        """Return the collections of an index in Weaviate."""
        prefix = collection_prefix(body["metadata"]["uid"])
        found = await self._vectors("/v1/schema")
        return sorted(c["class"] for c in found["classes"] or [] if c["class"].startswith(prefix))

    async def aliases(self) -> dict[str, str]:
        """Return the aliases in Weaviate."""
        found = await self._vectors("/v1/aliases")
        return {a["alias"]: a["class"] for a in found["aliases"] or []}

    async def vectors_call(self, method: str, path: str, body: Body | None = None) -> int:
        """Call Weaviate as its operator and return the status."""
        headers = {"Authorization": f"Bearer {self.weaviate.operator_key}"}
        async with self.session.request(method, self.weaviate.endpoint + path, json=body, headers=headers) as answer:
            return answer.status

    async def _vectors(self, path: str) -> Body:
        headers = {"Authorization": f"Bearer {self.weaviate.operator_key}"}
        async with self.session.get(self.weaviate.endpoint + path, headers=headers) as answer:
            found: Body = await answer.json()
            return found

    async def leftovers(self, body: Body) -> list[str]:
        """Return what is left of a deleted object: ConfigMaps, submissions, collections, aliases, artifacts."""
        metadata = body["metadata"]
        ns, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        maps = await self.cluster.items("ConfigMap", ns)
        owned = [
            m["metadata"]["name"]
            for m in maps
            if any(o["uid"] == uid for o in m["metadata"].get("ownerReferences", []))
        ]
        found = [f"ConfigMap {m}" for m in owned]
        for path in (self.instant.folder / "submissions").glob("*.json"):
            if json.loads(path.read_text())["uid"] == uid:
                found.append(f"submission {path.stem}")
        found += [f"collection {c}" for c in await self.collections(body)]
        alias = body.get("status", {}).get("alias")
        found += [f"alias {alias}"] if alias in await self.aliases() else []
        folder = self.store / ns / body["kind"].lower() / name
        found += [f"artifact {p}" for p in folder.rglob("*") if p.is_file()]
        control = self.store / ns / "_control"
        found += [f"control {p}" for p in control.rglob("*") if p.is_file() and name in str(p)]
        return found

    async def until_nothing_left(self, body: Body, seconds: float = WAIT) -> None:
        """Wait until nothing is left of a deleted object; the garbage collector may take a moment."""
        found = ["not looked yet"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while found:
                    found = await self.leftovers(body)
                    await asyncio.sleep(0.1 if found else 0)
        assert not found


def _object(kind: str, ns: str, name: str, spec: Body) -> Body:
    metadata = {"name": name, "namespace": ns}
    return {"apiVersion": "gradatim.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def merged(base: Body, over: Body) -> Body:
    """Return `base` with `over` laid on top, objects member by member."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else copy.deepcopy(value)
    return out


@contextlib.asynccontextmanager
async def bench(state: PlatformState, folder: Path, **env: str) -> AsyncIterator[Bench]:
    """Build a bench without any operator running; ends everything that it started."""
    layout = Layout(state.state_dir)
    admin = health.tls_context(layout, pki.CLUSTER_CA, "admin")
    identity = health.tls_context(layout, pki.CLUSTER_CA, "operator")
    timeout = aiohttp.ClientTimeout(total=None, connect=10)
    async with contextlib.AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(ssl=admin, limit=0)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**22)
        )
        cluster = Cluster(state, session)
        api = await stack.enter_async_context(Proxy(state.api_server, identity).serving())
        weaviate = weaviate_of(state)
        vectors = await stack.enter_async_context(Proxy(weaviate.endpoint).serving())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "store").mkdir(exist_ok=True)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_of(api.url)))
        names = ("PATH", "HOME", "LANG", "TMPDIR")
        whole = {n: os.environ[n] for n in names if n in os.environ} | FAST
        whole |= {
            "KUBECONFIG": str(kubeconfig),
            "GRADATIM_OPERATOR_NAMESPACE": "gradatim-system",
            "GRADATIM_TEST_RUNTIME": f"instant:{folder / 'instant'}",
            "GRADATIM_METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        watcher = Watcher(cluster, state, session)
        follows = [asyncio.create_task(watcher.follow(kind)) for kind in ("Dataset", "RAGIndex")]
        for watch in follows:
            watch.add_done_callback(watcher.ended)
        instant = Instant(folder / "instant")
        profile = f"p{uuid.uuid4().hex[:8]}"
        found = Bench(state, cluster, watcher, api, vectors, weaviate, instant, folder, profile, session, whole | env)
        await cluster.create(found.profile_body(profile))
        try:
            yield found
        finally:
            api.before.clear()
            api.after.clear()
            api.on_event.clear()
            for operator in found.operators:
                await operator.stop()
            for task in follows:
                task.cancel()
            await asyncio.gather(*follows, return_exceptions=True)
            await cluster.delete("ComputeProfile", "", profile)


def kubeconfig_of(server: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "unused"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }

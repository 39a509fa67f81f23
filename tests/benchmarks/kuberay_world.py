"""What surrounds the operators in `kuberay_ladder`: a network of its own, KWOK, KubeRay, a name server, and one dashboard for all clusters.

Servers are real or KWOK's, except Ray: there is no Ray, and `Dashboard` answers KubeRay's two questions about a job in its place. In a
private network namespace every head's service name leads to that one server, so that nothing else of the machine is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import aiohttp
import psutil
from aiohttp import web
from tests.benchmarks.control_plane_bench import Bench

from gradatim.platform import Component, PlatformState, UpOptions, down, health, pki, up
from gradatim.platform.binaries import Settings, Tool, manifests, resolve
from gradatim.platform.binaries.addons import KUBERAY, KWOK
from gradatim.platform.bootstrap import Admin
from gradatim.platform.dirs import Layout

Body = dict[str, Any]
NODE = "kwok-node"
NAMESPACES = 20
INSIDE = "--inside"
_NEEDED = frozenset({Component.APISERVER, Component.CONTROLLER_MANAGER})
_DASHBOARD_PORT, _METRICS, _PROBES = 8265, 28080, 28081


def argv(tool: Tool) -> list[str]:
    """Return how to call a single program, compiled when absent."""
    found = resolve(tool, Settings.from_environment(os.environ), lambda _, m: print(f"  {m}", flush=True))
    return found.argv(tool.name)


def isolate(arguments: list[str]) -> NoReturn:
    """Become the same ladder in namespaces of its own, once every program is there."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise SystemExit("this benchmark needs Linux and root, for a network namespace of its own")
    for tool in (KUBERAY, KWOK):
        argv(tool)
        manifests.module_folder(tool.source, os.environ)
    inner = [sys.executable, "-m", "tests.benchmarks.kuberay_ladder", INSIDE, *arguments]
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", "--", *inner])


def private_network(folder: Path) -> None:
    """Bring up loopback and ask the name server on it for every name. Call it inside the namespaces only."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = folder / "resolv.conf"
    names.write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", str(names), "/etc/resolv.conf"], check=True)


class Names(asyncio.DatagramProtocol):
    """A name server for which every name is loopback (RFC 1035, one question per message)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer questions of type A with one address, others with none."""
        end = data.index(0, 12) + 5
        is_address = data[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + b"\x7f\0\0\1" if is_address else b""
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, int(is_address), 0, 0)
        self._transport.sendto(head + data[12:end] + answer, addr)


@dataclass
class Dashboard:
    """The Jobs API of every RayCluster as far as KubeRay asks: a job is unknown until it is submitted, and has succeeded from then on."""

    submitted: dict[str, int] = field(default_factory=dict)

    async def submit(self, request: web.Request) -> web.Response:
        """Take a job."""
        name = (await request.json())["submission_id"]
        self.submitted[name] = time.time_ns() // 1_000_000
        return web.json_response({"job_id": name, "submission_id": name})

    async def told(self, request: web.Request) -> web.Response:
        """Say how a job stands."""
        name = request.match_info["name"]
        at = self.submitted.get(name)
        if at is None:
            return web.json_response({"error": f"job {name} does not exist"}, status=404)
        times = {"start_time": at, "end_time": at}
        return web.json_response({"submission_id": name, "status": "SUCCEEDED", "message": "done"} | times)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer on Ray's port on loopback, under every name."""
        app = web.Application()
        app.add_routes([web.post("/api/jobs/", self.submit), web.get("/api/jobs/{name}", self.told)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", _DASHBOARD_PORT).start()
        names, _ = await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 53))
        try:
            yield
        finally:
            names.close()
            await runner.cleanup()


@dataclass
class World:
    """One fresh platform with KubeRay's definitions and KWOK, and the processes whose cost is told."""

    bench: Bench
    children: dict[str, psutil.Process]

    @property
    def folder(self) -> Path:
        """Return where logs and the artifact store are."""
        return self.bench.folder

    def run(self, name: str, command: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process whose cost is told."""
        whole = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **env}
        with (self.folder / f"{name}.log").open("ab") as log:
            found = subprocess.Popen(command, env=whole, stdout=log, stderr=log)
        self.children[name] = psutil.Process(found.pid)
        return found

    @contextlib.contextmanager
    def running(self, name: str, command: list[str], env: Mapping[str, str]) -> Iterator[None]:
        """Run a process for the length of a block. Raises RuntimeError when it ended by itself."""
        found = self.run(name, command, env)
        try:
            yield
            if found.poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-1000:]}")
        finally:
            found.terminate()
            found.wait(60)
            self.children.pop(name)

    @contextlib.contextmanager
    def kuberay(self, concurrency: int) -> Iterator[None]:
        """Run KubeRay's operator with its defaults but for the number of reconcilers."""
        options = [f"--reconcile-concurrency={concurrency}", "--enable-leader-election=false"]
        addresses = [f"--metrics-addr=127.0.0.1:{_METRICS}", f"--health-probe-bind-address=127.0.0.1:{_PROBES}"]
        env = {"KUBECONFIG": str(self.bench.state.kubeconfig)}
        with self.running("kuberay", [*argv(KUBERAY), *options, *addresses], env):
            yield

    async def kuberay_calls(self) -> dict[str, float]:
        """Return how many requests KubeRay has sent to the API server, by method."""
        return await self._counts(_METRICS, r'rest_client_requests_total\{.*method="(\w+)"')

    async def our_calls(self) -> dict[str, float]:
        """Return how many requests our operator has sent to the API server, by verb and resource; watches are not among them."""
        counter = r'gradatim_kube_calls_total\{.*resource="([\w/]+)",verb="(\w+)"'
        return await self._counts(self.bench.state.ports["operator-metrics"], counter)

    async def _counts(self, port: int, pattern: str) -> dict[str, float]:
        async with self.bench.session.get(f"http://127.0.0.1:{port}/metrics") as response:
            lines = (await response.text()).splitlines()
        found: dict[str, float] = {}
        for line in lines:
            if match := re.match(pattern, line):
                name = " ".join(match.groups())
                found[name] = found.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds by program."""
        spent = {name: process.cpu_times() for name, process in self.children.items()}
        return {name: times.user + times.system for name, times in spent.items()}

    def resident_mb(self, name: str) -> float:
        """Return what a process holds in memory."""
        return float(self.children[name].memory_info().rss) / 1e6


def _kwok(folder: Path) -> list[str]:
    """Return the arguments of KWOK, which plays a node and its pods."""
    own = manifests.module_folder(KWOK.source, os.environ) / "kustomize" / "stage"
    files = [own / "node/fast/node-initialize.yaml", own / "pod/fast/pod-ready.yaml", own / "pod/fast/pod-delete.yaml"]
    path = folder / "kwok.yaml"
    path.write_text("---\n".join(file.read_text() for file in files))
    return [f"--config={path}", "--manage-all-nodes=true", "--cidr=10.244.0.0/16", "--node-ip=127.0.0.1"]


@contextlib.asynccontextmanager
async def world(root: Path) -> AsyncIterator[World]:
    """Build everything but the operator to measure, from nothing."""
    root.mkdir()
    state = up(UpOptions(state_dir=root / "state", components=_NEEDED), lambda _, m: print(f"  {m}", flush=True))
    try:
        with Admin.of(state) as admin:
            crds = manifests.kuberay_crds(os.environ)
            names = tuple(f"ray.io_{kind}.yaml" for kind in ("rayjobs", "rayclusters", "rayservices"))
            admin.install_crds(manifests.documents(crds, names))
        context = health.tls_context(Layout.of(root / "state"), pki.CLUSTER_CA, "admin")
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        timeout = aiohttp.ClientTimeout(total=None, connect=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**22) as session:
            found = World(Bench(state, Layout.of(root / "state"), root, session), _servers(state))
            command = [*argv(KWOK), f"--kubeconfig={state.kubeconfig}", "--node-port=0", *_kwok(root)]
            with found.running("kwok", command, {}):
                node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
                await found.bench.call("POST", "/api/v1/nodes", node)
                yield found
    finally:
        down(root / "state")


def _servers(state: PlatformState) -> dict[str, psutil.Process]:
    wanted = (Component.APISERVER, Component.ETCD, Component.CONTROLLER_MANAGER)
    found = {str(name): psutil.Process(state.components[name].pid) for name in wanted}
    return found | {"benchmark": psutil.Process()}


def pinned_to_node(job: Body) -> Body:
    """Return a RayJob without owner and server's fields, whose pods need no scheduler, and which may wait for as long as thousands before it take."""
    spec = json.loads(json.dumps(job["spec"]))
    spec.pop("preRunningDeadlineSeconds", None)
    cluster = spec["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
        group["template"]["spec"]["nodeName"] = NODE
    return {"apiVersion": job["apiVersion"], "kind": job["kind"], "spec": spec}


def versions() -> dict[str, str]:
    """Return the versions of the programs."""
    return {tool.name: tool.version for tool in (KUBERAY, KWOK)}

"""`up`, `down` and `status` of the node cluster.

Called by the command line and by tests. Everything the cluster starts lives in the namespaces of one first process: whatever ends that
process ends all of it, and `down` only has files and control groups left to remove. All three may be repeated, interrupted and killed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from types import MappingProxyType

from gradatim.platform import prepare as local
from gradatim.platform import processes
from gradatim.platform.binaries.catalog import KUBE, pinned_version
from gradatim.platform.lifecycle import ComponentStatus
from gradatim.platform.node import cgroups, launches, prepare, prerequisites
from gradatim.platform.node.cluster import NodeCluster, first_process
from gradatim.platform.node.health import Probe
from gradatim.platform.node.install import Installer
from gradatim.platform.node.launches import NodeSite
from gradatim.platform.node.layout import ADDONS, NodeLayout, Part
from gradatim.platform.node.state import NodeState
from gradatim.platform.node.tools import Tools
from gradatim.platform.processes import Launch, Started
from gradatim.platform.state import locked
from gradatim.platform.supervise import Progress, Supervisor

_UP_WAIT_SECONDS = 300.0
_DOWN_WAIT_SECONDS = 60.0
DEFINITIONS = frozenset({"kuberay", "kueue", "gradatim"})


@dataclass(frozen=True)
class NodeOptions:
    """What a node cluster shall run.

    `addons` run as processes beside the cluster's own; `definitions` are those installed without the program behind them, for programs
    that come by Helm. `kueue` installs Kueue from its chart, in a pod. `helm` puts Helm among the cluster's programs, which Kueue does too.
    `pod_memory` limits all pods together to so many bytes; 0 is no limit. A kubelet that runs keeps what it was started with.
    `operator_env` are settings of our operator's process.
    """

    state_dir: Path
    addons: frozenset[Part] = frozenset({Part.KUBERAY})
    definitions: frozenset[str] = frozenset()
    kueue: bool = False
    helm: bool = False
    pod_memory: int = 0
    operator_env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def up(options: NodeOptions, progress: Progress = lambda _component, _message: None) -> NodeCluster:
    """Start what is not running and return the cluster, its node ready for pods.

    Raises PlatformError with what to do. A cluster that runs already is left alone.
    """
    prerequisites.check()
    layout = NodeLayout.of(options.state_dir)
    local.check_folder(layout)
    say = _one_at_a_time(progress)
    helm = options.helm or options.kueue
    tools = Tools.resolve(options.addons, dict(os.environ), say, kueue=options.kueue, helm=helm)
    with locked(layout, _UP_WAIT_SECONDS):
        state = NodeState(layout)
        if state.parts and first_process(layout, state) == 0:
            say(Part.NODE, "the namespaces are gone: starting over")
            _clear(layout, state)
            state = NodeState(layout)
        state.remember(state.addons | (options.addons & ADDONS))
        prepare.folders(layout)
        prepare.configurations(layout, Path("/proc/self/mountinfo").read_text(), options.pod_memory)
        tools.link(layout)
        cgroups.make(layout.cgroup)
        _Up(options, layout, state, tools, _supervisor(layout, state, say)).execute()
        return NodeCluster(layout.root, first_process(layout, state))


def load(state_dir: Path) -> NodeCluster:
    """Return the running cluster of a state folder. Raises StateError when none runs."""
    return NodeCluster.of(state_dir)


def down(state_dir: Path, progress: Progress = lambda _component, _message: None) -> None:
    """End the cluster and remove everything of it but an unrelated file in its folder. Nothing running is not an error."""
    layout = NodeLayout.of(state_dir)
    if layout.root.is_dir():
        local.check_folder(layout)
        with locked(layout, _DOWN_WAIT_SECONDS):
            progress(Part.NODE, "ending everything in the namespaces")
            _clear(layout, NodeState(layout))
            layout.lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            layout.root.rmdir()
    else:
        _end(layout, {})
        cgroups.remove(layout.cgroup)


def status(state_dir: Path) -> list[ComponentStatus]:
    """Return every part with its health, asked now; an add-on that was never asked for is left out."""
    layout = NodeLayout.of(state_dir)
    state = NodeState(layout)
    probe = Probe(layout, lambda: first_process(layout, state))
    shown = [part for part in Part if part not in ADDONS or part in state.addons]
    with futures.ThreadPoolExecutor(len(shown)) as pool:
        return list(pool.map(lambda part: _status(part, layout, state, probe), shown))


def _status(part: Part, layout: NodeLayout, state: NodeState, probe: Probe) -> ComponentStatus:
    record, log = state.recorded(part), layout.log(part)
    if record is None:
        return ComponentStatus(part, "stopped", "", None, "", "", 0, log)
    process = processes.find(record.started, layout.root)
    if process is None:
        return ComponentStatus(part, "dead", f"ended; see {log}", None, record.version, "", 0, log)
    answer = probe(part)
    size = 0 if part is Part.NODE else processes.resident_bytes(process)
    return ComponentStatus(
        part, "running" if answer.ok else "unhealthy", answer.detail, record.pid, record.version, "", size, log
    )


def _clear(layout: NodeLayout, state: NodeState) -> None:
    _end(layout, {part: record.started for part, record in state.parts.items()})
    cgroups.remove(layout.cgroup)
    prepare.remove(layout, Path("/proc/self/mountinfo").read_text())


def _end(layout: NodeLayout, started: Mapping[Part, Started]) -> None:
    # The first process first: with it go all others, the pods' among them, at once.
    for part in Part:
        processes.stop(started.get(part), layout.root, part, 0.0)


def _supervisor(layout: NodeLayout, state: NodeState, say: Progress) -> Supervisor:
    probe = Probe(layout, lambda: first_process(layout, state))
    return Supervisor(state, layout.root, probe, say, threading.Event())


def _one_at_a_time(progress: Progress) -> Progress:
    lock = threading.Lock()

    def say(component: str, message: str) -> None:
        with lock:
            progress(component, message)

    return say


@dataclass(frozen=True)
class _Up:
    """One run of `up`: the namespaces, then control plane and containerd side by side, then the rest."""

    options: NodeOptions
    layout: NodeLayout
    state: NodeState
    tools: Tools
    supervisor: Supervisor

    def execute(self) -> None:
        env = prepare.environment(os.environ)
        outer = NodeSite(self.layout, env, sys.executable)
        self.supervisor.ensure(launches.node(outer, self.tools.pause))
        init = first_process(self.layout, self.state)
        site = NodeSite(self.layout, env, sys.executable, init)
        cluster = NodeCluster(self.layout.root, init)
        installer = Installer(cluster, self.tools, env)
        version = self.tools.kube.version
        etcd_version = pinned_version(KUBE.source.sources()["go.mod"].decode(), "go.etcd.io/etcd/server/v3")

        def control_plane() -> None:
            self.supervisor.ensure(launches.etcd(site, etcd_version))
            self.supervisor.ensure(launches.apiserver(site, version))
            installer.base()

        def runtime() -> None:
            self.supervisor.ensure(launches.containerd(site))
            installer.pause_image()

        self._side_by_side([control_plane, runtime])
        self._side_by_side([*self._rest(site, version), *self._addons(site, installer)])
        installer.await_node()
        if self.options.kueue:
            installer.kueue(self.supervisor.progress)

    def _rest(self, site: NodeSite, version: str) -> list[Callable[[], None]]:
        made = (
            launches.controller_manager(site, version),
            launches.scheduler(site, version),
            launches.kubelet(site, version),
            launches.proxy(site, version),
            launches.dns(site, self.tools.coredns.version),
        )
        return [self._starter(launch) for launch in made]

    def _starter(self, launch: Launch) -> Callable[[], None]:
        def start() -> None:
            self.supervisor.ensure(launch)

        return start

    def _addons(self, site: NodeSite, installer: Installer) -> Iterable[Callable[[], None]]:
        wanted = self.options.addons
        tokens = local.credentials(self.layout)

        def kuberay(tool_version: str) -> None:
            installer.kuberay()
            self.supervisor.ensure(launches.kuberay(site, tool_version))

        def operator() -> None:
            installer.gradatim(tokens)
            self.supervisor.ensure(launches.operator(site, installed_version("gradatim"), self.options.operator_env))

        if self.tools.kuberay and Part.KUBERAY in wanted:
            version = self.tools.kuberay.version
            yield lambda: kuberay(version)
        if Part.OPERATOR in wanted:
            yield operator
        if self.tools.weaviate:
            yield self._starter(launches.weaviate(site, self.tools.weaviate, tokens.weaviate))
        if self.tools.minio:
            user, password = installer.s3_credentials()
            yield self._starter(launches.minio(site, self.tools.minio, user, password))
        if more := self.options.definitions:
            yield lambda: installer.definitions(more)

    def _side_by_side(self, tasks: list[Callable[[], None]]) -> None:
        with futures.ThreadPoolExecutor(len(tasks)) as pool:
            running = [pool.submit(task) for task in tasks]
            done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
            failed = next((error for task in done if (error := task.exception())), None)
            if failed:
                self.supervisor.cancelled.set()
        if failed:
            raise failed

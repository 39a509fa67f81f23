"""`up`, `down` and `status`: the whole local platform, as its users see it.

Called by the command line and by test fixtures. `up` and `down` may be repeated, interrupted and killed at any point; the next call
of either continues from what it finds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from gradatim.api.crd import all_crds
from gradatim.platform import health, launches, objects, ports, prepare, processes
from gradatim.platform.binaries import KUBE, WEAVIATE, Settings, Toolset, resolve
from gradatim.platform.binaries.catalog import pinned_version
from gradatim.platform.bootstrap import Admin
from gradatim.platform.components import ALL, CONTROL_PLANE, PORTS, START_ORDER, Component, closure
from gradatim.platform.dirs import Layout
from gradatim.platform.errors import PlatformError, StartError, StateError
from gradatim.platform.files import delete
from gradatim.platform.launches import Site
from gradatim.platform.state import PlatformState, StateFile, locked, read
from gradatim.platform.supervise import Progress, Supervisor

_UP_WAIT_SECONDS = 300.0
_DOWN_WAIT_SECONDS = 60.0
_MAX_SOURCE_ROOTS = 32


@dataclass(frozen=True)
class UpOptions:
    """What `up` shall run.

    `components` are completed with what they need. `allow_sources` are folders, besides the current one, that `path` sources may
    name. `ray_cpus` is the number of CPUs Ray schedules on; None keeps the last value, at first all CPUs. `operator_env` are
    variables of the operator's settings, read when it is started.
    """

    state_dir: Path
    components: frozenset[Component] = ALL
    allow_sources: tuple[Path, ...] = ()
    ray_cpus: int | None = None
    operator_env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class ComponentStatus:
    """One component as found now. `state` is `running`, `unhealthy`, `dead` (was started, ended since) or `stopped`."""

    component: str
    state: str
    detail: str
    pid: int | None
    version: str
    address: str
    resident_bytes: int
    log: Path


def up(options: UpOptions, progress: Progress = lambda _component, _message: None) -> PlatformState:
    """Start what is not running, and return where everything answers.

    `progress(component, message)` is called from one thread at a time. Raises PlatformError with what to do.
    """
    layout = Layout.of(options.state_dir)
    prepare.check_folder(layout)
    wanted = closure(options.components)
    say = _one_at_a_time(progress)
    env = dict(os.environ)
    # Before the lock: a first compile takes minutes, in which `down` and `status` must not hang.
    tools = _Tools.resolve(wanted, Settings.from_environment(env), say)
    with locked(layout, _UP_WAIT_SECONDS):
        prepare.folders(layout)
        chosen = ports.load_or_choose(layout)
        prepare.identities(layout, chosen)
        file = StateFile(layout)
        roots = _source_roots(file.current.source_roots, options.allow_sources)
        cpus = options.ray_cpus or file.current.ray_cpus or os.cpu_count() or 1
        file.update(source_roots=roots, ray_cpus=cpus)
        state = dataclasses.replace(file.current, ports=chosen)
        run = _Up(
            options, wanted, tools, Site(layout, chosen, env, sys.executable), state, _supervisor(file, state, say)
        )
        run.execute()
        return dataclasses.replace(file.current, ports=chosen)


def load(state_dir: Path) -> PlatformState:
    """Return the recorded platform of a state folder. Raises StateError when there is none."""
    layout = Layout.of(state_dir)
    known = ports.load(layout)
    if not known:
        raise StateError(f"there is no platform in {layout.root}: start one with `gradatim up --state {layout.root}`")
    return dataclasses.replace(read(layout), ports=known)


def down(state_dir: Path, *, purge: bool = False, progress: Progress = lambda _component, _message: None) -> None:
    """End every process of a platform; with `purge`, delete its state too. Nothing running is not an error."""
    layout = Layout.of(state_dir)
    if not layout.root.is_dir():
        _end_strays(layout)
        return
    prepare.check_folder(layout)
    with locked(layout, _DOWN_WAIT_SECONDS):
        file = StateFile(layout)
        supervisor = _supervisor(file, file.current, _one_at_a_time(progress))
        middle = (Component.RAY, Component.WEAVIATE, Component.CONTROLLER_MANAGER)
        for stage in ((Component.OPERATOR,), middle, (Component.APISERVER,), (Component.ETCD,)):
            with futures.ThreadPoolExecutor(len(stage)) as pool:
                list(pool.map(supervisor.clear, stage))
        _end_strays(layout)
        shutil.rmtree(layout.ray_temp(), ignore_errors=True)
        if purge:
            _purge(layout)


def status(state_dir: Path) -> list[ComponentStatus]:
    """Return every component with its health, probed now."""
    layout = Layout.of(state_dir)
    known = ports.load(layout)
    state = dataclasses.replace(read(layout), ports=known)
    with futures.ThreadPoolExecutor(len(START_ORDER)) as pool:
        return list(pool.map(lambda component: _status(component, state, layout), START_ORDER))


def _status(component: Component, state: PlatformState, layout: Layout) -> ComponentStatus:
    record = state.components.get(component)
    log = layout.log(component)
    if record is None:
        return ComponentStatus(component, "stopped", "", None, "", "", 0, log)
    address = _addresses(state)[component] if state.ports else ""
    process = processes.find(record.started, layout.root)
    if process is None:
        return ComponentStatus(component, "dead", f"ended; see {log}", None, record.version, address, 0, log)
    answer = health.probe(component, state)
    kind = "running" if answer.ok else "unhealthy"
    size = processes.resident_bytes(process)
    return ComponentStatus(component, kind, answer.detail, record.pid, record.version, address, size, log)


def _addresses(state: PlatformState) -> dict[Component, str]:
    return {
        Component.ETCD: f"https://127.0.0.1:{state.ports['etcd-client']}",
        Component.APISERVER: state.api_server,
        Component.CONTROLLER_MANAGER: f"https://127.0.0.1:{state.ports['controller-manager']}",
        Component.WEAVIATE: state.weaviate,
        Component.RAY: state.ray_dashboard,
        Component.OPERATOR: state.operator_health,
    }


def _end_strays(layout: Layout) -> None:
    for component in Component:
        processes.stop(None, layout.root, component, 1.0)


def _purge(layout: Layout) -> None:
    ports.release(layout)
    delete((*layout.leftovers(), *layout.owned()))
    with contextlib.suppress(OSError):
        # Something of the user's may lie beside our files: then the folder stays.
        layout.root.rmdir()


def _supervisor(file: StateFile, state: PlatformState, say: Progress) -> Supervisor:
    return Supervisor(
        file=file,
        state_dir=state.state_dir,
        probe=lambda component: health.probe(Component(component), state),
        progress=say,
        cancelled=threading.Event(),
        ports=lambda component: [state.ports[name] for name in PORTS[Component(component)]],
    )


def _source_roots(known: tuple[str, ...], more: tuple[Path, ...]) -> tuple[str, ...]:
    roots = tuple(sorted({*known, *(str(path.expanduser().resolve()) for path in (Path.cwd(), *more))}))
    if len(roots) > _MAX_SOURCE_ROOTS:
        raise StateError(f"more than {_MAX_SOURCE_ROOTS} source folders: allow a common parent with --allow-source")
    return roots


def _one_at_a_time(progress: Progress) -> Progress:
    lock = threading.Lock()

    def say(component: str, message: str) -> None:
        with lock:
            progress(component, message)

    return say


@dataclass(frozen=True)
class _Tools:
    kube: Toolset | None
    weaviate: Toolset | None

    @classmethod
    def resolve(cls, wanted: frozenset[Component], settings: Settings, say: Progress) -> _Tools:
        return cls(
            kube=resolve(KUBE, settings, say) if wanted & CONTROL_PLANE else None,
            weaviate=resolve(WEAVIATE, settings, say) if Component.WEAVIATE in wanted else None,
        )


@dataclass(frozen=True)
class _Up:
    """One run of `up`: three chains side by side, then the operator."""

    options: UpOptions
    wanted: frozenset[Component]
    tools: _Tools
    site: Site
    state: PlatformState
    supervisor: Supervisor

    def execute(self) -> None:
        chains: list[Callable[[], None]] = []
        tokens = prepare.credentials(self.site.layout)
        if self.tools.kube:
            kube = self.tools.kube
            chains.append(lambda: self._control_plane(kube, tokens))
        if self.tools.weaviate:
            launch = launches.weaviate(self.site, self.tools.weaviate, tokens.weaviate)
            chains.append(lambda: self._ensure(launch))
        if Component.RAY in self.wanted:
            chains.append(self._ray)
        self._side_by_side(chains)
        if Component.OPERATOR in self.wanted:
            self._ensure(launches.operator(self.site, _version("gradatim"), self.options.operator_env))

    def _side_by_side(self, chains: list[Callable[[], None]]) -> None:
        if not chains:
            return
        with futures.ThreadPoolExecutor(len(chains)) as pool:
            running = [pool.submit(chain) for chain in chains]
            try:
                done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
                failed = next((error for task in done if (error := task.exception())), None)
            finally:
                self.supervisor.cancelled.set() if any(not task.done() for task in running) else None
        if failed:
            raise failed

    def _ensure(self, launch: processes.Launch) -> None:
        self.supervisor.ensure(launch)

    def _ray(self) -> None:
        layout = self.site.layout
        cpus = self.state.ray_cpus or 1
        self._ensure(
            launches.ray(self.site, layout.private / objects.RAY_SECRET, layout.ray_temp(), cpus, _version("ray"))
        )

    def _control_plane(self, kube: Toolset, tokens: prepare.Credentials) -> None:
        go_mod = KUBE.source.sources()["go.mod"].decode()
        etcd_version = (
            kube.version if kube.version == "explicit" else pinned_version(go_mod, "go.etcd.io/etcd/server/v3")
        )
        self._ensure(launches.etcd(self.site, kube, etcd_version))
        if Component.APISERVER not in self.wanted:
            return
        self._ensure(launches.apiserver(self.site, kube, kube.version))
        with futures.ThreadPoolExecutor(1) as pool:
            installed = pool.submit(self._install, tokens)
            if Component.CONTROLLER_MANAGER in self.wanted:
                self._ensure(launches.controller_manager(self.site, kube, kube.version))
            installed.result()

    def _install(self, tokens: prepare.Credentials) -> None:
        state = self.state
        self.supervisor.progress(Component.APISERVER, "installing definitions, rights and the default profile")
        with Admin.of(state) as admin:
            admin.apply(objects.namespaces())
            admin.install_crds(all_crds())
            admin.apply(objects.rbac())
            admin.apply(objects.policies())
            admin.apply([
                objects.secret(objects.RAY_SECRET, {"auth_token": tokens.ray}),
                objects.secret(objects.WEAVIATE_SECRET, {"api-key": tokens.weaviate.operator}),
            ])  # fmt: skip
            if {Component.RAY, Component.WEAVIATE} <= self.wanted:
                artifacts = str(self.site.layout.artifacts)
                admin.apply([objects.default_profile(state, artifacts, state.source_roots)])


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise StartError(
            f"{distribution} is not installed in {sys.prefix}: install `gradatim[operator,index,local]` there"
        ) from error


__all__ = ["ComponentStatus", "PlatformError", "UpOptions", "down", "load", "status", "up"]

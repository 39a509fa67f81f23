"""A running node cluster as its users and tests hold it.

Made by `up` and `load`. Commands run in the cluster's network namespace: `exec` and `command_prefix` for programs of this machine, `entered`
for code of this process, `inside` for programs that must also see the cluster's mounts and processes, such as `ctr`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from gradatim.platform import processes
from gradatim.platform.errors import StateError
from gradatim.platform.node import images
from gradatim.platform.node.launches import cluster_env, enter
from gradatim.platform.node.layout import API_SERVER, NODE_ADDRESS, PORTS, NodeLayout, Part
from gradatim.platform.node.namespace import entered, network_namespace
from gradatim.platform.node.state import NodeState


def first_process(layout: NodeLayout, state: NodeState) -> int:
    """Return the id of the process that holds the namespaces, or 0 when it does not run, or is ending."""
    record = state.recorded(Part.NODE)
    if record is None:
        return 0
    holder = processes.find(record.started, layout.root)
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        for child in holder.children() if holder else ():
            # A process gives up its namespaces first, then it waits for all others of them to end.
            network_namespace(child.pid).readlink()
            return child.pid
    return 0


@dataclass(frozen=True)
class NodeCluster:
    """A cluster by its state folder and the process that holds its namespaces."""

    state_dir: Path
    init: int

    @classmethod
    def of(cls, state_dir: Path) -> NodeCluster:
        """Return the running cluster of a state folder. Raises StateError when none runs."""
        layout = NodeLayout.of(state_dir)
        if (init := first_process(layout, NodeState(layout))) == 0:
            raise StateError(
                f"no node cluster runs in {layout.root}: start one with `gradatim up --node --state {layout.root}`"
            )
        return cls(layout.root, init)

    @property
    def layout(self) -> NodeLayout:
        return NodeLayout(self.state_dir)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its address answers only in the network namespace."""
        return self.layout.kubeconfig

    @property
    def api_server(self) -> str:
        return API_SERVER

    @property
    def weaviate(self) -> str:
        """Where pods and processes reach Weaviate, if it was asked for."""
        return f"http://{NODE_ADDRESS}:{PORTS['weaviate-http']}"

    @property
    def weaviate_grpc(self) -> str:
        return f"http://{NODE_ADDRESS}:{PORTS['weaviate-grpc']}"

    @property
    def s3(self) -> str:
        """Where pods and processes reach the S3 server, if it was asked for."""
        return f"http://{NODE_ADDRESS}:{PORTS['minio']}"

    @property
    def network(self) -> Path:
        """The network namespace, for `nsenter --net=`."""
        return network_namespace(self.init)

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Runs a program of this machine in the cluster's network. Not `ip netns exec`, which hides the control groups."""
        return ("nsenter", f"--net={self.network}", "--")

    @property
    def inside_prefix(self) -> tuple[str, ...]:
        """Runs a program among the cluster's processes, with its mounts and its resolver."""
        return enter(self.init)

    @property
    def ctr(self) -> tuple[str, ...]:
        """containerd's command up to and with the namespace of Kubernetes' images."""
        return (*self.inside_prefix, "ctr", "-n", "k8s.io")

    @property
    def env(self) -> dict[str, str]:
        """The environment of `exec`: this one, with the cluster's kubeconfig and programs."""
        return cluster_env(self.layout, os.environ)

    def entered(self) -> AbstractContextManager[None]:
        """Run a block of this thread, and all threads and processes it starts, in the cluster's network."""
        return entered(self.network)

    def exec(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120.0,
        stdin: str = "",
        env: Mapping[str, str] = {},
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the cluster's network and return its output. Raises CalledProcessError when it fails."""
        return subprocess.run(
            [*self.command_prefix, *argv], env={**self.env, **env}, input=stdin, capture_output=True, text=True, check=check,
            timeout=timeout,
        )  # fmt: skip

    def kubectl(self, *argv: str, check: bool = True, timeout: float = 120.0, stdin: str = "") -> str:
        """Run kubectl as administrator and return what it prints."""
        return self.exec(["kubectl", *argv], check=check, timeout=timeout, stdin=stdin).stdout

    def import_image(self, archive: Path) -> None:
        """Give a docker or OCI archive to the cluster."""
        images.import_archive(archive, self.ctr)

    def build_image(self, image: images.OneLayer) -> None:
        """Write an image of one layer and give it to the cluster."""
        target = self.layout.images / f"{image.name.replace('/', '_').replace(':', '_')}.tar"
        images.write_image(image, target)
        self.import_image(target)
        target.unlink()

    def images(self) -> set[str]:
        """Return the names of the images the cluster has."""
        return images.names(self.ctr)

    def pid_of(self, part: Part) -> int:
        """Return the process behind a part, the one that does its work. Raises StateError when it does not run."""
        record = NodeState(self.layout).recorded(part)
        entry = processes.find(record.started, self.state_dir) if record else None
        if entry is None or not (children := entry.children()):
            raise StateError(f"{part} does not run in {self.state_dir}")
        return children[0].pid

    def kill(self, part: Part) -> None:
        """End a part at once, as a crash would; `up` brings it back."""
        os.kill(self.pid_of(part), signal.SIGKILL)

"""The programs of a node cluster, found or compiled before anything starts.

Called by `lifecycle` outside the lock: a first compile takes minutes, in which `down` and `status` must not hang.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gradatim.platform.binaries import KUBE, WEAVIATE, Settings, Tool, Toolset, resolve
from gradatim.platform.binaries.addons import COREDNS, HELM, KUBECTL, KUBERAY, KUEUE, MINIO, PAUSE
from gradatim.platform.node import prepare
from gradatim.platform.node.layout import NodeLayout, Part
from gradatim.platform.supervise import Progress


@dataclass(frozen=True)
class Tools:
    """Installed programs; None where an add-on was not asked for."""

    kube: Toolset
    pause: Toolset
    coredns: Toolset
    kubectl: Toolset
    kuberay: Toolset | None = None
    weaviate: Toolset | None = None
    minio: Toolset | None = None
    kueue: Toolset | None = None
    helm: Toolset | None = None

    @classmethod
    def resolve(
        cls, addons: frozenset[Part], env: Mapping[str, str], say: Progress, *, kueue: bool, helm: bool
    ) -> Tools:
        """Return everything the cluster will run. Raises BinaryError."""
        settings = Settings.from_environment(env)

        def have(tool: Tool) -> Toolset:
            return resolve(tool, settings, say)

        return cls(
            kube=have(KUBE),
            pause=have(PAUSE),
            coredns=have(COREDNS),
            kubectl=have(KUBECTL),
            kuberay=have(KUBERAY) if Part.KUBERAY in addons else None,
            weaviate=have(WEAVIATE) if Part.WEAVIATE in addons else None,
            minio=have(MINIO) if Part.MINIO in addons else None,
            kueue=have(KUEUE) if kueue else None,
            helm=have(HELM) if helm else None,
        )

    def link(self, layout: NodeLayout) -> None:
        """Give the programs their names in the cluster's folder of programs."""
        prepare.link_kube(layout, self.kube)
        single = {"coredns": self.coredns, "kubectl": self.kubectl, "kuberay": self.kuberay, "helm": self.helm}
        for name, tool in single.items():
            if tool is not None:
                prepare.link(layout, name, program(tool, name))


def program(tool: Toolset, name: str) -> Path:
    """Return the file of a single program."""
    return Path(tool.argv(name)[0])

"""Put into a fresh cluster what it needs: rights, definitions, images, Kueue.

Called by `lifecycle`, every time: applying is idempotent. Each step talks to the API server from inside the cluster's network.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradatim.api.crd import all_crds
from gradatim.platform import objects as local_objects
from gradatim.platform import pki
from gradatim.platform.binaries import manifests
from gradatim.platform.binaries.addons import KUBERAY, KUEUE
from gradatim.platform.bootstrap import Admin
from gradatim.platform.errors import StartError
from gradatim.platform.files import read_or_create_secret, write_atomic
from gradatim.platform.health import tls_context
from gradatim.platform.node import objects
from gradatim.platform.node.cluster import NodeCluster
from gradatim.platform.node.configs import PAUSE_IMAGE
from gradatim.platform.node.images import OneLayer
from gradatim.platform.node.kueue import install_kueue
from gradatim.platform.node.layout import API_SERVER, NODE_NAME
from gradatim.platform.node.tools import Tools, program
from gradatim.platform.prepare import Credentials
from gradatim.platform.supervise import Progress

S3_USER = "gradatim"
_NODE_SECONDS = 120.0
_POLL = 0.1
_DEFINITIONS = {"kuberay": (KUBERAY, manifests.kuberay_crds), "kueue": (KUEUE, manifests.kueue_crds)}


@dataclass(frozen=True)
class Installer:
    """Everything `up` installs into one cluster."""

    cluster: NodeCluster
    tools: Tools
    env: Mapping[str, str]

    def base(self) -> None:
        """Give the cluster's own identities their rights."""
        with self._admin() as admin:
            admin.apply(objects.base())

    def pause_image(self) -> None:
        """Make and import the image that holds a pod's namespaces."""
        if PAUSE_IMAGE not in self.cluster.images():
            pause = program(self.tools.pause, "pause")
            self.cluster.build_image(OneLayer(PAUSE_IMAGE, ("/pause",), {"pause": pause}, user="65535:65535"))

    def kuberay(self) -> None:
        """Install KubeRay's definitions and the rights of its process."""
        with self._admin() as admin:
            self._definitions(admin, "kuberay")
            admin.apply(objects.kuberay(self.env))

    def gradatim(self, tokens: Credentials) -> None:
        """Install our definitions, and what the operator's process needs."""
        with self._admin() as admin:
            admin.apply(local_objects.namespaces())
            self._definitions(admin, "gradatim")
            admin.apply(local_objects.rbac())
            admin.apply(local_objects.policies())
            admin.apply([local_objects.secret(local_objects.WEAVIATE_SECRET, {"api-key": tokens.weaviate.operator})])

    def definitions(self, names: Iterable[str]) -> None:
        """Install definitions alone: `kuberay`, `kueue` or `gradatim`."""
        with self._admin() as admin:
            for name in sorted(names):
                self._definitions(admin, name)

    def kueue(self, progress: Progress) -> None:
        """Install Kueue from its own chart, with an image made of the compiled program."""
        if self.tools.kueue is None:
            raise StartError("Kueue was not compiled: ask for it in the options of `up`")
        install_kueue(self.cluster, program(self.tools.kueue, "kueue"), self.env, progress)

    def s3_credentials(self) -> tuple[str, str]:
        """Return user and password of the S3 server, made at the first call."""
        return S3_USER, read_or_create_secret(self.cluster.layout.private / "minio")

    def await_node(self) -> None:
        """Wait until pods can be scheduled: the node is ready, its taints are gone, service accounts exist."""
        deadline = time.monotonic() + _NODE_SECONDS
        with self._admin() as admin:
            while missing := _unready(admin):
                if time.monotonic() > deadline:
                    raise StartError(f"{NODE_NAME}: {missing} after {_NODE_SECONDS:.0f} s; see the log of kubelet")
                time.sleep(_POLL)

    def _definitions(self, admin: Admin, name: str) -> None:
        if name == "gradatim":
            admin.install_crds(all_crds())
            return
        # Megabytes that cost the server seconds: once per version, for its data lies in the same folder as this note.
        tool, folder = _DEFINITIONS[name]
        note = self.cluster.layout.config / f"definitions-{name}"
        if note.is_file() and note.read_text() == tool.source.digest:
            return
        admin.install_crds(manifests.documents(folder(self.env)))
        write_atomic(note, tool.source.digest.encode())

    @contextmanager
    def _admin(self) -> Iterator[Admin]:
        context = tls_context(self.cluster.layout, pki.CLUSTER_CA, "admin")
        with self.cluster.entered(), Admin(API_SERVER, context) as admin:
            yield admin


def _unready(admin: Admin) -> str:
    node: dict[str, Any] = admin.get(f"/api/v1/nodes/{NODE_NAME}")
    conditions = {c["type"]: c for c in node.get("status", {}).get("conditions", [])}
    if conditions.get("Ready", {}).get("status") != "True":
        return f"not ready ({conditions.get('Ready', {}).get('message', 'not registered')})"
    if taints := [taint["key"] for taint in node.get("spec", {}).get("taints", [])]:
        return f"tainted {', '.join(taints)}"
    return "" if admin.get("/api/v1/namespaces/default/serviceaccounts/default") else "no default service account"

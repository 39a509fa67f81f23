"""Everything `up` puts on disk before it starts a component: folders, keys, tokens, kubeconfigs.

Called by `lifecycle` under the state lock. Repeating it changes nothing, so an `up` that was killed half way is simply repeated.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from gradatim.platform import launches, pki
from gradatim.platform.dirs import Layout
from gradatim.platform.errors import StateError
from gradatim.platform.files import delete, private_dir, read_or_create_secret, write_atomic
from gradatim.platform.launches import WeaviateKeys
from gradatim.platform.objects import RAY_SECRET, WEAVIATE_SECRET, WEAVIATE_WORKLOAD_SECRET


@dataclass(frozen=True)
class Credentials:
    """The tokens of one platform, read from its private folder."""

    ray: str
    weaviate: WeaviateKeys


def check_folder(layout: Layout) -> None:
    """Raise StateError when the folder holds somebody else's files: `down --purge` must have nothing to spoil."""
    if not layout.root.exists():
        return
    if not layout.root.is_dir():
        raise StateError(f"{layout.root} is not a folder: choose another one with --state")
    if layout.other_state.exists():
        kind = "a node cluster" if layout.other_state.name == "node.json" else "a local platform without --node"
        raise StateError(f"{layout.root} is the state of {kind}: choose another folder with --state")
    found = set(layout.root.iterdir()) - set(layout.leftovers())
    if found and not found & set(layout.marks):
        raise StateError(f"{layout.root} is not empty and not the state of a platform: choose another one with --state")


def folders(layout: Layout) -> None:
    """Make the private folders of a platform, and remove what a killed `up` left half made in its own."""
    for folder in (layout.root, layout.private, layout.secrets, layout.artifacts, layout.logs, layout.data_root):
        private_dir(folder)
    delete(layout.leftovers())


def credentials(layout: Layout) -> Credentials:
    """Return the tokens, made at the first call; the workload's are also laid where workloads look for them."""
    keys = WeaviateKeys(
        operator=read_or_create_secret(layout.private / WEAVIATE_SECRET),
        workload=read_or_create_secret(layout.private / WEAVIATE_WORKLOAD_SECRET),
        cluster=read_or_create_secret(layout.private / "weaviate-cluster"),
    )
    write_atomic(layout.secrets / WEAVIATE_WORKLOAD_SECRET / "api-key", keys.workload.encode())
    return Credentials(ray=read_or_create_secret(layout.private / RAY_SECRET), weaviate=keys)


def identities(layout: Layout, ports: Mapping[str, int]) -> None:
    """Make certificates and write one kubeconfig per identity."""
    pki.ensure(layout.pki, dt.datetime.now(dt.UTC))
    server = f"https://127.0.0.1:{ports['apiserver']}"
    write_atomic(layout.kubeconfig, pki.kubeconfig(layout.pki, "admin", server))
    write_atomic(layout.operator_kubeconfig, pki.kubeconfig(layout.pki, "operator", server))
    write_atomic(
        launches.controller_manager_kubeconfig(layout), pki.kubeconfig(layout.pki, "controller-manager", server)
    )

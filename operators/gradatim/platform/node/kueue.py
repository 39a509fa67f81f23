"""Kueue in the cluster: its own chart, in a pod, from an image made of the compiled program.

Called by `up` when asked for. In a pod, because Kueue's webhooks are a Service and its certificates a mounted Secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gradatim.platform.binaries import manifests
from gradatim.platform.binaries.addons import KUEUE
from gradatim.platform.errors import StartError
from gradatim.platform.node.cluster import NodeCluster
from gradatim.platform.node.images import OneLayer
from gradatim.platform.supervise import Progress

NAMESPACE = "kueue-system"
# Tells places in a queue. Kueue's own pod serves it, and the API server passes questions on.
VISIBILITY = "apiservice/v1beta2.visibility.kueue.x-k8s.io"
REPOSITORY = "localhost/kueue"
_SECONDS, _VISIBLE_SECONDS = 300, 60


def kueue_image(program: Path, version: str) -> OneLayer:
    """Return Kueue's image; its chart calls the program /manager."""
    return OneLayer(f"{REPOSITORY}:{version}", ("/manager",), {"manager": program})


def chart_values(version: str) -> list[str]:
    """Return the settings of the chart: our image, never pulled, one replica."""
    image = "controllerManager.manager.image"
    values = {
        f"{image}.repository": REPOSITORY,
        f"{image}.tag": version,
        f"{image}.pullPolicy": "Never",
        "controllerManager.replicas": "1",
        "enableKueueViz": "false",
    }
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def install_kueue(cluster: NodeCluster, program: Path, env: Mapping[str, str], progress: Progress) -> None:
    """Install or upgrade Kueue and wait until its webhooks and its visibility API answer."""
    version = KUEUE.version
    image = kueue_image(program, version)
    if image.name not in cluster.images():
        progress("kueue", "importing its image")
        cluster.build_image(image)
    chart = manifests.module_folder(KUEUE.source, env) / "charts" / "kueue"
    progress("kueue", "installing its chart")
    argv = [
        "helm",
        "upgrade",
        "--install",
        "kueue",
        str(chart),
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--wait",
    ]
    done = cluster.exec(
        [*argv, "--timeout", f"{_SECONDS}s", *chart_values(version)], check=False, timeout=_SECONDS + 60
    )
    if done.returncode != 0:
        raise StartError(f"Kueue does not become ready: {done.stderr.strip()[-800:]}")
    wait = ["kubectl", "wait", VISIBILITY, "--for=condition=Available", f"--timeout={_VISIBLE_SECONDS}s"]
    done = cluster.exec(wait, check=False, timeout=_VISIBLE_SECONDS + 60)
    if done.returncode != 0:
        raise StartError(f"Kueue's visibility API does not answer: {done.stderr.strip()[-800:]}")

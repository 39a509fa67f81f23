"""Gradatim on a real cluster as a platform team installs it: charts, images, KubeRay in a pod, an S3 store with two credentials per team.

Used by `tests/e2e`. Everything runs below one node cluster; nothing of this machine is used but its kernel and containerd's program.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.node import apply, until
from tests.support.onpods_store import BUCKET, DOCS, Keys, Store, operator_rights, workload_rights

from gradatim.platform import prepare
from gradatim.platform.binaries import Settings, manifests, resolve
from gradatim.platform.binaries.addons import HELM, KUBERAY
from gradatim.platform.images import containerd, layout
from gradatim.platform.images.build import Options, Workshop, build
from gradatim.platform.images.catalog import BUILDABLE
from gradatim.platform.node import NodeCluster, OneLayer

ROOT = Path(__file__).parents[2]
SYSTEM, RAY_SYSTEM = "gradatim-system", "kuberay-system"
TEAMS = ("team-a", "team-b")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
QUIET: Callable[[str], None] = print
Body = dict[str, Any]


def secret(namespace: str, name: str, data: Mapping[str, str], hosts: str = "") -> Body:
    """Return a Secret; with `hosts` one that sources may use: the key of that name says where it may be sent."""
    metadata: Body = {"name": name, "namespace": namespace}
    content = dict(data) | ({"hosts": hosts} if hosts else {})
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}


def namespace(name: str, **labels: str) -> Body:
    """Return a namespace in which only restricted pods run."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED | labels}}


def kuberay_objects(image: str) -> list[Body]:
    """KubeRay's operator in a pod, with the rights that its project ships."""
    roles = [
        r
        for r in manifests.documents(manifests.kuberay_roles(os.environ), ("role.yaml",))
        if r["kind"] == "ClusterRole"
    ]
    roles.append(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "kuberay-leader"},
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}],
        }
    )
    subject = {"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": RAY_SYSTEM}
    bindings = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"kuberay-{role['metadata']['name']}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role["metadata"]["name"],
            },
            "subjects": [subject],
        }
        for role in roles
    ]
    container = {
        "name": "kuberay",
        "image": image,
        "imagePullPolicy": "Never",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "serviceAccountName": "kuberay-operator",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    labels = {"app.kubernetes.io/name": "kuberay"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "kuberay-operator", "namespace": RAY_SYSTEM},
        },
        *roles,
        *bindings,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "kuberay-operator", "namespace": RAY_SYSTEM},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


@dataclass(frozen=True)
class OnPods:
    """The installed platform and what tests ask of it."""

    cluster: NodeCluster
    store: Store
    keys: Mapping[str, Keys]
    images: Mapping[str, layout.Layout]
    home: Path

    def helm(self, *arguments: str, values: Body | None = None, timeout: float = 240) -> str:
        """Run Helm inside the cluster's network; fails with what it says."""
        program = resolve(HELM, Settings.from_environment(os.environ), lambda *_: None).argv("helm")
        extra: list[str] = []
        if values is not None:
            file = self.home / "values.json"
            file.write_text(json.dumps(values))
            extra = ["--values", str(file)]
        env = {"HELM_CACHE_HOME": str(self.home), "HELM_CONFIG_HOME": str(self.home), "HELM_DATA_HOME": str(self.home)}
        done = self.cluster.exec([*program, *arguments, *extra], env=env, timeout=timeout, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def values(self) -> Body:
        """Return the chart's values: our image, a profile on pods, everything else as shipped."""
        operator = self.images["operator"]
        return {
            "image": {"repository": operator.pinned.split("@")[0], "digest": operator.digest, "pullPolicy": "Never"},
            "workloadNamespaces": list(TEAMS),
            "networkPolicy": {"dependencies": {"ports": [8080, 9000, 8265]}},
            "computeProfile": {
                "create": True,
                "spec": self.profile(),
                "users": [{"kind": "User", "name": "scientist"}],
            },
        }

    def weaviate_values(self) -> Body:
        """Return the chart's values for its own Weaviate."""
        image = self.images["weaviate"]
        pinned = {"repository": image.pinned.split("@")[0], "digest": image.digest, "pullPolicy": "Never"}
        return {"enabled": True, "image": pinned, "storage": {"size": "5Gi"}}

    def profile(self, queue: str | None = None) -> Body:
        """Return the spec of a ComputeProfile that runs on this cluster's pods."""
        pods: Body = {
            "image": self.images["index"].pinned,
            "imagePullPolicy": "Never",
            "rayVersion": "2.60.0",
            "head": {"resources": {"cpu": "200m", "memory": "3Gi"}},
            "worker": {"resources": {"cpu": "400m", "memory": "4Gi"}},
            "ttlSecondsAfterFinished": 20,
            "preRunningDeadlineSeconds": 300,
        }
        return {
            "runtime": {"type": "kuberay", "kubeRay": pods | ({"queueName": queue} if queue else {})},
            "artifactStore": {
                "root": f"s3://{BUCKET}/{{namespace}}/",
                "endpoint": self.cluster.s3,
                "region": "us-east-1",
                "operatorSecretName": "store-operator",
                "workloadSecretName": "store-workload",
            },
            "vectorStore": {
                "endpoint": self.cluster.weaviate,
                "grpcEndpoint": self.cluster.weaviate_grpc,
                "operatorSecretName": "weaviate-operator",
                "workloadSecretName": "weaviate-workload",
            },
            "limits": {"allowPrivateNetworks": True},
        }

    def get(self, kind: str, name: str, namespace: str = "team-a") -> Body:
        """Return an object, empty when it is not there."""
        text = self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        found: Body = json.loads(text) if text.strip() else {}
        return found

    def items(self, kind: str, namespace: str = "team-a", labels: str = "") -> list[Body]:
        """Return all objects of a kind in a namespace."""
        chosen = ["-l", labels] if labels else []
        found: list[Body] = json.loads(self.cluster.kubectl("get", kind, "-n", namespace, "-o", "json", *chosen))[
            "items"
        ]
        return found

    def wait(
        self, kind: str, name: str, holds: Callable[[Body], Any], seconds: float, namespace: str = "team-a"
    ) -> Body:
        """Return the object once `holds` says so; fails with its conditions and pods."""
        begun = time.monotonic()
        body: Body = {}
        while time.monotonic() - begun < seconds:
            body = self.get(kind, name, namespace)
            if body and holds(body):
                return body
            time.sleep(0.5)
        raise AssertionError(f"{kind} {name} after {seconds:.0f} s:\n{self.story(body, namespace)}")

    def story(self, body: Body, namespace: str = "team-a") -> str:
        """Return what a person would look at first."""
        status = body.get("status", {})
        lines = [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in status.get("conditions", [])]
        lines.append(json.dumps(status.get("run", {})))
        lines.append(
            self.cluster.kubectl("get", "rayjobs,rayclusters,pods", "-n", namespace, "-o", "wide", check=False)
        )
        lines.append(
            self.cluster.kubectl("get", "events", "-n", namespace, "--sort-by=.lastTimestamp", check=False)[-3000:]
        )
        lines.append(
            self.cluster.kubectl("logs", "-n", namespace, "-l", "ray.io/node-type=head", "--tail=40", check=False)
        )
        lines.append(self.cluster.kubectl("logs", "-n", SYSTEM, "deploy/gradatim-operator", "--tail=30", check=False))
        return "\n".join(lines)

    def head(self, namespace: str = "team-a", owner: Body | None = None) -> Body:
        """Return a running head's pod, that of an object's Run if one is given; empty when there is none."""
        whose = f",gradatim.dev/owner={owner['metadata']['uid']}" if owner else ""
        pods = self.items("pods", namespace, f"ray.io/node-type=head{whose}")
        alive = [p for p in pods if p["status"]["phase"] == "Running" and not p["metadata"].get("deletionTimestamp")]
        return alive[0] if alive else {}


def condition(body: Body, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = next((c for c in body.get("status", {}).get("conditions", []) if c["type"] == kind), None)
    return (found["status"], found["reason"]) if found else ("", "")


def is_ready(body: Body) -> bool:
    """Return whether the newest generation is ready and nothing is in progress."""
    status = body.get("status", {})
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    return current and condition(body, "Ready")[0] == "True" and condition(body, "Reconciling")[0] == "False"


def built_images(folder: Path) -> dict[str, layout.Layout]:
    """Build the images of operator, index and Weaviate; unchanged layers come from the cache."""
    shop = Workshop.at(ROOT, os.environ, lambda message: print(message, flush=True))
    for name in BUILDABLE:
        options = Options(cpu_only=True, demo_model=True) if name == "index" else Options()
        build(BUILDABLE[name], options, folder / name, shop)
    return {name: layout.read(folder / name) for name in BUILDABLE}


def install(cluster: NodeCluster, folder: Path) -> OnPods:
    """Install KubeRay, the store, Secrets and both charts, and wait until the operator is ready."""
    images = built_images(folder / "images")
    for name in images:
        containerd.load(folder / "images" / name, cluster.ctr)
    _kuberay(cluster)
    store, keys = _store(cluster)
    home = folder / "helm"
    home.mkdir(exist_ok=True)
    found = OnPods(cluster, store, keys, images, home)
    apply(cluster, namespace(SYSTEM))
    apply(cluster, *_secrets(found))
    charts = ROOT / "charts"
    found.helm("install", "gradatim-crds", str(charts / "gradatim-crds"), "-n", SYSTEM)
    until(lambda: "ragindices" in cluster.kubectl("get", "crds", "-o", "name"))
    found.helm("install", "gradatim", str(charts / "gradatim"), "-n", SYSTEM, values=found.values())
    cluster.kubectl("rollout", "status", "deploy/gradatim-operator", "-n", SYSTEM, "--timeout=180s", timeout=200)
    (folder / "keys.json").write_text(json.dumps({name: [k.access, k.secret] for name, k in keys.items()}))
    return found


def rejoined(cluster: NodeCluster, folder: Path) -> OnPods:
    """Return the platform of an earlier session, with the images and charts of now."""
    images = built_images(folder / "images")
    for name in images:
        containerd.load(folder / "images" / name, cluster.ctr)
    keys = {name: Keys(*pair) for name, pair in json.loads((folder / "keys.json").read_text()).items()}
    found = OnPods(cluster, Store(cluster), keys, images, folder / "helm")
    apply(cluster, *_secrets(found))
    for chart in ("gradatim-crds", "gradatim"):
        values = found.values() if chart == "gradatim" else None
        found.helm("upgrade", chart, str(ROOT / "charts" / chart), "-n", SYSTEM, values=values)
    cluster.kubectl("rollout", "status", "deploy/gradatim-operator", "-n", SYSTEM, "--timeout=180s", timeout=200)
    return found


def _kuberay(cluster: NodeCluster) -> None:
    tool = resolve(KUBERAY, Settings.from_environment(os.environ), lambda *_: None)
    image = f"localhost/kuberay:{re.sub('[^a-z0-9.]', '', KUBERAY.version)}"
    cluster.build_image(OneLayer(image, ("/manager",), {"manager": Path(tool.argv("kuberay")[0])}))
    apply(cluster, namespace(RAY_SYSTEM))
    apply(cluster, *kuberay_objects(image))


def _store(cluster: NodeCluster) -> tuple[Store, dict[str, Keys]]:
    store = Store(cluster)
    with cluster.entered():
        for bucket in (BUCKET, DOCS):
            store.client().make_bucket(bucket)
    keys = {name: Keys.made(name) for name in ("operator", *TEAMS)}
    store.grant(keys["operator"], operator_rights())
    for team in TEAMS:
        store.grant(keys[team], workload_rights(team))
    return store, keys


def _secrets(found: OnPods) -> list[Body]:
    weaviate = prepare.credentials(found.cluster.layout).weaviate
    made = [
        secret(SYSTEM, "store-operator", found.keys["operator"].data()),
        secret(SYSTEM, "weaviate-operator", {"api-key": weaviate.operator}),
    ]
    host = found.store.host
    for team in TEAMS:
        made += [
            namespace(team),
            secret(team, "store-workload", found.keys[team].data(), host),
            secret(team, "docs-read", found.keys[team].data(), host),
            secret(
                team,
                "weaviate-workload",
                {"api-key": weaviate.workload},
                found.cluster.weaviate.removeprefix("http://"),
            ),
        ]
    return made


def documents(text: str) -> list[Body]:
    """Return the objects in YAML text."""
    return [d for d in yaml.safe_load_all(text) if d]

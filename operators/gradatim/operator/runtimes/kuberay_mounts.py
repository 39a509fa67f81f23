"""What the head's pod of an attempt sees besides its image: the frozen config, the Secrets, claims and the artifact store.

Used by `kuberay_objects`. Pure. Secrets are mounted as files by name, never read by the operator and never put into the environment; one
that does not exist leaves its folder empty, so that the workload can say which it misses instead of a pod that never starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gradatim.api.common import ModelRef, Source
from gradatim.api.computeprofile import KUBERAY_SECRETS_PATH, ComputeProfileSpec
from gradatim.api.run import RunConfig

Body = dict[str, Any]
CONFIG_FOLDER, CONFIG_FILE = "/etc/gradatim/run", "config.json"
CLAIMS_FOLDER = "/mnt/gradatim/claims"
TMP = "tmp"
GROUP_READS = 0o440


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of ours and where it is mounted."""

    name: str
    source: Body
    path: str
    read_only: bool = True
    sub_path: str | None = None

    def in_pod(self) -> Body:
        """Return the pod's volume."""
        return {"name": self.name} | self.source

    def in_container(self) -> Body:
        """Return the container's mount."""
        out: Body = {"name": self.name, "mountPath": self.path}
        out |= {"readOnly": True} if self.read_only else {}
        return out | ({"subPath": self.sub_path} if self.sub_path else {})


def tmp() -> Mount:
    """Return the only place where a container may write besides the artifact store."""
    return Mount(TMP, {"emptyDir": {}}, "/tmp", read_only=False)  # noqa: S108 - a volume of the pod's own


def head_mounts(config: RunConfig, profile: ComputeProfileSpec) -> tuple[Mount, ...]:
    """Return the mounts of the pod in which the driver runs, in a fixed order."""
    run = {"configMap": {"name": config.run, "items": [{"key": CONFIG_FILE, "path": CONFIG_FILE}]}}
    found = [tmp(), Mount("run", run, CONFIG_FOLDER)]
    for number, name in enumerate(secret_names(config)):
        secret = {"secret": {"secretName": name, "optional": True, "defaultMode": GROUP_READS}}
        found.append(Mount(f"secret-{number}", secret, f"{KUBERAY_SECRETS_PATH}/{name}"))
    claims = sorted({s.persistent_volume_claim.claim_name for s in sources(config) if s.persistent_volume_claim})
    for number, name in enumerate(claims):
        claim = {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
        found.append(Mount(f"claim-{number}", claim, f"{CLAIMS_FOLDER}/{name}"))
    return (*found, *_artifacts(config, profile))


def _artifacts(config: RunConfig, profile: ComputeProfileSpec) -> tuple[Mount, ...]:
    """Mount the namespace's folder of a store on a volume, and nothing above it."""
    volume = profile.runtime.kube_ray.artifact_volume if profile.runtime.kube_ray else None
    if volume is None:
        return ()
    namespace = config.object.namespace
    above = profile.artifact_store.root.removeprefix("file://").partition("/{namespace}")[0]
    claim = {"persistentVolumeClaim": {"claimName": volume.claim_name}}
    sub_path = namespace if volume.shared else None
    return (Mount("artifacts", claim, f"{above}/{namespace}", read_only=False, sub_path=sub_path),)


def secret_names(config: RunConfig) -> list[str]:
    """Return the Secrets of the Run's namespace that the config names, each once: the platform's, those of sources and models."""
    names = [config.store.secret_name, config.vector_store.secret_name if config.vector_store else None]
    for source in sources(config):
        members = (source.s3, source.git, source.http, source.hugging_face)
        names.extend(m.secret_ref.name for m in members if m is not None and m.secret_ref is not None)
    names.extend(model.secret_ref.name for model in models(config) if model.secret_ref is not None)
    return sorted({name for name in names if name})


def models(config: RunConfig) -> Iterator[ModelRef]:
    """Yield every model whose weights the Run fetches."""
    if config.index is not None:
        yield config.index.embedding.model
        if config.index.retrieval.rerank is not None:
            yield config.index.retrieval.rerank.model


def sources(config: RunConfig) -> Iterator[Source]:
    """Yield every source that the Run reads."""
    if config.dataset is not None:
        yield config.dataset.source
        yield from (d.source for d in config.dataset.decontaminate)
    if config.index is not None:
        yield from (s.source for s in config.index.sources)
        if config.index.evaluation is not None and config.index.evaluation.questions is not None:
            yield config.index.evaluation.questions

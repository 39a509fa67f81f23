"""What a ComputeProfile means for an object: whether it may be used, and where its stores are.

Called by the plans of the kinds that run something. Pure. The store identity is copied to status at first use, so that clean-up needs no
profile; a profile that later points elsewhere stops the object instead of scattering its data.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradatim.api.common import Compute
from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import RunStatus, StoreIdentity
from gradatim.operator.conditions import find
from gradatim.operator.runs.lifecycle import Block

NAMESPACE_NAME = "kubernetes.io/metadata.name"  # set by the API server on every namespace


def identity_of(profile: ComputeProfile) -> StoreIdentity:
    """Return the addresses and Secret names that the profile stands for."""
    spec = profile.spec
    ray = spec.runtime.ray_cluster
    return StoreIdentity(
        profile=profile.metadata.name,
        profile_uid=profile.metadata.uid or "",
        artifact_root=spec.artifact_store.root,
        artifact_endpoint=spec.artifact_store.endpoint,
        artifact_region=spec.artifact_store.region,
        artifact_secret=spec.artifact_store.operator_secret_name,
        vector_endpoint=spec.vector_store.endpoint if spec.vector_store else None,
        vector_secret=spec.vector_store.operator_secret_name if spec.vector_store else None,
        runtime_type=spec.runtime.type if spec.runtime.kube_ray else None,
        runtime_address=ray.address if ray else None,
        runtime_secret=ray.operator_secret_name if ray else None,
    )


def same_stores(known: StoreIdentity, new: StoreIdentity) -> bool:
    """Return whether data written under `known` is found under `new`."""
    return (known.artifact_root, known.artifact_endpoint, known.vector_endpoint) == (
        new.artifact_root,
        new.artifact_endpoint,
        new.vector_endpoint,
    )


def identity_now(
    known: StoreIdentity | None,
    profile: ComputeProfile | None,
    run: RunStatus | None,
    namespace_labels: Mapping[str, str],
) -> StoreIdentity | None:
    """Return what an object uses in this pass: its own identity, with what its profile says anew about the same stores.

    New credentials count at once; another Ray cluster counts once no Run is active on the old one, and so does another profile: what the
    old one names may be gone for good. Nothing of a profile that does not admit the namespace is ever used. RayJobs outlive their Run, so that
    KubeRay is asked about what it ran until the next Run starts.
    """
    if known is None or profile is None:
        return identity_of(profile) if known is None and profile is not None else known
    new, active = identity_of(profile), run is not None and not run.done
    moves = new.profile != known.profile
    if not same_stores(known, new) or (
        moves and (active or shut_out(new.profile, profile, namespace_labels) is not None)
    ):
        return known
    holds = active or (run is not None and known.runtime_type == "kuberay")
    if holds and (new.runtime_type, new.runtime_address) != (known.runtime_type, known.runtime_address):
        kept = ("runtime_type", "runtime_address", "runtime_secret")
        new = new.model_copy(update={name: getattr(known, name) for name in kept})
    return new


def blocked_by(
    compute: Compute,
    profile: ComputeProfile | None,
    known: StoreIdentity | None,
    namespace_labels: Mapping[str, str],
    *,
    needs_vectors: bool,
) -> Block | None:
    """Return why an object cannot have the compute that it asks for, or None; what somebody has to change goes first."""
    name, workers = compute.profile_ref.name, compute.workers
    found = usable(name, profile, known, namespace_labels, workers, needs_vectors=needs_vectors)
    if found is not None and found.stalled:
        return found
    return refused_priority(profile, compute.priority) or found


def refused_priority(profile: ComputeProfile | None, priority: str | None) -> Block | None:
    """Return why a priority cannot be asked for, or None: who could name any would go before everybody."""
    pods = profile.spec.runtime.kube_ray if profile is not None else None
    if profile is None or pods is None or priority is None or pods.allowed_priorities is None:
        return None
    if priority in pods.allowed_priorities:
        return None
    allowed = ", ".join(sorted(pods.allowed_priorities))
    may = f"allows {allowed}, or none" if allowed else "allows none; leave it out"
    message = f"compute.priority is {priority!r}; ComputeProfile {profile.metadata.name!r} {may}"
    return Block(Reason.PROFILE_NOT_ALLOWED, message[:900], stalled=True)


def usable(
    name: str,
    profile: ComputeProfile | None,
    known: StoreIdentity | None,
    namespace_labels: Mapping[str, str],
    workers: int,
    *,
    needs_vectors: bool,
) -> Block | None:
    """Return why an object of that namespace cannot use the profile, or None."""
    if profile is None:
        message = f"ComputeProfile {name!r} does not exist; ask the platform team or set compute.profileRef"
        return Block(Reason.PROFILE_NOT_FOUND, message)
    shut = shut_out(name, profile, namespace_labels)
    if shut is not None:
        return shut
    if workers > profile.spec.limits.max_workers:
        message = f"compute.workers is {workers}; the profile allows {profile.spec.limits.max_workers}"
        return Block(Reason.PROFILE_NOT_ALLOWED, message, stalled=True)
    if needs_vectors and profile.spec.vector_store is None:
        return Block(Reason.PROFILE_NOT_ALLOWED, f"ComputeProfile {name!r} has no vectorStore", stalled=True)
    if known is not None and not same_stores(known, identity_of(profile)):
        message = (
            f"the data of this object lies in the stores of profile {known.profile!r}; "
            f"{name!r} has others: recreate the object to move it"
        )
        return Block(Reason.PROFILE_IDENTITY_CHANGED, message, stalled=True)
    ready = find(profile.status.conditions if profile.status else [], ConditionType.READY)
    if ready is None or ready.status != "True":
        detail = f": {ready.message}" if ready is not None else " yet"
        return Block(Reason.PROFILE_NOT_READY, f"ComputeProfile {name!r} is not ready{detail}")
    return None


def shut_out(name: str, profile: ComputeProfile, namespace_labels: Mapping[str, str]) -> Block | None:
    """Return why the profile does not admit objects of that namespace, or None."""
    selector = profile.spec.allowed_namespaces.selector.match_labels
    if any(namespace_labels.get(k) != v for k, v in selector.items()):
        return Block(Reason.PROFILE_NOT_ALLOWED, f"ComputeProfile {name!r} does not allow this namespace", stalled=True)
    ray = profile.spec.runtime.ray_cluster
    if ray is not None and not ray.shared_trust and NAMESPACE_NAME not in selector:
        message = (
            f"ComputeProfile {name!r} names a Ray cluster that cannot keep namespaces apart; the platform team has to "
            f"admit exactly one by the label {NAMESPACE_NAME}, or to set sharedTrust"
        )
        return Block(Reason.PROFILE_NOT_ALLOWED, message, stalled=True)
    return None

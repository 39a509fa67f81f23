"""One RayJob per attempt, run by KubeRay in the namespace of the object.

Built by `opened` for one object at a time. A RayJob is created once and never changed: KubeRay passes no change on, and `suspend` is Kueue's.
It is deleted in the foreground, so that it is seen until its RayCluster is gone; the pods have been told to end then, and may take their grace
period. An attempt is therefore created only once no pod of an earlier one of the object may still be running, whichever Run that was of.
"""

from __future__ import annotations

import json
import re

from pydantic import ValidationError

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.meta import LABEL_OWNER
from gradatim.api.reasons import Reason
from gradatim.operator import clock
from gradatim.operator.clock import since
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.kube import (
    AlreadyExists,
    Body,
    Conflict,
    Kube,
    KubeError,
    NotFound,
    Resource,
    is_name,
    is_owned_by,
    ours,
)
from gradatim.operator.newer import run_config, understood
from gradatim.operator.runtimes import kueue
from gradatim.operator.runtimes.base import Launch, Observed, Phase, Tenant
from gradatim.operator.runtimes.kuberay_objects import DIGEST_ANNOTATION, rayjob
from gradatim.operator.runtimes.kuberay_pods import FENCE_SECONDS, in_the_way
from gradatim.operator.runtimes.kuberay_status import Seen, head_of, held_for, is_over, needs_cluster, observed
from gradatim.operator.runtimes.kueue_places import QueuePlaces
from gradatim.operator.runtimes.queueing import Queueing

RAYJOBS = Resource("ray.io", "v1", "rayjobs")
RAYCLUSTERS = Resource("ray.io", "v1", "rayclusters")
PODS = Resource("", "v1", "pods")
DELETE_TRIES = 3  # KubeRay writes the status of what we delete
DELETE_DELAY = 3.0
REFUSED_DELAY = 30.0  # seconds; somebody has to change something first
_RBAC = re.compile(r'User "[^"]*" cannot ')
_DENIED = re.compile("denied the request|ValidatingAdmissionPolicy")


class KubeRay:
    """Attempts of one object as RayJobs. Holds no state: everything is read from the API server each time."""

    def __init__(
        self, kube: Kube, tenant: Tenant, profile: str, places: QueuePlaces, fence: float = FENCE_SECONDS
    ) -> None:
        """Take the API, whose attempts these are, the ComputeProfile that shapes new ones, and the fence deadline of pods in seconds."""
        self._kube = kube
        self._tenant = tenant
        self._profile = profile
        self._places = places
        self._fence = fence

    async def submit(self, launch: Launch) -> None:
        """Create the RayJob of an attempt once nothing of the earlier ones may still run; see `Runtime.submit`."""
        await self._clear_the_way(launch)
        body = rayjob(launch, run_config(json.loads(launch.config_json)), (await self._shape()).spec)
        try:
            await self._kube.create(RAYJOBS, self._tenant.namespace, body)
        except AlreadyExists as error:
            found = await self._find(launch.name)
            if found is None:
                raise TryLater(f"RayJob {launch.name} vanished between two reads") from error
            if found["metadata"].get("annotations", {}).get(DIGEST_ANNOTATION) != launch.config_digest:
                raise _foreign(launch.name) from error
        except KubeError as error:
            if error.status in {400, 422} or (error.status < 500 and _DENIED.search(error.message)):
                message = (
                    f"the cluster refuses the RayJob; check runtime.kubeRay of the ComputeProfile: {error.message}"
                )
                raise WillNeverWork(Reason.INVALID_SPEC, message[:900]) from error
            raise _fault(error) from error

    async def observe(self, name: str) -> Observed:
        """Return how the attempt stands, with what keeps its pods or its queue from letting it go."""
        job = await self._find(name)
        if job is None:
            return Observed(Phase.ABSENT)
        try:
            cluster = await self._cluster(job) if needs_cluster(job) else None
            head = head_of(job, cluster)
            pod = await self._kube.find(PODS, self._tenant.namespace, head) if head else None
            queue = job["metadata"].get("labels", {}).get(kueue.QUEUE_LABEL)
            queueing = await self._queueing(job, queue) if queue else None
        except KubeError as error:
            raise _fault(error) from error
        return observed(
            Seen(job, cluster, pod, queueing, head_gone=bool(head) and pod is None), clock.now(), self._fence
        )

    async def _cluster(self, job: Body) -> Body | None:
        name = job.get("status", {}).get("rayClusterName")
        return await self._kube.find(RAYCLUSTERS, self._tenant.namespace, name) if name else None

    async def stop(self, name: str) -> None:
        """Delete the RayJob: there is no gentler way that is not Kueue's. KubeRay sends the workload SIGTERM first."""
        await self._remove(name, "Foreground")

    async def delete(self, name: str) -> None:
        """Delete the RayJob with everything below it. Raises `DependencyError` while one that has not ended is still there.

        Somebody else's RayJob under the name is none of ours, and stays.
        """
        job = await self._get(name)
        if job is None or not is_owned_by(job, self._tenant.uid):
            return
        if (await self.observe(name)).phase.terminal:
            await self._remove(name, "Background")  # nothing of it writes any more
            return
        await self._remove(name, "Foreground")
        left = await self.observe(name)
        if left.phase is not Phase.ABSENT:
            message = f"attempt {name} is not gone yet: {left.message}"
            raise DependencyError("runtime", message, reason=Reason.TERMINATING, delay=DELETE_DELAY)

    async def release(self, name: str, ended: str | None) -> float:
        """Remove the RayJob if KubeRay has not shut its pods down in time, as after a process that hangs; see `Runtime.release`."""
        job = await self._get(name)
        if job is None or not is_owned_by(job, self._tenant.uid) or job["metadata"].get("deletionTimestamp"):
            return 0.0
        left = held_for(job, ended, clock.now())
        if left > 0:
            return left
        try:
            holds = not is_over(job) or await self._cluster(job) is not None
        except KubeError as error:
            raise _fault(error) from error
        if holds:
            await self._remove(name, "Foreground")
        return 0.0

    async def _clear_the_way(self, launch: Launch) -> None:
        """Remove the RayJobs of the Run's earlier attempts. Raises `DependencyError` while a pod of any attempt of the object may still write.

        A RayJob that does not go is held by pods on a node that is gone, or by KubeRay being away: its pods decide then. Pods of earlier
        Runs count too: what serves may be shared between Runs, and their RayJobs have been removed before.
        """
        for name in launch.earlier:
            job = await self._get(name)
            if job is None or not is_owned_by(job, self._tenant.uid):
                continue
            if not job["metadata"].get("deletionTimestamp"):
                await self._remove(name, "Foreground")
                job = await self._get(name)
            if job is not None and since(job["metadata"].get("deletionTimestamp"), clock.now()) < self._fence:
                raise _in_the_way(f"attempt {name} is being removed before the next one starts")
        try:
            pods = self._kube.pages(PODS, self._tenant.namespace, labels=f"{LABEL_OWNER}={self._tenant.uid}")
            found = [pod async for page in pods for pod in page]
        except KubeError as error:
            raise _fault(error) from error
        if told := in_the_way(found, launch.name, clock.now(), self._fence):
            raise _in_the_way(told)

    async def _remove(self, name: str, propagation: str) -> None:
        for attempt in range(DELETE_TRIES):
            job = await self._find(name)
            if job is None or job["metadata"].get("deletionTimestamp"):
                return
            try:
                await self._kube.delete(RAYJOBS, job, propagation)
                return
            except Conflict as error:
                if attempt == DELETE_TRIES - 1:
                    message = f"RayJob {name} changes faster than it can be deleted"
                    raise DependencyError("runtime", message, reason=Reason.RETRYING, delay=DELETE_DELAY) from error
            except KubeError as error:
                raise _fault(error) from error

    async def logs(self, name: str, tail_bytes: int) -> str:
        """Return where the log is. Pods' logs are read by people with rights of their own, not through the operator."""
        job = await self._find(name)
        cluster = (job or {}).get("status", {}).get("rayClusterName")
        if not is_name(cluster):
            return f"attempt {name} has no pods"[:tail_bytes]
        return f"kubectl logs -n {self._tenant.namespace} -l ray.io/cluster={cluster},ray.io/node-type=head"[
            :tail_bytes
        ]

    async def version(self) -> str:
        """Return the version of the API that KubeRay serves: that it is installed, not that its operator runs."""
        try:
            await self._kube.get(RAYJOBS, self._tenant.namespace, "gradatim-probe")
        except NotFound as error:
            if not error.api_reason:
                raise _absent() from error
        except KubeError as error:
            raise _fault(error) from error
        return "ray.io/v1"

    async def _shape(self) -> ComputeProfile:
        """Return the profile of now: what the platform team has repaired counts from the next attempt on."""
        body = await self._kube.recent(ours("computeprofiles"), "", self._profile)
        try:
            if body is not None:
                return understood(ComputeProfile, body)[0]
        except ValidationError as error:
            message = f"ComputeProfile {self._profile!r} cannot be used: {error.errors(include_url=False)[0]['msg']}"
            raise DependencyError("runtime", message[:900], reason=Reason.PROFILE_NOT_READY) from error
        message = f"ComputeProfile {self._profile!r} is gone; no attempt can start without it"
        raise DependencyError("runtime", message, reason=Reason.PROFILE_NOT_FOUND)

    async def _find(self, name: str) -> Body | None:
        """Return the RayJob if it is of this object. Raises `WillNeverWork` for a foreign one under the name."""
        job = await self._get(name)
        if job is not None and not is_owned_by(job, self._tenant.uid):
            raise _foreign(name)
        return job

    async def _get(self, name: str) -> Body | None:
        """Return the RayJob, whoever's it is."""
        try:
            return await self._kube.get(RAYJOBS, self._tenant.namespace, name)
        except NotFound as error:
            if not error.api_reason:
                raise _absent() from error
            return None
        except KubeError as error:
            raise _fault(error) from error

    async def _queueing(self, job: Body, queue: str) -> Queueing:
        """Read the Workload by the name that Kueue gives it, and its place where Kueue tells it. Neither is needed for anything else."""
        metadata, namespace = job["metadata"], self._tenant.namespace
        name = kueue.workload_name(metadata["name"], metadata["uid"])
        workload = await self._kube.find(kueue.WORKLOADS, namespace, name)
        if workload is None:
            priority = metadata.get("labels", {}).get(kueue.PRIORITY_LABEL)
            return kueue.unseen(queue, suspended=bool(job.get("spec", {}).get("suspend")), priority=priority)
        found = kueue.queueing(queue, workload)
        if found.admitted:
            return found
        return kueue.queueing(queue, workload, await self._places.place(namespace, queue, name))


def _in_the_way(message: str) -> DependencyError:
    return DependencyError("runtime", message, reason=Reason.TERMINATING, delay=DELETE_DELAY)


def _foreign(name: str) -> WillNeverWork:
    return WillNeverWork(Reason.NAME_CONFLICT, f"RayJob {name!r} is not of this Run; delete or rename it")


def _absent() -> DependencyError:
    return DependencyError("runtime", "this cluster has no RayJobs; install KubeRay 1.6 or later", delay=30.0)


def _fault(error: KubeError) -> DependencyError:
    if error.status == 404:
        return _absent()
    message = f"the API server refuses: {error.message}"[:900]
    if error.status == 401 or (error.status == 403 and _RBAC.search(error.message)):
        return DependencyError("runtime", message, reason=Reason.CREDENTIALS_REFUSED, delay=REFUSED_DELAY)
    if error.status == 403 and "exceeded quota" in error.message:
        message = f"it waits for room in the namespace's ResourceQuota: {error.message}"[:900]
        return DependencyError("runtime", message, reason=Reason.QUEUED, delay=REFUSED_DELAY)
    if error.status == 403:
        return DependencyError("runtime", message, reason=Reason.RETRYING, delay=REFUSED_DELAY)
    return DependencyError("runtime", message)

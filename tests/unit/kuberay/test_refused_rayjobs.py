"""What the API server answers to the calls about a RayJob, and what becomes of it: who has to act, and whether it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.kuberay_api import JOBS, PROFILE, SPEC, Answers, Api, launch, rayjob, runtime

from gradatim.api.reasons import Reason
from gradatim.operator.errors import DependencyError, TryLater, WillNeverWork
from gradatim.operator.kube import ApiUnreachable, Body, Kube
from gradatim.operator.runtimes.base import Phase
from gradatim.operator.runtimes.kuberay import KubeRay
from gradatim.operator.runtimes.kueue_places import QueuePlaces


def refusing(method: str, status: int, reason: str, message: str) -> Answers:
    """Return answers of a server that has the profile and one RayJob of ours, and refuses this method."""

    def answers(called: str, path: str) -> tuple[int, Body]:
        if path == PROFILE:
            return 200, {"metadata": {"name": "pods"}, "spec": SPEC}
        if called == method:
            return status, {"reason": reason, "message": message}
        return 200, rayjob("u")

    return answers


RBAC = 'rayjobs.ray.io is forbidden: User "system:serviceaccount:g:g" cannot create resource "rayjobs" in API group'
QUOTA = 'rayjobs.ray.io "papers-1-a1" is forbidden: exceeded quota: few, requested: count/rayjobs.ray.io=1, used: 5'
WEBHOOK = 'admission webhook "rules.local" denied the request: no'
POLICY = (
    "rayjobs.ray.io \"papers-1-a1\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
)
BROKEN = 'Internal error occurred: failed calling webhook "v.local": no endpoints available'
ENDING = "unable to create new content in namespace team because it is being terminated"


@pytest.mark.parametrize(
    ("status", "message", "kind", "reason"),
    [
        pytest.param(403, RBAC, DependencyError, Reason.CREDENTIALS_REFUSED, id="the operator has no right to"),
        pytest.param(401, "Unauthorized", DependencyError, Reason.CREDENTIALS_REFUSED, id="a token nobody knows"),
        pytest.param(403, QUOTA, DependencyError, Reason.QUEUED, id="a quota that is used up"),
        pytest.param(403, WEBHOOK, WillNeverWork, Reason.INVALID_SPEC, id="a webhook says no"),
        pytest.param(400, WEBHOOK, WillNeverWork, Reason.INVALID_SPEC, id="a webhook says no its own way"),
        pytest.param(403, POLICY, WillNeverWork, Reason.INVALID_SPEC, id="a policy says no"),
        pytest.param(422, "spec.x: Invalid value", WillNeverWork, Reason.INVALID_SPEC, id="a manifest that is wrong"),
        pytest.param(403, ENDING, DependencyError, Reason.RETRYING, id="a namespace that goes"),
        pytest.param(500, BROKEN, DependencyError, Reason.RUNTIME_UNREACHABLE, id="a webhook that is away"),
        pytest.param(504, "Timeout", DependencyError, Reason.RUNTIME_UNREACHABLE, id="a webhook that hangs"),
        pytest.param(503, "no", ApiUnreachable, Reason.RETRYING, id="the server asks to come later"),
        pytest.param(429, "no", ApiUnreachable, Reason.RETRYING, id="the server has too much to do"),
    ],
)
async def test_a_rayjob_that_is_refused_says_who_has_to_act(
    serve: Callable[[Answers], tuple[Kube, Api]], status: int, message: str, kind: type[Exception], reason: Reason
) -> None:
    kube, _ = serve(refusing("POST", status, "Why", message))
    with pytest.raises((TryLater, WillNeverWork)) as refused:
        await runtime(kube).submit(launch())
    assert (type(refused.value), refused.value.reason) == (kind, reason)
    assert message in str(refused.value)


@pytest.mark.parametrize("call", [KubeRay.stop, KubeRay.delete], ids=["stop", "delete"])
async def test_a_deletion_that_a_webhook_breaks_is_the_runtimes_trouble(
    serve: Callable[[Answers], tuple[Kube, Api]], call: Any
) -> None:
    kube, _ = serve(refusing("DELETE", 500, "InternalError", BROKEN))
    with pytest.raises(DependencyError) as refused:
        await call(runtime(kube), "papers-1-a1")
    assert refused.value.dependency == "runtime"


async def test_reads_that_fail_in_the_server_say_nothing(serve: Callable[[Answers], tuple[Kube, Api]]) -> None:
    kube, _ = serve(refusing("GET", 500, "InternalError", "etcd"))
    with pytest.raises(ApiUnreachable):
        await runtime(kube).observe("papers-1-a1")


async def test_somebody_elses_rayjob_under_the_name_holds_up_no_deletion_and_stays(
    serve: Callable[[Answers], tuple[Kube, Api]],
) -> None:
    kube, api = serve(lambda *_: (200, rayjob("another")))
    await runtime(kube).delete("papers-1-a1")
    assert api.calls == [("GET", f"{JOBS}/papers-1-a1")]
    with pytest.raises(WillNeverWork):
        await runtime(kube).observe("papers-1-a1")


@pytest.mark.parametrize("cluster", ["../../victim/rayclusters/c", "..", "c/status"])
async def test_a_cluster_whose_name_is_a_path_is_not_read(
    serve: Callable[[Answers], tuple[Kube, Api]], cluster: str
) -> None:
    job = rayjob("u", jobDeploymentStatus="Initializing", jobStatus="", rayClusterName=cluster)
    kube, api = serve(lambda *_: (200, job))
    assert (await runtime(kube).observe("papers-1-a1")).phase is Phase.PENDING
    assert cluster not in await runtime(kube).logs("papers-1-a1", 1000)
    assert set(api.calls) == {("GET", f"{JOBS}/papers-1-a1")}


async def test_a_head_whose_name_is_a_path_is_not_read(serve: Callable[[Answers], tuple[Kube, Api]]) -> None:
    job = rayjob("u", jobDeploymentStatus="Initializing", jobStatus="", rayClusterName="c")
    head = {"metadata": {"name": "c"}, "status": {"head": {"podName": "../../victim/pods/p"}}}
    kube, api = serve(lambda _, path: (200, head if "rayclusters" in path else job))
    assert (await runtime(kube).observe("papers-1-a1")).phase is Phase.PENDING
    assert [path for _, path in api.calls if "/pods" in path] == []


@pytest.mark.parametrize(
    ("status", "place"),
    [pytest.param(200, 3, id="it answers"), pytest.param(503, None, id="it asks to come later")],
)
async def test_who_waits_in_one_queue_asks_for_its_places_once(
    serve: Callable[[Answers], tuple[Kube, Api]], status: int, place: int | None
) -> None:
    items = [{"metadata": {"name": "w"}, "positionInLocalQueue": 3}]
    kube, api = serve(lambda *_: (status, {"items": items}))
    places = QueuePlaces(kube)
    assert await asyncio.gather(*(places.place("team", "q", "w") for _ in range(50))) == [place] * 50
    assert await places.place("team", "q", "other") is None
    root = "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/team/localqueues"
    assert api.calls == [("GET", f"{root}/q/pendingworkloads")]

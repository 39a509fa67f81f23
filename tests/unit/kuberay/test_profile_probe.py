"""Where a profile with pods is probed: in a namespace in which the operator may read RayJobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.kuberay_api import SPEC, Serve

from gradatim.operator.computeprofile.reconcile import reconcile
from gradatim.operator.dependents import Dependents
from gradatim.operator.kube import Body, Kube
from gradatim.operator.metrics import Metrics
from gradatim.operator.passes import Context
from gradatim.operator.queue import Key
from gradatim.operator.runtimes.base import Tenant
from gradatim.operator.runtimes.kuberay import KubeRay
from gradatim.operator.runtimes.kueue_places import QueuePlaces
from gradatim.operator.settings import Settings
from gradatim.operator.slots import Slots

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("computeprofiles", "", "pods")
OWN = "gradatim-system"


class Writes:
    """Takes a status."""

    status: Body

    async def put_status(self, _: Any, body: Body) -> Body:
        """Keep the status."""
        self.status = body["status"]
        found: Body = body["metadata"]
        return found


class Edges:
    """KubeRay for whoever asks, and a store that answers."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def runtime(self, _: Any, tenant: Tenant) -> KubeRay:
        """Return the runtime in the tenant's namespace."""
        return KubeRay(self._kube, tenant, "pods", QueuePlaces(self._kube))

    async def artifacts(self, _: Any, namespace: str) -> Any:
        """Return the store, which is the operator's own business wherever it works."""
        assert namespace == OWN
        return self

    async def probe(self) -> None:
        """Answer."""


@pytest.mark.parametrize(
    ("watched", "place"),
    [
        pytest.param((), OWN, id="all namespaces: in its own"),
        pytest.param(("team-b", "team-a"), "team-b", id="some: in the first of them"),
        pytest.param((OWN, "team-a"), OWN, id="its own among them: there"),
    ],
)
async def test_an_operator_of(serve: Serve, watched: tuple[str, ...], place: str) -> None:
    def answers(_: str, path: str) -> tuple[int, Body]:
        if path.split("/")[5] in (watched or (OWN,)):
            return 404, {"reason": "NotFound", "message": 'rayjobs.ray.io "gradatim-probe" not found'}
        user = f'User "system:serviceaccount:{OWN}:gradatim-operator"'
        return 403, {"reason": "Forbidden", "message": f"rayjobs.ray.io is forbidden: {user} cannot get resource"}

    kube, api = serve(answers)
    writes, edges = Writes(), Edges(kube)
    settings = Settings(namespace=OWN, watch_namespaces=watched)
    context = Context(writes, edges, settings, Metrics(), Slots(), Dependents())  # type: ignore[arg-type]
    metadata = {"name": "pods", "uid": "p", "generation": 1, "resourceVersion": "1"}
    body = {"kind": "ComputeProfile", "metadata": metadata, "spec": SPEC}
    await reconcile(context, KEY, body, NOW)
    assert api.calls == [("GET", f"/apis/ray.io/v1/namespaces/{place}/rayjobs/gradatim-probe")]
    ready = next(c for c in writes.status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"], writes.status["runtimeVersion"]) == ("True", "Probed", "ray.io/v1")

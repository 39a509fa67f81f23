"""What an API server answers to the runtime `kuberay`, as a function of method and path, and the attempt that is used with it.

Used by `tests/unit/kuberay`. There is no server: only the calls that are made, and what becomes of given answers, are looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf
import pytest
from tests.support.kuberay_cases import PINNED

from gradatim.api.build import RunIdentity, Surroundings, dataset_run_config, store_config
from gradatim.api.computeprofile import ComputeProfileSpec
from gradatim.api.dataset import DatasetSpec
from gradatim.api.run import RunObject
from gradatim.operator.kube import Body, Kube
from gradatim.operator.runtimes.base import Launch, Tenant
from gradatim.operator.runtimes.kuberay import KubeRay
from gradatim.operator.runtimes.kueue_places import QueuePlaces

SPEC = {
    "runtime": {"type": "kuberay", "kubeRay": {"image": PINNED, "rayVersion": "2.60.0"}},
    "artifactStore": {"root": "s3://store/{namespace}/", "endpoint": "http://s3:9000", "workloadSecretName": "s"},
}
JOBS = "/apis/ray.io/v1/namespaces/team/rayjobs"
PROFILE = "/apis/gradatim.dev/v1alpha1/computeprofiles/pods"
Call = tuple[str, str]
Answers = Callable[[str, str], tuple[int, Body]]


class Api:
    """A session without a network: answers calls and remembers them."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.calls = answers, list[Call]()
        self.selectors: list[str] = []

    def request(self, method: str, url: str, **more: Any) -> Any:
        """Answer."""
        path = url.removeprefix("http://api")
        self.calls.append((method, path))
        if selector := (more.get("params") or {}).get("labelSelector"):
            self.selectors.append(selector)
        status, body = self.answers(method, path)

        class Answer:
            headers: dict[str, str] = {"Retry-After": "0"}  # noqa: RUF012

            async def __aenter__(self) -> Any:
                self.status = status
                await asyncio.sleep(0)
                return self

            async def __aexit__(self, *_: Any) -> None:
                return None

            async def text(self) -> str:
                return json.dumps(body)

        return Answer()

    async def close(self) -> None:
        """Close."""


Serve = Callable[[Answers], tuple[Kube, Api]]


def serving(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that makes the calls on an API server which answers so."""

    def made(answers: Answers) -> tuple[Kube, Api]:
        api = Api(answers)
        monkeypatch.setattr(aiohttp, "ClientSession", lambda **_: api)
        monkeypatch.setattr(aiohttp, "TCPConnector", lambda **_: SimpleNamespace())
        return Kube(lambda **_: kopf.ConnectionInfo(server="http://api")), api

    return made


def rayjob(uid: str, **status: Any) -> Body:
    """Return an attempt's RayJob as it runs."""
    owner = {"controller": True, "uid": uid, "kind": "Dataset", "name": "papers"}
    metadata = {"name": "papers-1-a1", "namespace": "team", "uid": "j", "resourceVersion": "1"}
    running = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
    return {"metadata": metadata | {"ownerReferences": [owner]}, "status": running | status}


def runtime(kube: Kube) -> KubeRay:
    """Return the runtime of the object `u`."""
    return KubeRay(kube, Tenant("team", "u"), "pods", QueuePlaces(kube))


def launch() -> Launch:
    """Return the first attempt."""
    spec = ComputeProfileSpec.model_validate(SPEC)
    around = Surroundings(store=store_config(spec, "team"), vector_store=None, limits=spec.limits, secrets_path=None)
    owner = RunObject(kind="Dataset", namespace="team", name="papers", uid="u", generation=1)
    wanted = DatasetSpec.model_validate({"source": {"git": {"url": "https://git.local/a.git"}}})
    config = dataset_run_config(RunIdentity(owner, "papers-1", 1), wanted, around)
    text = config.model_dump_json(by_alias=True, exclude_none=True)
    return Launch("papers-1-a1", "team", text, config.digest, uid="u", workers=1)

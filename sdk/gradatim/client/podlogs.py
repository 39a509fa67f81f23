"""The log of an attempt that runs as a RayJob: the log of its head's pod, read with the user's own rights.

Called by `logs` for the runtime `kuberay`. Three names lead from the attempt to the pod; each object on the way may not be there yet, or no
longer, which is told apart from a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradatim.client.effects import Op, Request, send
from gradatim.client.errors import NotFoundError, from_response
from gradatim.client.resources import Resource, document

RAYJOBS = Resource("ray.io/v1", "rayjobs", namespaced=True)
RAYCLUSTERS = Resource("ray.io/v1", "rayclusters", namespaced=True)
PODS = Resource("v1", "pods", namespaced=True)
CONTAINER = "ray"


def pod_log(namespace: str, attempt: str) -> Op[str]:
    """Return the log of the attempt's head. Raises `NotFoundError` where there is none yet, or no longer."""
    job = yield from _object(RAYJOBS, namespace, attempt)
    cluster_name = _text(job.get("status"), "rayClusterName")
    cluster = (yield from _object(RAYCLUSTERS, namespace, cluster_name)) if cluster_name else {}
    pod = _text((cluster.get("status") or {}).get("head"), "podName")
    if not pod:
        raise NotFoundError(f"attempt {attempt} has no pod yet", hint="the object's conditions say what it waits for")
    response = yield from send(Request("GET", f"{PODS.path(namespace, pod)}/log", {"container": CONTAINER}))
    if response.status == 400:  # the API server's word for a container that has not started
        raise NotFoundError(f"pod {pod} has not started yet")
    if response.status >= 400:
        raise from_response(response.status, response.headers, response.body)
    return response.body.decode("utf-8", "replace")


def _object(resource: Resource, namespace: str, name: str) -> Op[Mapping[str, Any]]:
    try:
        return document((yield from send(Request("GET", resource.path(namespace, name)))))
    except NotFoundError as error:
        what = f"{resource.plural.removesuffix('s')} {name}"
        hint = "pods are kept for ttlSecondsAfterFinished of the ComputeProfile after an attempt has ended"
        raise NotFoundError(f"{what} is not there: it was not started yet, or is removed already", hint=hint) from error


def _text(part: object, name: str) -> str:
    found = part.get(name) if isinstance(part, dict) else None
    return found if isinstance(found, str) else ""

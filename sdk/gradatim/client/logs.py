"""Logs of an object's Run, read from Ray's Jobs API under the attempt's name, or from the attempt's pod.

Run by both clients. A log is a convenience for people: nothing is decided from it. The address comes from the object's status or its
ComputeProfile, the token from a file of the user's; the cluster's own credentials are never sent there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.run import attempt_name
from gradatim.api.runstatus import RunStatus
from gradatim.client.effects import Op, Request, send
from gradatim.client.errors import (
    GradatimError,
    NotConfiguredError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from gradatim.client.operations import Body, Target, get, target, typed_body
from gradatim.client.podlogs import pod_log
from gradatim.client.resources import document
from gradatim.client.statedir import local_platform, read_secret_file

TOKEN_ENV = "GRADATIM_RAY_TOKEN_FILE"  # noqa: S105 - a variable's name
FOLLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RayAccess:
    """Where the Jobs API is and the bearer token for it, if one is known."""

    address: str
    token: str | None


@dataclass(frozen=True, slots=True)
class LogPiece:
    """What a log gained since the last look; `last` once the Run is done and its log is whole."""

    attempt: str
    text: str
    last: bool


def find_token(state: Path | None, env: Mapping[str, str] | None = None) -> str | None:
    """Return Ray's token from the file in $GRADATIM_RAY_TOKEN_FILE, else from the local platform; None if neither names one."""
    env = os.environ if env is None else env
    if path := env.get(TOKEN_ENV):
        return read_secret_file(Path(path).expanduser(), "Ray's token")
    platform = local_platform(state)
    if platform is not None and platform.ray_token_file is not None:
        return read_secret_file(platform.ray_token_file, "Ray's token")
    return None


class LogReader:
    """Reads an object's log piece by piece, across the attempts of its Run."""

    def __init__(self, where: Target, *, state: Path | None = None) -> None:
        self._where = where
        self._state = state
        self._access: RayAccess | None = None
        self._attempt = ""
        self._seen = 0

    def next(self) -> Op[LogPiece]:
        """Return the next piece, which may be empty. Raises `NotFoundError` if the object or its Run's log is not there."""
        body = yield from get(self._where)
        run = _run(self._where, body)
        pods = _runs_in_pods(self._where, body)
        if self._access is None and not pods:
            self._access = yield from _access(self._where, body, self._state)
        attempt = attempt_name(run.name, run.attempts[-1].number)
        if attempt != self._attempt:
            self._attempt, self._seen = attempt, 0
        try:
            if self._access is None:
                text = yield from pod_log(str(self._where.namespace), attempt)
            else:
                text = yield from _read(self._access, attempt)
        except NotFoundError:
            if run.done or self._seen:
                raise
            text = ""
        piece = LogPiece(attempt, text[self._seen :], run.done)
        self._seen = max(self._seen, len(text))
        return piece


def _run(where: Target, body: Body) -> RunStatus:
    if not where.kind.namespaced:
        raise UnsupportedError(f"a {where.kind.name} runs nothing and has no log")
    thing: Any = typed_body(where.kind, body)
    run: RunStatus | None = thing.status.run if thing.status else None
    if run is None or not run.attempts:
        raise NotFoundError(f"{where} has not run yet", hint=f"gradatim events {where.kind.singular} {where.name}")
    return run


def _runs_in_pods(where: Target, body: Body) -> bool:
    thing: Any = typed_body(where.kind, body)
    store = thing.status.store
    return store is not None and store.runtime_type == "kuberay"


def _access(where: Target, body: Body, state: Path | None) -> Op[RayAccess]:
    thing: Any = typed_body(where.kind, body)
    store = thing.status.store
    address = store.runtime_address if store else None
    if not address:
        profile_target = target(ComputeProfile, thing.spec.compute.profile_ref.name, None)
        profile: ComputeProfile = typed_body(profile_target.kind, (yield from get(profile_target)))
        cluster = profile.spec.runtime.ray_cluster
        if cluster is None:
            raise UnsupportedError(f"profile {profile.metadata.name} has no Ray cluster to read logs from")
        address = cluster.address
    return RayAccess(address.rstrip("/"), find_token(state))


def _read(access: RayAccess, attempt: str) -> Op[str]:
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    path = f"/api/jobs/{quote(attempt, safe='')}/logs"
    try:
        response = yield from send(Request("GET", path, headers=headers, base=access.address))
    except UnreachableError as error:
        raise UnreachableError(
            str(error),
            hint="logs come from the Ray cluster itself, which may be reachable from inside the cluster only",
        ) from error
    if response.status == 404:
        raise NotFoundError(f"Ray has no log of {attempt}: it was not submitted yet, or the Ray cluster was restarted")
    if response.status in {401, 403}:
        raise _refused(access)
    try:
        return str(document(response).get("logs") or "")
    except GradatimError as error:
        raise UnreachableError(f"{access.address} did not give the log of {attempt}: {error}") from error


def _refused(access: RayAccess) -> GradatimError:
    if access.token is None:
        return NotConfiguredError(
            f"{access.address} wants a token to show logs and none is known",
            hint=f"set {TOKEN_ENV} to a file with the Ray cluster's token; `gradatim up` sets up its own",
        )
    return UnauthorizedError(f"{access.address} refused the token for logs", hint=f"check the file in {TOKEN_ENV}")

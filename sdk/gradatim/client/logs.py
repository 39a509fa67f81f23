"""Logs of an object's Run, read from Ray's Jobs API under the attempt's name, or from the attempt's pod.

Run by both clients. A log is a convenience for people: nothing is decided from it. The address comes from the object's status or its
ComputeProfile, the token from a file of the user's; the cluster's own credentials are never sent there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.run import attempt_name
from gradatim.api.runstatus import Outcome, RunStatus
from gradatim.client.effects import Op, Request, send
from gradatim.client.errors import (
    GradatimError,
    NotConfiguredError,
    NotFoundError,
    StalledError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedError,
)
from gradatim.client.operations import Target, get, remedy, target, typed_body
from gradatim.client.podlogs import pod_log
from gradatim.client.resources import document
from gradatim.client.statedir import local_platform, read_secret_file, same_server
from gradatim.client.waiting import Glance, glance, request_open, request_refused, said

TOKEN_ENV = "GRADATIM_RAY_TOKEN_FILE"  # noqa: S105 - a variable's name
FOLLOW_SECONDS = 1.0
_OVER = frozenset({Outcome.STOPPED, Outcome.FAILED, Outcome.GONE})


@dataclass(frozen=True, slots=True)
class RayAccess:
    """Where the Jobs API is and the bearer token for it, if one is known."""

    address: str
    token: str | None


@dataclass(frozen=True, slots=True)
class LogPiece:
    """What a log gained since the last look; `last` once the Run is done and its log is whole.

    `attempt` is empty while there is none. `note` tells a person what `text` does not: what is waited for, or what it is the log of.
    """

    attempt: str
    text: str
    last: bool
    note: str = field(default="", compare=False)


def find_token(address: str, state: Path | None, env: Mapping[str, str] | None = None) -> str | None:
    """Return the token for a Ray cluster: from the file in $GRADATIM_RAY_TOKEN_FILE, else the local platform's if it is that one.

    The other way round where `state` names the platform: its Ray does not know the variable's token. None if neither is known: the
    platform's token goes to no other server.
    """
    env = os.environ if env is None else env
    named = env.get(TOKEN_ENV)
    if not named or state is not None:
        platform = local_platform(state)
        if platform is not None and platform.ray_token_file is not None and same_server(address, platform.ray):
            return read_secret_file(platform.ray_token_file, "Ray's token")
    return read_secret_file(Path(named).expanduser(), "Ray's token") if named else None


class LogReader:
    """Reads an object's log piece by piece, across the attempts of its Run.

    With `follow` it may be opened before the start: it waits for a Run that was asked for instead of showing the one before it. It waits
    for none that a suspended or pinned object will not start.
    """

    def __init__(self, where: Target, *, state: Path | None = None, follow: bool = False) -> None:
        self._where = where
        self._state = state
        self._follow = follow
        self._access: RayAccess | None = None
        self._attempt = ""
        self._seen = 0

    def next(self) -> Op[LogPiece]:
        """Return the next piece, which may be empty.

        Raises `NotFoundError` if the object or its Run's log is not there, `StalledError` if the Run to follow will not start.
        """
        if not self._where.kind.namespaced:
            raise UnsupportedError(f"a {self._where.kind.name} runs nothing and has no log")
        thing: Any = typed_body(self._where.kind, (yield from get(self._where)))
        seen = glance(thing)
        run, coming = seen.run, waits_for_run(seen, shown=bool(self._attempt))
        if run is None or not run.attempts:
            return self._before_the_first(seen, coming)
        attempt = attempt_name(run.name, run.attempts[-1].number)
        if self._attempt and (attempt != self._attempt or coming):
            # What the attempt that was followed wrote after the last look.
            rest = yield from self._text(thing, self._attempt, expected=False)
            if len(rest) > self._seen:
                return self._piece(rest, last=False)
        refused = request_refused(seen)
        if self._follow and coming and refused is None:
            return LogPiece("", "", last=False, note=coming)
        if self._follow and coming and refused is not None and not self._attempt:
            hint = remedy(self._where, refused.reason)
            raise StalledError(f"{self._where} has no log to follow: {refused}", reason=refused.reason, hint=hint)
        begun = attempt == self._attempt and self._seen > 0
        text = yield from self._text(thing, attempt, expected=run.done or begun)
        if attempt != self._attempt:
            self._attempt, self._seen = attempt, 0
        last = _is_over(seen, run) and (refused is not None or not request_open(seen))
        return self._piece(text, last=last, note=_note(seen, attempt, coming, empty=not text))

    def _before_the_first(self, seen: Glance, coming: str) -> LogPiece:
        suspended = seen.true(ConditionType.SUSPENDED)
        if self._follow and suspended is None and not seen.holds(ConditionType.STALLED):
            return LogPiece("", "", last=False, note=coming or "it has not run yet")
        hint = _hint(self._where) if suspended is None else remedy(self._where, suspended.reason)
        raise NotFoundError(f"{self._where} has not run yet{_because(seen)}", hint=hint)

    def _piece(self, text: str, *, last: bool, note: str = "") -> LogPiece:
        piece = LogPiece(self._attempt, text[self._seen :], last, note)
        self._seen = max(self._seen, len(text))
        return piece

    def _text(self, thing: Any, attempt: str, *, expected: bool) -> Op[str]:
        """Read the whole log of an attempt. One that is not there is empty, or raises `NotFoundError` where it is expected."""
        pods = _runs_in_pods(thing)
        if self._access is None and not pods:
            self._access = yield from _access(thing, self._state)
        try:
            if self._access is None:
                return (yield from pod_log(str(self._where.namespace), attempt))
            return (yield from _read(self._access, attempt))
        except NotFoundError:
            if expected:
                raise
            return ""


def _is_over(seen: Glance, run: RunStatus) -> bool:
    """Return whether nothing more will be written: the Run is done, or suspended and its attempt has ended."""
    return run.done or (seen.holds(ConditionType.SUSPENDED) and run.attempts[-1].outcome in _OVER)


def waits_for_run(seen: Glance, *, shown: bool = False) -> str:
    """Return what a Run that was asked for waits for; empty when the Run in status is the one that a person means. Pure.

    Once a log was `shown` only another request makes its reader wait.
    """
    if seen.run is not None and not seen.run.done:
        return ""
    if (refused := request_refused(seen)) is not None:
        return str(refused)
    if request_open(seen):
        return f"the Run that was requested has not started yet{_because(seen)}"
    if shown:
        return ""
    if seen.observed < seen.generation:
        return "the operator has not seen the newest change yet"
    waiting = seen.condition(ConditionType.RECONCILING)
    if waiting is None or waiting.status != "True" or waiting.reason == Reason.PROMOTING:
        return ""
    return f"the Run of the newest change has not started yet{_because(seen)}"


def _because(seen: Glance) -> str:
    """Return the words of the condition that says what is waited for, or what is wrong."""
    for kind in (ConditionType.SUSPENDED, ConditionType.STALLED, ConditionType.RECONCILING):
        if (found := seen.true(kind)) is not None:
            return f" ({said(found)})"
    return ""


def _note(seen: Glance, attempt: str, coming: str, *, empty: bool) -> str:
    if coming:
        return f"this is the log of {attempt}, which is over; {coming}"
    if seen.run is not None and not seen.run.done and _is_over(seen, seen.run):
        return f"{attempt} has ended and none follows it{_because(seen)}"
    if not empty or seen.run is None:
        return ""
    return f"{attempt} wrote nothing" if seen.run.done else f"{attempt} has written nothing yet{_because(seen)}"


def _hint(where: Target) -> str:
    return f"gradatim logs {where.kind.singular} {where.name} --follow waits for it"


def _runs_in_pods(thing: Any) -> bool:
    store = thing.status.store
    return store is not None and store.runtime_type == "kuberay"


def _access(thing: Any, state: Path | None) -> Op[RayAccess]:
    store = thing.status.store
    address = store.runtime_address if store else None
    if not address:
        profile_target = target(ComputeProfile, thing.spec.compute.profile_ref.name, None)
        profile: ComputeProfile = typed_body(profile_target.kind, (yield from get(profile_target)))
        cluster = profile.spec.runtime.ray_cluster
        if cluster is None:
            raise UnsupportedError(f"profile {profile.metadata.name} has no Ray cluster to read logs from")
        address = cluster.address
    return RayAccess(address.rstrip("/"), find_token(address, state))


def _read(access: RayAccess, attempt: str) -> Op[str]:
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    path = f"/api/jobs/{quote(attempt, safe='')}/logs"
    try:
        response = yield from send(Request("GET", path, headers=headers, base=access.address))
    except UnreachableError as error:
        here = urlsplit(access.address).hostname in {"127.0.0.1", "localhost", "::1"}
        inside = "logs come from the Ray cluster itself, which may be reachable from inside the cluster only"
        raise UnreachableError(str(error), hint=None if here else inside) from error
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
            hint=f"set {TOKEN_ENV} to a file with the Ray cluster's token; `gradatim up`, again on a platform of an older release, sets up its own",
        )
    return UnauthorizedError(f"{access.address} refused the token for logs", hint=f"check the file in {TOKEN_ENV}")

"""The kopf wiring: one `on.event` per watched kind, which computes a key and enqueues it. No other handler, no index, no memory.

Called by `main`. kopf brings the process, the credentials and the watch streams; deciding and writing are not its task here, so the storage of
diffs is a no-op, which also makes an event four times cheaper.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from gradatim.api.kinds import KINDS
from gradatim.api.meta import GROUP, LABEL_MANAGED_BY, MANAGER, VERSION
from gradatim.operator.dependents import DELETED, DEPENDED_UPON, says
from gradatim.operator.kube import METADATA_LIST, METADATA_ONLY, Body, Credentials
from gradatim.operator.kubeapi import without_managed_fields
from gradatim.operator.loop import Loop
from gradatim.operator.owners import owner_key
from gradatim.operator.queue import Key, Lane
from gradatim.operator.runtimes.kuberay import RAYJOBS

TOKEN_LIFE = 60.0  # seconds; the kubelet rotates projected tokens well before they expire
LISTED_AS_METADATA = frozenset(k.plural for k in KINDS) - DEPENDED_UPON | {RAYJOBS.plural}
WATCHED_AS_METADATA = frozenset({RAYJOBS.plural})
OURS = {LABEL_MANAGED_BY: MANAGER}
LIST_PAGE = 500
RENEWAL = 1.0  # seconds between readings however many calls are refused
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last-handled state: nothing in the objects, nothing to compare."""

    def build(self, **_: Any) -> Any:
        """Return an empty essence."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Return that nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def login(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return the identity: the pod's service account, else the kubeconfig. Raises `kopf.LoginError`."""
    logger = logging.getLogger(__name__)
    if _SERVICE_ACCOUNT.exists():
        info = kopf.login_with_service_account(logger=logger, settings=settings)
    else:
        info = kopf.login_with_kubeconfig(logger=logger, settings=settings)
    if info is None:
        raise kopf.LoginError("no service account and no kubeconfig: set KUBECONFIG")
    return info


def credentials(settings: kopf.OperatorSettings) -> Credentials:
    """Return a function that gives the identity and reads it anew every minute, for rotated tokens; sooner where one was refused."""
    held: list[tuple[float, kopf.ConnectionInfo]] = []

    def current(*, renew: bool = False) -> kopf.ConnectionInfo:
        if not held or time.monotonic() - held[0][0] > (RENEWAL if renew else TOKEN_LIFE):
            held[:] = [(time.monotonic(), login(settings))]
        return held[0][1]

    return current


def operator_settings() -> kopf.OperatorSettings:
    """Return kopf's settings, each one set on purpose."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.finalizer = f"{GROUP}/kopf-unused"
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.server_timeout = 300
    settings.watching.chunk_size = LIST_PAGE
    # The handler's filter alone would have every RayJob of the cluster listed and sent.
    rayjobs = RAYJOBS.group, RAYJOBS.version, RAYJOBS.plural
    settings.watching.label_selectors[rayjobs] = ",".join(f"{k}={v}" for k, v in OURS.items())
    # After a start kopf keeps a task for every object of its list for so long; they are cheaper made anew than held by the thousand.
    settings.queueing.idle_timeout = 0.5
    settings.process.ultimate_exiting_timeout = 20
    return settings


async def _ask_for_metadata(
    _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams
) -> None:
    plural, watch = params.url.path.rsplit("/", 1)[1], "watch" in params.url.query
    if plural in (WATCHED_AS_METADATA if watch else LISTED_AS_METADATA):
        params.headers["Accept"] = METADATA_ONLY if watch else METADATA_LIST


class _Answer(aiohttp.ClientResponse):
    """An empty list of metadata has null for its items, which kopf does not expect."""

    async def json(self, **options: Any) -> Any:
        found = await super().json(**options)
        return found | {"items": []} if isinstance(found, dict) and found.get("items", ()) is None else found


def session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """Return the watches' session. Where nobody reads the body of an event, or of what is listed first, only metadata is asked for.

    aiohttp gives the headers of a request to its tracers before they are sent; kopf itself has no setting for them.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_ask_for_metadata)
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        trace_configs=[trace],
        response_class=_Answer,
    )
    return kopf.AiohttpSession(aiohttp_session=made, server=info.server, default_namespace=info.default_namespace)


def registry(loop: Loop) -> kopf.OperatorRegistry:
    """Return the handlers: one login, one event handler per kind."""
    found = kopf.OperatorRegistry()

    async def on_login(settings: kopf.OperatorSettings, **_: Any) -> kopf.AiohttpSession:
        return session(login(settings))

    kopf.on.login(id="login", registry=found)(on_login)
    for kind in KINDS:
        kopf.on.event(GROUP, VERSION, kind.plural, id=f"enqueue-{kind.plural}", registry=found)(
            _handler(loop, kind.plural)
        )
    kopf.on.event(RAYJOBS.group, RAYJOBS.version, RAYJOBS.plural, id="enqueue-owners", registry=found, labels=OURS)(
        _owners(loop)
    )
    return found


def _owners(loop: Loop) -> Callable[..., Any]:
    """Return the handler for what our objects own. Where KubeRay is not installed there is nothing to watch, and attempts are polled."""

    async def enqueue(body: kopf.Body, type: str | None = None, **_: Any) -> None:  # noqa: A002 - kopf passes it by this name
        owner = owner_key(dict(body))
        if owner is not None:
            # What was only made, or is gone, is no news of a Run; nor is the list of a start.
            loop.queue.add(owner, Lane.RUN if type == "MODIFIED" else Lane.EVENT)

    return enqueue


def _handler(loop: Loop, plural: str) -> Callable[..., Any]:
    async def enqueue(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf passes it by this name
        metadata = body["metadata"]
        key = Key(plural, metadata.get("namespace") or "", metadata["name"])
        version = metadata.get("resourceVersion", "")
        if type is None:
            loop.listed(key, version)
        else:
            loop.event(key, version, None if type == "DELETED" else _whole(body))
        if plural in DEPENDED_UPON:
            loop.upstream(key, DELETED if type == "DELETED" else says(plural, dict(body)))

    return enqueue


def _whole(body: kopf.Body) -> Body | None:
    """Return the object less its managed fields; None where a server has sent metadata alone all the same."""
    if "spec" not in body:
        return None
    return dict(body) | {"metadata": without_managed_fields(body["metadata"])}

"""The edges of a running operator: identities opened with the Secrets of the operator's own namespace.

Built by `main`, reached through the protocol in `edges`. Secrets are read from the API server at most once a minute each, from one namespace
only: the operator's RBAC allows no other. With a test runtime set by the administrator, Runs go there instead of Ray.
"""

from __future__ import annotations

import base64
import binascii
import time
from pathlib import Path

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.errors import Dependency, DependencyError
from gradatim.operator.kube import SECRETS, ApiUnreachable, Kube, KubeError
from gradatim.operator.runtimes.base import Runtime, Tenant
from gradatim.operator.runtimes.instant import InstantRuntime
from gradatim.operator.runtimes.instant_load import Loader
from gradatim.operator.runtimes.kuberay import KubeRay
from gradatim.operator.runtimes.kueue_places import QueuePlaces
from gradatim.operator.settings import Settings
from gradatim.operator.stores.artifacts import ArtifactStore
from gradatim.operator.stores.identity import VECTOR_KEY, Opener, Secret
from gradatim.operator.stores.weaviate import Weaviate

SECRET_LIFE = 60.0
INSTANT = "instant:"


class OpenEdges:
    """Implements `Edges` over the API server and one `Opener`."""

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._kube = kube
        self._settings = settings
        self._opener = Opener(settings.store_reads_per_second)
        self._secrets: dict[str, tuple[float, Secret]] = {}
        self._places = QueuePlaces(kube)

    async def runtime(self, identity: StoreIdentity, tenant: Tenant) -> Runtime:
        """Return the runtime that the identity names, as one object may use it."""
        if self._settings.test_runtime.startswith(INSTANT):
            return await self._instant(Path(self._settings.test_runtime.removeprefix(INSTANT)), identity)
        if identity.runtime_type == "kuberay":
            return KubeRay(self._kube, tenant, identity.profile, self._places, self._settings.runs.pod_fence)
        return self._opener.runtime(identity, await self._secret(identity.runtime_secret, "runtime"))

    async def _instant(self, folder: Path, identity: StoreIdentity) -> Runtime:
        secret = await self._secret(identity.vector_secret, "vectorStore")
        key = secret.value(VECTOR_KEY, "vectorStore") if secret else None
        return InstantRuntime(folder, Loader(self._opener.session, key))

    async def artifacts(self, identity: StoreIdentity, namespace: str) -> ArtifactStore:
        """Return the artifact store, rooted at the namespace."""
        secret = await self._secret(identity.artifact_secret, "artifactStore")
        return self._opener.artifacts(identity, namespace, secret)

    async def vectors(self, identity: StoreIdentity) -> Weaviate:
        """Return the vector store."""
        return self._opener.vectors(identity, await self._secret(identity.vector_secret, "vectorStore"))

    async def close(self) -> None:
        """Close every connection."""
        await self._opener.close()

    async def _secret(self, name: str | None, dependency: Dependency) -> Secret | None:
        if name is None:
            return None
        held = self._secrets.get(name)
        if held is not None and time.monotonic() - held[0] < SECRET_LIFE:
            return held[1]
        try:
            body = await self._kube.find(SECRETS, self._settings.namespace, name)
        except ApiUnreachable:
            raise
        except KubeError as error:
            message = f"Secret {name!r} in the operator's namespace cannot be read: {error.api_reason}"
            raise DependencyError(dependency, message, reason=Reason.CREDENTIALS_REFUSED) from error
        if body is None:
            message = f"Secret {name!r} does not exist in namespace {self._settings.namespace!r}"
            raise DependencyError(dependency, message, reason=Reason.CREDENTIALS_REFUSED)
        secret = Secret(version=body["metadata"]["resourceVersion"], data=_decoded(body.get("data", {})))
        self._secrets[name] = (time.monotonic(), secret)
        return secret


def _decoded(data: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in data.items():
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue  # a binary value is none of the keys that are asked for
    return found

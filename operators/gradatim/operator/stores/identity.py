"""Opens the runtime and the stores that an object's identity names, and keeps them while they are in use.

Called by the operator's edges with the identity from status and the Secrets that it names, which come from the operator's namespace only.
An entry is keyed by the identity and the Secret's resourceVersion, so that a rotated Secret is used at once. It reads no Secret itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import StoreIdentity
from gradatim.operator.breaker import Guards
from gradatim.operator.errors import Dependency, DependencyError, WillNeverWork
from gradatim.operator.runtimes.raycluster import RayCluster
from gradatim.operator.stores.aliases import AliasBook
from gradatim.operator.stores.artifacts import ArtifactStore, Files, StoreAddress, open_files
from gradatim.operator.stores.pace import Budget, Places
from gradatim.operator.stores.s3 import S3Keys
from gradatim.operator.stores.weaviate import Weaviate
from gradatim.operator.wire import open_session

T = TypeVar("T")

RUNTIME_KEY = "auth_token"
VECTOR_KEY = "api-key"
ACCESS_KEY, SECRET_KEY, SESSION_KEY = "access-key-id", "secret-access-key", "session-token"
_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as read: decoded values and the version that they belong to."""

    version: str = ""
    data: Mapping[str, str] = field(default_factory=dict, repr=False)

    def value(self, key: str, dependency: Dependency) -> str:
        """Return a value without surrounding white space. Raises `DependencyError` where the key is missing."""
        found = self.data.get(key, "").strip()
        if not found:
            message = f"the Secret that the ComputeProfile names for this has no key {key}"
            raise DependencyError(dependency, message, reason=Reason.CREDENTIALS_REFUSED, delay=60.0)
        return found


class Cache:
    """The last used values by key; what is not used any more falls out. Values hold no connections of their own."""

    def __init__(self, size: int = _ENTRIES) -> None:
        """Keep at most `size` values."""
        self._size = size
        self._values: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made once."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)
        return self._values[key]  # type: ignore[return-value]  # one key is always made by one `make`


class Opener:
    """Opens what identities name. One per process, inside its event loop; close it at the end."""

    def __init__(self, reads_per_second: float = 50.0, session: aiohttp.ClientSession | None = None) -> None:
        """Open the shared session and threads; nothing is connected yet."""
        self.session = session or open_session()
        self._guards = Guards()
        self._budget = Budget(reads_per_second)
        self._places: dict[Hashable, Places] = {}  # by store: as many as there ever were profiles
        self._cache = Cache()

    def runtime(self, identity: StoreIdentity, secret: Secret | None = None) -> RayCluster:
        """Return the Ray cluster. Raises `WillNeverWork` where the identity has none."""
        address = identity.runtime_address
        if address is None:
            raise WillNeverWork(Reason.INVALID_SPEC, "the ComputeProfile names no runtime")
        token = secret.value(RUNTIME_KEY, "runtime") if secret else None
        return RayCluster(self.session, address, token, self._guards.of("runtime", address))

    def artifacts(self, identity: StoreIdentity, namespace: str, secret: Secret | None = None) -> ArtifactStore:
        """Return the artifact store of a namespace."""
        place = (identity.artifact_root, identity.artifact_endpoint, identity.artifact_region)
        key = (*place, secret.version if secret else None)
        places = self._places.setdefault(place, Places())
        files: Files = self._cache.get(
            ("files", *key, namespace), lambda: open_files(StoreAddress(*place, _keys(secret)), namespace)
        )
        root = identity.artifact_root.replace("{namespace}", namespace)
        return ArtifactStore(root, files, places, self._budget, self._guards.of("artifactStore", *place))

    def vectors(self, identity: StoreIdentity, secret: Secret | None = None) -> Weaviate:
        """Return the vector store. Raises `WillNeverWork` where the identity has none."""
        address = identity.vector_endpoint
        if address is None:
            raise WillNeverWork(Reason.INVALID_SPEC, "the ComputeProfile names no vectorStore")
        key = secret.value(VECTOR_KEY, "vectorStore") if secret else None
        book = self._cache.get(("aliases", address, secret.version if secret else None), AliasBook)
        return Weaviate(self.session, address, key, self._guards.of("vectorStore", address), book)

    async def close(self) -> None:
        """Close every connection; threads that a dead store holds are left behind."""
        await self.session.close()
        for places in self._places.values():
            places.close()


def _keys(secret: Secret | None) -> S3Keys:
    if secret is None:
        return S3Keys()
    access, private = (secret.value(key, "artifactStore") for key in (ACCESS_KEY, SECRET_KEY))
    return S3Keys(access, private, secret.data.get(SESSION_KEY, "").strip() or None)

"""Which Weaviate to use and how to get in: the local platform's, one named by address, or an index's own.

Used by runs without a cluster and by queries. The only requests made here ask whether it is ready, and drop collections
of versions that are no longer kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from gradatim.api.build import vector_store_config
from gradatim.api.computeprofile import ComputeProfileSpec
from gradatim.api.run import VectorStoreConfig
from gradatim.client.errors import ServerError, UnauthorizedError, UnreachableError, UnsupportedError
from gradatim.client.statedir import local_platform, read_secret_file, same_server

KEY_ENV = "GRADATIM_WEAVIATE_API_KEY_FILE"
KEY_FILE = "api-key"
_DEFAULT_GRPC_PORT = 50051


@dataclass(frozen=True, slots=True)
class VectorAccess:
    """A Weaviate, the file with its API key if it wants one, and the folder in which workloads find that key."""

    config: VectorStoreConfig
    key_file: Path | None = None
    secrets: Path | None = None

    @classmethod
    def of_address(cls, endpoint: str, grpc_endpoint: str | None = None, key_file: Path | None = None) -> VectorAccess:
        """Return the access to a Weaviate by address. The key file must be `<folder>/<name>/api-key`, as secrets are mounted."""
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UnsupportedError(f"{endpoint!r} is no address; write http://host:port")
        grpc = grpc_endpoint or f"{parts.scheme}://{parts.hostname}:{_DEFAULT_GRPC_PORT}"
        if key_file is None:
            return cls(VectorStoreConfig(endpoint=endpoint, grpc_endpoint=grpc))
        path = key_file.expanduser().absolute()
        if path.name != KEY_FILE:
            raise UnsupportedError(f"{path}: the key must lie in a file called {KEY_FILE}, in a folder of its own")
        config = VectorStoreConfig(endpoint=endpoint, grpc_endpoint=grpc, secret_name=path.parent.name)
        return cls(config, path, path.parent.parent)

    @classmethod
    def of_profile(cls, profile: ComputeProfileSpec, secrets: Path) -> VectorAccess | None:
        """Return the access that a profile describes; its key lies in `secrets` unless the profile says where."""
        config, cluster = vector_store_config(profile), profile.runtime.ray_cluster
        if config is None:
            return None
        secrets = Path(cluster.secrets_path) if cluster else secrets
        key_file = secrets / config.secret_name / KEY_FILE if config.secret_name else None
        return cls(config, key_file, secrets)

    def is_at(self, other: VectorAccess) -> bool:
        """Return whether both addresses are those of the other one."""
        one, two = self.config, other.config
        return same_server(one.endpoint, two.endpoint) and same_server(one.grpc_endpoint, two.grpc_endpoint)

    def key(self) -> str | None:
        """Return the API key, or None if none is wanted."""
        return read_secret_file(self.key_file, "Weaviate's API key") if self.key_file else None


def find_vector_store(state: Path | None) -> VectorAccess | None:
    """Return the local platform's Weaviate, or None if no platform was started."""
    platform = local_platform(state)
    if platform is None or platform.weaviate is None:
        return None
    return VectorAccess.of_address(platform.weaviate, platform.weaviate_grpc, platform.weaviate_api_key_file)


def find_key(access: VectorAccess, state: Path | None, env: Mapping[str, str] | None = None) -> str | None:
    """Return the key for a Weaviate, as `with_key` finds it; None if none is known."""
    return with_key(access, state, env).key()


def with_key(access: VectorAccess, state: Path | None, env: Mapping[str, str] | None = None) -> VectorAccess:
    """Return the access with its key: the file in $GRADATIM_WEAVIATE_API_KEY_FILE, else the local platform's if it is that one.

    The other way round where `state` names the platform: its Weaviate does not know the variable's key. Without a key if neither is
    known. Both addresses must be the platform's: its key goes to no other server.
    """
    env = os.environ if env is None else env
    named = env.get(KEY_ENV)
    if not named or state is not None:
        platform = find_vector_store(state)
        if platform is not None and platform.is_at(access):
            return replace(access, key_file=platform.key_file)
    return replace(access, key_file=Path(named).expanduser()) if named else access


def require_answer(access: VectorAccess) -> None:
    """Ask Weaviate whether it is ready. Raises `UnreachableError` or `UnauthorizedError`: better before a run than at its end."""
    import httpx

    parts, headers = urlsplit(access.config.endpoint), _headers(access)
    where = f"{parts.scheme}://{parts.netloc}"
    hint = "start the local platform with `gradatim up`, or name another with --weaviate and --weaviate-grpc"
    try:
        response = httpx.get(f"{where}/v1/.well-known/ready", headers=headers, timeout=10, trust_env=False)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise UnreachableError(f"Weaviate at {where} did not answer: {error}", hint=hint) from error
    if response.status_code in {401, 403}:
        raise _refused(where)
    if not response.is_success:
        raise UnreachableError(f"Weaviate at {where} is not ready: it answered {response.status_code}", hint=hint)


def _refused(where: str) -> UnauthorizedError:
    return UnauthorizedError(f"Weaviate at {where} refused the API key", hint="name its file with --weaviate-key-file")


def _headers(access: VectorAccess) -> dict[str, str]:
    key = access.key()
    return {"Authorization": f"Bearer {key}"} if key else {}


def drop_collections(access: VectorAccess, collections: Sequence[str]) -> None:
    """Delete collections; those that are gone already are fine."""
    import httpx

    with httpx.Client(base_url=access.config.endpoint, headers=_headers(access), timeout=60, trust_env=False) as http:
        for name in collections:
            try:
                response = http.delete(f"/v1/schema/{name}")
            except httpx.TransportError as error:
                raise UnreachableError(f"{access.config.endpoint} did not answer: {error}") from error
            if response.status_code in {401, 403}:
                raise _refused(access.config.endpoint)
            if response.status_code >= 400:
                raise ServerError(f"Weaviate did not delete {name}: {response.status_code} {response.text[:200]}")

"""Finds a cluster: kubeconfig files, the local platform, or the service account of the pod that this runs in.

Used by both clients. A small reader of what kubectl writes: clusters, users, contexts, inline data, token files, exec plugins. What it does
not support it refuses by name, instead of connecting as somebody else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gradatim.client.credentials import ExecPlugin, Headers, Identity, decoded
from gradatim.client.errors import NotConfiguredError
from gradatim.client.statedir import default_state, local_platform

if TYPE_CHECKING:
    import ssl

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What a header's name may hold besides letters, digits and `-._~`; the rest, and %, is percent-encoded.
_HEADER_SAFE = "!#$&'*+^`|"
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster, who we are there, and the namespace that commands act on by default."""

    server: str
    identity: Identity = field(default_factory=Identity)
    namespace: str = "default"
    ca: bytes | None = None
    insecure: bool = False
    server_name: str | None = None
    proxy: str | None = None
    source: str = ""

    def ssl_context(self) -> ssl.SSLContext:
        """Return a fresh TLS context that trusts the cluster's authority. Raises `NotConfiguredError`."""
        import ssl

        context = ssl.create_default_context()
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(cadata=self.ca.decode())
            except (ssl.SSLError, ValueError) as error:
                raise NotConfiguredError(f"{self.source}: the certificate authority does not load: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def find_connection(
    kubeconfig: str | Path | None = None, *, context: str | None = None, state: Path | None = None
) -> Connection:
    """Return the cluster to talk to: that of `kubeconfig`, or the local platform in `state`; else that which the environment knows.

    That is $KUBECONFIG, else the local platform, else ~/.kube/config, else the pod's own. Who names a folder means its platform and no
    other cluster, whatever a shell has exported; $GRADATIM_STATE only says where the local platform would be. Raises
    `NotConfiguredError` if there is none.
    """
    if kubeconfig is not None:
        return load([Path(kubeconfig).expanduser()], context=context)
    if state is not None:
        return load([_kubeconfig_in(state)], context=context)
    if paths := [Path(p).expanduser() for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]:
        return load(paths, context=context)
    platform = local_platform()
    if platform is not None and platform.kubeconfig is not None and platform.kubeconfig.is_file():
        return load([platform.kubeconfig], context=context)
    home = Path.home() / ".kube" / "config"
    if home.is_file():
        return load([home], context=context)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster()
    raise NotConfiguredError(
        f"no cluster is known: neither --kubeconfig, $KUBECONFIG, a local platform in {default_state()} nor ~/.kube/config",
        hint="start the local platform with `gradatim up`, name another one with $GRADATIM_STATE, or a cluster with --kubeconfig",
    )


def _kubeconfig_in(state: Path) -> Path:
    platform = local_platform(state)
    if platform is None or platform.kubeconfig is None or not platform.kubeconfig.is_file():
        raise NotConfiguredError(
            f"there is no local platform in {state}",
            hint=f"start it with `gradatim up --state {state}`, or name a cluster with --kubeconfig instead",
        )
    return platform.kubeconfig


def in_cluster(folder: Path = SERVICE_ACCOUNT, env: Mapping[str, str] | None = None) -> Connection:
    """Return the connection of a pod's service account. Raises `NotConfiguredError` outside a pod."""
    env = os.environ if env is None else env
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        ca = (folder / "ca.crt").read_bytes()
        namespace = (folder / "namespace").read_text().strip()
    except OSError as error:
        raise NotConfiguredError(f"no service account is mounted: {error}") from error
    host = f"[{host}]" if ":" in host else host
    return Connection(
        server=f"https://{host}:{port}",
        identity=Identity(token_file=folder / "token"),
        namespace=namespace or "default",
        ca=ca,
        source="service account",
    )


def load(paths: list[Path], *, context: str | None = None) -> Connection:
    """Return the connection of a context of one or more kubeconfig files; in a list the first mention of a name wins."""
    documents = [_Document(path, _read(path)) for path in paths if path.exists() or len(paths) == 1]
    if not documents:
        raise NotConfiguredError(f"none of these kubeconfig files exists: {', '.join(map(str, paths))}")
    name = context or next((c for d in documents if (c := d.body.get("current-context"))), None)
    if not name:
        raise NotConfiguredError(f"{documents[0].path} has no current-context", hint="choose one with --context")
    found = _named(documents, "contexts", "context", str(name))
    cluster = _named(documents, "clusters", "cluster", found.text("cluster"))
    user = _named(documents, "users", "user", found.text("user")) if found.get("user") else _Entry({}, found.path, "")
    server = cluster.text("server").rstrip("/")
    return Connection(
        server=server,
        identity=_identity(user, cluster, server),
        namespace=str(found.get("namespace") or "default"),
        ca=cluster.data("certificate-authority"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=_optional(cluster.get("tls-server-name")),
        proxy=_optional(cluster.get("proxy-url")),
        source=f"{found.path} context {name}",
    )


@dataclass(frozen=True, slots=True)
class _Document:
    path: Path
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One named entry; relative paths in it are relative to its file."""

    body: Mapping[str, Any]
    path: Path
    name: str

    def get(self, key: str) -> object:
        return self.body.get(key)

    def text(self, key: str) -> str:
        value = self.body.get(key)
        if not isinstance(value, str) or not value:
            raise NotConfiguredError(f"{self.path}: {self.name} has no {key}")
        return value

    def file(self, key: str) -> Path | None:
        value = self.body.get(key)
        return (self.path.parent / Path(str(value)).expanduser()) if value else None

    def data(self, key: str) -> bytes | None:
        """Return `<key>-data`, else the content of the file that `<key>` names."""
        if inline := self.body.get(f"{key}-data"):
            return decoded(str(inline), f"{self.path}: {self.name} {key}-data")
        path = self.file(key)
        try:
            return path.read_bytes() if path else None
        except OSError as error:
            raise NotConfiguredError(f"{self.path}: {key} cannot be read: {error}") from error


def _read(path: Path) -> Mapping[str, Any]:
    import yaml  # slow to import

    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotConfiguredError(f"the kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise NotConfiguredError(f"the kubeconfig {path} is not a mapping")
    return found


def _named(documents: list[_Document], group: str, member: str, name: str) -> _Entry:
    for document in documents:
        for entry in document.body.get(group) or []:
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(member), dict):
                return _Entry(entry[member], document.path, f"{member} {name}")
    raise NotConfiguredError(f"{documents[0].path}: there is no {member} called {name}")


def _optional(value: object) -> str | None:
    return str(value) if value else None


def _identity(user: _Entry, cluster: _Entry, server: str) -> Identity:
    if user.get("auth-provider"):
        raise NotConfiguredError(
            f"{user.path}: {user.name} uses auth-provider, which Kubernetes removed in 1.26", hint="use an exec plugin"
        )
    plugin = user.get("exec")
    name, password = user.get("username"), user.get("password")
    return Identity(
        token=_optional(user.get("token")),
        token_file=user.file("tokenFile") if not user.get("token") else None,
        basic=(str(name), str(password)) if name and password else None,
        certificate=user.data("client-certificate"),
        key=user.data("client-key"),
        plugin=_plugin(user, plugin, cluster, server) if isinstance(plugin, dict) else None,
        impersonate=_impersonate(user),
    )


def _impersonate(user: _Entry) -> Headers:
    """Return the headers of `as`, `as-uid`, `as-groups` and `as-user-extra`, as client-go sends them."""
    name, uid, groups = user.get("as"), user.get("as-uid"), user.get("as-groups")
    extra = user.get("as-user-extra") or {}
    if not name:
        if uid or groups or extra:
            problem = "has as-uid, as-groups or as-user-extra without as"
            raise NotConfiguredError(f"{user.path}: {user.name} {problem}", hint="name the user to act as with as")
        return ()
    if not isinstance(extra, dict):
        raise NotConfiguredError(f"{user.path}: as-user-extra of {user.name} is not a mapping of names to lists")
    found = [("Impersonate-User", str(name))]
    found += [("Impersonate-Uid", str(uid))] if uid else []
    found += [("Impersonate-Group", group) for group in _texts(user, "as-groups", groups)]
    for key, values in extra.items():
        header = f"Impersonate-Extra-{quote(str(key), safe=_HEADER_SAFE)}"
        found += [(header, value) for value in _texts(user, f"as-user-extra {key}", values)]
    return tuple(found)


def _texts(user: _Entry, key: str, values: object) -> list[str]:
    if values is not None and not isinstance(values, list):
        raise NotConfiguredError(f"{user.path}: {key} of {user.name} is not a list")
    return [str(value) for value in values or []]


def _plugin(user: _Entry, body: Mapping[str, Any], cluster: _Entry, server: str) -> ExecPlugin:
    version, command = str(body.get("apiVersion") or ""), str(body.get("command") or "")
    if version not in _EXEC_VERSIONS or not command:
        raise NotConfiguredError(
            f"{user.path}: the exec plugin of {user.name} needs a command and one of {_EXEC_VERSIONS}"
        )
    if os.sep in command and not Path(command).is_absolute():
        command = str(user.path.parent / command)
    told: dict[str, object] | None = None
    if body.get("provideClusterInfo"):
        told = {"server": server} | {
            k: v for k in ("certificate-authority-data", "tls-server-name", "proxy-url") if (v := cluster.get(k))
        }
    return ExecPlugin(
        argv=(command, *(str(a) for a in body.get("args") or [])),
        api_version=version,
        env={str(e["name"]): str(e["value"]) for e in body.get("env") or []},
        cluster=told,
        install_hint=str(body.get("installHint") or ""),
    )

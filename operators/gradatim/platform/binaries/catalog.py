"""Which programs the platform needs, at which version, and what they are made from.

Read by `resolve`. Pure but for reading the pinned modules from the installed package. A version is written once, in the module's
`go.mod`; a release belongs in the table only with a checksum that was published by its project.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable

from gradatim.platform.errors import BinaryError

_MODULE_FILES = ("go.mod", "go.sum", "main.go", "tools.go")


@dataclass(frozen=True)
class Patch:
    """One exact replacement in a file of the compiled module, made on a copy at build time."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class GoProgram:
    """A pinned Go module and the package in it to compile; `own_version` is that of a program whose source is here."""

    folder: Traversable
    main_module: str
    package: str = "."
    ldflags: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()
    own_version: str | None = None

    def sources(self) -> dict[str, bytes]:
        """Return the module's own files by name."""
        return {name: (self.folder / name).read_bytes() for name in _MODULE_FILES if (self.folder / name).is_file()}

    @property
    def version(self) -> str:
        """The version of the main module, as pinned in `go.mod`."""
        return self.own_version or pinned_version(self.sources()["go.mod"].decode(), self.main_module)

    @property
    def digest(self) -> str:
        """Changes with anything that changes the program: sources, checksums of dependencies, flags, patches."""
        total = hashlib.sha256()
        for name, content in sorted(self.sources().items()):
            total.update(f"{name}\0{len(content)}\0".encode() + content)
        total.update(repr((self.package, self.ldflags, self.patches)).encode())
        return total.hexdigest()[:12]


@dataclass(frozen=True)
class Artifact:
    """One file of an official release.

    `member` is the path inside a `.tar.gz`; None when the file is the program itself. `max_bytes` bounds both download and program.
    """

    program: str
    url: str
    sha256: str
    member: str | None = None
    max_bytes: int = 400 * 2**20


@dataclass(frozen=True)
class Tool:
    """One thing to install: a multi-call binary or a single program.

    `releases` maps a platform such as `linux-amd64` to the artifacts that together hold all `programs`.
    """

    name: str
    programs: tuple[str, ...]
    source: GoProgram
    releases: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.source.version

    def release_digest(self, platform: str) -> str | None:
        """Return what tells a downloaded installation from any other, or None where nothing is pinned for the platform."""
        artifacts = self.releases.get(platform)
        if not artifacts:
            return None
        return hashlib.sha256("\n".join(sorted(f"{a.program} {a.sha256}" for a in artifacts)).encode()).hexdigest()[:12]


def pinned_version(go_mod: str, module: str) -> str:
    """Return the version a `go.mod` requires of a module."""
    match = re.search(rf"^(?:require)?\s*{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise BinaryError(f"go.mod does not require {module}: reinstall gradatim")
    return match.group(1)


def _kube_ldflags(folder: Traversable) -> tuple[str, ...]:
    # Without these the API server reports itself as "v0.0.0-master" and clients that read its version refuse it.
    version = pinned_version((folder / "go.mod").read_text(), "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return tuple(
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in values.items()
    )


def _modules() -> Traversable:
    return files("gradatim.platform.binaries")


# Weaviate binds these three servers to every interface and has no setting for it; on a laptop they belong on loopback. The node
# cluster has a network namespace of its own, from which nothing leaves, and asks for its node's address.
LISTEN_VARIABLE = "GRADATIM_LISTEN_HOST"
_ANYWHERE = 'fmt.Sprintf(":%d"'
_LISTEN_HOST = f'fmt.Sprintf(cmp.Or(os.Getenv("{LISTEN_VARIABLE}"), "127.0.0.1")+":%d"'
_WEAVIATE_PATCHES = tuple(
    patch
    for path in (
        "adapters/handlers/grpc/server.go",
        "adapters/handlers/rest/clusterapi/serve.go",
        "adapters/handlers/rest/clusterapi/grpc/server.go",
    )
    for patch in (
        Patch(path, '\nimport (\n\t"context"\n', '\nimport (\n\t"cmp"\n\t"context"\n\t"os"\n'),
        Patch(path, _ANYWHERE, _LISTEN_HOST),
    )
)

KUBE = Tool(
    name="kube",
    programs=("etcd", "kube-apiserver", "kube-controller-manager"),
    source=GoProgram(_modules() / "kube", "k8s.io/kubernetes", ldflags=_kube_ldflags(_modules() / "kube")),
)
WEAVIATE = Tool(
    name="weaviate",
    programs=("weaviate",),
    source=GoProgram(
        _modules() / "weaviate",
        "github.com/weaviate/weaviate",
        package="github.com/weaviate/weaviate/cmd/weaviate-server",
        patches=_WEAVIATE_PATCHES,
    ),
)

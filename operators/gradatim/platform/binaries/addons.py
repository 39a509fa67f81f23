"""What the node cluster and the tests on it need besides the local platform's own programs: each one pinned Go module.

Read like `catalog`, of which this is the second half: the ordinary local platform needs none of it. Pure but for reading the pinned
modules from the installed package.
"""

from __future__ import annotations

from importlib.resources import files

from gradatim.platform.binaries.catalog import GoProgram, Tool

_MODULES = files("gradatim.platform.binaries")


def _tool(name: str, module: str, package: str = ".", ldflags: tuple[str, ...] = ()) -> Tool:
    return Tool(name, (name,), GoProgram(_MODULES / name, module, package=package, ldflags=ldflags))


KUBECTL = _tool("kubectl", "k8s.io/kubectl")
COREDNS = _tool("coredns", "github.com/coredns/coredns")
KUBERAY = _tool(
    "kuberay", "github.com/ray-project/kuberay/ray-operator", package="github.com/ray-project/kuberay/ray-operator"
)
KUEUE = _tool("kueue", "sigs.k8s.io/kueue", package="sigs.k8s.io/kueue/cmd/kueue")
HELM = _tool("helm", "helm.sh/helm/v4", package="helm.sh/helm/v4/cmd/helm")
KWOK = _tool("kwok", "sigs.k8s.io/kwok", package="sigs.k8s.io/kwok/cmd/kwok")
MINIO = _tool("minio", "github.com/minio/minio", package="github.com/minio/minio")
PAUSE = Tool("pause", ("pause",), GoProgram(_MODULES / "pause", "gradatim.dev/platform/pause", own_version="v1"))
ADDONS = (KUBECTL, COREDNS, KUBERAY, KUEUE, HELM, KWOK, MINIO, PAUSE)

"""The YAML that ships inside a pinned Go module: definitions and roles of KubeRay and Kueue, at the version of their program.

Called by the node cluster and by tests. Files are read where Go keeps them, in its module cache, which it verified against `go.sum`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gradatim.platform.binaries.addons import KUBERAY, KUEUE
from gradatim.platform.binaries.catalog import GoProgram
from gradatim.platform.binaries.gobuild import find_go
from gradatim.platform.errors import BuildError

# KubeRay's definitions are megabytes of YAML: twenty seconds without the C library, one with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def module_folder(program: GoProgram, env: Mapping[str, str]) -> Path:
    """Return the folder of the pinned main module, fetched when absent. Read-only. Raises BuildError with Go's words."""
    go = find_go(env)
    with tempfile.TemporaryDirectory(prefix="gradatim-module-") as name:
        for file, content in program.sources().items():
            (Path(name) / file).write_bytes(content)
        done = subprocess.run(
            [str(go), "mod", "download", "-json", program.main_module],
            cwd=name, env={**env, "GOWORK": "off"}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    if done.returncode != 0:
        raise BuildError(f"fetching {program.main_module}: {(done.stderr or done.stdout).strip()[-500:]}")
    return Path(json.loads(done.stdout)["Dir"])


def kuberay_crds(env: Mapping[str, str]) -> Path:
    """Return the folder of KubeRay's definitions, one file each."""
    return module_folder(KUBERAY.source, env) / "config" / "crd" / "bases"


def kuberay_roles(env: Mapping[str, str]) -> Path:
    """Return the folder of KubeRay's roles, as its operator needs them."""
    return module_folder(KUBERAY.source, env) / "config" / "rbac"


def kueue_crds(env: Mapping[str, str]) -> Path:
    """Return the folder of Kueue's definitions, one file each."""
    return module_folder(KUEUE.source, env) / "config" / "components" / "crd" / "bases"


def kueue_components(env: Mapping[str, str]) -> Path:
    """Return the folder of Kueue's own manifests: roles, webhooks and the manager, for kustomize."""
    return module_folder(KUEUE.source, env) / "config" / "components"


def documents(folder: Path, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the objects in a folder's YAML files, in the order of the names; all files when none are given."""
    files = [folder / name for name in names] or sorted(folder.glob("*.yaml"))
    return [item for file in files for item in yaml.load_all(file.read_text(), _LOADER) if item and "kind" in item]

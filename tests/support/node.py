"""A real single-node cluster for end-to-end tests: Linux and root, else the test is skipped with a line that says so."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradatim.platform.node import NodeCluster, NodeOptions, PrerequisiteError, down, up
from gradatim.platform.node.prerequisites import check, install_prerequisites


def need_node() -> None:
    """Skip unless this machine can run a cluster; what is merely not installed is installed. Fails where the tier is required."""
    with contextlib.suppress(PrerequisiteError):
        install_prerequisites()
    try:
        check()
    except PrerequisiteError as error:
        said = f"needs a node cluster: {error}"
        if os.environ.get("GRADATIM_E2E") == "required":
            pytest.fail(said)
        pytest.skip(said)


@contextlib.contextmanager
def node_cluster(options: NodeOptions) -> Iterator[NodeCluster]:
    """Run a cluster for a block, and remove it afterwards whatever happened."""
    need_node()
    try:
        yield up(options)
    finally:
        down(options.state_dir)


def apply(cluster: NodeCluster, *objects: dict[str, Any]) -> None:
    """Apply objects on the server, as administrator."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def until(check_once: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the first true answer. Raises TimeoutError with the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := check_once()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {answer!r} after {seconds:.0f} s")
        time.sleep(0.2)
    return answer


def kernel_settings() -> dict[str, str]:
    """Return the settings of the machine that a kubelet would change."""
    from gradatim.platform.node.configs import KERNEL_WISHES

    return {name: (Path("/proc/sys") / name).read_text().strip() for name in KERNEL_WISHES}

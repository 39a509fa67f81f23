"""One cluster with the whole platform for all tests of the tier that need it; it costs a minute and a half to install.

`GRADATIM_E2E_STATE=<folder>` keeps the cluster in that folder between sessions while tests are being written; `gradatim down --node
--state <folder>` removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.node import need_node
from tests.support.onpods import OnPods, install, rejoined

from gradatim.platform.node import NodeOptions, Part, down, up

ADDONS = frozenset({Part.WEAVIATE, Part.MINIO})


@pytest.fixture(scope="session")
def node_options(tmp_path_factory: pytest.TempPathFactory) -> NodeOptions:
    """The options of the platform's cluster: `up` with them brings back what a test has killed."""
    kept = os.environ.get("GRADATIM_E2E_STATE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("platform") / "state"
    return NodeOptions(folder, addons=ADDONS, definitions=frozenset({"kuberay"}), kueue=True)


@pytest.fixture(scope="session")
def platform(node_options: NodeOptions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnPods]:
    """The platform as a platform team installs it."""
    need_node()
    kept = bool(os.environ.get("GRADATIM_E2E_STATE"))
    folder = node_options.state_dir.parent / "platform" if kept else tmp_path_factory.mktemp("installed")
    try:
        cluster = up(node_options, lambda part, message: print(f"{part}: {message}", flush=True))
        yield rejoined(cluster, folder) if (folder / "keys.json").exists() else install(cluster, folder)
    finally:
        if not kept:
            down(node_options.state_dir)

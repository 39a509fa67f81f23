"""Installs every server the tests start, one after another, before the first of them runs.

Called by `make test` and `make test-integration`: a compiler that works beside timed waits and killed processes takes both cores from
them, and was the cause of most failures on a machine with an empty cache. A test run alone still compiles what it needs itself. Starts no
server.
"""

from __future__ import annotations

import argparse
import os
import time

from tests.support.gitops_tool import TOOL

from gradatim.platform.binaries.addons import COREDNS, HELM, KUBECTL, KUBERAY, KUEUE, MINIO, PAUSE
from gradatim.platform.binaries.catalog import KUBE, WEAVIATE
from gradatim.platform.binaries.resolve import Settings, resolve

PROGRAMS = (KUBE, WEAVIATE, MINIO, KUBERAY, KUEUE, HELM, TOOL)
NODE = (COREDNS, KUBECTL, PAUSE)  # of the end-to-end tier alone


def main() -> None:
    """Install each program and say how long it took; what is in the cache takes no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-node", action="store_true", help="leave out what only the node cluster needs")
    tools = PROGRAMS if parser.parse_args().without_node else PROGRAMS + NODE
    settings = Settings.from_environment(os.environ)
    for tool in tools:
        started = time.monotonic()
        resolve(tool, settings, lambda _component, _message: None)
        if (seconds := time.monotonic() - started) > 1:
            print(f"{tool.name} {tool.version}: installed in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

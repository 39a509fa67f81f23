"""Installs every server the tests start, one after another, before the first of them runs.

Called by `make test` and `make test-integration`: a compiler that works beside timed waits and killed processes takes both cores from
them, and was the cause of most failures on a machine with an empty cache. A test run alone still compiles what it needs itself. Starts no
server.
"""

from __future__ import annotations

import os
import time

from tests.support.gitops_tool import TOOL

from gradatim.platform.binaries.addons import COREDNS, HELM, KUBECTL, KUBERAY, KUEUE, MINIO, PAUSE
from gradatim.platform.binaries.catalog import KUBE, WEAVIATE
from gradatim.platform.binaries.resolve import Settings, resolve

PROGRAMS = (KUBE, WEAVIATE, MINIO, KUBERAY, KUEUE, COREDNS, KUBECTL, HELM, PAUSE, TOOL)


def main() -> None:
    """Install each program and say how long it took; what is in the cache takes no time."""
    settings = Settings.from_environment(os.environ)
    for tool in PROGRAMS:
        started = time.monotonic()
        resolve(tool, settings, lambda _component, _message: None)
        if (seconds := time.monotonic() - started) > 1:
            print(f"{tool.name} {tool.version}: installed in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

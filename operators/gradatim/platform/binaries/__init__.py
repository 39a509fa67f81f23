"""The real components the local platform runs, and how to come by their programs on any machine.

Used by `gradatim.platform` and by the tests. Each sub-folder with a `go.mod` is one pinned Go module, shipped as package data.
Nothing here starts a component.
"""

from gradatim.platform.binaries.catalog import KUBE, WEAVIATE, Artifact, GoProgram, Patch, Tool
from gradatim.platform.binaries.resolve import Settings, Toolset, resolve

__all__ = ["KUBE", "WEAVIATE", "Artifact", "GoProgram", "Patch", "Settings", "Tool", "Toolset", "resolve"]

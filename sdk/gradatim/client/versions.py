"""Versions of an index: which there are, and which of them a label or a digest names. Pure."""

from __future__ import annotations

from gradatim.api.ragindex import IndexVersion, RAGIndex
from gradatim.client.errors import NotFoundError, UnsupportedError


def index_versions(index: RAGIndex) -> list[IndexVersion]:
    """Return the finished versions of an index, newest first, each once."""
    status = index.status
    if status is None:
        return []
    known = [*([status.active] if status.active else []), *status.history]
    return sorted({v.digest: v for v in reversed(known)}.values(), key=lambda v: v.created or "", reverse=True)


def find_version(index: RAGIndex, wanted: str) -> IndexVersion:
    """Return the version that a label, a digest or the start of a digest names, if it can serve.

    Raises `NotFoundError` with the labels there are, or `UnsupportedError` if the version can no longer serve.
    """
    known = index_versions(index)
    found = [v for v in known if v.label == wanted] or [
        v
        for v in known
        if len(wanted) >= 6 and v.digest.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:"))
    ]
    if len(found) != 1:
        labels = ", ".join(f"{v.label} ({v.digest.removeprefix('sha256:')[:10]})" for v in known) or "none"
        problem = "more than one version" if found else "no version"
        raise NotFoundError(f"{index.metadata.name} has {problem} called {wanted}; versions: {labels}")
    version = found[0]
    if version.collection_dropped or version.dropping:
        raise UnsupportedError(f"{version.label} was dropped from the vector store: raise spec.versions.keep in future")
    if not version.passed:
        raise UnsupportedError(f"{version.label} did not pass its gates and cannot serve")
    return version

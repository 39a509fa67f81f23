"""The kinds of the group in one table: names, scope, printer columns.

Used by CRD generation, the client, the command line and the operator. A new kind is one more row.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradatim.api.base import ReadModel
from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset
from gradatim.api.ragindex import RAGIndex


@dataclass(frozen=True, slots=True)
class Mark:
    """A word behind a cell where two paths of the object hold the same. Our own tables show it; the API server's columns cannot compare."""

    word: str
    path: str
    other: str


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `summary` is its summary condition."""

    name: str
    plural: str
    short_names: tuple[str, ...]
    model: type[ReadModel]
    namespaced: bool = True
    summary: str = "Ready"
    columns: tuple[Column, ...] = ()

    @property
    def singular(self) -> str:
        """Return the lower-case name used in commands."""
        return self.name.lower()


_STATE = Column("State", ".status.state")
_PROGRESS = Column("Progress", ".status.progressText")
_REASON = Column("Reason", ".status.reasonText")
_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_PIN = ".spec.versions.pin.digest"

KINDS: tuple[Kind, ...] = (
    Kind(
        "ComputeProfile",
        "computeprofiles",
        ("cprof",),
        ComputeProfile,
        namespaced=False,
        columns=(
            _STATE,
            Column("Runtime", ".spec.runtime.type"),
            Column("Runs", ".status.activeRuns", "integer"),
            _REASON,
            _AGE,
        ),
    ),
    Kind(
        "Dataset",
        "datasets",
        ("dset",),
        Dataset,
        columns=(
            _STATE,
            _PROGRESS,
            Column("Rows", ".status.active.rows", "integer"),
            Column("Rejected", ".status.active.rejected", "integer"),
            _REASON,
            _AGE,
        ),
    ),
    Kind(
        "RAGIndex",
        "ragindices",
        ("ridx",),
        RAGIndex,
        columns=(
            _STATE,
            _PROGRESS,
            Column("Quality", ".status.qualityText"),
            Column("Version", ".status.active.label", mark=Mark("pinned", _PIN, ".status.active.digest")),
            Column("Pin", _PIN, priority=1),
            Column("Chunks", ".status.active.chunks", "integer", priority=1),
            _REASON,
            _AGE,
        ),
    ),
)


def kind_of(name: str) -> Kind:
    """Return the kind called `name`: kind, plural, singular or short name, in any case.

    Raises `KeyError` with the known names otherwise.
    """
    wanted = name.lower()
    for kind in KINDS:
        if wanted in {kind.singular, kind.plural, *kind.short_names}:
            return kind
    raise KeyError(f"unknown kind {name!r}; known kinds: {', '.join(k.plural for k in KINDS)}")

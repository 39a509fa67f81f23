"""Metrics of an object's versions, oldest first, as a table and as a plot.

Pure but for `MetricHistory.plot`, which needs matplotlib (extra `notebook`). Built by both clients from an object's status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradatim.api.base import ReadModel
from gradatim.api.dataset import Dataset, DatasetVersion
from gradatim.api.ragindex import IndexVersion, RAGIndex
from gradatim.api.runstatus import NamedMetric
from gradatim.client.errors import MissingExtraError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class VersionMetrics:
    """What was measured of one version."""

    version: str
    digest: str
    created: str
    active: bool
    metrics: tuple[NamedMetric, ...]

    def value(self, name: str) -> NamedMetric | None:
        """Return the metric called `name`, or None if it was not measured for this version."""
        return next((m for m in self.metrics if m.name == name), None)


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """The versions of one object, oldest first."""

    object: str
    versions: tuple[VersionMetrics, ...]

    @property
    def names(self) -> list[str]:
        """Return the names of all metrics, in the order first seen."""
        return list(dict.fromkeys(m.name for v in self.versions for m in v.metrics))

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row per version and metric, for `pandas.DataFrame(history.rows())`."""
        return [
            {"version": v.version, "digest": v.digest, "created": v.created, "active": v.active}
            | {"metric": m.name, "value": m.value, "low": m.low, "high": m.high, "samples": m.samples}
            for v in self.versions
            for m in v.metrics
        ]

    def plot(self, metrics: Sequence[str] = (), *, path: str | Path | None = None) -> Figure:
        """Draw the metrics (all if none are named) over the versions with their intervals; save to `path` if given.

        Raises `MissingExtraError` without matplotlib, `NotFoundError` if a named metric was never measured.
        """
        try:
            from matplotlib.figure import Figure as NewFigure
        except ImportError as error:
            raise MissingExtraError("notebook", "plotting") from error
        chosen = list(metrics) or self.names
        if missing := [m for m in chosen if m not in self.names]:
            raise NotFoundError(f"{self.object} has no metric {', '.join(missing)}; it has: {', '.join(self.names)}")
        figure = NewFigure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        labels = [v.version for v in self.versions]
        for name in chosen:
            points = [(x, m) for x, v in enumerate(self.versions) if (m := v.value(name)) is not None]
            values = [m.value for _, m in points]
            # An interval that does not reach its value is the reporter's fault, and no reason to draw nothing.
            below = [max(0.0, m.value - (m.value if m.low is None else m.low)) for _, m in points]
            above = [max(0.0, (m.value if m.high is None else m.high) - m.value) for _, m in points]
            axes.errorbar([x for x, _ in points], values, yerr=[below, above], marker="o", capsize=3, label=name)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel("version")
        axes.set_title(self.object)
        if chosen:
            axes.legend()
        if path is not None:
            try:
                figure.savefig(path)
            except (OSError, ValueError) as error:
                raise UnsupportedError(f"the plot cannot be written to {path}: {error}") from error
        return figure


def metric_history(thing: ReadModel) -> MetricHistory:
    """Return the metrics of all versions that an object's status knows. Raises `UnsupportedError` for other kinds."""
    if isinstance(thing, RAGIndex):
        status = thing.status
        known = [*(status.history if status else []), *([status.active] if status and status.active else [])]
        active = status.active.digest if status and status.active else None
        versions = [_index_version(v, active) for v in {v.digest: v for v in known}.values()]
        return MetricHistory(f"ragindex {thing.metadata.name}", _sorted(versions))
    if isinstance(thing, Dataset):
        found = thing.status
        snapshots = [*(found.history if found else []), *([found.active] if found and found.active else [])]
        current = found.active.digest if found and found.active else None
        rows = [_dataset_version(v, current) for v in {v.digest: v for v in snapshots}.values()]
        return MetricHistory(f"dataset {thing.metadata.name}", _sorted(rows))
    raise UnsupportedError(f"a {type(thing).__name__} has no metrics")


def _sorted(versions: list[VersionMetrics]) -> tuple[VersionMetrics, ...]:
    return tuple(sorted(versions, key=lambda v: (v.created, v.version)))


def _index_version(version: IndexVersion, active: str | None) -> VersionMetrics:
    return VersionMetrics(
        version.label, version.digest, version.created or "", version.digest == active, tuple(version.metrics)
    )


def _dataset_version(version: DatasetVersion, active: str | None) -> VersionMetrics:
    counts = ("rows", "rejected", "duplicates", "contaminated")
    return VersionMetrics(
        version.digest.removeprefix("sha256:")[:10],
        version.digest,
        version.created or "",
        version.digest == active,
        tuple(NamedMetric(name=c, value=float(getattr(version, c)), samples=version.rows) for c in counts),
    )

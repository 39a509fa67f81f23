"""What a run without a cluster is given: manifests as typed objects, in the order in which they depend on each other.

Pure; used by `local`. Files are read by `manifests`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gradatim.api.build import SUITE_KEY, dataset_refs
from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset
from gradatim.api.ragindex import RAGIndex
from gradatim.client.errors import ManifestError
from gradatim.client.manifests import Manifest, typed


@dataclass(frozen=True, slots=True)
class Inputs:
    """The manifests of one call, typed. `suites` are ConfigMaps with a Great Expectations suite, by name."""

    profile: ComputeProfile | None
    datasets: dict[str, Dataset]
    indexes: dict[str, RAGIndex]
    suites: dict[str, str] = field(default_factory=dict)


def read_inputs(manifests: Iterable[Manifest]) -> Inputs:
    """Return manifests as typed inputs. Raises `ManifestError` for two of one name, `InvalidError` for a wrong one."""
    profiles: list[ComputeProfile] = []
    found = Inputs(None, {}, {})
    for manifest in manifests:
        if manifest.kind == "ConfigMap":
            found.suites[manifest.name] = str((manifest.body.get("data") or {}).get(SUITE_KEY) or "")
            continue
        if manifest.ours is None:
            continue
        thing = typed(manifest)
        known: dict[str, Any] = found.datasets if isinstance(thing, Dataset) else found.indexes
        if isinstance(thing, ComputeProfile):
            profiles.append(thing)
        elif manifest.name in known:
            raise ManifestError(f"{manifest.origin}: there are two {manifest.kind}s called {manifest.name}")
        else:
            known[manifest.name] = thing
    if len(profiles) > 1:
        raise ManifestError(f"{len(profiles)} ComputeProfiles given; a run without a cluster takes one at most")
    if not found.datasets and not found.indexes:
        raise ManifestError("there is nothing to run: no Dataset and no RAGIndex among the manifests")
    return replace(found, profile=profiles[0] if profiles else None)


def ordered(inputs: Inputs) -> list[Dataset | RAGIndex]:
    """Return the Datasets with those that others read first, then the indexes."""
    ordered: dict[str, Dataset] = {}
    waiting = dict(inputs.datasets)
    while waiting:
        ready = [n for n, d in waiting.items() if not any(ref in waiting for ref in dataset_refs(d.spec))]
        if not ready:
            raise ManifestError(f"these Datasets read each other in a circle: {', '.join(sorted(waiting))}")
        ordered |= {name: waiting.pop(name) for name in ready}
    return [*ordered.values(), *inputs.indexes.values()]

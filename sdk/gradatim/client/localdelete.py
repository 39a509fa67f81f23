"""Takes away what runs without a cluster left behind: collections in Weaviate, artifacts in the state folder, the status.

Called by `LocalBackend.delete`. Weaviate comes first, for all objects: while it does not answer the status stays, since nothing else knows
which collections are ours. What is gone already is fine. It removes nothing that the status or the object's own uid does not name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.dataset import Dataset, DatasetVersion
from gradatim.api.ragindex import IndexVersion, RAGIndex
from gradatim.client.errors import ManifestError, UnsupportedError
from gradatim.client.localstate import LocalState, prune
from gradatim.client.manifests import Manifest, typed
from gradatim.client.vectorstore import VectorAccess, drop_collections, require_answer, with_key

FILE = "file://"
Model = type[RAGIndex] | type[Dataset]
# Indexes first: until the last one is gone, what they were built from is still there.
_MODELS: dict[str, Model] = {"RAGIndex": RAGIndex, "Dataset": Dataset}


@dataclass(frozen=True, slots=True)
class LocalRemoval:
    """What was taken away of one object. `left` says in words what stays and why."""

    kind: str
    namespace: str
    name: str
    collections: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    status: bool = False
    left: tuple[str, ...] = ()

    @property
    def deleted(self) -> bool:
        """Return whether anything was there."""
        return bool(self.collections or self.artifacts or self.status)


@dataclass(frozen=True, slots=True)
class _Doomed:
    """An object and what the last run left of it, None if nothing is known."""

    kind: str
    namespace: str
    name: str
    known: Dataset | RAGIndex | None

    @property
    def collections(self) -> tuple[str, ...]:
        """Return the collections that the status names and that are not known to be gone."""
        if not isinstance(self.known, RAGIndex):
            return ()
        found = [v for v in _versions(self.known) if isinstance(v, IndexVersion) and not v.collection_dropped]
        return tuple(dict.fromkeys(v.collection for v in found))


def delete_local(
    state: LocalState, manifests: Sequence[Manifest], vectors: VectorAccess | None, platform_state: Path | None
) -> list[LocalRemoval]:
    """Remove what earlier runs of these manifests left in a state folder and in Weaviate; indexes go before Datasets.

    Without `vectors` the Weaviate is the one that the status names. Raises `UnreachableError`, `UnauthorizedError` or `ServerError` while
    one does not do its part; the state folder is untouched then.
    """
    named = _identities(manifests)
    if not state.root.is_dir():
        return [LocalRemoval(model.__name__, namespace, name) for model, namespace, name in named]
    with state.locked():
        doomed = [_Doomed(m.__name__, ns, name, state.read(m, ns, name)) for m, ns, name in named]
        known = _of_profiles(state, manifests)
        _drop([(vectors or _loaded_into(index, known, platform_state), names) for index, names in _loaded(doomed)])
        return [_forget(state, thing) for thing in doomed]


def _identities(manifests: Iterable[Manifest]) -> list[tuple[Model, str, str]]:
    """Return type, namespace and name of every Dataset and RAGIndex, each once, indexes first. Raises `ManifestError`."""
    named = dict.fromkeys((m.kind, m.namespace or "default", m.name) for m in manifests if m.ours is not None)
    found = [(model, ns, name) for kind, model in _MODELS.items() for k, ns, name in named if k == kind]
    if not found:
        raise ManifestError("there is nothing to delete: no Dataset and no RAGIndex among the manifests")
    for part in (part for _, *names in found for part in names):
        if part in {"", ".", ".."} or "/" in part:  # they become folders
            raise ManifestError(f"{part!r} is no name of an object")
    return found


def _loaded(doomed: Iterable[_Doomed]) -> list[tuple[RAGIndex, tuple[str, ...]]]:
    return [(d.known, d.collections) for d in doomed if isinstance(d.known, RAGIndex) and d.collections]


def _of_profiles(state: LocalState, manifests: Iterable[Manifest]) -> list[VectorAccess]:
    """Return what ComputeProfiles among the manifests tell about a Weaviate: with which key one gets in."""
    things = [typed(m) for m in manifests if m.kind == "ComputeProfile" and m.ours is not None]
    found = [VectorAccess.of_profile(t.spec, state.secrets) for t in things if isinstance(t, ComputeProfile)]
    return [access for access in found if access is not None]


def _loaded_into(index: RAGIndex, known: Iterable[VectorAccess], platform_state: Path | None) -> VectorAccess:
    """Return the Weaviate that an index was last loaded into, with the key that is known for it."""
    status = index.status
    if status is None or status.endpoint is None:
        problem = f"the status of ragindex {index.metadata.name} does not say which Weaviate its collections are in"
        raise UnsupportedError(problem, hint="name it with --weaviate")
    found = VectorAccess.of_address(status.endpoint, status.grpc_endpoint)
    return next((v for v in known if v.is_at(found)), None) or with_key(found, platform_state)


def _drop(loaded: Sequence[tuple[VectorAccess, Sequence[str]]]) -> None:
    """Delete the collections of all objects; every Weaviate is asked before the first one goes."""
    for vectors in {v.config.endpoint: v for v, _ in loaded}.values():
        require_answer(vectors)
    for vectors, collections in loaded:
        drop_collections(vectors, collections)


def _forget(state: LocalState, thing: _Doomed) -> LocalRemoval:
    """Remove artifacts and then the status, which tells of them: what is cut off can be done again."""
    folder = state.artifacts_of(thing.kind, thing.namespace, thing.name)
    own = {state.uid(thing.kind, thing.namespace, thing.name)}
    if thing.known is not None and thing.known.metadata.uid:
        own.add(thing.known.metadata.uid)
    try:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        mine = [path for path in inside if path.name in own]
        for path in mine:
            shutil.rmtree(path)
        prune(folder, state.store)
        known = state.remove(thing.kind, thing.namespace, thing.name)
    except OSError as error:
        raise UnsupportedError(f"{thing.kind} {thing.name} cannot be removed from {state.root}: {error}") from error
    others = [f"{path}: not made by runs of this folder" for path in inside if path not in mine]
    return LocalRemoval(
        kind=thing.kind,
        namespace=thing.namespace,
        name=thing.name,
        collections=thing.collections,
        artifacts=tuple(map(str, mine)),
        status=known,
        left=(*others, *(f"{uri}: outside the state folder" for uri in _outside(state, thing.known))),
    )


def _outside(state: LocalState, known: Dataset | RAGIndex | None) -> list[str]:
    """Return where artifacts lie that a ComputeProfile had put elsewhere, as far as that can be told from here."""
    if known is None:
        return []
    # All versions of one object lie in its folder, which is told instead of each of them.
    found = dict.fromkeys(_folder(version.uri, known.metadata.uid or "") for version in _versions(known))
    return [uri for uri in found if not uri.startswith(f"{FILE}{state.store}/") and _may_exist(uri)]


def _folder(uri: str, uid: str) -> str:
    head, between, _ = uri.partition(f"/{uid}/")
    return head + between


def _may_exist(uri: str) -> bool:
    # Nothing is decoded, as in the store.
    return not uri.startswith(FILE) or Path(uri.removeprefix(FILE)).exists()


def _versions(known: Dataset | RAGIndex) -> list[DatasetVersion | IndexVersion]:
    """Return every version that the status names."""
    status = known.status
    if status is None:
        return []
    found: list[DatasetVersion | IndexVersion] = [*status.history]
    return [status.active, *found] if status.active else found

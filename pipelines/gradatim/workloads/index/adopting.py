"""What an index takes over from an object of its name that is gone: vectors of texts that it has itself, and nothing else.

Opened once per build, before anything is parsed, where the run config says `adoptFrom`. Texts, chunks and metadata come from the sources as
ever; only a vector whose key is that of a chunk is taken, so that what lies in the old folder can make no text appear or vanish. The folder is
read and never written. Nothing usable there is a failure, never a reason to embed everything after all: that would cost what was to be saved.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gradatim.api.reasons import Reason
from gradatim.api.run import object_path
from gradatim.api.runstatus import Failure
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import StoreError, WorkloadError
from gradatim.workloads.index.artifact import CHUNKS_FILE, MANIFEST, Artifact, ArtifactManifest, version_path
from gradatim.workloads.index.identity import VersionHash
from gradatim.workloads.index.reading import ParquetRows, VectorLibrary, Vectors, vectors_of
from gradatim.workloads.index.tables import KEY_BYTES

log = logging.getLogger("gradatim.workloads")

MAX_VERSIONS = 10
_NORM_TOLERANCE = 0.01
_WAY_OUT = "correct versions.adoptFrom.uid, or remove adoptFrom to embed everything"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a vector must fit: the encoder's digest, the length of its vectors, and whether they have length one."""

    encoder: str
    dimension: int
    normalize: bool


@dataclass(frozen=True, slots=True)
class Adopted:
    """The vectors of `uid` that may be taken."""

    uid: str
    library: VectorLibrary

    def covered(self, ctx: RunContext, parts: list[str]) -> int:
        """Return how many chunks of the parts have a vector here. Raises WorkloadError User/AdoptionFailed for none at all."""
        found = 0
        for part in parts:
            ctx.check_stop()
            keys = pq.read_table(ctx.store.open_input(part), columns=["key"]).column("key").to_pylist()
            found += sum(key in self.library for key in keys)
        if not found:
            raise _failed(
                f"none of the chunks has a vector among those of {self.uid}: the sources, the chunking or the release that cuts "
                f"are others now; {_WAY_OUT}"
            )
        return found


def open_adopted(ctx: RunContext, uid: str, wanted: Wanted) -> Adopted:
    """Open the finished versions of the object `uid`, the newest first. Raises WorkloadError User/AdoptionFailed when none is usable.

    A store that does not answer raises as ever: it proves nothing, and another attempt may find what is there.
    """
    folder = object_path(ctx.config.object.kind, ctx.config.object.name, uid)
    try:
        found = versions_of(ctx, folder)
    except StoreError as error:  # a link that leads elsewhere
        raise _failed(f"there is nothing to adopt: {error}; {_WAY_OUT}") from error
    if not found:
        raise _failed(f"there is nothing to adopt: {ctx.store.uri(folder)} has no finished version; {_WAY_OUT}")
    library, refused = VectorLibrary(), list[str]()
    for path in found:
        ctx.check_stop()
        try:
            _add(ctx, Artifact(ctx.store, path), folder, wanted, library)
        except MemoryError:  # Arrow's is an ArrowException too, and says nothing about the version
            raise
        except (StoreError, pa.ArrowException, KeyError) as error:
            refused.append(f"{path.rpartition('/')[2]}: {error}")
        except OSError as error:
            # Arrow says so too of a file of this machine that is damaged inside; from afar it is the store that failed.
            if not ctx.store.local or error.errno is not None:
                raise
            refused.append(f"{path.rpartition('/')[2]}: {error}")
    for text in refused:
        log.warning("not adopted: %s", text)
    if len(refused) == len(found):
        raise _failed(f"no version of {ctx.store.uri(folder)} can be adopted: {'; '.join(refused[:3])}; {_WAY_OUT}")
    log.info("%d versions of %s lend vectors", len(found) - len(refused), uid)
    return Adopted(uid, library)


def versions_of(ctx: RunContext, folder: str) -> list[str]:
    """Return the folders of the versions with a manifest, the newest first, at most ten."""
    inside = f"{folder}/versions/"
    manifests = [path for path in ctx.store.list(inside) if path.removeprefix(inside).split("/")[1:] == [MANIFEST]]
    newest = sorted(manifests, key=lambda path: (-ctx.store.modified(path), path))
    return [path.rpartition("/")[0] for path in newest[:MAX_VERSIONS]]


def _add(ctx: RunContext, artifact: Artifact, folder: str, wanted: Wanted, library: VectorLibrary) -> None:
    manifest = artifact.manifest()
    if artifact.path != version_path(folder, manifest.digest):
        raise StoreError("its manifest names another version")
    if (manifest.encoder_digest, manifest.dimension) != (wanted.encoder, wanted.dimension):
        raise StoreError(f"it comes from another encoder ({manifest.encoder_digest[:19]}, now {wanted.encoder[:19]})")
    rows = ParquetRows(ctx.store, artifact.file(CHUNKS_FILE))
    library.add(rows, _sound_rows(ctx, rows, manifest, wanted))


def _sound_rows(
    ctx: RunContext, rows: ParquetRows, manifest: ArtifactManifest, wanted: Wanted
) -> npt.NDArray[np.bool_]:
    """Return which rows have a vector that can be one. Raises StoreError for chunks that are not those of the manifest."""
    key, vector = pa.binary(KEY_BYTES), pa.list_(pa.float32(), wanted.dimension)
    types = {name: rows.schema.field(name).type for name in ("key", "vector")}
    if types != {"key": key, "vector": vector} or rows.rows != manifest.chunks:
        raise StoreError(f"{CHUNKS_FILE} is not that of a finished version")
    named, sound = VersionHash(manifest.resolved_digest), [np.empty(0, dtype=np.bool_)]
    for table in rows.groups(["id", "vector"]):
        ctx.check_stop()
        if any(column.null_count for column in table.columns):
            raise StoreError(f"{CHUNKS_FILE} has rows without id or vector")
        named.add(map(str, table.column("id").to_pylist()))
        sound.append(_sound(vectors_of(table.column("vector")), normalize=wanted.normalize))
    if named.digest() != manifest.digest:
        raise StoreError("its chunks are not those that its digest stands for")
    return np.concatenate(sound)


def _sound(vectors: Vectors, *, normalize: bool) -> npt.NDArray[np.bool_]:
    finite = np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)
    if not normalize:
        return finite
    length = np.linalg.norm(np.where(finite[:, None], vectors, 0.0), axis=1)
    return np.asarray(np.abs(length - 1.0) < _NORM_TOLERANCE, dtype=np.bool_)


def _failed(message: str) -> WorkloadError:
    return WorkloadError(Failure.USER, Reason.ADOPTION_FAILED, message)

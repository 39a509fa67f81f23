"""Brings the encoder's files to the node of a worker: once per node, into a cache keyed by their digest.

The driver alone fetches from a hub or a store, because it alone has the secrets; every other node copies from the driver, through Ray. Called by
the worker before it loads a tokenizer or an encoder. A copy counts only when its digest is the one that the Run resolved.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gradatim.rag.embed.files import MODEL_SUFFIXES, ModelFiles, digest
from gradatim.rag.embed.load import MAX_BYTES, MAX_FILES
from gradatim.rag.embed.options import EncoderError
from gradatim.workloads.executor import DriverFiles, Place

log = logging.getLogger("gradatim.workloads")

CACHE_BYTES = 32 << 30  # of all models of a node together; the one that is needed is kept whatever its size
SPARE_BYTES = 256 << 20  # left free on the node's disk
_TURNS, _TURN_SECONDS = 300, 0.2


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model's files on the driver's machine: names below `folder` with their sizes, and the digest over them.

    `everywhere` says that other nodes may have the same folder: a mounted volume, or a package of the image.
    """

    folder: Path
    transformer: str
    digest: str
    files: tuple[tuple[str, int], ...]
    everywhere: bool = False

    @classmethod
    def of(cls, model: ModelFiles, *, everywhere: bool = False) -> ModelAt:
        """Return what other nodes must know of a model that was read here."""
        found = sorted(file for file in model.path.rglob("*") if file.is_file() and file.suffix in MODEL_SUFFIXES)
        files = tuple((file.relative_to(model.path).as_posix(), file.stat().st_size) for file in found)
        transformer = model.transformer.relative_to(model.path.resolve()).as_posix()
        return cls(model.path, transformer, model.digest, files, everywhere)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


class Weights:
    """A model on this node. Keep it as long as the files are in use: the cache drops what nobody holds."""

    def __init__(self, folder: Path, transformer: str, hold: BinaryIO | None = None) -> None:
        self.folder = folder
        self.transformer = folder / transformer
        self._hold = hold

    def close(self) -> None:
        """Let the cache drop the model."""
        if self._hold is not None:
            self._hold.close()


def weights_at(model: ModelAt, place: Place, cache: Path | None = None) -> Weights:
    """Return the model on the node of `place`, copied there if need be. Raises EncoderError, or OSError where the disk is full."""
    if place.driver is None:
        return Weights(model.folder, model.transformer)
    if model.everywhere and model.folder.is_dir() and digest(model.folder) == model.digest:
        return Weights(model.folder, model.transformer)
    root = cache or Path(tempfile.gettempdir(), f"gradatim-models-{os.getuid()}")
    return NodeCache(root, place.node or "").get(model, place.driver)


@dataclass(frozen=True, slots=True)
class NodeCache:
    """Models below `root` by digest. A model in use is held by a shared lock, one that is written or removed by an exclusive one."""

    root: Path
    node: str
    limit: int = CACHE_BYTES

    def get(self, model: ModelAt, driver: DriverFiles) -> Weights:
        """Return the model, copying it if no worker of this node has yet; others wait for the one that copies."""
        self._own_root()
        folder = self.root / model.digest
        hold = (self.root / f"{model.digest}.lock").open("ab")
        try:
            self._held(model, driver, folder, hold)
        except BaseException:
            hold.close()
            raise
        return Weights(folder, model.transformer, hold)

    def _held(self, model: ModelAt, driver: DriverFiles, folder: Path, hold: BinaryIO) -> None:
        """Return once `folder` is the model and `hold` a shared lock on it."""
        for _ in range(_TURNS):
            fcntl.flock(hold, fcntl.LOCK_SH)
            if folder.is_dir() and digest(folder) == model.digest:
                os.utime(hold.fileno())
                return
            try:
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_TURN_SECONDS)  # another worker copies: its lock is waited for above
                continue
            # It may have been copied between the two locks.
            if not folder.is_dir() or digest(folder) != model.digest:
                self._copy(model, driver, folder)
        text = f"{folder} on node {self.node} is damaged and in use by another Run; stop that Run or remove the folder"
        raise EncoderError(text)

    def _copy(self, model: ModelAt, driver: DriverFiles, folder: Path) -> None:
        _check(model)
        partial = folder.with_suffix(".part")
        for old in (folder, partial):
            shutil.rmtree(old, ignore_errors=True)
        self._make_room(model)
        log.info("copying the encoder, %d bytes in %d files, to node %s", model.size, len(model.files), self.node)
        try:
            for name, size in model.files:
                _copy_file(driver.read(model.folder / name), partial / name, size)
            self._accept(partial, model)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _accept(self, partial: Path, model: ModelAt) -> None:
        if digest(partial) != model.digest:
            text = f"the copy of the encoder on node {self.node} is not what the driver has; request a new Run"
            raise EncoderError(text)

    def _make_room(self, model: ModelAt) -> None:
        """Remove models that nobody uses, longest unused first, while there is too much or the disk too full.

        What a killed worker left of a copy goes in any case: nobody can use it, and its model may never be wanted again.
        """
        for partial in self.root.glob("*.part"):
            with _unused(partial.with_suffix(".lock")) as unused:
                if unused:
                    shutil.rmtree(partial, ignore_errors=True)
        locks = sorted(self.root.glob("*.lock"), key=lambda lock: lock.stat().st_mtime)
        others = [lock.with_suffix("") for lock in locks if lock.stem != model.digest and lock.with_suffix("").is_dir()]
        sizes = {folder: sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) for folder in others}
        total = sum(sizes.values())
        for folder in others:
            if total + model.size <= self.limit and self._free() >= model.size + SPARE_BYTES:
                return
            with _unused(folder.with_suffix(".lock")) as unused:
                if unused:
                    shutil.rmtree(folder, ignore_errors=True)
                    total -= sizes[folder]
        free = self._free()
        if free < model.size + SPARE_BYTES:
            text = f"the encoder needs {model.size} bytes on node {self.node}, where {free} are free; give the node more disk"
            raise OSError(errno.ENOSPC, text, str(self.root))

    def _free(self) -> int:
        return shutil.disk_usage(self.root).free

    def _own_root(self) -> None:
        """Refuse a folder that somebody else made under the name of ours: all users of a machine may write to its temporary folder."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.root.lstat()
        if self.root.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise EncoderError(f"{self.root} on node {self.node} does not belong to this user alone; remove it")


def _copy_file(pieces: Iterable[bytes], target: Path, size: int) -> None:
    """Write a file; one that turns out longer than it was is cut off, and the digest refuses it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as sink:
        for piece in pieces:
            sink.write(piece)
            if sink.tell() > size:
                return


def _check(model: ModelAt) -> None:
    if len(model.files) > MAX_FILES or model.size > MAX_BYTES:
        raise EncoderError(
            f"the encoder has {len(model.files)} files of {model.size} bytes; a model has at most {MAX_FILES} and {MAX_BYTES}"
        )
    for name, _ in model.files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise EncoderError(f"the name {name!r} leads out of the model")


@contextlib.contextmanager
def _unused(lock: Path) -> Iterator[bool]:
    """Hold a model's exclusive lock inside the block; False where it is in use."""
    with lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

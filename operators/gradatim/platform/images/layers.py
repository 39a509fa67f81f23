"""Finished layers in the cache: blobs by digest, and a small record by key that says which blob to reuse.

Called by `build` under the cache's lock. A blob appears under one rename; blobs that no record names any more are removed when a new
one is added, because one stack of torch takes gigabytes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gradatim.platform.images.layout import blob
from gradatim.platform.images.oci import Layer
from gradatim.platform.images.tarlayer import Written

# Records of lock files that nobody builds any more; a branch that is built again within the time finds its layers.
_KEPT_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True)
class Store:
    """The layers below one cache folder."""

    cache: Path

    def find(self, key: str) -> Layer | None:
        """Return the layer made for a key, if its blob is still whole, and note that it was used."""
        path = self._record(key)
        try:
            layer = Layer(**json.loads(path.read_bytes()))
            if blob(self.cache, layer.digest).stat().st_size != layer.size:
                return None
        except (OSError, ValueError, TypeError):
            return None
        os.utime(path)
        return layer

    def add(self, name: str, key: str, write: Callable[[IO[bytes]], Written]) -> Layer:
        """Write a layer and remember it under its key; without key it is kept until the next layer is added."""
        blobs = self.cache / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        self._sweep()
        descriptor, partial = tempfile.mkstemp(suffix=".partial", dir=blobs)
        try:
            with os.fdopen(descriptor, "wb") as out:
                written = write(out)
            Path(partial).chmod(0o644)
            Path(partial).rename(blob(self.cache, written.digest))
        finally:
            Path(partial).unlink(missing_ok=True)
        layer = Layer(name, written.digest, written.size, written.parts)
        if key:
            self._record(key).write_text(json.dumps(vars(layer)))
        return layer

    def root(self, key: str) -> Path:
        """Return where the root file system for a key lies or will lie; others that nobody used for long are removed."""
        chosen = self.cache / "roots" / key
        if chosen.is_dir():
            os.utime(chosen)
        for other in chosen.parent.glob("*"):
            if other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
        return chosen

    def _record(self, key: str) -> Path:
        return self.cache / "blobs" / f"{key}.json"

    def _sweep(self) -> None:
        used, limit = set(), time.time() - _KEPT_SECONDS
        for path in (self.cache / "blobs").glob("*.json"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
                    continue
                used.add(json.loads(path.read_bytes())["digest"].removeprefix("sha256:"))
            except (OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
        for path in (self.cache / "blobs" / "sha256").iterdir():
            if path.name not in used:
                path.unlink()

"""What runs without a cluster remember: one JSON file per object, and a lock so that one run at a time uses a folder.

The files hold manifest and status, as a cluster would; artifacts lie beside them. Used by runs without a cluster, by what takes them away
again, and by queries.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from gradatim.api.base import ReadModel
from gradatim.api.meta import GROUP
from gradatim.api.run import object_path
from gradatim.client.errors import ConflictError, ManifestError, UnsupportedError

M = TypeVar("M", bound=ReadModel)
ANNOTATION_RUNS = f"{GROUP}/local-runs"


@dataclass(frozen=True, slots=True)
class LocalState:
    """A folder of runs without a cluster."""

    root: Path

    @property
    def store(self) -> Path:
        """Return the artifact store's folder; namespaces lie below it."""
        return self.root / "artifacts"

    @property
    def secrets(self) -> Path:
        """Return the folder in which workloads find secrets: `<name>/<key>`."""
        return self.root / "secrets"

    def prepare(self) -> None:
        """Make the folders."""
        try:
            for folder in (self.root, self.store, self.secrets):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnsupportedError(
                f"the state folder cannot be made: {error}", hint="choose one with --state"
            ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder. Raises `ConflictError` if another run uses it."""
        try:
            import fcntl
        except ImportError as error:
            raise UnsupportedError("runs without a cluster need Linux or macOS") from error
        with (self.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                text = f"another run uses {self.root}"
                raise ConflictError(text, hint="wait for it, or choose another folder with --state") from error
            yield

    def uid(self, kind: str, namespace: str, name: str) -> str:
        """Return the object's uid: the same in every run of this folder, another one elsewhere."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.root.resolve()}/{kind}/{namespace}/{name}"))

    def read(self, model: type[M], namespace: str, name: str) -> M | None:
        """Return an object as the last run left it, or None if it never ran here."""
        path = self._path(model.__name__, namespace, name)
        try:
            return model.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ManifestError(f"{path} is damaged: {error}", hint="delete it to start afresh") from error

    def write(self, thing: ReadModel, namespace: str, name: str) -> None:
        """Replace an object's file as a whole."""
        path = self._path(type(thing).__name__, namespace, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(thing.to_manifest(), indent=1, ensure_ascii=False))
        new.replace(path)

    def remove(self, kind: str, namespace: str, name: str) -> bool:
        """Remove an object's file, and folders that are empty without it; returns whether it was there."""
        path = self._path(kind, namespace, name)
        there = path.exists()
        path.unlink(missing_ok=True)
        path.with_suffix(".new").unlink(missing_ok=True)
        prune(path.parent, self.root)
        return there

    def artifacts_of(self, kind: str, namespace: str, name: str) -> Path:
        """Return the folder in which the objects of this name have theirs: one per uid, as in every artifact store."""
        return self.store / namespace / Path(object_path(kind, name, "uid")).parent

    def _path(self, kind: str, namespace: str, name: str) -> Path:
        return self.root / "objects" / kind.lower() / namespace / f"{name}.json"


def prune(folder: Path, top: Path) -> None:
    """Remove a folder and those above it, below `top`, as far as they are empty."""
    with contextlib.suppress(OSError):  # not empty, or never there
        while folder != top:
            folder.rmdir()
            folder = folder.parent

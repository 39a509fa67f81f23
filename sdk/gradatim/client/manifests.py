"""Turns what users have (YAML files, folders, standard input, mappings, typed objects) into manifests.

Used by apply and by runs without a cluster. It reads files and checks shapes; whether the content is valid is the API server's to say, or
the types' where there is no server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradatim.api.base import ApiModel
from gradatim.api.kinds import KINDS, Kind
from gradatim.api.meta import GROUP
from gradatim.client.errors import FieldCause, InvalidError, ManifestError, UnknownKindError
from gradatim.client.suggest import with_near_fields

_SUFFIXES = {".yaml", ".yml", ".json"}
_ORDER = ("Namespace", "CustomResourceDefinition", "Secret", "ConfigMap", "ComputeProfile", "Dataset", "RAGIndex")
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as written. `origin` names file and document for messages."""

    body: Mapping[str, Any]
    origin: str

    @property
    def kind(self) -> str:
        """Return the kind's name."""
        return str(self.body["kind"])

    @property
    def api_version(self) -> str:
        """Return group and version."""
        return str(self.body["apiVersion"])

    @property
    def name(self) -> str:
        """Return the object's name."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """Return the namespace, if the manifest says one."""
        found = self.body["metadata"].get("namespace")
        return str(found) if found else None

    @property
    def ours(self) -> Kind | None:
        """Return the kind of this release that it is, or None for another API's object."""
        if self.api_version.split("/")[0] != GROUP:
            return None
        return next((k for k in KINDS if k.name == self.kind), None)

    def with_namespace(self, namespace: str) -> Manifest:
        """Return a copy that lies in `namespace` unless it says another."""
        if self.namespace is not None:
            return self
        return Manifest({**self.body, "metadata": {**self.body["metadata"], "namespace": namespace}}, self.origin)


def read_manifests(where: str | Path) -> list[Manifest]:
    """Return the manifests of a file, of all YAML and JSON files of a folder (not below it), or of standard input (`-`).

    They come in the order in which they can be applied. Raises `ManifestError` that names file and document.
    """
    if str(where) == "-":
        found = list(_documents(sys.stdin.read(_MAX_BYTES), "standard input"))
    else:
        path = Path(where).expanduser()
        found = [m for file in _files(path) for m in _documents(_text(file), str(file))]
    if not found:
        raise ManifestError(f"{where} holds no manifest")
    return in_order(found)


def in_order(manifests: list[Manifest]) -> list[Manifest]:
    """Return the manifests with what others refer to first, otherwise as they were."""
    rank = {kind: number for number, kind in enumerate(_ORDER)}
    return sorted(manifests, key=lambda m: rank.get(m.kind, _ORDER.index("ComputeProfile")))


def manifest_of(thing: ApiModel | Mapping[str, Any]) -> Manifest:
    """Return the manifest of a typed object or a mapping. Raises `ManifestError`."""
    if isinstance(thing, ApiModel):
        return Manifest(thing.to_manifest(), f"{type(thing).__name__} object")
    return _checked(thing, "mapping")


def typed(manifest: Manifest) -> ApiModel:
    """Return the typed object of a manifest, checked by the types. Raises `InvalidError` or `UnknownKindError`."""
    kind = manifest.ours
    if kind is None:
        raise UnknownKindError(
            f"{manifest.origin}: {manifest.api_version} {manifest.kind} is not a kind of this release"
        )
    return parsed(kind, manifest.body, manifest.origin)


def parsed(kind: Kind, body: Mapping[str, Any], origin: str) -> ApiModel:
    """Return `body` as the kind's type. Raises `InvalidError` that names every wrong field."""
    try:
        return kind.model.model_validate(body)
    except ValidationError as error:
        causes = tuple(FieldCause(_field(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in error.errors())
        raise InvalidError(f"{origin}: {kind.name} is not valid", with_near_fields(causes, kind.model)) from error


def _field(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


_SERVER_OWNED = frozenset(
    {"managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp", "selfLink"}
)


def desired(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user decides: neither status nor what the server keeps in metadata."""
    meta = {k: v for k, v in body["metadata"].items() if k not in _SERVER_OWNED and v not in ({}, [], None)}
    rest = {k: v for k, v in body.items() if k not in {"apiVersion", "kind", "metadata", "status"}}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, **rest}


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    return [path]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB: that is no manifest")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error


def _documents(text: str, origin: str) -> Iterator[Manifest]:
    import yaml  # slow to import, and typed objects need none

    try:
        for number, body in enumerate(yaml.safe_load_all(text), start=1):
            where = f"{origin} (document {number})"
            if body is None:
                continue
            if isinstance(body, dict) and body.get("kind") == "List" and isinstance(body.get("items"), list):
                yield from (_checked(item, where) for item in body["items"])
            else:
                yield _checked(body, where)
    except yaml.YAMLError as error:
        raise ManifestError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error


def _checked(body: object, origin: str) -> Manifest:
    if not isinstance(body, Mapping):
        raise ManifestError(f"{origin} is not a mapping")
    meta = body.get("metadata")
    for key, found in (("apiVersion", body.get("apiVersion")), ("kind", body.get("kind"))):
        if not isinstance(found, str) or not found:
            raise ManifestError(f"{origin} has no {key}")
    if not isinstance(meta, Mapping) or not isinstance(meta.get("name"), str):
        raise ManifestError(f"{origin} has no metadata.name")
    return Manifest(body, origin)

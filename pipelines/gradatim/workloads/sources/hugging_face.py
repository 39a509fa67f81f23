"""Data files of a data set on a Hugging Face hub, at a full commit: the `huggingFace` source.

Only data files are read (Parquet, JSON lines, csv, text): never a script. Which files make a config and split is taken from the card's
`configs`, or from the names of folders and files. The hub's address is `HF_ENDPOINT`, a choice of the platform.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from gradatim.api.common import HuggingFaceSource
from gradatim.rag.plainyaml import YamlError, load
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.sources.base import Listing, SourceFile, listing, refused, unreachable
from gradatim.workloads.sources.globs import matches

DATA_SUFFIXES = frozenset({".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt"})
MAX_CARD_BYTES = 1 << 20
MAX_PATTERNS, MAX_PATTERN_CHARS = 256, 1024  # of a card; every file is held against all of them
# White space ends with its line: over several lines it would be tried once for each of them.
_FRONT_MATTER = re.compile(r"---[^\S\n]*\n(.*?)\n---[^\S\n]*(\n|$)", re.DOTALL)
_HTTP_ERRORS: tuple[type[Exception], ...] = tuple(
    base for base in HfHubHTTPError.__mro__ if issubclass(base, Exception) and base not in {Exception, OSError}
)
# The hub's client brings an HTTP library of its own choice; the base of its errors covers dead connections too.
_FAULTS: tuple[type[Exception], ...] = (
    *_HTTP_ERRORS,
    OfflineModeIsEnabled,
    EntryNotFoundError,
    LocalEntryNotFoundError,
)
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


@dataclass(frozen=True, slots=True)
class HubAccess:
    """What the hub needs besides the spec. `token` empty means anonymous, never the machine's own login."""

    scratch: Path
    endpoint: str
    token: str
    limit: int


def list_hub(source: str, spec: HuggingFaceSource, access: HubAccess) -> Listing:
    """List the data files of the config and split."""
    api = HfApi(endpoint=access.endpoint, token=access.token or False)
    try:
        tree = api.list_repo_tree(spec.repo, recursive=True, revision=spec.revision, repo_type="dataset")
        found = {item.path: item for item in tree if isinstance(item, RepoFile)}
        card = _card(spec, access) if "README.md" in found else {}
    except _FAULTS as error:
        raise _mapped(source, spec.repo, error) from error
    chosen = choose(sorted(found), card, spec.config, spec.split)
    files = []
    for path in chosen:
        item = found[path]
        version = f"lfs:{item.lfs.sha256}" if item.lfs else f"git:{item.blob_id}"
        opener = _opener(source, spec, access, path)
        files.append(SourceFile(source, path, item.size, version, access.limit, opener, exact=True))
    return listing(source, files, revision=spec.revision)


def choose(paths: Iterable[str], card: dict[str, Any], config: str, split: str) -> list[str]:
    """Return the data files of a config and split.

    The card's `configs` decide where they exist; otherwise files below a folder named as the config (any for `default`) whose name or
    folder carries the split's word, and for `train` all data files when none carries the word of any split.
    """
    data = [path for path in paths if PurePosixPath(path).suffix.lower() in DATA_SUFFIXES and not path.startswith(".")]
    declared = card.get("configs")
    if isinstance(declared, list) and declared:
        patterns = _declared(declared, config, split)
        bounded = [pattern for pattern in patterns if len(pattern) <= MAX_PATTERN_CHARS][:MAX_PATTERNS]
        return [path for path in data if matches(path, bounded)]
    below = data if config == "default" else [path for path in data if config in PurePosixPath(path).parts[:-1]]
    named = [path for path in below if _carries(path, _SPLIT_WORDS.get(split, (split,)))]
    words = [word for names in _SPLIT_WORDS.values() for word in names]
    if not named and split == "train" and not any(_carries(path, words) for path in below):
        return below
    return named


def _declared(declared: list[Any], config: str, split: str) -> list[str]:
    for entry in declared:
        if not isinstance(entry, dict) or entry.get("config_name") != config:
            continue
        files = entry.get("data_files", [])
        if isinstance(files, str):
            return [files] if split == "train" else []
        patterns: list[str] = []
        for item in files if isinstance(files, list) else []:
            if isinstance(item, str):
                patterns += [item] if split == "train" else []
            elif isinstance(item, dict) and item.get("split") == split:
                path = item.get("path", [])
                patterns += [each for each in (path if isinstance(path, list) else [path]) if isinstance(each, str)]
        return patterns
    return []


def _carries(path: str, words: Iterable[str]) -> bool:
    parts = re.split(r"[^a-z0-9]+", path.lower())
    return any(word.lower() in parts for word in words)


def _card(spec: HuggingFaceSource, access: HubAccess) -> dict[str, Any]:
    text = Path(_fetch(spec, access, "README.md")).read_bytes()[:MAX_CARD_BYTES].decode("utf-8", "replace")
    return front_matter(text)


def front_matter(card: str) -> dict[str, Any]:
    """Return what a card says to machines; empty where that cannot be read."""
    found = _FRONT_MATTER.match(card)
    if not found:
        return {}
    try:
        values = load(found.group(1))
    except YamlError:
        return {}
    return values if isinstance(values, dict) else {}


def _fetch(spec: HuggingFaceSource, access: HubAccess, path: str) -> str:
    return str(
        hf_hub_download(
            spec.repo, path, repo_type="dataset", revision=spec.revision, cache_dir=access.scratch / "hub",
            endpoint=access.endpoint, token=access.token or False,
        )
    )  # fmt: skip


def _opener(source: str, spec: HuggingFaceSource, access: HubAccess, path: str) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        try:
            return cast("BinaryIO", Path(_fetch(spec, access, path)).open("rb"))
        except _FAULTS as error:
            raise _mapped(source, f"{spec.repo}/{path}", error) from error

    return opened


def _mapped(source: str, what: str, error: Exception) -> WorkloadError:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    if isinstance(error, GatedRepoError) or status in {401, 403}:
        return refused(source, f"{what}: the hub asks for credentials")
    if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)) or status == 404:
        return unreachable(source, f"{what} or its revision is not on the hub", transient=False)
    return unreachable(source, f"{what}: {type(error).__name__}: {str(error)[:300]}")

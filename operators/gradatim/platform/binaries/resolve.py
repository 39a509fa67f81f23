"""Come by a component's programs: explicit path, cache, official release, compile.

Called by `gradatim.platform` before it starts anything, and by tests. The order is fixed and each step says what it does through
the progress callback; an installation appears in the cache under one rename, so that a killed process leaves nothing to trip over.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform as host
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gradatim.platform.binaries import download, gobuild
from gradatim.platform.binaries.catalog import Tool
from gradatim.platform.dirs import cache_dir
from gradatim.platform.errors import BinaryError, DownloadError

_MANIFEST = "manifest.json"
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Settings:
    """Where to look. `env` is also what the Go command runs with."""

    cache: Path
    platform: str
    env: Mapping[str, str]

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Return the settings of this machine."""
        machine = _MACHINES.get(host.machine().lower(), host.machine().lower())
        return cls(cache_dir(env), f"{host.system().lower()}-{machine}", env)

    def explicit(self, tool: Tool) -> str | None:
        """Return the path the user gave for a tool, as `GRADATIM_BIN_<NAME>`."""
        return self.env.get(f"GRADATIM_BIN_{tool.name.upper()}")


@dataclass(frozen=True)
class Toolset:
    """Installed programs: a folder with one file per program, or one multi-call binary."""

    location: Path
    single: bool
    version: str

    def argv(self, program: str) -> list[str]:
        """Return how to call one program, without its arguments."""
        if self.location.is_dir():
            return [str(self.location / program)]
        return [str(self.location)] if self.single else [str(self.location), program]


def resolve(tool: Tool, settings: Settings, progress: Callable[[str, str], None]) -> Toolset:
    """Return the tool's programs, installing them first where needed.

    Raises BinaryError when an explicit path is no program, or when nothing can be downloaded and Go cannot compile it.
    """
    single = len(tool.programs) == 1
    if explicit := settings.explicit(tool):
        return Toolset(_checked(tool, Path(explicit).expanduser().absolute()), single, "explicit")
    if found := _cached(tool, settings):
        return Toolset(found, single, tool.version)
    settings.cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.cache / f"{tool.name}.lock")
    while True:
        try:
            lock.acquire(timeout=5)
            break
        except Timeout:
            progress(tool.name, "waiting for another process that is preparing it")
    try:
        found = _cached(tool, settings) or _install(tool, settings, progress)
    finally:
        lock.release()
    return Toolset(found, single, tool.version)


def _checked(tool: Tool, path: Path) -> Path:
    wanted = [path / name for name in tool.programs] if path.is_dir() else [path]
    for program in wanted:
        if not (program.is_file() and os.access(program, os.X_OK)):
            raise BinaryError(
                f"GRADATIM_BIN_{tool.name.upper()}: {program} is not an executable file; correct or unset it"
            )
    return path


def _homes(tool: Tool, settings: Settings) -> dict[str, Path]:
    """Return the cache folder by origin, the preferred one first."""
    released = tool.release_digest(settings.platform)
    homes = {"download": settings.cache / f"{tool.name}-{tool.version}-{released}"} if released else {}
    homes["compile"] = settings.cache / f"{tool.name}-{tool.version}-{tool.source.digest}"
    return homes


def _cached(tool: Tool, settings: Settings) -> Path | None:
    return next((home for home in _homes(tool, settings).values() if _complete(home, tool)), None)


def _complete(home: Path, tool: Tool) -> bool:
    """Whether every program is there with the size it was installed with: a full disk truncates, a rename does not help."""
    try:
        sizes = json.loads((home / _MANIFEST).read_text())["bytes"]
        return all((home / name).stat().st_size == sizes[name] for name in tool.programs)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _install(tool: Tool, settings: Settings, progress: Callable[[str, str], None]) -> Path:
    homes = _homes(tool, settings)
    _sweep(tool, settings.cache)
    if home := homes.get("download"):
        try:
            return _publish(tool, home, lambda folder: _download(tool, settings, folder, progress))
        except DownloadError as error:
            progress(tool.name, f"download failed ({error}); compiling it instead")
    return _publish(tool, homes["compile"], lambda folder: _compile(tool, settings, folder, progress))


def _sweep(tool: Tool, cache: Path) -> None:
    for leftover in cache.glob(f".{tool.name}-*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def _publish(tool: Tool, home: Path, fill: Callable[[Path], None]) -> Path:
    partial = Path(tempfile.mkdtemp(prefix=f".{tool.name}-", suffix=".partial", dir=home.parent))
    try:
        fill(partial)
        programs = {name: partial / name for name in tool.programs}
        manifest = {
            "bytes": {name: path.stat().st_size for name, path in programs.items()},
            "sha256": {name: _sha256(path) for name, path in programs.items() if not path.is_symlink()},
        }
        (partial / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        if home.exists():
            shutil.rmtree(home)
        partial.chmod(0o755)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return home


def _download(tool: Tool, settings: Settings, folder: Path, progress: Callable[[str, str], None]) -> None:
    for artifact in tool.releases[settings.platform]:
        progress(tool.name, f"downloading {artifact.program} {tool.version}")
        download.fetch(artifact, folder, lambda message: progress(tool.name, message))
    missing = [name for name in tool.programs if not (folder / name).is_file()]
    if missing:
        raise DownloadError(f"the pinned release of {tool.name} holds no {', '.join(missing)}")


def _compile(tool: Tool, settings: Settings, folder: Path, progress: Callable[[str, str], None]) -> None:
    progress(tool.name, f"compiling {tool.version} from its pinned Go module; the first time takes minutes")
    first, *others = tool.programs
    gobuild.build(tool.source, folder / first, settings.env, lambda message: progress(tool.name, message))
    for name in others:
        (folder / name).symlink_to(first)


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""The lowest layer: Debian's essential packages, Python, certificates, and the image's user. No compiler, no package manager.

Called by `build`. mmdebstrap rather than debootstrap, because it installs security updates at once and needs no package manager
inside. The archive is the one this machine's apt is configured with; its address stays out of the image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradatim.platform.images.catalog import HOME, INTERPRETER, PREFIX, PYTHON, SITE, SUITE, USER_ID, USER_NAME
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.oci import EPOCH
from gradatim.platform.images.tools import Tools, run

# Part of the key: a change of what `make` does to the tree must not reuse an older tree.
_RECIPE = "2"
_SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
# Without it apt chooses `usrmerge`, and with that all of Perl, to do what the hook has done.
_MERGED = "usr-is-merged"
_MERGING_HOOK = "/usr/share/mmdebstrap/hooks/merged-usr"
_FIELDS = "$(SITE) $(RELEASE) $(COMPONENT) $(IDENTIFIER)"
_SOURCES = "GRADATIM_APT_SOURCES"
# What makes the image's user known, by file below /etc.
USER_LINES: Mapping[str, str] = {
    "passwd": f"{USER_NAME}:x:{USER_ID}:{USER_ID}:Gradatim:{HOME}:/usr/sbin/nologin\n",
    "group": f"{USER_NAME}:x:{USER_ID}:\n",
}


@dataclass(frozen=True)
class Archive:
    """Where packages come from, as apt's one-line sources, and whether apt may use dated copies of the archive."""

    sources: tuple[str, ...]
    dated: bool = False

    def key(self, packages: Sequence[str]) -> str:
        """Return what changes when another tree would be made."""
        said = repr((_RECIPE, SUITE, sorted(packages), self.sources))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def archive(env: Mapping[str, str]) -> Archive:
    """Return the Debian archive of this machine's apt, or of the file named by GRADATIM_APT_SOURCES.

    Raises ImageError when there is neither.
    """
    if explicit := env.get(_SOURCES):
        lines = tuple(line.strip() for line in Path(explicit).read_text().splitlines())
        return Archive(tuple(line for line in lines if line.startswith("deb ")))
    if not shutil.which("apt-get"):
        raise ImageError(f"there is no apt to ask for a Debian archive: set {_SOURCES} to a file with its sources")
    sources = parse(run(["apt-get", "indextargets", "--format", _FIELDS], env))
    if not any(f" {SUITE} " in line for line in sources):
        raise ImageError(
            f"this machine's apt has no source for Debian {SUITE}: set {_SOURCES} to a file with its sources"
        )
    dated = 'Check-Valid-Until "false"' in run(["apt-config", "dump"], env)
    return Archive(sources, dated)


def parse(targets: str) -> tuple[str, ...]:
    """Return sources from the lines of `apt-get indextargets`: the suites of our release, their main component."""
    rows = (line.split() for line in targets.splitlines())
    wanted = {
        (row[1], row[0])
        for row in rows
        if len(row) == 4 and row[1] in _SUITES and row[2] == "main" and row[3] == "Packages"
    }
    return tuple(f"deb {site} {suite} main" for suite, site in sorted(wanted))


def make(home: Path, packages: Sequence[str], source: Archive, tools: Tools, env: Mapping[str, str]) -> None:
    """Make the tree at `home`, replacing what is there. Raises ImageError with mmdebstrap's complaint."""
    home.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{home.name}-", suffix=".partial", dir=home.parent))
    try:
        dated = ['--aptopt=Acquire::Check-Valid-Until "false"'] if source.dated else []
        run(
            [
                str(tools.mmdebstrap), "--quiet", "--mode=root", "--variant=essential", "--format=directory",
                f"--hook-directory={_MERGING_HOOK}", f"--include={','.join((*packages, _MERGED))}", *dated, SUITE, str(partial), *source.sources,
            ],
            {**env, "SOURCE_DATE_EPOCH": str(EPOCH), "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        _add_user(partial)
        _add_environment(partial)
        if home.exists():
            shutil.rmtree(home)
        partial.chmod(0o755)
        os.utime(partial)  # mmdebstrap dates it 1980, and the cache removes what is old
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _add_user(root: Path) -> None:
    """Give the user a name: Ray and torch ask for it, and fail on a number alone."""
    for file, line in USER_LINES.items():
        with (root / "etc" / file).open("a") as out:
            out.write(line)


def _add_environment(root: Path) -> None:
    """Make the frame of a virtual environment; layers above fill it."""
    site, interpreter = root / SITE.lstrip("/"), root / INTERPRETER.lstrip("/")
    site.mkdir(parents=True)
    interpreter.parent.mkdir()
    interpreter.symlink_to(f"/usr/bin/python{PYTHON}")
    for alias in ("python3", f"python{PYTHON}"):
        (interpreter.parent / alias).symlink_to("python")
    (root / PREFIX.lstrip("/") / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")

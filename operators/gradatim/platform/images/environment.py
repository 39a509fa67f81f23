"""Fill the image's environment from the lock file, and compile it with the image's own Python.

Called by `build`. uv resolves nothing here: it installs what is pinned, by hash, as wheels for the image's platform, whatever Python
runs the builder. Files are linked from uv's cache, so nothing may change a file in place.
"""

from __future__ import annotations

import hashlib
import platform as host
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradatim.platform.images.catalog import INTERPRETER, PYTHON, SITE
from gradatim.platform.images.enclosure import Enclosure
from gradatim.platform.images.errors import ImageError
from gradatim.platform.images.requirements import Requirement, parse, render
from gradatim.platform.images.tools import Tools, run

# Go's names of architectures, and the wheels that Debian 12's C library (2.36) can load.
_PLATFORMS = {"x86_64": ("amd64", "x86_64-manylinux_2_36"), "aarch64": ("arm64", "aarch64-manylinux_2_36")}
_COMPILE_SECONDS = 1800


@dataclass(frozen=True)
class Filled:
    """A tree with packages in `site` and programs in `programs`."""

    site: Path
    programs: Path


def architecture() -> str:
    """Return Go's name of this machine's architecture. Raises ImageError where no image can be built."""
    return _platform()[0]


def _platform() -> tuple[str, str]:
    found = _PLATFORMS.get(host.machine())
    if not found:
        raise ImageError(f"images are built for {', '.join(_PLATFORMS)}; this machine is {host.machine()}")
    return found


def locked(source: Path, extras: Sequence[str], tools: Tools, env: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Return what the lock file pins for some extras, the project itself aside."""
    command = [
        str(tools.uv),
        "export",
        "--quiet",
        "--frozen",
        "--no-emit-project",
        "--no-dev",
        "--no-annotate",
        "--no-header",
    ]
    words = [word for extra in extras for word in ("--extra", extra)]
    return parse(run([*command, *words], env, source))


def install(requirements: Iterable[Requirement], folder: Path, tools: Tools, env: Mapping[str, str]) -> Filled:
    """Install into a fresh folder. Raises ImageError when a hash differs or there is no wheel for the image's platform."""
    site, programs = folder / "site", folder / "programs"
    programs.mkdir(parents=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write(render(requirements))
        listed.flush()
        run(
            [
                str(tools.uv), "pip", "install", "--quiet", "--target", str(site), "--python-version", PYTHON,
                "--python-platform", _platform()[1], "--only-binary", ":all:", "--no-deps", "--require-hashes",
                "--requirements", listed.name,
            ],
            {**env, "UV_COMPILE_BYTECODE": "0"},
        )  # fmt: skip
    for script in sorted((site / "bin").iterdir()) if (site / "bin").is_dir() else ():
        _copy_program(script, programs / script.name)
    for record in sorted(site.glob("*.dist-info/RECORD")):
        _mend_record(record, programs)
    return Filled(site, programs)


def _mend_record(path: Path, programs: Path) -> None:
    """Write the list of files again where it names programs: uv listed them with the builder's interpreter in them."""
    before = path.read_text()
    after = "".join(f"{_program_line(line, programs)}\n" for line in before.splitlines())
    if after != before:
        path.unlink()  # a new file, whatever else is linked to the old one
        path.write_text(after)


def _program_line(line: str, programs: Path) -> str:
    name = line.removeprefix("bin/").split(",", 1)[0]
    if not line.startswith("bin/") or not (programs / name).is_file():
        return line
    content = (programs / name).read_bytes()
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"../../../bin/{name},sha256={digest},{len(content)}"


def _copy_program(script: Path, target: Path) -> None:
    content = script.read_bytes()
    first, _, rest = content.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        content = f"#!{INTERPRETER}\n".encode() + rest
    elif content.startswith(b"#!/bin/sh\n'''exec'"):  # the form for interpreters whose path is long or holds a space
        content = f"#!{INTERPRETER}\n".encode() + content.split(b"' '''\n", 1)[1]
    target.write_bytes(content)
    target.chmod(0o755)


def compile_bytecode(root: Path, site: Path, *, strict: bool) -> str:
    """Compile every module of `site` as it will lie in the image; return what Python could not compile.

    The root of a pod is read-only, and an image is never edited: bytecode is compiled once and never checked against its source. One
    process in sorted order, because what Python writes depends on what it has compiled before. With `strict` a file that is not
    Python raises ImageError; packages carry templates that are not.
    """
    enclosure = Enclosure(root, binds={site: SITE})
    argv = [INTERPRETER, "-sP", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash", SITE]
    done = enclosure.run(argv, {"PYTHONHASHSEED": "0"}, _COMPILE_SECONDS)
    if done.returncode != 0 and (strict or not done.stdout.strip()):
        raise ImageError(f"compiling {SITE} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout

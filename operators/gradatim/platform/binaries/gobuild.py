"""Compile one program from its pinned Go module.

Called by `resolve` when there is nothing to reuse and nothing to download. Works on a copy of the module's files, so that an
installed package stays unwritten, and reports every few seconds: a first build takes minutes and silence looks like a hang.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from gradatim.platform.binaries.catalog import GoProgram
from gradatim.platform.errors import BuildError

_REPORT_SECONDS = 3.0
_USUAL_GO = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/opt/homebrew/bin/go")


def find_go(env: Mapping[str, str]) -> Path:
    """Return the Go command. Raises BuildError, with what to install, when there is none."""
    found = shutil.which("go", path=env.get("PATH", ""))
    for candidate in (found, *_USUAL_GO):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise BuildError(
        "Go is not installed and no download is pinned for this machine: install Go 1.26 or later (https://go.dev/dl/) "
        "and put it on PATH, or point GRADATIM_BIN_KUBE and GRADATIM_BIN_WEAVIATE at programs you already have"
    )


def build(program: GoProgram, target: Path, env: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Compile `program` to `target`. Raises BuildError with the end of Go's output."""
    go = find_go(env)
    settings = {**env, "CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "on"}
    with tempfile.TemporaryDirectory(prefix="gradatim-build-") as name:
        folder = Path(name)
        for file, content in program.sources().items():
            (folder / file).write_bytes(content)
        flags = ["-trimpath", "-buildvcs=false", "-v", "-ldflags", " ".join(("-s", "-w", *program.ldflags))]
        if program.patches:
            report("fetching the source")
            _patch(go, program, folder, settings)
        _run([str(go), "build", *flags, "-o", str(target), program.package], folder, settings, report)


def _patch(go: Path, program: GoProgram, folder: Path, env: Mapping[str, str]) -> None:
    """Build from a patched copy of the main module; Go's own overlay refuses files of the module cache."""
    done = subprocess.run(
        [str(go), "mod", "download", "-json", program.main_module],
        cwd=folder, env=dict(env), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        raise BuildError(f"fetching {program.main_module}: {_tail((done.stderr or done.stdout).splitlines())}")
    copy = folder / "module"
    # The module cache is read-only, and so would be a faithful copy.
    shutil.copytree(json.loads(done.stdout)["Dir"], copy, copy_function=shutil.copyfile, ignore=_not_compiled)
    for path in (copy, *copy.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    for patch in program.patches:
        file = copy / patch.path
        text = file.read_text()
        # A patch that no longer applies must stop the build: without it the server would listen on every interface.
        if text.count(patch.old) != 1:
            raise BuildError(f"{patch.path} of {program.main_module} {program.version} is not what its patch expects")
        file.write_text(text.replace(patch.old, patch.new))
    with (folder / "go.mod").open("a") as go_mod:
        go_mod.write(f"\nreplace {program.main_module} => ./module\n")


def _not_compiled(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith("_test.go") or name in {"testdata", "test", "docs", ".github"}]


def _run(argv: list[str], folder: Path, env: Mapping[str, str], report: Callable[[str], None]) -> None:
    started = time.monotonic()
    with subprocess.Popen(
        argv, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        output = _Output()
        reader = threading.Thread(target=output.follow, args=(process,), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                report(output.summary(time.monotonic() - started))
                try:
                    process.wait(_REPORT_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            # Go removes its own children and its work folder when it is terminated, but not when it is killed.
            if process.poll() is None:
                process.terminate()
            reader.join(_REPORT_SECONDS)
    if process.returncode != 0:
        raise BuildError(f"compiling failed, Go says: {_tail(output.errors)}")


class _Output:
    """Counts what `go build -v` prints: modules as they arrive, packages as they are compiled."""

    def __init__(self) -> None:
        self.modules = 0
        self.packages = 0
        self.errors: deque[str] = deque(maxlen=20)

    def follow(self, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            text = line.rstrip()
            if text.startswith("go: downloading "):
                self.modules += 1
            elif " " not in text and "/" in text and not text.startswith("#"):
                self.packages += 1
            else:
                self.errors.append(text)

    def summary(self, seconds: float) -> str:
        return f"compiling: {self.modules} modules fetched, {self.packages} packages compiled, {seconds:.0f} s"


def _tail(lines: list[str] | deque[str]) -> str:
    return " | ".join(line for line in list(lines)[-8:] if line) or "nothing"

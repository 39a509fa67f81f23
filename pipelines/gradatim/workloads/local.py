"""Runs a workload as a child process of this Python, as `gradatim run -f` and notebooks do.

The same program, config and store as on a cluster, so a laptop gives the same result. It reads progress and result from the store, never
from the child's output, and leaves no process behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from gradatim.api.run import MAX_DOCUMENT_BYTES, STORE_FULL_STATUS, ProgressDocument, RunConfig, RunResult, Stamp
from gradatim.api.runstatus import Progress
from gradatim.workloads.errors import NotFound
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

POLL_SECONDS = 0.5
STOP_SECONDS = 30
LOG_TAIL = 2000


class LocalRunError(Exception):
    """The child process ended without a result; the message carries the end of its log."""


def run_local(config: RunConfig, on_progress: Callable[[Progress], None] | None = None) -> RunResult:
    """Run one attempt in a child process and return its result, failed ones included.

    `on_progress` is called in this thread whenever the progress changed. Raises LocalRunError when there is no result.
    """
    sealed = config.sealed()
    store = ArtifactStore.open(sealed.store, SecretFolder(Path(sealed.secrets_path) if sealed.secrets_path else None))
    stamp = Stamp.of(sealed)
    with TemporaryDirectory(prefix="gradatim-run-") as folder:
        file, output = Path(folder, "config.json"), Path(folder, "log")
        file.write_text(sealed.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
        command = [sys.executable, "-m", "gradatim.workloads", sealed.workload, "--config", str(file)]
        with output.open("wb") as stream:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=os.environ)
            try:
                _follow(child, sealed, store, on_progress)
            finally:
                _end(child)
        if child.returncode == STORE_FULL_STATUS:
            raise LocalRunError(
                f"the disk of the artifact store {store.root} is full: free space there, then run again"
            )
        try:
            text = store.read(f"{sealed.attempt_path}/result.json", MAX_DOCUMENT_BYTES)
        except (NotFound, OSError) as error:
            tail = output.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
            raise LocalRunError(f"the workload ended with status {child.returncode} and no result:\n{tail}") from error
    result = RunResult.model_validate_json(text)
    if result.stamp != stamp:
        raise LocalRunError(f"{sealed.attempt_path}/result.json belongs to another attempt; choose a new run name")
    return result


def _follow(
    child: subprocess.Popen[bytes],
    config: RunConfig,
    store: ArtifactStore,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    shown: Progress | None = None
    while True:
        ended = child.poll() is not None
        found = _progress(config, store)
        if found is not None and on_progress is not None and found != shown:
            on_progress(found)
        shown = found or shown
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _progress(config: RunConfig, store: ArtifactStore) -> Progress | None:
    try:
        text = store.read(f"{config.attempt_path}/progress.json", MAX_DOCUMENT_BYTES)
        document = ProgressDocument.model_validate_json(text)
    except (NotFound, OSError, ValueError):  # progress is a courtesy; the result decides
        return None
    return document.progress if document.stamp == Stamp.of(config) else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """An interrupt in the caller stops the child as a cluster would: politely, then surely."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

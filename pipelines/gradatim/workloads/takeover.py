"""Whether another process has taken over the folder of this Run, so that this one has to end.

Used by `context`. A node that is cut off keeps its process alive, and after a fence deadline the operator starts the next attempt: both would
write the same checkpoints. Every process begins with its progress document; a later attempt's, or that of a later process of the same
attempt, is the sign. It reads two small things every few seconds and writes nothing.
"""

from __future__ import annotations

import re

from pyarrow import fs
from pydantic import ValidationError

from gradatim.api.run import ProgressDocument, RunConfig, Stamp
from gradatim.workloads.errors import NotFound
from gradatim.workloads.store import ArtifactStore

_ATTEMPT = re.compile(r"a([1-9][0-9]{0,4})")
_DOCUMENT_BYTES = 1_048_576


def taken_over(store: ArtifactStore, config: RunConfig, process: int) -> str:
    """Return by whom the folder was taken over from `process`, or an empty text.

    Errors of the store are the caller's; a document that nobody of this Run wrote is no sign.
    """
    later = (n for n in _attempts(store, config) if n > config.attempt)
    for number in sorted(later, reverse=True):
        if _progress(store, config.model_copy(update={"attempt": number})) is not None:
            return f"attempt {number} of this Run has begun"
    own = _progress(store, config)
    return f"process {own.process} of this attempt has begun" if own is not None and own.process > process else ""


def next_process(store: ArtifactStore, config: RunConfig) -> int:
    """Return the number of a process that begins now: a cluster may start an attempt again."""
    known = _progress(store, config)
    return 1 if known is None else known.process + 1


def _attempts(store: ArtifactStore, config: RunConfig) -> list[int]:
    """Return the numbers of the attempts that have a folder; one request, whatever the Run has written."""
    selector = fs.FileSelector(store.full(config.run_path), recursive=False, allow_not_found=True)
    names = (info.base_name for info in store.filesystem.get_file_info(selector))
    return [int(found[1]) for name in names if (found := _ATTEMPT.fullmatch(name))]


def _progress(store: ArtifactStore, config: RunConfig) -> ProgressDocument | None:
    try:
        text = store.read(f"{config.attempt_path}/progress.json", _DOCUMENT_BYTES)
        found = ProgressDocument.model_validate_json(text)
    except (NotFound, ValidationError):
        return None
    return found if found.stamp == Stamp.of(config) else None

"""The working files of one process of a Run: a folder below `work` that no other process writes to.

Opened by `validate`. Two processes may be alive in one Run's folder: the older one has been cut off, or is in its grace, and has not noticed
yet (see `takeover`). However it ends, it removes its own files only. What a killed process left is removed by the next that begins,
because the operator removes nothing of a Run before another takes its place, and the next one may need the room.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs

from gradatim.workloads.context import STORE_FAULTS, RunContext

log = logging.getLogger("gradatim.workloads")


@contextmanager
def work_folder(ctx: RunContext) -> Iterator[str]:
    """Yield the path of a folder of the store for this process alone; what lies there goes when the block ends."""
    above = f"{ctx.config.run_path}/work"
    _sweep(ctx, above)
    own = f"{above}/a{ctx.config.attempt}-{uuid.uuid4().hex[:12]}"
    try:
        yield own
    finally:
        ctx.store.delete(own)


def _sweep(ctx: RunContext, above: str) -> None:
    """Remove what earlier processes of the Run left there."""
    # Folders, not files: what was being written when a process was killed is no file of the store yet.
    selector = fs.FileSelector(ctx.store.full(above), recursive=False, allow_not_found=True)
    left = [info.base_name for info in ctx.store.filesystem.get_file_info(selector)]
    # Listed before the look: who begins after it is not in the list, so that nobody's files are taken for an earlier one's.
    if not left or not ctx.is_latest():
        return
    for name in left:
        try:
            ctx.store.delete(f"{above}/{name}")
        except STORE_FAULTS as error:  # its owner may be removing it too
            log.warning("cannot remove what an earlier process left in %s: %s", name, type(error).__name__)

"""What to do about a collection that should serve and that the vector store has lost: when it is loaded again, and from what.

Called by `plan`, `versions` and `status`. Pure. A restore loads the promoted version from its artifact: it asks no source and no gate, also
under a pin, so that it goes before everything else that is due. It stands for no spec of its own, and brings no version that was not there.
"""

from __future__ import annotations

from gradatim.api.ragindex import IndexVersion
from gradatim.api.run import PreviousVersion, RunResult
from gradatim.api.runstatus import RunStatus
from gradatim.operator.clock import parsed, since
from gradatim.operator.ragindex.model import World
from gradatim.operator.runs.attempts import RETRYABLE
from gradatim.operator.runs.model import Trigger
from gradatim.operator.runs.triggers import RESTORE, restores
from gradatim.operator.settings import RunSettings

PAUSE = 3600.0  # seconds between a restore and the next one


def lost(world: World) -> bool:
    """Return whether the vector store itself said that the collection which should serve is not there."""
    return world.status.promotion is not None and world.aliases.present is False


def serves_no_more(world: World, active: IndexVersion) -> bool:
    """Return whether it is the active version's collection that is lost."""
    promoted = world.status.promotion
    return lost(world) and promoted is not None and promoted.collection == active.collection


def trigger(world: World, settings: RunSettings) -> Trigger | None:
    """Return the trigger of the Run that loads the lost collection again, once its time has come."""
    wanted, run = world.status.promotion, world.status.run
    if wanted is None or run is None or not run.done or not lost(world):
        return None
    if restores(run) and _left(world, run, settings) > 0:
        return None
    return Trigger(f"{RESTORE}/{wanted.digest}/{run.name}", RESTORE)


def wait(world: World, settings: RunSettings) -> float | None:
    """Return the seconds until a collection that a restore did not bring back is tried again, or None."""
    run = world.status.run
    if run is None or not run.done or not restores(run) or not lost(world):
        return None
    left = _left(world, run, settings)
    return left if left > 0 else None


def _left(world: World, run: RunStatus, settings: RunSettings) -> float:
    """Return the seconds that are left of the pause after a restore: a short one where what failed it may be over by itself.

    None are where another version has been promoted since: the restore was not for that one.
    """
    last, promoted, began = run.attempts[-1] if run.attempts else None, world.status.promotion, parsed(run.created)
    if promoted is not None and began is not None and since(promoted.decided_at, began) < 0:
        return 0.0
    passing = not run.succeeded and last is not None and last.failure in RETRYABLE
    return (settings.retry_max if passing else PAUSE) - since(last.finished_at if last else None, world.now)


def source(world: World) -> PreviousVersion | None:
    """Return the version whose artifact is loaded: the promoted one. None where status knows it no more: it is built anew then."""
    wanted = world.status.promotion
    found = next(
        (v for v in world.status.history if wanted and (v.digest, v.collection) == (wanted.digest, wanted.collection)),
        None,
    )
    if found is None:
        return None
    return PreviousVersion(
        digest=found.digest, uri=found.uri, collection=found.collection, resolved_digest=found.resolved_digest
    )


def built(world: World, result: RunResult | None) -> RunResult | None:
    """Return the result of a build. None for that of a Run which has only loaded a version, or could not: it says nothing about sources."""
    inputs = world.evidence.config.index_inputs if world.evidence.config is not None else None
    if result is None or inputs is None or inputs.restore is None:
        return result
    output, asked = result.index, inputs.restore
    loaded = output is None or (output.digest, output.collection) == (asked.digest, asked.collection)
    return None if loaded else result


def told(wanted: IndexVersion, run: RunStatus | None) -> str:
    """Return what to say while the collection is missing and nothing is under way to bring it back; `run` is the last one."""
    text = f"collection {wanted.collection} of {wanted.label} is missing from the vector store"
    if run is None or not restores(run) or not run.done or run.succeeded or not run.attempts:
        return text
    return f"{text}, and could not be loaded again: {run.attempts[-1].message or 'no message'}; it is tried again"

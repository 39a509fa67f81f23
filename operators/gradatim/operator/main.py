"""Puts the operator together and runs it: watches, queue, workers, resync, health, metrics.

Called by `python -m gradatim.operator`. When any part fails the whole process ends with an error and is restarted by whoever started it: an
operator that has lost its watch or its API server must not go on blind.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import sys
import time
from collections.abc import Mapping

import kopf
import uvloop

from gradatim.operator import computeprofile, dataset, namespaces, ragindex, serving, watches
from gradatim.operator.dependents import Dependents
from gradatim.operator.errors import OperatorError
from gradatim.operator.firstlist import LONGEST, FirstList
from gradatim.operator.kube import Kube
from gradatim.operator.loop import Loop
from gradatim.operator.metrics import Metrics
from gradatim.operator.opened import OpenEdges
from gradatim.operator.passes import Context, Reconciler
from gradatim.operator.queue import WorkQueue
from gradatim.operator.resync import Resync
from gradatim.operator.settings import Settings, SettingsError, load
from gradatim.operator.slots import Slots

logger = logging.getLogger(__name__)
DRAIN_SECONDS = 15.0
LAST_WORDS_SECONDS = 3.0
# The API server stores free-form fields up to 10,000 levels deep. One object that the parser gave up on would end every list and watch of
# its kind; the main thread's stack of 8 MB holds twice as many levels.
RECURSION_LIMIT = 12_000
GC_THRESHOLD = 5_000  # containers; higher ones save next to nothing more, and memory grows


def reconcilers() -> Mapping[str, Reconciler]:
    """Return the pass of every kind, by plural."""
    return {
        "computeprofiles": computeprofile.reconcile,
        "datasets": dataset.reconcile,
        "ragindices": ragindex.reconcile,
    }


async def run(settings: Settings) -> int:
    """Run until a signal (0) or a failure (1)."""
    kopf_settings, metrics = watches.operator_settings(), Metrics()
    kube = Kube(watches.credentials(kopf_settings), metrics.observe_call)
    try:
        settings, refused = await namespaces.narrowed(kube, settings)
        return await _operate(kube, metrics, kopf_settings, settings, refused)
    except OperatorError as error:
        logger.error("the operator cannot start: %s", error)
        return 1
    finally:
        await kube.close()


async def _operate(
    kube: Kube, metrics: Metrics, kopf_settings: kopf.OperatorSettings, settings: Settings, refused: tuple[str, ...]
) -> int:
    queue = WorkQueue()
    metrics.watch_queue(queue)
    context = Context(
        kube=kube,
        edges=OpenEdges(kube, settings),
        settings=settings,
        metrics=metrics,
        slots=Slots(),
        dependents=Dependents(),
    )
    longest = min(LONGEST, settings.stall_after / 2)  # of what liveness allows without a resync
    loop = Loop(context, queue, reconcilers(), FirstList(longest=longest))
    resync = Resync(loop, settings.watch_namespaces)
    ready = asyncio.Event()
    health = serving.Health(loop, settings.stall_after, lambda: ready.is_set() and context.slots.primed)
    servers = [
        await serving.serve(health.application(settings.resync), settings.listen, settings.health_port),
        await serving.serve(serving.metrics_application(metrics), settings.listen, settings.metrics_port),
    ]
    tasks = {
        asyncio.create_task(_watch(loop, settings, kopf_settings, ready), name="watches"),
        asyncio.create_task(_resync(resync, health, settings.resync, ready), name="resync"),
        asyncio.create_task(_prime(loop, resync), name="prime"),
        asyncio.create_task(context.events.tell(kube), name="events"),
        *(asyncio.create_task(loop.work(), name=f"worker-{n}") for n in range(settings.workers)),
    }
    if refused:
        again = namespaces.until_readable(kube, refused, min(settings.resync, namespaces.AGAIN))
        tasks.add(asyncio.create_task(again, name="namespaces"))
    try:
        return await _until_end(tasks)
    finally:
        queue.close()
        await _drain(queue)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _last_words(context)
        for server in servers:
            await server.cleanup()
        await context.edges.close()


async def _watch(loop: Loop, settings: Settings, kopf_settings: kopf.OperatorSettings, ready: asyncio.Event) -> None:
    await kopf.operator(
        registry=watches.registry(loop),
        settings=kopf_settings,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        standalone=True,
        ready_flag=ready,
    )


async def _resync(resync: Resync, health: serving.Health, interval: float, ready: asyncio.Event) -> None:
    await ready.wait()
    while True:
        await resync.once()
        health.last_resync = time.monotonic()
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 - jitter


async def _prime(loop: Loop, resync: Resync) -> None:
    """Open the slots once every object of the first list has been looked at, so that no active Run is missed in the count.

    Waiting for an empty queue instead would never end on a busy cluster.
    """
    await resync.first.wait()
    while loop.looked is not None and resync.listed - loop.looked:
        await asyncio.sleep(0.1)
    loop.looked = None
    loop.context.slots.primed = True
    for key in loop.context.slots.all_waiting():
        loop.queue.add(key)
    logger.info("every object has been looked at once")
    gc.collect()  # of what a start leaves behind; the next full collection by itself may be hours away
    await asyncio.Event().wait()


async def _until_end(tasks: set[asyncio.Task[None]]) -> int:
    """Wait for the first task to end: the watches' normal end is a signal, everything else is a failure."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    code = 0
    for task in done:
        error = task.exception() if not task.cancelled() else None
        if error is not None:
            logger.error("%s failed: %r", task.get_name(), error)
            code = 1
        elif task.get_name() != "watches":
            logger.error("%s ended unexpectedly", task.get_name())
            code = 1
    return code


async def _drain(queue: WorkQueue) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while queue.in_work():
                await asyncio.sleep(0.05)


async def _last_words(context: Context) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await context.events.flush(context.kube)


def main(env: Mapping[str, str]) -> int:
    """Configure logging and run. Returns the exit code."""
    try:
        settings = load(env)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    kopf.configure(
        debug=settings.log_level == "DEBUG",
        quiet=settings.log_level in {"WARNING", "ERROR"},
        log_format=kopf.LogFormat.JSON if settings.log_format == "json" else kopf.LogFormat.FULL,
    )
    logging.getLogger("kopf").setLevel(logging.WARNING)
    sys.setrecursionlimit(RECURSION_LIMIT)
    # What is imported lives as long as the process, and a list of objects is made of thousands of containers and no cycles: with Python's
    # thresholds a sixth of a restart goes to looking for some.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    return uvloop.run(run(settings))

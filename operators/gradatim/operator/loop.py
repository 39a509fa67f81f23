"""Takes keys from the queue and runs one pass each; turns errors into waits.

Started by `main` with N workers. A pass begins with what an event or the first list has brought if nothing newer is known, else it reads; what
follows is fenced by that resourceVersion. It must not know any kind by name beyond the table of reconcilers that it is given.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from gradatim.api.runstatus import Outcome
from gradatim.operator import clock
from gradatim.operator.dependents import Says
from gradatim.operator.errors import TryLater
from gradatim.operator.eventcopies import EventCopies
from gradatim.operator.firstlist import FirstList
from gradatim.operator.kube import ApiUnreachable, Body, Conflict, KubeError, NotFound, ours
from gradatim.operator.passes import Context, Reconciler
from gradatim.operator.queue import Key, Lane, WorkQueue
from gradatim.operator.runs.attempts import OVER

logger = logging.getLogger(__name__)
CONFLICT_DELAY = 0.05  # seconds; somebody wrote in between, so read again


class Loop:
    """The workers. `last_progress` is what liveness is fed from: the monotonic time of the last finished pass or idle wait.

    `looked` collects the keys whose object was seen until somebody sets it to None.
    """

    def __init__(
        self,
        context: Context,
        queue: WorkQueue,
        reconcilers: Mapping[str, Reconciler],
        first: FirstList | None = None,
    ) -> None:
        self.context = context
        self.queue = queue
        self.reconcilers = reconcilers
        self.last_progress = time.monotonic()
        self.written: dict[Key, str] = {}
        self.runs: dict[Key, tuple[str, str]] = {}  # uid and Run as last read, for the search for strays
        self.looked: set[Key] | None = set()
        self.seen: Mapping[Key, str] = {}  # resourceVersions of the last whole list
        self.first = FirstList() if first is None else first
        self.copies = EventCopies()
        self._must_read: set[Key] = set()  # their copy met a conflict, and a late watch may bring more such copies
        self._arrived: dict[Key, float] = {}
        self._heard: dict[Key, str] = {}  # resourceVersion of the last event while the key was in work

    def event(self, key: Key, resource_version: str, body: Body | None = None) -> None:
        """Take note of a watch event, with the whole object if it brought one.

        The echo of our own status write is worth no pass, and it may come before the write's answer.
        """
        if self.written.get(key) == resource_version:
            self.copies.put(key, None)
            return
        self.first.heard(key, resource_version)
        news = all(_after(resource_version, known.get(key)) for known in (self.written, self.seen))
        self.copies.put(key, body if news and key not in self._must_read else None)
        self._arrived.setdefault(key, time.monotonic())
        if self.queue.works_on(key):
            self._heard[key] = resource_version
        else:
            self.queue.add(key)

    def listed(self, key: Key, resource_version: str) -> None:
        """Take note of what a watch lists when it begins: nothing new where a list of ours has it, or, at a start, comes to it."""
        if self.seen.get(key) != resource_version and not self.first.covers(key, resource_version):
            self.event(key, resource_version)

    def hand(self, key: Key, body: Body) -> None:
        """Ask for the first look at what the first list has read; with the copy where nothing was heard of the object before."""
        known = self.looked is None or key in self.looked or self.queue.holds(key)
        self.copies.heard(key, body["metadata"]["resourceVersion"])
        self.first.hand(key, body, copy=not known)
        self.queue.add(key, Lane.RESYNC)

    def first_list_ended(self) -> None:
        """Look at what the watches have seen otherwise than the first list."""
        for key, version in self.first.end().items():
            self.event(key, version)

    def _judge(self, key: Key) -> None:
        """Look again at what changed during the pass, unless the last event was its own write: that one has seen all before it."""
        heard = self._heard.pop(key, None)
        if heard is None:
            return
        if self.written.get(key) == heard:
            self._arrived.pop(key, None)
        else:
            self.queue.add(key)

    def _copy(self, key: Key) -> Body | None:
        """Return what was brought and not yet looked at. An event's copy is never older than the first list's: `first` hears of events."""
        brought, listed = self.copies.take(key), self.first.take(key)
        return brought or listed

    async def work(self) -> None:
        """Run passes until the queue is closed."""
        while True:
            key = await self.queue.take()
            started = time.monotonic()
            arrived = self._arrived.pop(key, None)  # an event from now on is another pass's
            outcome = "error"
            try:
                outcome = await self._once(key)
            except asyncio.CancelledError:
                self.queue.done(key)
                raise
            finally:
                self._wake()
                self._measure(key, started, arrived, outcome)
            if self.looked is not None and (outcome != "unreachable" or key in self.runs):
                # However the pass ended after the object was read: one that never comes right must not keep the operator from being ready.
                self.looked.add(key)

    async def _once(self, key: Key) -> str:
        body = self._copy(key)
        copied = body is not None
        try:
            if body is None:
                body = await self.context.kube.find(ours(key.plural), key.namespace, key.name)
                self._must_read.discard(key)
            if body is None:
                self._gone(key)
                return "gone"
            if not _is(body, key):
                logger.error("the API server gives another object for %s; nothing is done about it", key)
                self._judge(key)
                self.queue.done(key)
                return "refused"
            body.setdefault("kind", "")
            self.runs[key] = (body["metadata"].get("uid", ""), run_name(body))
            if self.looked is not None and (profile := slot_of(body)):
                self.context.slots.take(key, profile)  # now, since the pass may end before it counts its Run itself
            result = await self.reconcilers[key.plural](self.context, key, body, clock.now())
        except Conflict:
            return self._again(key)
        except ApiUnreachable as error:
            wait = self._failed(key, error.delay)
            logger.warning("pass over %s again in %.1f s: %s", key, wait, error)
            return "unreachable"
        except TryLater as error:
            wait = self._failed(key, error.delay)
            logger.warning("pass over %s again in %.1f s: %s", key, wait, error)
            return "later"
        except KubeError as error:
            if copied and isinstance(error, NotFound):  # gone since the copy was made, most likely
                return self._again(key)
            wait = self._failed(key)
            logger.error("pass over %s refused by the API server, again in %.1f s: %s", key, wait, error)
            return "refused"
        except Exception:  # one object's surprise must not end the work on all others
            wait = self._failed(key)
            logger.exception("pass over %s failed, again in %.1f s", key, wait)
            return "error"
        if result.written is not None:
            self.written[key] = result.written
            # This write is newer than what came meanwhile, or the next pass finds out by a read.
            self.copies.put(key, None)
        self._judge(key)
        self.queue.done(key, result.requeue)
        return "ok"

    def _again(self, key: Key) -> str:
        """Give `key` back for a pass that reads: somebody wrote in between."""
        self.copies.put(key, None)
        self._must_read.add(key)
        self._judge(key)
        self.queue.failed(key, CONFLICT_DELAY)
        return "conflict"

    def _failed(self, key: Key, delay: float | None = None) -> float:
        """Give `key` back; waiting for its next try, it must not keep others from a free slot."""
        self._judge(key)
        self.context.wake.extend(self.context.slots.step_back(key))
        return self.queue.failed(key, delay)

    def _wake(self) -> None:
        for key in self.context.wake:
            self.queue.add(key)
        self.context.wake.clear()

    def _gone(self, key: Key) -> None:
        self.written.pop(key, None)
        self.runs.pop(key, None)
        self.context.dependents.gone(key)
        self.context.unreachable_since.pop(key, None)
        self.context.moving_since.pop(key, None)
        self.context.answered.pop(key, None)
        self.context.unswept.discard(key)
        self.context.released.pop(key, None)
        self._must_read.discard(key)
        self.context.wake.extend(self.context.slots.release(key))
        self._judge(key)
        self.queue.done(key)
        self.queue.forget(key)

    def _measure(self, key: Key, started: float, arrived: float | None, outcome: str) -> None:
        end = time.monotonic()
        self.last_progress = end
        metrics = self.context.metrics
        metrics.passes.labels(key.plural, outcome).inc()
        metrics.duration.labels(key.plural).observe(end - started)
        if arrived is not None:
            metrics.lag.labels(key.plural).observe(end - arrived)

    def upstream(self, key: Key, told: Says, lane: Lane = Lane.EVENT) -> None:
        """Look again at whoever reads `key` if it says something new."""
        self.context.kube.forget_recent(ours(key.plural), key.namespace, key.name)
        if self.context.dependents.news(key, told):
            for reader in self.context.dependents.readers(key):
                self.queue.add(reader, lane)


def _is(body: Body, key: Key) -> bool:
    metadata = body.get("metadata") or {}
    return (metadata.get("namespace") or "", metadata.get("name")) == (key.namespace, key.name)


def _after(version: str, known: str | None) -> bool:
    """Return whether a resourceVersion is certainly after a known one; Kubernetes compares them as numbers since 1.35."""
    return not known or (version.isdecimal() and known.isdecimal() and int(version) > int(known))


def slot_of(body: Body) -> str:
    """Return the profile in which the object's active Run holds a slot, or an empty text."""
    status = body.get("status") or {}
    profile = (status.get("store") or {}).get("profile", "")
    active = run_name(body) and not status["run"].get("done")
    return profile if active and isinstance(profile, str) and not _rests(body, status["run"]) else ""


def _rests(body: Body, run: Body) -> bool:
    """Return whether a Run has given its slot back: its last attempt was stopped, or is over while the object is suspended."""
    attempts = run.get("attempts") or [{}]
    outcome = attempts[-1].get("outcome")
    suspended = bool((body.get("spec") or {}).get("suspend"))
    return bool(outcome == Outcome.STOPPED or (suspended and outcome in OVER))


def run_name(body: Body) -> str:
    """Return the Run that the object's status names, or an empty text."""
    name = ((body.get("status") or {}).get("run") or {}).get("name", "")
    return name if isinstance(name, str) else ""

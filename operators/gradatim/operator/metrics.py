"""Prometheus metrics of the control plane.

Created once by `main` and handed to those who count. Numbers only: no object names in labels, because their number is not bounded.
"""

from __future__ import annotations

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from gradatim.api.kinds import KINDS
from gradatim.operator.queue import Lane, WorkQueue
from gradatim.operator.runs.ending import ENDINGS

PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """All metrics in one registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=self.registry)
        self.passes = Counter(
            "gradatim_reconcile_total", "Passes by kind and outcome.", ["kind", "outcome"], registry=registry
        )
        self.duration = Histogram(
            "gradatim_reconcile_seconds", "Duration of a pass.", ["kind"], buckets=PASS_BUCKETS, registry=registry
        )
        self.lag = Histogram(
            "gradatim_event_lag_seconds",
            "Watch event to the end of its pass.",
            ["kind"],
            buckets=PASS_BUCKETS,
            registry=registry,
        )
        self.calls = Counter(
            "gradatim_kube_calls_total", "API server calls.", ["verb", "resource", "code"], registry=registry
        )
        self.call_seconds = Histogram(
            "gradatim_kube_call_seconds",
            "Duration of API server calls.",
            ["verb"],
            buckets=PASS_BUCKETS,
            registry=registry,
        )
        self.status_writes = Counter(
            "gradatim_status_writes_total", "Status writes by kind.", ["kind"], registry=registry
        )
        self.dependency_errors = Counter(
            "gradatim_dependency_errors_total", "Failed calls.", ["dependency"], registry=registry
        )
        self.attempts = Counter("gradatim_attempts_total", "Attempts handed to a runtime.", ["kind"], registry=registry)
        self.finished = Counter(
            "gradatim_runs_finished_total", "Runs by kind and outcome.", ["kind", "outcome"], registry=registry
        )
        # A series that begins with its first count shows no increase: the first failure after a start would be seen by no alert.
        for plural in (kind.plural for kind in KINDS if kind.namespaced):
            for outcome in ENDINGS:
                self.finished.labels(plural, outcome.value)
        self.abandoned = Counter(
            "gradatim_cleanup_abandoned_total", "Deletions released without clean-up.", registry=registry
        )
        self.objects = Gauge("gradatim_objects", "Objects at the last resync.", ["kind"], registry=registry)
        self.resyncs = Counter("gradatim_resync_total", "Finished resyncs.", registry=registry)
        self.queue_depth = Gauge("gradatim_queue_depth", "Keys that wait.", ["lane"], registry=registry)
        self.queue_oldest = Gauge("gradatim_queue_oldest_seconds", "Age of the oldest waiting key.", registry=registry)
        self.in_work = Gauge("gradatim_queue_in_work", "Keys looked at now.", registry=registry)

    def watch_queue(self, queue: WorkQueue) -> None:
        """Read the gauges from the queue whenever somebody scrapes."""
        for lane in Lane:
            self.queue_depth.labels(lane.name.lower()).set_function(functools.partial(queue.depth, lane))
        self.queue_oldest.set_function(queue.oldest_age)
        self.in_work.set_function(queue.in_work)

    def observe_call(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count one API server call; code 0 means no answer."""
        self.call_seconds.labels(verb).observe(seconds)
        self.calls.labels(verb, resource, str(code)).inc()

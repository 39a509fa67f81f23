"""The table "one meaning of status for GitOps tools", row by row: a life that leads there and what the tools must make of it.

Used by the unit tests (conditions), by the integration tests (the tools themselves) and by the generator of the test data in
`docs/gitops/argocd`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.gitops_life import Life, ProfileLife, RunLife, profile

from gradatim.api.reasons import Reason
from gradatim.operator.observing import Surrounding
from gradatim.operator.runs.lifecycle import Block

CHANGE: dict[str, dict[str, Any]] = {
    "Dataset": {"sampling": {"limit": 5}},
    "RAGIndex": {"chunking": {"maxTokens": 128}},
}
DOWN = ((Reason.STORE_UNREACHABLE, "the store answered with status 503"),)
REFUSED = Block(Reason.PROFILE_NOT_ALLOWED, "namespace support may not use profile default", stalled=True)


@dataclass(frozen=True)
class Row:
    """One case. `conditions` are Ready, Reconciling and Stalled as T, F, U (Unknown) or - (not set)."""

    kind: str
    name: str
    life: Callable[[], Life]
    conditions: str
    kstatus: str
    argo: str

    @property
    def id(self) -> str:
        """The case in words."""
        return f"{self.kind}: {self.name}"

    @property
    def file(self) -> str:
        """The file name of its test data."""
        return f"{self.name.replace(',', '').replace(' ', '-')}.yaml"


Case = tuple[str, Callable[[str], Life], str, str, str]


def _new(kind: str) -> RunLife:
    return RunLife(kind)


def _serving(kind: str) -> RunLife:
    return RunLife(kind).serving()


def _changed(kind: str) -> RunLife:
    return _serving(kind).changed(**CHANGE[kind])


def _suspended(life: RunLife) -> RunLife:
    return life.changed(suspend=True).passed()


BOTH: tuple[Case, ...] = (
    ("fresh from the API server", _new, "---", "InProgress", "Progressing"),
    ("first Run recorded", lambda k: _new(k).passed(), "UTF", "InProgress", "Progressing"),
    ("first Run in progress", lambda k: _new(k).running(), "UTF", "InProgress", "Progressing"),
    ("first Run failed", lambda k: _new(k).running().failed(), "FFT", "Failed", "Degraded"),
    (
        "first Run failed, refresh running",
        lambda k: _new(k).running().failed().ticked(),
        "UTF",
        "InProgress",
        "Progressing",
    ),
    (
        "first Run failed, refresh failed",
        lambda k: _new(k).running().failed().ticked().failed(),
        "FFT",
        "Failed",
        "Degraded",
    ),
    ("serving", _serving, "TFF", "Current", "Healthy"),
    ("new generation not seen yet", _changed, "TFF", "InProgress", "Progressing"),
    (
        "new generation in progress, old one serving",
        lambda k: _changed(k).running(),
        "TTF",
        "InProgress",
        "Progressing",
    ),
    ("new generation failed, old one serving", lambda k: _changed(k).running().failed(), "TFT", "Failed", "Degraded"),
    (
        "new generation failed, refresh running",
        lambda k: _changed(k).running().failed().ticked(),
        "TTF",
        "InProgress",
        "Progressing",
    ),
    (
        "new generation failed, refresh failed",
        lambda k: _changed(k).running().failed().ticked().failed(),
        "TFT",
        "Failed",
        "Degraded",
    ),
    (
        "new generation failed, refresh succeeded",
        lambda k: _changed(k).running().failed().ticked().succeeded(),
        "TFF",
        "Current",
        "Healthy",
    ),
    ("scheduled refresh running", lambda k: _serving(k).ticked(), "TFF", "Current", "Healthy"),
    ("scheduled refresh failed", lambda k: _serving(k).ticked().failed(), "TFF", "Current", "Healthy"),
    ("dependency unreachable", lambda k: _serving(k).passed(troubles=DOWN), "TTF", "InProgress", "Progressing"),
    (
        "dependency unreachable past its deadline",
        lambda k: _serving(k).passed(troubles=DOWN, overdue=True),
        "TFT",
        "Failed",
        "Degraded",
    ),
    ("suspended", lambda k: _suspended(_serving(k)), "TFF", "Current", "Suspended"),
    ("suspended before the first Run", lambda k: _suspended(_new(k)), "FFF", "InProgress", "Suspended"),
    (
        "suspended past the deadline of a dependency",
        lambda k: _suspended(_serving(k)).passed(troubles=DOWN, overdue=True),
        "TFF",
        "Current",
        "Suspended",
    ),
    ("waiting for a slot", lambda k: _new(k).passed(granted=False), "FTF", "InProgress", "Progressing"),
    ("waiting in a queue", lambda k: _new(k).queued(), "UTF", "InProgress", "Progressing"),
    (
        "waiting for a profile",
        lambda k: _new(k).passed(around=Surrounding(None, {})),
        "FTF",
        "InProgress",
        "Progressing",
    ),
    (
        "waiting for a person",
        lambda k: _new(k).passed(around=Surrounding(profile(), {}, block=REFUSED)),
        "FFT",
        "Failed",
        "Degraded",
    ),
    ("spec cannot be used", lambda k: _new(k).invalid(), "FFT", "Failed", "Degraded"),
    ("spec cannot be used, old one serving", lambda k: _changed(k).invalid(), "TFT", "Failed", "Degraded"),
    ("being deleted", lambda k: _serving(k).deleted(), "TFF", "Terminating", "Progressing"),
)
INDEX_ONLY: tuple[Case, ...] = (
    (
        "gate failed for this generation, old one serving",
        lambda k: _changed(k).running().succeeded(quality=0.1),
        "TFT",
        "Failed",
        "Degraded",
    ),
    (
        "gate failed again in a refresh",
        lambda k: _changed(k).running().succeeded(quality=0.1).ticked().succeeded(quality=0.1),
        "TFT",
        "Failed",
        "Degraded",
    ),
    (
        "gate failed in a scheduled refresh",
        lambda k: _serving(k).ticked().succeeded(quality=0.1),
        "TFF",
        "Current",
        "Healthy",
    ),
    ("a pin holds back a newer spec", lambda k: _held_back(_serving(k)), "TFF", "Current", "Healthy"),
    ("stale past maxStaleness", lambda k: _stale(_serving(k)), "TFF", "Current", "Degraded"),
)
DOWN_RAY = Reason.RUNTIME_UNREACHABLE


def _down_long() -> ProfileLife:
    return ProfileLife().probed().probed(DOWN_RAY).later(minutes=16).probed(DOWN_RAY)


PROFILES: tuple[tuple[str, Callable[[], Life], str, str, str], ...] = (
    ("fresh from the API server", ProfileLife, "---", "InProgress", "Progressing"),
    ("every dependency answers", lambda: ProfileLife().probed(), "TFF", "Current", "Healthy"),
    (
        "new generation not seen yet",
        lambda: ProfileLife().probed().changed(probeIntervalSeconds=30),
        "TFF",
        "InProgress",
        "Progressing",
    ),
    ("dependency unreachable", lambda: ProfileLife().probed().probed(DOWN_RAY), "FTF", "InProgress", "Progressing"),
    ("dependency unreachable past its deadline", _down_long, "FFT", "Failed", "Degraded"),
    ("dependency back after its deadline", lambda: _down_long().probed(), "TFF", "Current", "Healthy"),
    ("spec cannot be used", lambda: ProfileLife().invalid(), "FFT", "Failed", "Degraded"),
)


def _held_back(life: RunLife) -> RunLife:
    pin = {"digest": life.status["active"]["digest"]}
    return life.changed(versions={"pin": pin}).passed().changed(**CHANGE["RAGIndex"]).passed()


def _stale(life: RunLife) -> RunLife:
    return life.later(hours=30).ticked().failed()


def _of(kind: str, case: Case) -> Row:
    name, life, conditions, kstatus, argo = case
    return Row(kind, name, lambda: life(kind), conditions, kstatus, argo)


def rows() -> Iterator[Row]:
    """Yield every case of every kind."""
    for kind in ("Dataset", "RAGIndex"):
        for case in BOTH if kind == "Dataset" else BOTH + INDEX_ONLY:
            yield _of(kind, case)
    for name, life, conditions, kstatus, argo in PROFILES:
        yield Row("ComputeProfile", name, life, conditions, kstatus, argo)


ROWS = tuple(rows())

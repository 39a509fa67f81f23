"""How far a Run is: stages with weights, a percentage that never falls, and the rest of the stage's time.

Pure bookkeeping for `RunContext`, which owns the clock and the file. The weights are rough shares of the run's time; a stage that a Run
skips is counted as done as soon as a later one starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradatim.api.runstatus import Progress

STARTING = "starting"
STAGES: Mapping[str, Mapping[str, float]] = {
    "validate": {
        "resolve": 5, "read": 50, "validate": 12, "deduplicate": 10, "decontaminate": 5, "split": 3, "write": 15,
    },
    "index": {
        "resolve": 3, "parse": 15, "validate": 2, "chunk": 5, "embed": 50, "write": 5, "load": 15, "evaluate": 5,
    },
}  # fmt: skip

# What a stage does, for a person, and what its steps are; steps without a name are not worth counting aloud.
WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "validate": {
        STARTING: ("reading the configuration", ""),
        "resolve": ("listing the source", "files"),
        "read": ("reading files", "files"),
        "validate": ("checking the expectations", "rows"),
        "deduplicate": ("looking for duplicates", "rows"),
        "decontaminate": ("comparing with evaluation sets", "rows"),
        "split": ("dividing rows into splits", "rows"),
        "write": ("writing the snapshot", ""),
    },
    "index": {
        STARTING: ("reading the configuration", ""),
        "resolve": ("fetching models and listing the sources", "files"),
        "parse": ("reading documents", "files"),
        "validate": ("checking the expectations", "documents"),
        "chunk": ("cutting documents into chunks", ""),
        "embed": ("embedding chunks", "chunks"),
        "write": ("writing the artifact", ""),
        "load": ("loading the collection", "chunks"),
        "evaluate": ("asking the questions", "questions"),
    },
}


@dataclass(slots=True)
class Tracker:
    """Counts steps of stages. `weights` gives the order and share of each stage; an unknown stage has no share.

    `words` says what a stage does, so that its message is never empty.
    """

    weights: Mapping[str, float]
    stage: str = STARTING
    step: int = 0
    total: int = 0
    message: str = ""
    unit: str = ""
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    _percent: int = 0
    _started: float = 0.0

    def begin(self, stage: str, total: int, now: float, unit: str = "") -> None:
        """Start a stage at `now` (monotonic seconds); the former one's time is booked. With a `unit` of steps their rate is shown."""
        self.end(now)
        self.stage, self.step, self.total, self.message, self._started = stage, 0, total, "", now
        self.unit = unit

    def end(self, now: float) -> None:
        """Book the running stage's time."""
        if self._started:
            self.timings[self.stage] = round(self.timings.get(self.stage, 0.0) + now - self._started, 3)
            self._started = 0.0

    def advance(self, steps: int, message: str) -> None:
        """Count `steps` more; a total that turns out too small grows with them."""
        self.step += steps
        if self.total:
            self.total = max(self.total, self.step)
        if message:
            self.message = message

    def finish(self, now: float) -> None:
        """Mark the whole Run as done."""
        self.end(now)
        self._percent = 100

    def progress(self, now: float, updated: str) -> Progress:
        """Return the state at `now`; `updated` is the wall clock as RFC 3339."""
        self._percent = max(self._percent, min(99, self._estimate()) if self._percent < 100 else 100)
        return Progress(
            stage=self.stage[:253],
            step=self.step,
            total=self.total,
            percent=self._percent,
            message=self._message(now)[:1024],
            eta_seconds=self._eta(now),
            updated=updated,
        )

    def _message(self, now: float) -> str:
        return ", ".join(part for part in (self._doing(), self._rate(now), self.message) if part)

    def _doing(self) -> str:
        doing, noun = self.words.get(self.stage, ("", ""))
        if not noun or not self.step:
            return doing
        return f"{self.step:,} of {self.total:,} {noun}" if self.total else f"{self.step:,} {noun} so far"

    def _rate(self, now: float) -> str:
        if not self.unit or not self.step or not self._started or now <= self._started:
            return ""
        return f"{self.step / (now - self._started):,.0f} {self.unit}/s"

    def _estimate(self) -> int:
        whole = sum(self.weights.values())
        if self.stage not in self.weights or not whole:
            return 0
        order = list(self.weights)
        done = sum(self.weights[name] for name in order[: order.index(self.stage)])
        share = self.step / self.total if self.total else 0.0
        return int(100 * (done + self.weights[self.stage] * share) / whole)

    def _eta(self, now: float) -> int | None:
        """Seconds to the end of the stage at its own rate; unknown before the first step."""
        if not self._started or not self.step or not self.total:
            return None
        return max(0, round((now - self._started) / self.step * (self.total - self.step)))

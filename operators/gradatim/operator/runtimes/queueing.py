"""What a queue in front of a runtime says about an attempt: Kueue's words as plain values.

Part of `runtimes.base.Observed`; made by `runtimes.kueue`, shown by `jobstatus`. Values only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """One condition of the queue's own, as far as it is known; `status` None means Unknown."""

    status: bool | None
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Queueing:
    """How an attempt stands in its queue."""

    queue: str
    queued: Said
    admission: Said
    eviction: Said

    @property
    def admitted(self) -> bool:
        """Return whether the queue has let the attempt go."""
        return self.admission.status is True

    @property
    def message(self) -> str:
        """Return why it waits, for a person."""
        return f"waiting in queue {self.queue}: {self.queued.message or self.queued.reason}"

"""An attempt that is handed to the runtime long after it was recorded: one process at a time, however late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gradatim.api.runstatus import Attempt, Outcome, RunStatus
from gradatim.operator.clock import rfc3339
from gradatim.operator.runs.engine import advance
from gradatim.operator.runs.model import Evidence, Policy, Submit
from gradatim.operator.runtimes.base import Observed, Phase
from gradatim.operator.settings import RunSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = rfc3339(NOW - timedelta(hours=5))
POLICY = Policy(max_retries=3, deadline=600)
SETTINGS = RunSettings()


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN])
def test_an_attempt_submitted_after_an_outage_is_not_given_up_while_it_runs(phase: Phase) -> None:
    run = RunStatus(name="one-1", trigger="generation", attempts=[Attempt(number=1, recorded_at=LONG_AGO)])
    first = advance(run, Evidence(observed=Observed(Phase.ABSENT)), POLICY, SETTINGS, NOW)
    assert first.actions == (Submit(1),)
    later = NOW + timedelta(seconds=1)
    assert first.run is not None
    second = advance(first.run, Evidence(observed=Observed(phase)), POLICY, SETTINGS, later)
    assert second.run is not None
    assert [(a.number, a.outcome, a.started_at) for a in second.run.attempts] == [(1, Outcome.RUNNING, rfc3339(later))]
    assert (second.actions, second.run.done) == ((), False)

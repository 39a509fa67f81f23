"""A Ray cluster is one trust domain, and quarantined data is valid data."""

from __future__ import annotations

from typing import Any

import pytest

from gradatim.api.computeprofile import ComputeProfile
from gradatim.api.reasons import ConditionType, Reason
from gradatim.api.runstatus import ExpectationResult, ValidationSummary
from gradatim.operator.conditions import Verdict
from gradatim.operator.jobstatus import data_valid
from gradatim.operator.profiles import NAMESPACE_NAME, usable


def profile(*, shared: bool, labels: dict[str, str]) -> ComputeProfile:
    """Return a ready profile."""
    ready = {"type": "Ready", "status": "True", "reason": "Probed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    body: dict[str, Any] = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {
            "runtime": {"rayCluster": {"address": "http://ray:8265", "sharedTrust": shared}},
            "artifactStore": {"root": "file:///store/{namespace}/"},
            "allowedNamespaces": {"selector": {"matchLabels": labels}},
        },
        "status": {"conditions": [ready]},
    }
    return ComputeProfile.model_validate(body)


@pytest.mark.parametrize(
    ("shared", "labels", "expected"),
    [
        pytest.param(True, {}, None, id="shared on purpose, open to all"),
        pytest.param(False, {NAMESPACE_NAME: "team"}, None, id="one namespace by name"),
        pytest.param(False, {}, Reason.PROFILE_NOT_ALLOWED, id="open to all without saying so"),
        pytest.param(False, {"team": "a"}, Reason.PROFILE_NOT_ALLOWED, id="a label that many namespaces may carry"),
        pytest.param(False, {NAMESPACE_NAME: "other"}, Reason.PROFILE_NOT_ALLOWED, id="another namespace"),
    ],
)
def test_who_may_use_a_ray_cluster(shared: bool, labels: dict[str, str], expected: Reason | None) -> None:
    namespace = {NAMESPACE_NAME: "team", "team": "a"}
    block = usable("p", profile(shared=shared, labels=labels), None, namespace, 1, needs_vectors=False)
    assert (None if block is None else block.reason) == expected
    assert block is None or block.stalled


@pytest.mark.parametrize(
    ("success", "good", "status"),
    [
        pytest.param(True, True, True, id="nothing failed"),
        pytest.param(False, True, True, id="quarantine took out what failed"),
        pytest.param(False, False, False, id="refused"),
        pytest.param(True, False, True, id="the Run failed for another reason"),
    ],
)
def test_data_is_valid_unless_it_was_refused(success: bool, good: bool, status: bool) -> None:
    summary = ValidationSummary(success=success, evaluated=3, failed=1, rows=10, rejected=2)
    text = "3 expectations, 1 failed; 2 of 10 rows rejected"
    reason = Reason.SUCCEEDED if status else Reason.DATA_INVALID
    assert data_valid(summary, "rows", "", good=good) == Verdict(ConditionType.DATA_VALID, status, reason, text)


def test_what_only_warns_is_not_told_as_failed() -> None:
    results = [
        ExpectationResult(expectation="expect_a", severity=severity)
        for severity in ("critical", "warning", "critical", "critical", "critical")
    ]
    summary = ValidationSummary(evaluated=5, failed=5, rows=71, rejected=5, results=results)
    assert data_valid(summary, "rows", "", good=True).message == (
        "5 expectations, 4 failed and 1 warned; 5 of 71 rows rejected"
    )
    bounded = summary.model_copy(update={"failed": 6})
    assert data_valid(bounded, "rows", "", good=True).message == "5 expectations, 6 failed; 5 of 71 rows rejected"

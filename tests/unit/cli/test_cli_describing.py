"""`gradatim describe` begins with how the object stands and why, before its long spec."""

from __future__ import annotations

import pytest

from gradatim.cli.describing import describe_body


def test_the_reason_stands_at_the_top(capsys: pytest.CaptureFixture[str]) -> None:
    missed = {"type": "Current", "status": "False", "reason": "GateFailed", "message": "ndcg@10 is 0.4"}
    body = {
        "kind": "RAGIndex",
        "metadata": {"name": "handbook", "namespace": "team", "generation": 2},
        "spec": {"sources": []},
        "status": {"observedGeneration": 2, "state": "Ready", "reasonText": "GateFailed", "conditions": [missed]},
    }
    describe_body(body, [])
    shown = capsys.readouterr().out.splitlines()
    assert shown[4:6] == ["State:      Ready", "Reason:     GateFailed: ndcg@10 is 0.4"]
    assert shown.index("Spec:") == 6


def test_warnings_do_not_stand_among_the_failed(capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        {"expectation": "expect_column_to_exist", "severity": "critical", "success": False, "failed": -1},
        {"expectation": "expect_column_values_to_be_unique", "severity": "warning", "success": False, "failed": 3},
    ]
    found = {"success": False, "evaluated": 2, "failed": 2, "rows": 9, "rejected": 0, "results": results}
    body = {"kind": "Dataset", "metadata": {"name": "docs"}, "spec": {}, "status": {"validation": found}}
    describe_body(body, [])
    shown = capsys.readouterr().out
    assert "2 checked, 1 failed, 1 warned" in shown
    failed, warned = shown.index("Failed expectations:"), shown.index("Warnings:")
    assert failed < shown.index("expect_column_to_exist") < warned < shown.index("expect_column_values_to_be_unique")


def test_the_numbers_of_a_quarantine_agree_with_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [{"name": "expect_a(text)", "count": 4, "examples": []}, {"name": "BadJson", "count": 1, "examples": []}]
    found = {"success": False, "evaluated": 5, "failed": 1, "rows": 71, "rejected": 5, "rejections": reasons}
    results = [{"expectation": "expect_a", "severity": "critical", "success": False, "failed": 4}]
    valid = {"type": "DataValid", "status": "True", "reason": "Succeeded", "message": ""}
    status = {"validation": found | {"results": results}, "conditions": [valid]}
    describe_body({"kind": "Dataset", "metadata": {"name": "docs"}, "spec": {}, "status": status}, [])
    shown = capsys.readouterr().out.splitlines()
    first = shown.index("Validation:")
    assert shown[first + 1 : first + 4] == [
        "  success:      false, on the data as read; the rows that failed are left out",
        "  expectations: 5 checked, 1 failed",
        "  rejected:     5 of 71, 4 of them by expectations",
    ]

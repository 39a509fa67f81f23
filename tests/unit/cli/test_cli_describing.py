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
    assert "2, 1 of them warnings" in shown
    failed, warned = shown.index("Failed expectations:"), shown.index("Warnings:")
    assert failed < shown.index("expect_column_to_exist") < warned < shown.index("expect_column_values_to_be_unique")

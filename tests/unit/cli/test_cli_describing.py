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

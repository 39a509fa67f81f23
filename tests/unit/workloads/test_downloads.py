"""What a Run downloaded is read again from its own copy, in every format, without a server."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.support.workload_runs import DatasetRun

CONTENTS = {
    "one.jsonl": b'{"text": "one"}\n{"text": "two"}\n',
    "one.csv": b"text\none\ntwo\n",
    "one.json": b'[{"text": "one"}, {"text": "two"}]',
    "one.md": b"one",
}


def resolved(run: DatasetRun, path: str, content: bytes) -> None:
    """Write what an earlier attempt leaves of a download: the copy and its entry in `resolved.json`."""
    digest = hashlib.sha256(content).hexdigest()
    run.store.write(f"{run.config.run_path}/downloads/{digest}", content)
    source = {
        "member": "http",
        "revision": "",
        "files": [{"path": path, "size": len(content), "version": f"sha256:{digest}"}],
        "skipped": [],
        "downloads": {path: digest},
    }
    document = {"configDigest": run.config.digest, "sources": {"data": source}}
    run.store.write(f"{run.config.run_path}/resolved.json", json.dumps(document).encode())


@pytest.mark.parametrize(("path", "content"), CONTENTS.items(), ids=CONTENTS.keys())
def test_a_copy_is_read_in_every_format(tmp_path: Path, path: str, content: bytes) -> None:
    spec = {"source": {"http": {"urls": [f"https://docs.example/{path}"]}}, "schemaKind": "documents"}
    run = DatasetRun(tmp_path, spec)
    resolved(run, f"docs.example/{path}", content)
    result = run.execute()
    assert result.outcome == "Succeeded", result.message
    assert [row["text"] for row in run.rows(result)] == (["one"] if path.endswith(".md") else ["one", "two"])

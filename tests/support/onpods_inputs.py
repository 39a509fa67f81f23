"""The quickstart's Dataset and index on the platform on pods, with their input in the S3 store.

Used by the end-to-end tests and by the benchmark `cluster_ready`.
"""

from __future__ import annotations

from typing import Any

from tests.support.onpods import ROOT, OnPods, documents
from tests.support.onpods_store import DOCS

QUICKSTART = ROOT / "docs" / "examples" / "quickstart"
Body = dict[str, Any]


def s3(platform: OnPods, prefix: str) -> Body:
    """Return a source below the bucket of documents."""
    return {"s3": {"uri": f"s3://{DOCS}/{prefix}", "endpoint": platform.cluster.s3, "secretRef": {"name": "docs-read"}}}


def upload(platform: OnPods) -> None:
    """Put the quickstart's input into the bucket: the pages that its `prepare.sh` takes."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs")
        if name.parts[0] not in {"reference", "decisions", "benchmarks.md"}:
            platform.store.put(DOCS, f"handbook/{name}", page.read_bytes())
    for file in ("questions.jsonl", "tickets.jsonl"):
        platform.store.put(DOCS, f"{file.removesuffix('.jsonl')}/{file}", (QUICKSTART / file).read_bytes())


def tickets(platform: OnPods) -> Body:
    """Return the quickstart's Dataset, from S3."""
    (body,) = documents((QUICKSTART / "support-tickets.yaml").read_text())
    body["metadata"]["namespace"] = "team-a"
    body["spec"]["source"] = s3(platform, "tickets/")
    return body


def handbook(platform: OnPods) -> Body:
    """Return the quickstart's index, from S3."""
    (body,) = documents((QUICKSTART / "gradatim-docs.yaml").read_text())
    body["metadata"]["namespace"] = "team-a"
    body["spec"]["sources"][0]["source"] = s3(platform, "handbook/")
    body["spec"]["evaluation"]["questions"] = s3(platform, "questions/")
    return body

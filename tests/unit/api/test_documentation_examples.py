"""Examples are manifests that the types accept, and together they use every kind and every source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gradatim.api import GROUP, KINDS, kind_of
from gradatim.api.sources import SOURCE_MEMBERS

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
MANIFESTS = [
    (path, manifest) for path in sorted(EXAMPLES.rglob("*.yaml")) for manifest in yaml.safe_load_all(path.read_text())
]
OURS = [(path, manifest) for path, manifest in MANIFESTS if manifest["apiVersion"].startswith(f"{GROUP}/")]


@pytest.mark.parametrize(("path", "manifest"), OURS, ids=[f"{p.name}-{m['metadata']['name']}" for p, m in OURS])
def test_example_is_accepted_by_its_type(path: Path, manifest: dict[str, object]) -> None:
    kind_of(str(manifest["kind"])).model.model_validate(manifest)


def test_no_example_is_left_out_or_empty() -> None:
    assert len(OURS) == 14
    assert {path for path, _ in MANIFESTS} == {path for path, _ in OURS}


def test_examples_use_every_kind_and_every_source() -> None:
    text = json.dumps([manifest for _, manifest in OURS])
    assert {manifest["kind"] for _, manifest in OURS} == {kind.name for kind in KINDS}
    assert [member for member in SOURCE_MEMBERS if f'"{member}"' not in text] == []


def test_every_secret_among_the_examples_may_be_used_and_says_where() -> None:
    secrets = [m["metadata"] for _, m in MANIFESTS if m["kind"] == "Secret"]
    assert secrets
    assert all(s["labels"] == {"gradatim.dev/allow-use": "true"} and s["annotations"] for s in secrets)


def test_tickets_of_the_quickstart_hold_good_and_bad_rows() -> None:
    lines = (EXAMPLES / "quickstart" / "tickets.jsonl").read_text().splitlines()
    broken = [line for line in lines if not line.endswith("}")]
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    short = [row["id"] for row in rows if len(row["body"] or "") < 20]
    assert (len(lines), len(broken), short) == (71, 1, ["T-067", "T-068"])

"""Examples are manifests that the types accept, and together they use every kind and every source."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from gradatim.api import GROUP, KINDS, kind_of
from gradatim.api.sources import SOURCE_MEMBERS
from gradatim.workloads.secrets import SecretFolder

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
MANIFESTS = [
    (path, manifest) for path in sorted(EXAMPLES.rglob("*.yaml")) for manifest in yaml.safe_load_all(path.read_text())
]
OURS = [(path, manifest) for path, manifest in MANIFESTS if manifest["apiVersion"].startswith(f"{GROUP}/")]


@pytest.mark.parametrize(("path", "manifest"), OURS, ids=[f"{p.name}-{m['metadata']['name']}" for p, m in OURS])
def test_example_is_accepted_by_its_type(path: Path, manifest: dict[str, object]) -> None:
    kind_of(str(manifest["kind"])).model.model_validate(manifest)


def test_no_example_is_left_out_or_empty() -> None:
    assert len(OURS) == 15
    assert {path for path, _ in MANIFESTS} == {path for path, _ in OURS}


def test_examples_use_every_kind_and_every_source() -> None:
    text = json.dumps([manifest for _, manifest in OURS])
    assert {manifest["kind"] for _, manifest in OURS} == {kind.name for kind in KINDS}
    assert [member for member in SOURCE_MEMBERS if f'"{member}"' not in text] == []


def test_every_secret_among_the_examples_may_be_sent_to_the_source_that_names_it(tmp_path: Path) -> None:
    secrets = [(path, m) for path, m in MANIFESTS if m["kind"] == "Secret"]
    assert secrets
    for path, secret in secrets:
        folder = tmp_path / secret["metadata"]["name"]
        folder.mkdir()
        for key, value in secret["stringData"].items():
            (folder / key).write_text(value)
        (git,) = (s["source"]["git"] for p, m in OURS if p == path for s in m["spec"]["sources"])
        assert git["secretRef"]["name"] == folder.name
        host = urlsplit(git["url"]).netloc
        assert SecretFolder(tmp_path).read_for_host(folder.name, "password", host) == secret["stringData"]["password"]


def test_tickets_of_the_quickstart_hold_good_and_bad_rows() -> None:
    lines = (EXAMPLES / "quickstart" / "tickets.jsonl").read_text().splitlines()
    broken = [line for line in lines if not line.endswith("}")]
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    short = [row["id"] for row in rows if len(row["body"] or "") < 20]
    assert (len(lines), len(broken), short) == (71, 1, ["T-067", "T-068"])

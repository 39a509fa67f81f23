"""What is generated is current, complete and readable; the golden digests change only with the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradatim.api import KINDS
from gradatim.api.crd import all_crds
from gradatim.api.generate import CRD_FOLDER, DIGESTS, REFERENCE, differences, documents, main, write
from gradatim.api.kinds import Kind
from gradatim.api.reference import digests_json, fields_of, rules_of, schema_of

ROOT = Path(__file__).parents[3]
KUBERNETES_OWN = {"apiVersion", "kind", "metadata"}
WANTED = documents()


def test_checked_in_files_are_current() -> None:
    assert differences(ROOT, WANTED) == []


def test_definitions_of_the_chart_are_those_of_the_types() -> None:
    found = [yaml.safe_load((ROOT / CRD_FOLDER / f"{kind.plural}.yaml").read_text()) for kind in KINDS]
    # Helm must not remove a definition: with it would go all objects of the kind.
    assert [crd["metadata"].pop("annotations") for crd in found] == [{"helm.sh/resource-policy": "keep"}] * len(KINDS)
    assert found == all_crds()


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((ROOT / "charts/gradatim-crds/Chart.yaml").read_text())
    package = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    assert [chart["version"], chart["appVersion"]] == [package.split('"')[1]] * 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_has_a_description(kind: Kind) -> None:
    silent = [f.path for f in fields_of(schema_of(kind)) if not f.description and f.path not in KUBERNETES_OWN]
    assert silent == []


def owned_whole(node: Any, inside: bool = False) -> Iterator[Any]:
    """Yield the schemas below blocks that server-side apply owns as one value."""
    if isinstance(node, dict):
        if inside:
            yield node
        whole = inside or node.get("x-kubernetes-map-type") == "atomic"
        for child in node.values():
            yield from owned_whole(child, whole)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_block_of_a_spec_that_is_owned_whole_has_defaults(kind: Kind) -> None:
    # The same manifest would conflict with whoever created the object: the block as written is not the block with its defaults.
    spec = schema_of(kind)["properties"]["spec"]
    assert [node for node in owned_whole(spec) if "default" in node] == []


def test_reference_names_every_rule_once_per_place() -> None:
    page = WANTED[REFERENCE]
    messages = {message.replace("|", "\\|") for kind in KINDS for _, _, message in rules_of(schema_of(kind))}
    assert {m for m in messages if m not in page} == set()


def test_descriptions_do_not_count_as_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests_json()
    monkeypatch.setattr(KINDS[0].model, "__doc__", "Another sentence.")
    assert digests_json() == before
    assert json.loads(before).keys() == {k.name for k in KINDS}


def test_check_tells_what_differs_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, WANTED)
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / DIGESTS).write_text("{}\n")
    (tmp_path / CRD_FOLDER / "gone.yaml").write_text("kind: Gone\n")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert str(DIGESTS) in said
    assert "gone.yaml is not generated any more" in said
    assert (tmp_path / DIGESTS).read_text() == "{}\n"


def test_generating_repairs_and_removes(tmp_path: Path) -> None:
    write(tmp_path, WANTED)
    (tmp_path / CRD_FOLDER / "gone.yaml").write_text("kind: Gone\n")
    assert main(["--root", str(tmp_path)]) == 0
    assert differences(tmp_path, WANTED) == []

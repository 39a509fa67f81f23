"""What kstatus, Flux and Argo CD make of our objects and of Ray's, said by their own libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.gitops_files import CUSTOMIZATIONS, OURS, files
from tests.support.gitops_life import SPECS
from tests.support.gitops_rows import ROWS, Row
from tests.support.gitops_tool import GITOPS, Body, GitOpsTool, Question

from gradatim.api import GROUP, VERSION, kind_of

EXPRESSIONS: dict[str, dict[str, str]] = {
    entry["kind"]: {k: entry[k] for k in ("inProgress", "failed", "current")}
    for entry in yaml.safe_load((GITOPS / "flux" / "health-checks.yaml").read_text())["healthCheckExprs"]
}


def asked(body: Body) -> Question:
    """Return a question to all three about one of our objects."""
    script = (OURS / body["kind"] / "health.lua").read_text()
    return Question(body, flux=EXPRESSIONS[body["kind"]], lua=script)


def statuses(answer: Body) -> Body:
    """Return what each tool says in a word, or its error."""
    return {tool: said.get("status") or said["error"] for tool, said in answer.items()}


@pytest.fixture(scope="module")
def answers(gitops: GitOpsTool) -> dict[str, Body]:
    found = gitops.ask(asked(row.life().body) for row in ROWS)
    return {row.id: statuses(answer) for row, answer in zip(ROWS, found, strict=True)}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_tools_agree_about(answers: dict[str, Body], row: Row) -> None:
    # Flux looks at deletion outside of its expressions, by kstatus.
    by_flux = "Current" if row.kstatus == "Terminating" else row.kstatus
    assert answers[row.id] == {"kstatus": row.kstatus, "flux": by_flux, "argo": row.argo}


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_object_fresh_from_the_api_server_is_in_progress(gitops: GitOpsTool, admin: httpx.Client, kind: str) -> None:
    found = kind_of(kind)
    scope = "namespaces/default/" if found.namespaced else ""
    url = f"/apis/{GROUP}/{VERSION}/{scope}{found.plural}"
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": "gitops-fresh"}, "spec": SPECS[kind]}
    created = admin.post(url, json=body)
    assert created.status_code == 201, created.text
    try:
        stored = admin.get(f"{url}/gitops-fresh").json()
        assert statuses(gitops.ask([asked(stored)])[0]) == {
            "kstatus": "InProgress",
            "flux": "InProgress",
            "argo": "Progressing",
        }
    finally:
        admin.delete(f"{url}/gitops-fresh").raise_for_status()


def argo_cases() -> list[tuple[str, Path, Body]]:
    """Return (sentence, input, expected) of every case in Argo CD's layout."""
    found: list[tuple[str, Path, Body]] = []
    for table in sorted(CUSTOMIZATIONS.glob("*/*/health_test.yaml")):
        for case in yaml.safe_load(table.read_text())["tests"]:
            path = table.parent / case["inputPath"]
            found.append((f"{table.parent.name} {path.stem}", path, case["healthStatus"]))
    return found


CASES = argo_cases()


@pytest.fixture(scope="module")
def by_argo(gitops: GitOpsTool) -> dict[str, Body]:
    questions = [
        Question(yaml.safe_load(path.read_text()), lua=(path.parents[1] / "health.lua").read_text())
        for _, path, _ in CASES
    ]
    return {case[0]: answer["argo"] for case, answer in zip(CASES, gitops.ask(questions), strict=True)}


@pytest.mark.parametrize(("name", "expected"), [(c[0], c[2]) for c in CASES], ids=[c[0] for c in CASES])
def test_argo_script_says(by_argo: dict[str, Body], name: str, expected: Body) -> None:
    assert {"message": ""} | by_argo[name] == expected


def test_every_script_has_a_table_and_every_input_is_used() -> None:
    tabled = {path.parents[1] for _, path, _ in CASES}
    assert tabled == {path.parent for path in CUSTOMIZATIONS.glob("*/*/health.lua")}
    assert len(tabled) == 7
    assert {path for _, path, _ in CASES} == set(CUSTOMIZATIONS.glob("*/*/testdata/*.yaml"))


def test_generated_files_are_current(gitops: GitOpsTool) -> None:
    for path, text in files(gitops).items():
        assert path.read_text() == text, f"{path} is out of date: python -m tests.support.gitops_files"


def test_scripts_of_our_kinds_are_equal() -> None:
    assert len({path.read_text() for path in OURS.glob("*/health.lua")}) == 1


# Of what Argo CD says, which Flux says otherwise: no status yet is an error that Flux waits through, a suspended object is not
# current, and an upgrade in progress is told before the failure of its candidate.
OTHERWISE = {"RayService candidate-failed": "InProgress"}
SAME = {"Healthy": "Current", "Progressing": "InProgress", "Degraded": "Failed", "Suspended": "InProgress"}


def test_flux_agrees_with_argo_about_objects_of_ray(gitops: GitOpsTool) -> None:
    cases = [c for c in CASES if c[0].startswith("Ray") and not c[0].endswith(" new")]
    questions = []
    for _, path, _ in cases:
        body = yaml.safe_load(path.read_text())
        questions.append(Question(body, flux=EXPRESSIONS[body["kind"]]))
    said = {c[0]: statuses(a)["flux"] for c, a in zip(cases, gitops.ask(questions), strict=True)}
    assert said == {c[0]: OTHERWISE.get(c[0], SAME[c[2]["status"]]) for c in cases}
    assert len(said) == 27


def test_flux_does_not_take_a_ray_object_without_status_for_anything(gitops: GitOpsTool) -> None:
    fresh = [
        yaml.safe_load(path.read_text()) for name, path, _ in CASES if name.startswith("Ray") and name.endswith("new")
    ]
    found = gitops.ask(Question(body, flux=EXPRESSIONS[body["kind"]]) for body in fresh)
    assert len(found) == 3
    assert all("no such attribute" in statuses(answer)["flux"] for answer in found)


def test_without_expressions_a_ray_job_counts_as_ready_before_it_runs(gitops: GitOpsTool) -> None:
    jobs = [
        yaml.safe_load((CUSTOMIZATIONS / f"ray.io/RayJob/testdata/{n}.yaml").read_text()) for n in ("new", "failed")
    ]
    assert [statuses(a) for a in gitops.ask(map(Question, jobs))] == [{"kstatus": "Current"}, {"kstatus": "Current"}]


def workflow_template() -> Any:
    """Return the resource template of the example for Argo Workflows."""
    return yaml.safe_load((GITOPS / "argo-workflows/build-index.yaml").read_text())["spec"]["templates"][0]["resource"]


WORKFLOW = {
    "fresh from the API server": "Waiting",
    "first Run in progress": "Waiting",
    "waiting for a slot": "Waiting",
    "suspended before the first Run": "Waiting",
    "serving": "Succeeded",
    "first Run failed": "Failed",
    "waiting for a person": "Failed",
    # Why the example creates and never applies: what serves hides what was asked for.
    "new generation not seen yet": "Succeeded",
    "new generation failed, old one serving": "Waiting",
}


def test_argo_workflows_waits_for_a_new_index(gitops: GitOpsTool) -> None:
    template = workflow_template()
    conditions = {k: template[k] for k in ("successCondition", "failureCondition")}
    by_id = {row.id: row for row in ROWS}
    asked_about = [Question(by_id[f"RAGIndex: {name}"].life().body, workflow=conditions) for name in WORKFLOW]
    said = dict(zip(WORKFLOW, (statuses(a)["workflow"] for a in gitops.ask(asked_about)), strict=True))
    assert said == WORKFLOW


def test_api_server_accepts_the_index_of_the_workflow(admin: httpx.Client) -> None:
    manifest = yaml.safe_load(workflow_template()["manifest"].replace("{{inputs.parameters.revision}}", "main"))
    answer = admin.post(
        f"/apis/{GROUP}/{VERSION}/namespaces/default/ragindices",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=manifest,
    )
    assert answer.status_code == 201, answer.text

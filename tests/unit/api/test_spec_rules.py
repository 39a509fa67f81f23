"""The pydantic models judge manifests as the table says; the integration test asks a real API server the same."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.support.spec_cases import BASES, WRITTEN, Case, Manifest, boundaries

from gradatim.api import KINDS, kind_of
from gradatim.api.crd import crd
from gradatim.api.kinds import Kind
from gradatim.api.reference import rules_of, schema_of

JUDGED_ALONE = [case for case in WRITTEN if case.before is None]


def refusal(manifest: Manifest) -> str:
    """Return what the model says against a manifest, or an empty text."""
    try:
        kind_of(manifest["kind"]).model.model_validate(manifest)
    except ValidationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("case", JUDGED_ALONE, ids=lambda case: case.id)
def test_model_judges_the_manifest(case: Case) -> None:
    said = refusal(case.manifest())
    assert (case.message in said) if case.message else not said, said


def test_every_bound_of_the_schemas_is_a_bound_of_the_models() -> None:
    wrong = [told for told, manifest, accepted in boundaries() if accepted is False and not refusal(manifest)]
    assert wrong == []


def test_every_rule_has_a_case_that_breaks_it() -> None:
    declared = {(kind.name, message) for kind in KINDS for _, _, message in rules_of(schema_of(kind))}
    broken = {(case.kind, m) for case in WRITTEN if case.message for _, m in declared if m.startswith(case.message)}
    assert declared - broken == set()


def test_a_rule_keeps_one_message_per_meaning() -> None:
    by_message: dict[str, set[str]] = {}
    for kind in KINDS:
        for _, rule, message in rules_of(schema_of(kind)):
            by_message.setdefault(message, set()).add(rule)
    assert {m: r for m, r in by_message.items() if len(r) > 1} == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_unknown_fields_are_refused_in_a_spec_and_ignored_beside_it(kind: Kind) -> None:
    base = BASES[kind.name]
    assert "Extra inputs are not permitted" in refusal(base | {"spec": base["spec"] | {"colour": "red"}})
    assert refusal(base | {"status": {"colour": "red"}}) == ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_manifest_survives_the_round_trip_through_its_type(kind: Kind) -> None:
    model = kind.model.model_validate(BASES[kind.name])
    again = kind.model.model_validate(model.to_manifest())
    assert again == model


def test_definitions_are_made_anew_on_every_call() -> None:
    first = crd(KINDS[0])
    first["spec"].clear()
    assert crd(KINDS[0])["spec"]

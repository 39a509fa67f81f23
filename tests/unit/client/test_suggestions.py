"""A wrong name or field is answered with the one that was probably meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gradatim.api.dataset import Dataset
from gradatim.api.ragindex import RAGIndex
from gradatim.client.effects import Request, Response
from gradatim.client.errors import FieldCause, InvalidError, UnknownKindError, from_response
from gradatim.client.manifests import Manifest, typed
from gradatim.client.resources import resource_for
from gradatim.client.suggest import near_name, with_near_fields

NAMES = {
    "one letter off": ("handbok", ["handbook", "faq"], "did you mean handbook?"),
    "nothing like it": ("zzz", ["handbook", "faq"], "ragindices in namespace hr: faq, handbook"),
    "nothing at all": ("zzz", [], "there are no ragindices in namespace hr"),
    "a crowd": ("zzz", [f"n{i}" for i in range(7)], "ragindices in namespace hr: n0, n1, n2, n3, n4 and 2 more"),
}


@pytest.mark.parametrize(("wanted", "names", "hint"), NAMES.values(), ids=NAMES.keys())
def test_a_name_that_is_not_there(wanted: str, names: list[str], hint: str) -> None:
    assert near_name(wanted, names, "ragindices", " in namespace hr") == hint


FIELDS: dict[str, tuple[type[Any], str, str]] = {
    "a letter too many": (Dataset, "spec.dedup.exactt", "unknown field; did you mean exact?"),
    "another spelling": (RAGIndex, "spec.chunking.max_tokens", "unknown field; did you mean maxTokens?"),
    "wrong case": (RAGIndex, "spec.chunking.maxtokens", "unknown field; did you mean maxTokens?"),
    "in a list, by index": (RAGIndex, "spec.sources[0].nane", "unknown field; did you mean name?"),
    "in a list, by key": (RAGIndex, 'spec.sources[name="a"].nane', "unknown field; did you mean name?"),
    "at the top": (Dataset, "spek", "unknown field; did you mean spec?"),
    "below what the types do not know": (Dataset, "spec.nothing.there", "unknown field"),
}


@pytest.mark.parametrize(("model", "field", "message"), FIELDS.values(), ids=FIELDS.keys())
def test_a_field_that_is_not_there(model: type[Any], field: str, message: str) -> None:
    assert with_near_fields([FieldCause(field, "unknown field")], model) == (FieldCause(field, message),)


def test_a_field_like_no_other_is_answered_with_all_there_are() -> None:
    (found,) = with_near_fields([FieldCause("spec.dedup.zzz", "unknown field")], Dataset)
    assert found.message.startswith("unknown field; there are: ")
    assert "exact" in found.message


def test_a_field_that_only_the_cluster_does_not_know_is_not_suggested_again() -> None:
    (found,) = with_near_fields([FieldCause("spec.dedup.exact", "unknown field")], Dataset)
    assert found.message.startswith("the cluster does not know this field; its definitions are of another release")


def test_other_causes_stay() -> None:
    causes = (FieldCause("spec.format", "Unsupported value"),)
    assert with_near_fields(causes, Dataset) == causes


def test_a_manifest_without_a_cluster_is_answered_alike() -> None:
    body = {"apiVersion": "gradatim.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "a"}}
    with pytest.raises(InvalidError, match=r"spec\.sauce: unknown field; did you mean source\?"):
        typed(Manifest(body | {"spec": {"sauce": {}, "source": {"path": "file:///a"}}}, "f"))


def test_unknown_fields_of_a_create_are_told_apart() -> None:
    message = (
        'Dataset in version "v1alpha1" cannot be handled as a Dataset: strict decoding error: '
        'unknown field "spec.sauce", unknown field "spec.dedup.exakt"'
    )
    body = json.dumps({"reason": "BadRequest", "code": 400, "message": message}).encode()
    error = from_response(400, {}, body)
    assert isinstance(error, InvalidError)
    assert [c.field for c in error.causes] == ["spec.sauce", "spec.dedup.exakt"]


KINDS_HINT = "kinds of gradatim.dev/v1alpha1 are ComputeProfile, Dataset, RAGIndex"
UNKNOWN = {
    "another version of a kind": (
        "gradatim.dev/v1", "Dataset", "Dataset is known as gradatim.dev/v1alpha1: correct apiVersion",
    ),
    "another version of no kind": ("gradatim.dev/v1", "Datasett", KINDS_HINT),
    "no kind": ("gradatim.dev/v1alpha1", "Datasett", KINDS_HINT),
    "somebody else's": ("other.dev/v1", "Dataset", UnknownKindError.hint),
}  # fmt: skip


@pytest.mark.parametrize(("version", "kind", "hint"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_a_version_or_kind_that_the_cluster_does_not_know(version: str, kind: str, hint: str) -> None:
    steps = resource_for(Manifest({"apiVersion": version, "kind": kind, "metadata": {"name": "d"}}, "d.yaml"))
    asked = next(steps)
    assert isinstance(asked, Request)
    assert asked.path == f"/apis/{version}"
    with pytest.raises(UnknownKindError, match=f"the cluster does not know {version} {kind}") as error:
        steps.send(Response(404, {}, b""))
    assert error.value.hint == hint

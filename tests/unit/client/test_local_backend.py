"""Runs without a cluster build the operator's configs, judge the same gates and keep what serves when something fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradatim.api.ragindex import IndexVersion, RAGIndexStatus
from gradatim.api.run import DatasetOutput, IndexOutput, RunConfig, RunResult, Stamp, VectorStoreConfig, config_digest
from gradatim.api.runstatus import NamedMetric, Progress
from gradatim.client import local
from gradatim.client.errors import ConflictError, InvalidError, ManifestError, UnsupportedError
from gradatim.client.local import LocalBackend, LocalOutcome, failure_of
from gradatim.client.localstate import LocalState
from gradatim.client.localstatus import forgotten
from gradatim.client.vectorstore import VectorAccess

ACCESS = VectorAccess(VectorStoreConfig(endpoint="http://w:8080", grpc_endpoint="http://w:50051"))
API = {"apiVersion": "gradatim.dev/v1alpha1"}


def dataset(name: str, **spec: Any) -> dict[str, Any]:
    return API | {"kind": "Dataset", "metadata": {"name": name}, "spec": {"source": {"path": "file:///d"}} | spec}


def index(**spec: Any) -> dict[str, Any]:
    base = {
        "sources": [{"name": "a", "source": {"datasetRef": {"name": "base"}}}],
        "embedding": {"model": {"uri": "package://m"}},
    }
    return API | {"kind": "RAGIndex", "metadata": {"name": "handbook"}, "spec": base | spec}


GATED = index(
    evaluation={
        "questions": {"path": "file:///q"},
        "gates": [
            {"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}},
            {"name": "no-worse", "metric": "ndcg@10", "baseline": "active", "maxDecrease": 0.02},
        ],
    }
)


@dataclass
class Workload:
    """Stands where the child process is, and remembers the configs. Digests differ by `content`."""

    content: str = "a"
    value: float = 0.8
    outcome: str = "Succeeded"
    configs: list[RunConfig] = field(default_factory=list)

    def __call__(self, config: RunConfig, on_progress: Callable[[Progress], None]) -> RunResult:
        self.configs.append(config)
        assert config.digest == config_digest(config)
        on_progress(Progress(stage="build", percent=50))
        digest = "sha256:" + self.content * 64
        result: dict[str, Any] = {
            "stamp": Stamp.of(config),
            "outcome": self.outcome,
            "finished": "2026-01-01T00:00:00Z",
        }
        if self.outcome == "Failed":
            result |= {"reason": "DataInvalid", "message": "row 3 is empty", "failure": "Data"}
        elif config.dataset is not None:
            result["dataset"] = DatasetOutput(digest=digest, uri="file:///s/d/", rows=3)
        elif self.outcome == "Succeeded" and config.index_inputs is not None:
            prefix = config.index_inputs.collection_prefix
            result["index"] = IndexOutput(
                digest=digest,
                resolved_digest=digest,
                uri="file:///s/i/",
                collection=prefix + self.content * 10,
                encoder_digest=digest,
                documents=1,
                chunks=2,
                metrics=[NamedMetric(name="ndcg@10", value=self.value, samples=60)],
            )
        return RunResult(**result)


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(local, "drop_collections", lambda _access, names: found.extend(names))
    return found


@pytest.fixture
def go(tmp_path: Path, dropped: list[str]) -> Callable[..., list[LocalOutcome]]:
    def run(workload: Workload, *manifests: dict[str, Any], **options: Any) -> list[LocalOutcome]:
        (tmp_path / "m.yaml").write_text(yaml.safe_dump_all(manifests))
        backend = LocalBackend(tmp_path / "state", options.pop("vectors", ACCESS), tmp_path / "none", workload)
        return list(backend.run(tmp_path / "m.yaml", **options))

    return run


Go = Callable[..., list[LocalOutcome]]


def test_datasets_run_before_what_reads_them_and_are_resolved_between_the_files(go: Go, tmp_path: Path) -> None:
    workload = Workload()
    derived = dataset("derived", source={"datasetRef": {"name": "base"}})
    seen: list[tuple[str, int]] = []
    outcomes = go(workload, index(), derived, dataset("base"), on_progress=lambda n, p: seen.append((n, p.percent)))
    assert [(o.name, o.ok, o.outcome) for o in outcomes] == [
        ("dataset/base", True, "Succeeded"),
        ("dataset/derived", True, "Succeeded"),
        ("ragindex/handbook", True, "Succeeded"),
    ]
    assert seen[0] == ("dataset/base", 50)
    config = workload.configs[2]
    assert [(d.name, d.uri) for d in config.datasets] == [("base", "file:///s/d/")]
    assert config.store.root == f"file://{tmp_path}/state/artifacts/default/"
    assert config.vector_store == ACCESS.config
    assert (config.object.namespace, config.object.generation, config.attempt) == ("default", 1, 1)


def test_every_run_has_its_own_name_and_knows_what_came_before(go: Go) -> None:
    workload = Workload()
    go(workload, dataset("base"), index())
    go(workload, dataset("base"), index(chunking={"maxTokens": 64}))
    first, second = workload.configs[1], workload.configs[3]
    assert first.run != second.run
    assert first.object.uid == second.object.uid
    assert (first.object.generation, second.object.generation) == (1, 2)
    assert first.index_inputs is not None
    assert first.index_inputs.previous is None
    assert second.index_inputs is not None
    assert second.index_inputs.previous is not None
    assert second.index_inputs.previous.digest == "sha256:" + "a" * 64
    assert workload.configs[2].previous_dataset_digest == "sha256:" + "a" * 64


def test_a_run_after_a_removal_is_a_first_one_with_a_name_of_its_own(go: Go, tmp_path: Path) -> None:
    workload = Workload()
    go(workload, dataset("base"))
    assert LocalBackend(tmp_path / "state").delete(tmp_path / "m.yaml")[0].deleted
    go(workload, dataset("base"))
    first, second = workload.configs
    assert first.object == second.object
    assert (first.run != second.run, second.previous_dataset_digest) == (True, None)


def test_force_builds_although_nothing_changed(go: Go) -> None:
    workload = Workload()
    go(workload, dataset("base"), index())
    go(workload, dataset("base"), index(), force=True)
    assert workload.configs[2].previous_dataset_digest is None
    assert workload.configs[3].index_inputs is not None
    assert workload.configs[3].index_inputs.force


def test_a_version_that_misses_a_gate_is_refused_and_the_one_before_stays(go: Go, dropped: list[str]) -> None:
    assert go(Workload("a", 0.8), dataset("base"), GATED)[1].ok
    refused = go(Workload("b", 0.7), dataset("base"), GATED)[1]
    assert (refused.ok, refused.outcome, refused.reason) == (False, "Refused", "GateFailed")
    assert "no-worse: ndcg@10 is 0.7, misses active 0.8 minus maxDecrease 0.02 by 0.08" in refused.message
    status = refused.thing.status
    assert status is not None
    assert status.active is not None
    assert status.active.label == "v1"  # type: ignore[union-attr]
    assert [(v.label, v.passed, v.collection_dropped) for v in status.history] == [  # type: ignore[union-attr]
        ("v2", False, True),
        ("v1", True, False),
    ]
    assert {c.type: c.status for c in status.conditions} == {"Ready": "True", "Current": "False", "Stalled": "True"}
    assert [name[-10:] for name in dropped] == ["b" * 10]
    assert "GateFailed" in str(failure_of(refused))


def test_a_first_version_that_misses_a_gate_leaves_nothing_active(go: Go) -> None:
    refused = go(Workload("a", 0.1), dataset("base"), GATED)[1]
    assert not refused.ok
    assert refused.thing.status is not None
    assert refused.thing.status.active is None
    assert refused.thing.status.state == "Failed"


def test_versions_beyond_keep_lose_their_collections_but_the_active_one_never(go: Go, dropped: list[str]) -> None:
    for content in "abc":
        go(Workload(content), dataset("base"), index(versions={"keep": 2}))
    assert [name[-10:] for name in dropped] == ["a" * 10]
    done = go(Workload("c", 0.1), dataset("base"), GATED)[1]
    assert not done.ok
    assert [name[-1] for name in dropped] == ["a"]


def version(content: str, *, dropped: bool = False) -> IndexVersion:
    digest = "sha256:" + content * 64
    return IndexVersion(
        digest=digest,
        label="v1",
        collection=f"G{content}",
        uri="file:///s/i/",
        resolved_digest=digest,
        encoder_digest=digest,
        documents=1,
        chunks=2,
        created="2026-01-01T00:00:00Z",
        run="run",
        passed=True,
        collection_dropped=dropped,
    )


def test_what_falls_out_of_the_history_is_dropped_unless_it_serves() -> None:
    a, b, c, d = version("a"), version("b", dropped=True), version("c"), version("d")
    old = RAGIndexStatus(active=a, history=[c, b])
    assert forgotten(None, old) == []
    assert forgotten(old, RAGIndexStatus(active=a, history=[c, b])) == []
    assert forgotten(old, RAGIndexStatus(active=a, history=[d])) == [c]
    assert forgotten(old, RAGIndexStatus(active=d, history=[d, c])) == [a]


def test_a_folder_with_a_space_holds_its_artifacts_itself(tmp_path: Path) -> None:
    workload = Workload()
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(dataset("base")))
    list(LocalBackend(tmp_path / "my state", ACCESS, tmp_path / "none", workload).run(tmp_path / "m.yaml"))
    assert workload.configs[0].store.root == f"file://{tmp_path}/my state/artifacts/default/"


def test_a_failed_run_stops_the_rest_and_leaves_the_active_snapshot(go: Go) -> None:
    go(Workload("a"), dataset("base"))
    outcomes = go(Workload("b", outcome="Failed"), dataset("base"), index())
    assert [(o.name, o.ok, o.reason, o.message) for o in outcomes] == [
        ("dataset/base", False, "DataInvalid", "row 3 is empty")
    ]
    status = outcomes[0].thing.status
    assert status is not None
    assert status.active is not None
    assert status.active.digest == "sha256:" + "a" * 64


def test_unchanged_keeps_the_active_version(go: Go) -> None:
    go(Workload("a"), dataset("base"), index())
    outcome = go(Workload("b", outcome="Unchanged"), index())[0]
    assert (outcome.ok, outcome.outcome) == (True, "Unchanged")
    assert outcome.thing.status is not None
    assert outcome.thing.status.active is not None


def gated(**gate: Any) -> dict[str, Any]:
    """Return the index with one gate. How it is judged is no part of what is built."""
    gates = [{"name": "g", "metric": "ndcg@10", "threshold": {"min": 0.5}} | gate]
    return index(evaluation={"questions": {"path": "file:///q"}, "gates": gates})


@pytest.mark.parametrize(
    ("gate", "reason", "message"),
    [
        pytest.param({"threshold": {"min": 1.1}}, "GateFailed", "misses min 1.1 by 0.3", id="a bound out of reach"),
        pytest.param({"minSamples": 61}, "GateUnproven", "rests on 60 samples", id="more samples than questions"),
        pytest.param({"metric": "mrr"}, "GateUnproven", "mrr was measured 0 times", id="another metric"),
    ],
)
def test_unchanged_is_judged_by_the_gates_of_now(
    go: Go, dropped: list[str], gate: dict[str, Any], reason: str, message: str
) -> None:
    assert go(Workload("a"), dataset("base"), gated())[1].ok
    for workload in (
        Workload(outcome="Unchanged"),
        Workload("a"),
        Workload(outcome="Unchanged"),
    ):  # the second is forced
        found = go(workload, gated(**gate))[0]
        assert (found.ok, found.outcome, found.reason) == (False, "Refused", reason)
        assert message in found.message
        status: Any = found.thing.status
        assert (status.active.label, status.active.passed, status.active.gates[0].passed) == ("v1", True, False)
        assert status.history == [status.active], "what passed once goes on serving"
        assert {c.type: c.status for c in status.conditions} == {"Ready": "True", "Current": "False", "Stalled": "True"}
    again = go(Workload(outcome="Unchanged"), gated())[0]
    assert (again.ok, again.outcome, again.reason) == (True, "Unchanged", "Unchanged")
    assert again.message.endswith("all 1 gates passed")
    assert dropped == []


def test_a_profile_among_the_manifests_is_used(go: Go, tmp_path: Path) -> None:
    profile = API | {
        "kind": "ComputeProfile",
        "metadata": {"name": "laptop"},
        "spec": {
            "runtime": {"rayCluster": {"address": "http://ray:8265", "secretsPath": str(tmp_path)}},
            "artifactStore": {"root": "s3://bucket/{namespace}/"},
            "vectorStore": {"endpoint": "http://v:8080", "grpcEndpoint": "http://v:1", "workloadSecretName": "key"},
            "limits": {"maxRunSeconds": 60},
        },
    }
    workload = Workload()
    go(workload, profile, dataset("base"), index(), vectors=None)
    config = workload.configs[1]
    assert (config.store.root, config.deadline_seconds, config.secrets_path) == (
        "s3://bucket/default/",
        60,
        str(tmp_path),
    )
    assert config.vector_store == VectorStoreConfig(
        endpoint="http://v:8080", grpc_endpoint="http://v:1", secret_name="key"
    )


def test_a_suite_comes_from_a_config_map_among_the_manifests(go: Go) -> None:
    suite = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"suite.json": "{}"}}
    workload = Workload()
    checked = dataset("base", validation={"suiteRef": {"name": "s"}})
    go(workload, suite, checked)
    assert workload.configs[0].suite is not None
    with pytest.raises(InvalidError, match="the suite s is missing"):
        go(workload, checked)


WRONG: dict[str, tuple[list[dict[str, Any]], type[Exception], str]] = {
    "a Dataset that nobody made": ([index()], InvalidError, "unresolved Datasets: base"),
    "two of one name": ([dataset("a"), dataset("a")], ManifestError, "two Datasets called a"),
    "a circle": (
        [dataset("a", source={"datasetRef": {"name": "b"}}), dataset("b", source={"datasetRef": {"name": "a"}})],
        ManifestError,
        "in a circle: a, b",
    ),
    "nothing to run": (
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
        ManifestError,
        "nothing to run",
    ),
    "a wrong field": ([dataset("a", sauce=1)], InvalidError, r"spec\.sauce"),
}


@pytest.mark.parametrize(("manifests", "cls", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_named_before_anything_runs(
    go: Go, manifests: list[dict[str, Any]], cls: type[Exception], message: str
) -> None:
    workload = Workload()
    with pytest.raises(cls, match=message):
        go(workload, *manifests)
    assert workload.configs == []


def test_an_index_without_a_weaviate_says_how_to_get_one(go: Go) -> None:
    workload = Workload()
    with pytest.raises(UnsupportedError, match="needs a Weaviate") as error:
        go(workload, dataset("base"), index(), vectors=None)
    assert "gradatim up" in error.value.hint
    assert workload.configs == [], "said before the dataset is built"


def test_one_run_at_a_time_uses_a_folder(go: Go, tmp_path: Path) -> None:
    state = LocalState(tmp_path / "state")
    state.prepare()
    with state.locked(), pytest.raises(ConflictError, match="another run uses"):
        go(Workload(), dataset("a"))
    assert go(Workload(), dataset("a"))[0].ok

"""What counts as a result or a sign of life, and what a forged document cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gradatim.api.run import MAX_DOCUMENT_BYTES, IndexInputs, RunConfig, RunObject, RunResult, Stamp, StoreConfig
from gradatim.operator.runtimes.instant_output import Script, progress_document, result_document
from gradatim.operator.stores.documents import ResultRejected, parse_progress, parse_result

ROOT = "file:///store/team/"


def config(workload: str = "index", attempt: int = 2) -> RunConfig:
    """Return the config of one attempt."""
    kind = "RAGIndex" if workload == "index" else "Dataset"
    return RunConfig.model_validate(
        {
            "workload": workload,
            "object": RunObject.model_validate({"kind": kind, "namespace": "team", "name": "manuals", "uid": "u-1"}),
            "run": "manuals-abc",
            "attempt": attempt,
            "store": StoreConfig(root=ROOT),
            "index_inputs": IndexInputs(collection_prefix="G0123456789_") if workload == "index" else None,
        }
    ).sealed()


def document(workload: str = "index", **script: Any) -> dict[str, Any]:
    """Return a valid result as JSON."""
    result = result_document(Script.model_validate(script), config(workload), 1_800_000_000.0)
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def put(path: str, value: Any, workload: str = "index") -> bytes:
    """Return a result in which one member has another value."""
    found = document(workload)
    *parents, last = path.split(".")
    target: Any = found
    for part in parents:
        target = target[part]
    target[last] = value
    return json.dumps(found).encode()


@pytest.mark.parametrize("workload", ["index", "validate"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param({}, id="a success"),
        pytest.param({"outcome": "Unchanged"}, id="nothing changed"),
        pytest.param({"outcome": "Stopped"}, id="a stop"),
        pytest.param({"outcome": "Failed", "failure": "Data", "reason": "DataInvalid"}, id="a failure"),
        pytest.param({"metrics": [{"name": "recall@5", "value": 0.5, "samples": 3}]}, id="metrics"),
    ],
)
def test_a_result_of_this_attempt_is_read_as_written(workload: str, script: dict[str, Any]) -> None:
    found = document(workload, **script)
    assert parse_result(json.dumps(found).encode(), config(workload)) == RunResult.model_validate(found)


def test_members_of_a_newer_release_are_left_out() -> None:
    assert parse_result(put("novelty", {"deep": [1]}), config()) == RunResult.model_validate(document())


ELSEWHERE = "does not lie in the object's folder"
REJECTED = [
    pytest.param(b"", "does not follow the schema", id="empty"),
    pytest.param(b"\xff\xfe", "does not follow the schema", id="no UTF-8"),
    pytest.param(b"[" * 100_000, "does not follow the schema", id="nested beyond every bound"),
    pytest.param(
        b'{"x":' * 5_000 + b"1" + b"}" * 5_000, "does not follow the schema", id="nested in a member that is ignored"
    ),
    pytest.param(b" " * (MAX_DOCUMENT_BYTES + 1), "larger than", id="too large"),
    pytest.param(put("stamp.uid", "u-2"), "stamped for another", id="another object"),
    pytest.param(put("stamp.run", "manuals-abd"), "stamped for another", id="another Run"),
    pytest.param(put("stamp.attempt", 1), "stamped for another", id="an earlier attempt"),
    pytest.param(put("stamp.configDigest", "sha256:0"), "stamped for another", id="another config"),
    pytest.param(put("stamp.attempt", "2"), "stamp.attempt", id="a number as text"),
    pytest.param(put("stamp.attempt", 2.5), "stamp.attempt", id="half an attempt"),
    pytest.param(put("outcome", "Promoted"), "outcome", id="an outcome that does not exist"),
    pytest.param(put("index", None), "without an output", id="success without an output"),
    pytest.param(put("outcome", "Failed"), "without a failure", id="failure without a class"),
    pytest.param(put("failure", "User"), "with a failure", id="success with a failure"),
    pytest.param(put("finished", "yesterday"), "RFC 3339", id="a time that is none"),
    pytest.param(put("finished", "2026-13-01T00:00:00Z"), "RFC 3339", id="a month that does not exist"),
    pytest.param(put("index.chunks", -1), "index.chunks", id="a negative count"),
    pytest.param(put("index.chunks", 1e300), "index.chunks", id="a count beyond every store"),
    pytest.param(put("timings", {"Load": float("nan")}), "timings", id="not a number"),
    pytest.param(put("timings", {"Load": float("inf")}), "timings", id="infinity"),
    pytest.param(put("index.metrics", [{"name": "r", "value": float("inf")}]), "value", id="an infinite metric"),
    pytest.param(put("index.metrics", [{"name": "r", "value": 1}] * 2), "more than once", id="a metric twice"),
    pytest.param(put("rejections", [{"name": "r", "count": 1}] * 2), "more than once", id="a rejection twice"),
    pytest.param(
        put("index.metrics", [{"name": f"r{i}", "value": 1} for i in range(65)]), "metrics", id="too many metrics"
    ),
    pytest.param(put("message", "x" * 2000), "message", id="a message that no status could hold"),
    pytest.param(put("index.digest", "md5:0"), "index.digest", id="a digest that is none"),
    pytest.param(put("index.digest", "sha256:" + "0" * 64), "index.collection", id="a collection of another digest"),
    pytest.param(
        put("index.collection", "Gffffffffff_0123456789"), "index.collection", id="a collection of another object"
    ),
    pytest.param(put("index.collection", "Production"), "index.collection", id="any other collection"),
    pytest.param(put("index.uri", "file:///store/other/ragindex/manuals/u-1/a/"), ELSEWHERE, id="another namespace"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-2/a/"), ELSEWHERE, id="another object's folder"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/../u-2/"), ELSEWHERE, id="a way upwards"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/%2e%2e/u-2/"), ELSEWHERE, id="an escaped way upwards"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/a%2f..%2f..%2fu-2"), ELSEWHERE, id="an escaped slash"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/"), ELSEWHERE, id="the object's folder itself"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/a//b"), ELSEWHERE, id="an empty name"),
    pytest.param(put("index.uri", ROOT + "ragindex/manuals/u-1/a\nb"), ELSEWHERE, id="a line break in an address"),
    pytest.param(
        put("dataset", document("validate")["dataset"]), "cannot have produced", id="output of another workload"
    ),
]


@pytest.mark.parametrize(("data", "message"), REJECTED)
def test_anything_else_is_rejected_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(ResultRejected) as caught:
        parse_result(data, config())
    assert message in caught.value.message
    assert len(caught.value.message) <= 600
    assert caught.value.reason == "ResultRejected"


def test_a_split_counts_once() -> None:
    data = put("dataset.splits", [{"name": "train", "rows": 1}] * 2, "validate")
    with pytest.raises(ResultRejected, match="two entries"):
        parse_result(data, config("validate"))


def test_the_message_does_not_repeat_the_content() -> None:
    with pytest.raises(ResultRejected) as caught:
        parse_result(put("outcome", "hunter2\u202e"), config())
    assert "hunter2" not in caught.value.message


def test_a_progress_document_of_this_attempt_is_read_as_written() -> None:
    data = progress_document(Script(stage="Embed", percent=40), config(), 1_800_000_000.0)
    found = parse_progress(data, Stamp.of(config()))
    assert found is not None
    assert (found.progress.stage, found.progress.percent, found.heartbeat) == (
        "Embed",
        40,
        "2027-01-15T08:00:00.000000Z",
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{", id="torn"),
        pytest.param(b"null", id="no document"),
        pytest.param(b" " * (MAX_DOCUMENT_BYTES + 1), id="too large"),
        pytest.param(progress_document(Script(), config(attempt=1), 1.0), id="of an earlier attempt"),
        pytest.param(progress_document(Script(), config("validate"), 1.0), id="of another config"),
        pytest.param(
            progress_document(Script(), config(), 1.0).replace(b'"1970-01-01T00:00:01.000000Z"', b'"never"', 1),
            id="with a heartbeat that is no time",
        ),
    ],
)
def test_other_progress_is_no_sign_of_life(data: bytes) -> None:
    assert parse_progress(data, Stamp.of(config())) is None


RESTORED = {
    "digest": "sha256:" + "5" * 64,
    "uri": ROOT + "ragindex/manuals/u-1/v",
    "collection": "G0123456789_0000000000",
}


@pytest.mark.parametrize(
    ("digest", "collection", "taken"),
    [
        pytest.param("5", "G0123456789_0000000000", True, id="the one that is loaded again, whatever it is called"),
        pytest.param("6", "G0123456789_0000000000", False, id="another version in its collection"),
        pytest.param("6", "G0123456789_6666666666", True, id="one that had to be built"),
    ],
)
def test_the_collection_of_a_version_that_is_loaded_again(digest: str, collection: str, taken: bool) -> None:
    inputs = IndexInputs.model_validate({"collectionPrefix": "G0123456789_", "restore": RESTORED})
    given = config().model_copy(update={"index_inputs": inputs})
    data = document()
    data["index"] |= {"digest": "sha256:" + digest * 64, "collection": collection}
    if taken:
        assert parse_result(json.dumps(data).encode(), given).index is not None
    else:
        with pytest.raises(ResultRejected, match=r"index\.collection"):
            parse_result(json.dumps(data).encode(), given)

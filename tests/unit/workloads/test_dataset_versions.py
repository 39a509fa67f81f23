"""Whole attempts of `validate` over files in a folder: what becomes of rows, and which digest they get."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.workload_runs import DatasetRun

from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure

ROWS = [{"text": f"row number {n} says something"} for n in range(40)]


@pytest.fixture
def run(tmp_path: Path) -> DatasetRun:
    return DatasetRun(tmp_path, {"schemaKind": "text"})


def test_rows_come_out_with_their_place_and_the_artifact_is_complete(run: DatasetRun) -> None:
    result = run.with_files({"b/two.jsonl": ROWS[2:4], "a.jsonl": ROWS[:2], ".hidden.jsonl": ROWS[5:]}).execute()
    assert result == run.written()
    assert (result.outcome, result.message) == ("Succeeded", "4 rows (all 4); 0 rejected, 0 duplicates, 0 contaminated")
    places = [(row["text"], row["file"], row["row"]) for row in run.rows(result)]
    assert places == [(ROWS[n]["text"], "a.jsonl" if n < 2 else "b/two.jsonl", n % 2 + 1) for n in range(4)]
    assert result.dataset is not None
    assert run.store.list(run.store.path_of(result.dataset.uri))[0].endswith(
        f"{result.dataset.digest[7:23]}/data/all.parquet"
    )


def test_the_same_content_gives_the_same_digest_wherever_and_in_whatever_order_it_was_written(tmp_path: Path) -> None:
    digests = []
    for name, order in (("x", ["a", "b", "c"]), ("y", ["c", "a", "b"])):
        run = DatasetRun(tmp_path / name, {"schemaKind": "text"})
        # The path of the source is a setting and so a part of the digest; a link makes it the same.
        here = tmp_path / "source"
        here.unlink(missing_ok=True)
        for number in order:
            run.with_files({f"{number}.jsonl": [{"text": f"text {number}"}]})
        here.symlink_to(run.data)
        spec = {"source": {"path": f"file://{here}"}, "schemaKind": "text"}
        result = run.but(spec=spec, limits={"allowedSourceRoots": [str(run.data)]}).execute()
        assert result.dataset is not None
        digests.append(result.dataset.digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        ({"a.jsonl": [*ROWS[:3], {"text": "new"}]}, {}),
        ({"a.jsonl": ROWS[:2]}, {}),
        ({"a.jsonl": [{"text": "changed"}, *ROWS[1:3]]}, {}),
        ({}, {"sampling": {"limit": 2}}),
        ({}, {"splits": {"fractions": [{"name": "all", "fraction": 1.0}], "seed": 1}}),
    ],
    ids=["a row more", "a row less", "a row changed", "another sample", "another setting"],
)
def test_another_content_or_setting_gives_another_digest(
    run: DatasetRun, files: dict[str, Any], spec: dict[str, Any]
) -> None:
    first = run.with_files({"a.jsonl": ROWS[:3]}).execute()
    second = run.with_files(files).with_spec(**spec).but(run="d-r2").execute()
    assert first.dataset is not None
    assert second.dataset is not None
    assert first.dataset.digest != second.dataset.digest


def test_a_refresh_that_finds_nothing_new_is_unchanged_and_parses_nothing_again(run: DatasetRun) -> None:
    first = run.with_files({"a.jsonl": ROWS[:3], "b.md": "# Text"}).execute()
    assert first.dataset is not None
    cached = {path: run.store.size(path) for path in run.store.list(f"{run.config.object_path}/cache")}
    stamps = {path: Path(run.store.full(path)).stat().st_mtime_ns for path in cached}
    os.utime(run.data / "a.jsonl", (1, 1))
    second = run.but(run="d-r2", previous=first.dataset.digest).execute()
    assert (second.outcome, second.dataset) == ("Unchanged", first.dataset)
    assert {path: Path(run.store.full(path)).stat().st_mtime_ns for path in cached} == stamps


def test_the_cache_forgets_files_that_are_gone(run: DatasetRun) -> None:
    run.with_files({"a.jsonl": ROWS[:3], "b.jsonl": ROWS[3:5]}).execute()
    (run.data / "b.jsonl").unlink()
    run.but(run="d-r2").execute()
    assert len(run.store.list(f"{run.config.object_path}/cache")) == 1
    assert run.store.list(f"{run.config.run_path}/work") == []


def test_an_attempt_after_a_good_one_takes_over_its_result(run: DatasetRun) -> None:
    first = run.with_files({"a.jsonl": ROWS[:3]}).execute()
    (run.data / "a.jsonl").unlink()
    second = run.but(number=2).execute()
    assert (second.outcome, second.dataset, second.stamp.attempt) == ("Succeeded", first.dataset, 2)
    assert run.but(number=2).written() == second


def test_a_result_whose_artifact_is_gone_does_not_count(run: DatasetRun) -> None:
    first = run.with_files({"a.jsonl": ROWS[:3]}).execute()
    assert first.dataset is not None
    run.store.delete(run.store.path_of(first.dataset.uri))
    second = run.but(number=2).execute()
    assert second.dataset == first.dataset
    assert len(run.rows(second)) == 3


def test_an_attempt_takes_over_the_files_that_an_earlier_one_has_read(run: DatasetRun) -> None:
    run = run.with_files({"a.jsonl": ROWS[:3], "b.csv": "body\nx\n"})
    stamps = []
    for number in (1, 2):
        assert run.but(number=number).execute().outcome == "Failed"
        (cached,) = run.store.list(f"{run.config.object_path}/cache")
        stamps.append(Path(run.store.full(cached)).stat().st_mtime_ns)
    assert stamps[0] == stamps[1]


def test_an_attempt_is_bound_to_what_its_run_resolved_first(run: DatasetRun) -> None:
    failed = run.with_files({"a.jsonl": [{"other": "x"}]}).execute()
    assert failed.outcome == "Failed"
    again = run.with_files({"a.jsonl": ROWS[:3]}).but(number=2).execute()
    assert (again.failure, again.reason) == (Failure.DATA, Reason.STALE.value)
    assert "a.jsonl" in again.message
    assert run.but(run="d-r2").execute().outcome == "Succeeded"


def test_duplicates_go_and_the_first_occurrence_stays(run: DatasetRun) -> None:
    long = " ".join(f"word{n}" for n in range(60))
    rows = [{"text": long}, {"text": "short"}, {"text": long + " more"}, {"text": "short"}]
    near = run.with_spec(dedup={"near": {"threshold": 0.8, "shingle": 3}}).with_files({"a.jsonl": rows}).execute()
    assert [row["text"] for row in run.rows(near)] == [long, "short"]
    dropped = [(row["row"], row["reason"], row["message"]) for row in run.table(near, "dropped.parquet").to_pylist()]
    assert dropped == [(4, "Duplicate", "repeats data:a.jsonl:2"), (3, "NearDuplicate", "repeats data:a.jsonl:1")]
    assert near.dataset is not None
    assert near.dataset.duplicates == 2
    kept = run.but(run="d-r2").with_spec(dedup={"exact": False}).execute()
    assert kept.dataset is not None
    assert kept.dataset.rows == 4


def test_rows_that_share_words_with_an_evaluation_set_are_dropped(run: DatasetRun) -> None:
    evaluation = run.folder / "data" / "eval"
    question = "How many legs do seven spiders and two beetles have taken all together please"
    rows = [
        {"text": f"Prefix. {question.upper()}! Suffix."},
        {"text": "What is the capital of France"},
        {"text": "Fine."},
    ]
    run.with_files({"train/a.jsonl": rows})
    run.with_files(
        {"eval/q.jsonl": [{"question": question, "answer": 68}, {"question": "what is the capital of france?"}]}
    )
    spec = {
        "source": {"path": f"file://{run.data}/train"},
        "decontaminate": [{"name": "quiz", "ngram": 8, "source": {"path": f"file://{evaluation}"}}],
    }
    result = run.with_spec(**spec).execute()
    assert [row["text"] for row in run.rows(result)] == ["Fine."]
    assert result.dataset is not None
    assert result.dataset.contaminated == 2


def test_splits_are_written_each_to_a_file_even_when_empty(run: DatasetRun) -> None:
    splits = {"fractions": [{"name": "train", "fraction": 0.75}, {"name": "test", "fraction": 0.25}]}
    result = run.with_files({"a.jsonl": ROWS}).with_spec(splits=splits).execute()
    assert result.dataset is not None
    sizes = {split.name: split.rows for split in result.dataset.splits}
    assert sum(sizes.values()) == 40
    assert [len(run.rows(result, name)) for name in ("train", "test")] == [sizes["train"], sizes["test"]]
    tiny = run.but(run="d-r2").with_files({"a.jsonl": ROWS[:1]}).with_spec(splits=splits).execute()
    assert tiny.dataset is not None
    assert sorted(split.rows for split in tiny.dataset.splits) == [0, 1]


def test_rejected_rows_are_kept_with_place_reason_and_content(run: DatasetRun) -> None:
    lines = [json.dumps(row) for row in ROWS] + ['{"text": 5}', '{"text": null}']
    result = run.with_files({"a.jsonl": "\n".join(lines)}).with_spec(validation={"maxRejectedFraction": 0.05}).execute()
    assert result.outcome == "Succeeded"
    rows = [(r["file"], r["row"], r["reason"]) for r in run.table(result, "rejected.parquet").to_pylist()]
    assert rows == [("a.jsonl", 41, "WrongType"), ("a.jsonl", 42, "MissingValue")]
    assert [(r.name, r.count) for r in result.rejections] == [("MissingValue", 1), ("WrongType", 1)]
    assert result.rejections[1].examples == ["data:a.jsonl:41: column text holds int, expected text"]


def test_too_many_rejected_rows_stop_the_run_and_publish_nothing(run: DatasetRun) -> None:
    lines = [json.dumps(row) for row in ROWS] + ["{"] * 5
    result = run.with_files({"a.jsonl": "\n".join(lines)}).execute()
    assert (result.failure, result.reason) == (Failure.DATA, Reason.TOO_MANY_REJECTED.value)
    assert "5 of 45 rows" in result.message
    assert "data:a.jsonl:41" in result.message
    assert run.store.list(f"{run.config.object_path}/versions") == []


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "does not exist"),
        ({".hidden": "x"}, "holds no files to read"),
        ({"a.jsonl": "\n\n"}, "none of 1 files gave a row: Empty"),
        ({"a.pdf": b"%PDF-1.4 broken"}, "none of 1 files gave a row: Broken"),
    ],
    ids=["no folder", "only hidden files", "only blank lines", "only a broken file"],
)
def test_an_empty_source_is_named(run: DatasetRun, files: dict[str, Any], says: str) -> None:
    result = run.with_files(files).execute()
    assert (result.failure, result.reason) == (Failure.DATA, Reason.SOURCE_EMPTY.value)
    assert says in result.message


def test_a_missing_column_is_data_that_cannot_be_used(run: DatasetRun) -> None:
    result = run.with_files({"a.jsonl": ROWS[:2], "b.csv": "body\nx\n"}).execute()
    assert (result.failure, result.reason) == (Failure.DATA, Reason.DATA_INVALID.value)
    assert "data:b.csv has no column text; it has body" in result.message


def test_a_path_outside_the_allowed_roots_is_refused(run: DatasetRun) -> None:
    result = run.with_files({"a.jsonl": ROWS}).but(limits={"allowedSourceRoots": ["/somewhere"]}).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)


def test_links_out_of_the_source_are_counted_and_never_read(run: DatasetRun) -> None:
    run.with_files({"a.jsonl": ROWS})
    (run.folder / "secret.jsonl").write_text('{"text": "secret"}')
    (run.data / "leak.jsonl").symlink_to(run.folder / "secret.jsonl")
    (run.data / "inside.jsonl").symlink_to(run.data / "a.jsonl")
    (run.data / "loop").symlink_to(run.data)
    result = run.with_spec(validation={"maxRejectedFraction": 0.5}).execute()
    assert result.dataset is not None
    assert (result.dataset.rows, result.dataset.duplicates) == (40, 40)
    assert {r.name: r.examples for r in result.rejections} == {
        "LinkOutside": ["data:leak.jsonl: was left out of the listing"],
        "LinkToFolder": ["data:loop: was left out of the listing"],
    }


def test_more_bytes_than_the_profile_allows_are_refused(run: DatasetRun) -> None:
    limits = {"allowedSourceRoots": [str(run.data)], "maxSourceBytes": 100}
    result = run.with_files({"a.jsonl": ROWS}).but(limits=limits).execute()
    assert (result.failure, result.reason) == (Failure.USER, Reason.SOURCE_NOT_ALLOWED.value)
    assert "limits.maxSourceBytes" in result.message


def test_a_dataset_can_be_the_source_of_another(run: DatasetRun) -> None:
    from gradatim.api.run import ResolvedDataset

    first = run.with_files({"a.jsonl": [{"text": "one", "lang": "en"}, {"text": "two"}]}).execute()
    assert first.dataset is not None
    resolved = ResolvedDataset(name="base", digest=first.dataset.digest, uri=first.dataset.uri)
    spec = {"source": {"datasetRef": {"name": "base"}}, "schemaKind": "text"}
    second = run.but(run="d-r2", spec=spec, datasets=[resolved]).execute()
    rows = [(row["text"], row["file"], row["metadata.lang"]) for row in run.rows(second)]
    assert rows == [("one", "all.parquet", "en"), ("two", "all.parquet", None)]
    again = run.but(
        run="d-r3", spec=spec, datasets=[resolved], previous=second.dataset and second.dataset.digest
    ).execute()
    assert (again.outcome, again.message) == ("Unchanged", "the sources did not change")


def test_a_stop_request_ends_the_attempt_as_stopped(run: DatasetRun) -> None:
    run.with_files({"a.jsonl": ROWS})
    run.store.write(
        "_control/d-r1/stop.json", b'{"run": "d-r1", "requested": "2026-01-01T00:00:00Z", "reason": "suspended"}'
    )
    result = run.execute()
    assert (result.outcome, result.message, result.failure) == ("Stopped", "stopped: suspended", None)


def test_a_stop_request_for_another_run_is_ignored(run: DatasetRun) -> None:
    run.with_files({"a.jsonl": ROWS})
    run.store.write("_control/d-r1/stop.json", b'{"run": "d-r0", "requested": "2026-01-01T00:00:00Z"}')
    assert run.execute().outcome == "Succeeded"


def test_a_passed_deadline_is_a_failure_of_its_own_class(run: DatasetRun) -> None:
    result = run.with_files({"a.jsonl": ROWS}).but(deadline=0).execute()
    assert (result.failure, result.reason) == (Failure.DEADLINE, Reason.DEADLINE_EXCEEDED.value)


def test_a_config_that_does_not_match_its_digest_fails_and_leaves_the_old_one(run: DatasetRun) -> None:
    from gradatim.workloads.__main__ import attempt
    from gradatim.workloads.context import RunContext

    changed = run.with_files({"a.jsonl": ROWS}).config.model_copy(update={"deadline_seconds": 5})
    result = attempt(RunContext(changed, run.store))
    assert result is not None
    assert (result.failure, result.reason) == (Failure.USER, Reason.INVALID_SPEC.value)
    assert run.store.list("dataset") == [f"{changed.attempt_path}/progress.json", f"{changed.attempt_path}/result.json"]

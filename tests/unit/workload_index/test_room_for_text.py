"""How much of an encoder's input is left for the text, whatever padding its tokenizer file asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from gradatim.workloads.index.models import _around

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

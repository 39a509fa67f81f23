"""Properties every chunker keeps on any text, checked on three tokenizers that disagree about spaces and bytes."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from gradatim.rag.chunk import ChunkOptions, HfTokenizer, Strategy, chunk_document
from gradatim.rag.model import Document, document_id


def character_wordpiece() -> Tokenizer:
    """BERT's pipeline with a vocabulary of single characters: every word is cut, unknown characters make unknown words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?#|`-~*()"
    vocabulary = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), "the", "##ing"]
    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def bytes_with_spaces() -> Tokenizer:
    """GPT-2's pipeline without merges: one token per byte, the space before a word counts, characters share offsets."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: index for index, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def metaspace_unigram() -> Tokenizer:
    """SentencePiece's pipeline: white space is part of the next token, compatibility characters expand."""
    pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz.#|`"),
        ("▁the", -4.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HfTokenizer]:
    folder: Path = tmp_path_factory.mktemp("tokenizers")
    made = {}
    for build in (character_wordpiece, bytes_with_spaces, metaspace_unigram):
        build().save(str(folder / f"{build.__name__}.json"))
        made[build.__name__] = HfTokenizer(folder / f"{build.__name__}.json")
    return made


def word_counts(sentences: Sequence[str]) -> np.ndarray:
    """Vectors from letter counts: similar sentences are near each other, and nothing is learned."""
    out = np.zeros((len(sentences), 32), dtype=np.float32)
    for row, sentence in enumerate(sentences):
        for word in sentence.lower().split():
            out[row, zlib.crc32(word.encode()) % 32] += 1.0
    return out + 1e-3


WORDS = st.sampled_from(
    [
        "the",
        "a",
        "retrieval",
        "Index.",
        "e.g.",
        "J.",
        "naïve",
        "漢字。",
        "🙂",
        "\u200b",
        "x" * 40,
        "y" * 130,
        "ﷺ",
        "#",
        "café\u0301",
    ]
)
PIECES = st.one_of(
    WORDS,
    st.sampled_from(
        [
            " ",
            "\n",
            "\n\n",
            "  \n \n",
            "\t",
            "\r",
            "\u00a0",
            "# Title\n\n",
            "## Part\nText. ",
            "- item\n",
            "\n```py\nif x:\n    y()\n```\n",
            "\n| a | b |\n| --- | --- |\n| 1 | 2 |\n",
            "\n~~~\nnever closed\n",
        ]
    ),
    st.text(alphabet="ab.!? \n\t#|-`~\0\u00a0\u2003é漢。🙂\ufe0f\u0301\u200d\ufb01", max_size=20),
)
TEXTS = st.lists(PIECES, max_size=60).map(" ".join)


@pytest.mark.timeout(20)  # a hundred documents, not one
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=TEXTS,
    kind=st.sampled_from(["character_wordpiece", "bytes_with_spaces", "metaspace_unigram"]),
    strategy=st.sampled_from(list(Strategy)),
    size=st.sampled_from([16, 24, 64]),
    overlap=st.sampled_from([0, 5, 8]),
    parent=st.sampled_from([None, 64, 200]),
)
def test_chunks_are_exact_covering_bounded_and_repeatable(
    tokenizers: dict[str, HfTokenizer],
    text: str,
    kind: str,
    strategy: Strategy,
    size: int,
    overlap: int,
    parent: int | None,
) -> None:
    tokenizer = tokenizers[kind]
    document = Document(document_id("s", "d.md"), "s", "d.md", text, parser="markdown/1")
    options = ChunkOptions(strategy, size, overlap, parent)
    result = chunk_document(document, options, tokenizer, word_counts)
    covered = np.zeros(len(text), dtype=bool)
    for position, chunk in enumerate(result.chunks):
        assert chunk.index == position
        assert text[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != ""
        covered[chunk.start : chunk.end] = True
    assert all(text[index].isspace() for index in np.flatnonzero(~covered))
    ends = [chunk.end for chunk in result.chunks]
    assert all(before < after for before, after in itertools.pairwise(ends)), "every chunk brings something new"
    everything = [(chunk, size) for chunk in result.chunks] + [(parent_, parent or 0) for parent_ in result.parents]
    counts = tokenizer.count([chunk.text for chunk, _ in everything])
    for (chunk, limit), count in zip(everything, counts, strict=True):
        overlong = any(len(word) > 64 for word in chunk.text.split())
        assert chunk.tokens == count or (overlong and chunk.tokens > count)
        assert count <= limit or len(chunk.text) == 1
    assert len({chunk.id for chunk, _ in everything}) == len(everything)
    parents = {item.id: item for item in result.parents}
    for chunk in result.chunks:
        if parent is None:
            assert chunk.parent_id is None
        else:
            owner = parents[chunk.parent_id or ""]
            assert owner.start <= chunk.start < chunk.end <= owner.end
    assert chunk_document(document, options, tokenizer, word_counts) == result

"""Where each strategy cuts, on texts small enough to read; one word is one token here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from gradatim.rag.chunk import ChunkOptions, ChunkOptionsError, HfTokenizer, Strategy, TokenizerError, chunk_document
from gradatim.rag.chunk import tokens as tokens_module
from gradatim.rag.chunk.semantic import distances
from gradatim.rag.model import Document, document_id


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> HfTokenizer:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    file: Path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    tokenizer.save(str(file))
    return HfTokenizer(file)


def document(text: str, parser: str = "markdown/1", pages: tuple[int, ...] = ()) -> Document:
    return Document(document_id("s", "a.md"), "s", "a.md", text, parser=parser, pages=pages)


def run(count: int, name: str = "w") -> str:
    return " ".join(f"{name}{index}" for index in range(count))


SENTENCES = f"First {run(6)} end. Second {run(8)} end. Third {run(4)} end."
TABLE = "| a | b |\n| --- | --- |\n| 1 | 2 |"

CASES = {
    "fixed fills windows and repeats the overlap": (
        run(40), ChunkOptions(Strategy.FIXED, 16, 4),
        [run(40)[: len(run(16))], " ".join(f"w{i}" for i in range(12, 28)), " ".join(f"w{i}" for i in range(24, 40))],
    ),
    "sentence packs whole sentences": (
        SENTENCES, ChunkOptions(Strategy.SENTENCE, 16, 0),
        [f"First {run(6)} end.", f"Second {run(8)} end. Third {run(4)} end."],
    ),
    "an abbreviation and an initial end no sentence": (
        f"Dr. J. Smith {run(10)} went. He {run(6)}.", ChunkOptions(Strategy.SENTENCE, 16, 0),
        [f"Dr. J. Smith {run(10)} went.", f"He {run(6)}."],
    ),
    "a sentence longer than the limit is cut between words": (
        run(20) + ".", ChunkOptions(Strategy.SENTENCE, 16, 0), [run(16), "w16 w17 w18 w19."],
    ),
    "recursive prefers the paragraph in the fuller half": (
        f"{run(6)}.\n\n{run(5)}. {run(3)}.\n\n{run(9)}.", ChunkOptions(Strategy.RECURSIVE, 16, 0),
        [f"{run(6)}.\n\n{run(5)}. {run(3)}.", f"{run(9)}."],
    ),
    "recursive prefers a sentence near the limit to a paragraph that would leave the chunk half full": (
        f"{run(9)}.\n\n{run(5)}. {run(9)}.", ChunkOptions(Strategy.RECURSIVE, 16, 0), [f"{run(9)}.\n\n{run(5)}.", f"{run(9)}."],
    ),
    "an overlap between sentences is whole sentences": (
        f"{run(9)}. {run(4)}. {run(9)}.", ChunkOptions(Strategy.RECURSIVE, 16, 5),
        [f"{run(9)}. {run(4)}.", f"{run(4)}. {run(9)}."],
    ),
    "a sentence longer than the overlap is not repeated in part": (
        f"{run(14)}. {run(9)}.", ChunkOptions(Strategy.RECURSIVE, 16, 5), [f"{run(14)}.", f"{run(9)}."],
    ),
    "a sentence that had to be cut is repeated by words": (
        f"{run(20)}.", ChunkOptions(Strategy.RECURSIVE, 16, 4), [run(16), "w12 w13 w14 w15 w16 w17 w18 w19."],
    ),
    "a text without capitals has sentences too, and initials and abbreviations in it": (
        f"one {run(6)} end. two dr. j. w {run(4)} end. three {run(6)} end.", ChunkOptions(Strategy.SENTENCE, 16, 0),
        [f"one {run(6)} end.", f"two dr. j. w {run(4)} end.", f"three {run(6)} end."],
    ),
    "in a text with capitals a small letter goes on with the sentence": (
        f"One {run(6)} ver. two {run(5)} end. Three {run(6)} end.", ChunkOptions(Strategy.SENTENCE, 16, 0),
        [f"One {run(6)} ver. two {run(5)} end.", f"Three {run(6)} end."],
    ),
    "recursive keeps a heading with what follows": (
        f"{run(12)}.\n\n# Title\n\n{run(8)}.", ChunkOptions(Strategy.RECURSIVE, 16, 0),
        [f"{run(12)}.", f"# Title\n\n{run(8)}."],
    ),
    "markdown ends chunks with their section, small ones joined": (
        f"# A\n\n{run(6)}.\n\n## B\n\n{run(2)}.\n\n# C\n\n{run(4)}.", ChunkOptions(Strategy.MARKDOWN, 32, 8),
        [f"# A\n\n{run(6)}.\n\n## B\n\n{run(2)}.", f"# C\n\n{run(4)}."],
    ),
    "a table that fits is not cut": (
        f"{run(8)}.\n\n{TABLE}\n\nAfter {run(3)}.", ChunkOptions(Strategy.RECURSIVE, 16, 0),
        [f"{run(8)}.", f"{TABLE}", f"After {run(3)}."],
    ),
    "a table larger than the limit is cut between rows": (
        TABLE + "\n| 3 | 4 |" * 3, ChunkOptions(Strategy.RECURSIVE, 16, 0), [f"{TABLE}", "| 3 | 4 |\n| 3 | 4 |\n| 3 | 4 |"],
    ),
    "fenced code is not cut and its comments are no headings": (
        f"{run(8)}.\n\n```sh\n# not a title\n\n{run(6)}\n```\n\n{run(2)}.", ChunkOptions(Strategy.RECURSIVE, 16, 0),
        [f"{run(8)}.", f"```sh\n# not a title\n\n{run(6)}\n```\n\n{run(2)}."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_cuts(words: HfTokenizer, case: tuple[str, ChunkOptions, list[str]]) -> None:
    text, options, expected = case
    assert [chunk.text for chunk in chunk_document(document(text), options, words).chunks] == expected


def test_semantic_cuts_where_the_vectors_turn(words: HfTokenizer) -> None:
    topics = [f"{name} {run(5)}." for name in ("Cat", "Cat", "Cat", "Car", "Car", "Car")]

    def embed(sentences: Sequence[str]) -> np.ndarray:
        return np.array(
            [[1.0, 0.0] if sentence.startswith("Cat") else [0.0, 1.0] for sentence in sentences], dtype=np.float32
        )

    chunks = chunk_document(document(" ".join(topics)), ChunkOptions(Strategy.SEMANTIC, 64, 8), words, embed).chunks
    assert [chunk.text for chunk in chunks] == [" ".join(topics[:3]), " ".join(topics[3:])]


def test_semantic_without_an_encoder_is_refused(words: HfTokenizer) -> None:
    with pytest.raises(ChunkOptionsError, match="needs an encoder"):
        chunk_document(document("A b."), ChunkOptions(Strategy.SEMANTIC), words)


def test_distances_compare_two_sentences_on_either_side() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    assert distances(vectors) == pytest.approx([1 - 0.5**0.5, 1.0, 1 - 0.5**0.5])


def test_heading_paths_pages_and_parents(words: HfTokenizer) -> None:
    text = f"# A\n\n{run(14)}.\n\n## B\n\n{run(14)}.\n\n# C\n\n{run(10)}."
    item = document(text, pages=(0, text.index("# C")))
    result = chunk_document(item, ChunkOptions(Strategy.RECURSIVE, 20, 0, parent_max_tokens=40), words)
    assert [(chunk.headings, chunk.page, chunk.text[:4]) for chunk in result.chunks] == [
        (("A",), 1, "# A\n"),
        (("A", "B"), 1, "## B"),
        (("C",), 2, "# C\n"),
    ]
    assert [(parent.text[:4], parent.tokens) for parent in result.parents] == [("# A\n", 32), ("# C\n", 12)]
    first, second = (parent.id for parent in result.parents)
    assert [chunk.parent_id for chunk in result.chunks] == [first, first, second]


def test_hashes_are_headings_only_where_the_format_has_headings(words: HfTokenizer) -> None:
    chunks = chunk_document(document("# comment\nvalue", parser="text/1"), ChunkOptions(), words).chunks
    assert chunks[0].headings == ()


def test_ids_follow_text_place_and_configuration(words: HfTokenizer) -> None:
    one = chunk_document(document("same text"), ChunkOptions(), words).chunks[0].id
    assert one == chunk_document(document("same text"), ChunkOptions(), words).chunks[0].id
    others = {
        chunk_document(document("same texts"), ChunkOptions(), words).chunks[0].id,
        chunk_document(document(" same text"), ChunkOptions(), words).chunks[0].id,
        chunk_document(document("same text"), ChunkOptions(max_tokens=128), words).chunks[0].id,
        chunk_document(Document("other", "s", "a.md", "same text"), ChunkOptions(), words).chunks[0].id,
    }
    assert len(others) == 4
    assert one not in others


@pytest.mark.parametrize("text", ["", " \n\t ", "\u2003\n"], ids=["empty", "blanks", "wide blanks"])
def test_blank_documents_give_no_chunks(words: HfTokenizer, text: str) -> None:
    result = chunk_document(document(text), ChunkOptions(parent_max_tokens=300), words)
    assert (result.chunks, result.parents) == ((), ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 15}, "at least 16"),
        ({"max_tokens": 32, "overlap_tokens": 17}, "0 to 16"),
        ({"max_tokens": 32, "overlap_tokens": 8, "parent_max_tokens": 31}, "at least maxTokens"),
        ({"breakpoint_percentile": 100.0}, "between 0 and 100"),
    ],
    ids=["too small", "overlap over half", "parent below child", "percentile of all"],
)
def test_contradicting_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ChunkOptionsError, match=message):
        ChunkOptions(**options)


def test_the_encoder_counts_in_the_digest_of_semantic_chunks_only() -> None:
    plain, semantic = ChunkOptions(), ChunkOptions(Strategy.SEMANTIC)
    assert plain.digest("t", "e1") == plain.digest("t", "e2")
    assert semantic.digest("t", "e1") != semantic.digest("t", "e2")
    assert plain.digest("t1") != plain.digest("t2")


def test_long_texts_are_tokenised_in_segments_with_the_same_offsets(
    words: HfTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(run(7, name) for name in ("alpha", "beta", "gamma")) + " " + "z" * 300
    whole = words.offsets(text)
    monkeypatch.setattr(tokens_module, "SEGMENT", 50)
    assert all(end - start <= 50 for start, end in tokens_module.segments(text))
    cut = words.offsets(text)
    assert np.array_equal(cut[:21], whole[:21])
    assert max(end - start for start, end in cut.tolist()) <= tokens_module.LONG_TOKEN
    assert "".join(text[start:end] for start, end in cut.tolist()) == text.replace(" ", "").replace("\n", "")


def test_a_missing_or_broken_tokenizer_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: cannot be read"):
        HfTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="is not a tokenizer file"):
        HfTokenizer(tmp_path)

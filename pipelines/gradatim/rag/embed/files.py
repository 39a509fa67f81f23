"""Reads the folder of a sentence-transformers model: what it consists of, its limits, its digest.

The only module of `embed` that opens model configuration. It refuses what could run code: weights must be safetensors, modules must be
those of sentence-transformers itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradatim.rag.embed.options import EncoderError

# The files that decide what a model computes; a model card or a licence does not change its digest.
MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model"})
_OURS = "sentence_transformers."
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A checked model folder. `modules` are class names in order, `max_tokens` counts special tokens too.

    `pooling` is the configuration of the pooling module, `config` that of the transformer.
    """

    path: Path
    transformer: Path
    modules: tuple[str, ...]
    pooling: dict[str, Any]
    config: dict[str, Any]
    max_tokens: int
    digest: str


def read_model(path: Path) -> ModelFiles:
    """Check and describe a model folder. Raises EncoderError naming the file that is missing or not allowed."""
    if not path.is_dir():
        raise EncoderError(f"{path}: no such model folder; check the model URI")
    entries = _json(path / "modules.json")
    if not isinstance(entries, list) or not entries:
        raise EncoderError(
            f"{path / 'modules.json'}: lists no modules; the model must be in sentence-transformers format"
        )
    for entry in entries:
        if not str(entry.get("type", "")).startswith(_OURS):
            raise EncoderError(
                f"{path}: module {entry.get('type')!r} is code of its own, which is never run; use another model"
            )
    modules = tuple(str(entry["type"]).rpartition(".")[2] for entry in entries)
    transformer = _inside(path, str(entries[0].get("path", "")))
    if not any(transformer.glob("*.safetensors")):
        raise EncoderError(
            f"{transformer}: has no safetensors weights; convert the model, pickled weights are never loaded"
        )
    pooling = next(
        (_inside(path, str(entry["path"])) for entry in entries if str(entry["type"]).endswith(".Pooling")), None
    )
    config = _json(transformer / "config.json")
    return ModelFiles(
        path=path,
        transformer=transformer,
        modules=modules,
        pooling=_json(pooling / "config.json") if pooling else {},
        config=config,
        max_tokens=_max_tokens(transformer, config),
        digest=digest(path),
    )


def digest(path: Path) -> str:
    """Hex SHA-256 over names and contents of all files that decide what the model computes."""
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in MODEL_SUFFIXES):
        one = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                one.update(block)
        total.update(f"{file.relative_to(path).as_posix()}\0{one.hexdigest()}\n".encode())
    return total.hexdigest()


def _max_tokens(transformer: Path, config: dict[str, Any]) -> int:
    """Longest input, as sentence-transformers reads it: its own setting, else the tokenizer's, else the model's positions."""
    own = transformer / "sentence_bert_config.json"
    limits = [_json(own).get("max_seq_length")] if own.exists() else []
    positions = config.get("max_position_embeddings")
    file = transformer / "tokenizer_config.json"
    limits += [_json(file).get("model_max_length") if file.exists() else None, positions]
    chosen = next((int(limit) for limit in limits if isinstance(limit, int) and 0 < limit < 10**6), None)
    if chosen is None:
        raise EncoderError(f"{transformer}: states no maximum length; set max_seq_length in sentence_bert_config.json")
    return min(chosen, int(positions)) if isinstance(positions, int) else chosen


def _inside(root: Path, relative: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise EncoderError(f"{root}: module path {relative!r} leads out of the model folder")
    return path


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise EncoderError(
            f"{file}: cannot be read ({error.strerror}); the model must be in sentence-transformers format"
        ) from error
    except ValueError as error:
        raise EncoderError(f"{file}: is not valid JSON: {error}") from error

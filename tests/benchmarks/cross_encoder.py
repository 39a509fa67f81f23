"""A small cross-encoder made on the spot: the first layers of MiniLM with a new head, trained on question and chunk pairs or left untrained.

No public cross-encoder comes inside a package, so the benchmarks make one. Trained, it shows what reranking does with a model of this kind and
nothing more; untrained, it costs what a trained one of its shape costs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.benchmarks.report import say
from torch import nn

from gradatim.rag.embed.encoder import cpu_has_bf16

MAX_TOKENS = 320
BATCH = 16


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with a chunk that answers it, or does not."""

    question: str
    passage: str
    relevant: bool


@dataclass(frozen=True, slots=True)
class Training:
    """How it is trained."""

    layers: int
    epochs: int = 3
    rate: float = 1e-4
    seed: int = 0


def make(base: Path, target: Path, layers: int) -> Any:
    """Write an untrained cross-encoder to `target`; returns (model, tokenizer)."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, num_hidden_layers=layers)
    tokenizer = AutoTokenizer.from_pretrained(base, model_max_length=MAX_TOKENS)
    _save(model, tokenizer, target)
    return model, tokenizer


def train(base: Path, target: Path, pairs: Sequence[Pair], settings: Training) -> list[float]:
    """Train on `pairs` and write to `target`; returns the mean loss of each epoch."""
    model, tokenizer = make(base, target, settings.layers)
    generator = random.Random(settings.seed)
    positive = sum(pair.relevant for pair in pairs)
    loss_of = nn.BCEWithLogitsLoss(pos_weight=torch.tensor((len(pairs) - positive) / max(1, positive)))
    steps = settings.epochs * (len(pairs) // BATCH + 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=steps, pct_start=0.1)
    model.train()
    losses: list[float] = []
    for epoch in range(settings.epochs):
        found: list[float] = []
        for batch in _batches(list(pairs), generator):
            with torch.autocast("cpu", dtype=torch.bfloat16) if cpu_has_bf16() else nullcontext():
                logits = model(**_inputs(tokenizer, batch)).logits[:, 0]
            loss = loss_of(logits.float(), torch.tensor([float(pair.relevant) for pair in batch]))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            found.append(loss.item())
        losses.append(round(sum(found) / len(found), 4))
        say(f"cross-encoder epoch {epoch + 1}: loss {losses[-1]}")
    _save(model.eval(), tokenizer, target)
    return losses


def _batches(pairs: list[Pair], generator: random.Random) -> list[list[Pair]]:
    """Batches of like length in random order: little padding, no order to learn."""
    generator.shuffle(pairs)
    pairs.sort(key=lambda pair: len(pair.passage) // 200)
    found = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    generator.shuffle(found)
    return found


def _inputs(tokenizer: Any, batch: list[Pair]) -> Any:
    return tokenizer(
        [pair.question for pair in batch],
        [pair.passage for pair in batch],
        padding=True,
        truncation="only_second",
        max_length=MAX_TOKENS,
        return_tensors="pt",
    )


def _save(model: Any, tokenizer: Any, target: Path) -> None:
    model.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)

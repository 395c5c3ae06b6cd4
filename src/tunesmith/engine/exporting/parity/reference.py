"""What the engine of the training says: its own kernels, its own renderer, the adapter unmerged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tunesmith.engine.attention import Documents
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.prompts import Prompt
from tunesmith.engine.exporting.parity.walks import (
    Logits,
    Walk,
    greedy,
    plain_generation,
    walk,
)
from tunesmith.engine.exporting.source import Source, load_tuned
from tunesmith.engine.scorer import Reader


def reference_walks(
    source: Source, prompts: list[Prompt], device: torch.device, narrator: Narrator
) -> list[Walk]:
    """Answers and log-probabilities in float32, so that rounding is the artefact's alone."""
    with narrator.step("Loading the trained model"):
        model = load_tuned(source, dtype=torch.float32, device=device)
        plain_generation(model)
    with narrator.step("The trained model answers"):
        answers: list[list[int]] = []
        for number, prompt in enumerate(prompts, start=1):
            answers.append(greedy(model, prompt.ids, source.stop_ids, device))
            narrator.tell(number, len(prompts), "prompts")
    logits = flat_logits(model, device)
    return [walk(logits, p.ids, answer) for p, answer in zip(prompts, answers, strict=True)]


def flat_logits(model: Any, device: torch.device) -> Logits:
    """The forward pass of the training: flat layout, attention by document, the same head."""
    reader = Reader.of(model)

    def logits(ids: list[int]) -> Tensor:
        borders = np.array([0, len(ids)], dtype=np.int32)
        on_cuda = device.type == "cuda"
        cumulative = torch.from_numpy(borders).to(device) if on_cuda else None
        documents = Documents((0, len(ids)), cumulative)
        positions = torch.arange(len(ids), device=device)
        hidden_TD = reader.backbone(torch.tensor(ids, device=device), positions, documents)
        return reader.head.logits(hidden_TD)

    return logits

"""One model's way through the prompts: what it answers, and how likely it finds given answers.

Shapes: N positions that are compared, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.exporting.parity.prompts import ANSWER_TOKENS
from tunesmith.engine.generate import continued

Logits = Callable[[list[int]], Tensor]  # [T, V] of a row of T tokens
OnRow = Callable[[int, int], None]


@dataclass(frozen=True)
class Walk:
    """The answer to one prompt, and the log-probabilities at each of its tokens."""

    prompt: list[int]
    answer: list[int]  # of the reference: both models are scored on it
    log_probs_NV: Tensor  # float32, on the CPU


@torch.inference_mode()
def greedy(
    model: Any, prompt: Sequence[int], stop_ids: Sequence[int], device: torch.device | str
) -> list[int]:
    """The likeliest token each time, the stop token included, by transformers' generation."""
    from transformers import GenerationConfig

    pad = next(iter(stop_ids), 0)
    config = GenerationConfig(
        max_new_tokens=ANSWER_TOKENS,
        do_sample=False,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=pad,
        use_cache=True,
    )
    place = torch.device(device)
    output = continued(model, [list(prompt)], pad, place, generation_config=config)
    return output[0][len(prompt) :]


@torch.inference_mode()
def walk(logits: Logits, prompt: list[int], answer: list[int]) -> Walk:
    """Score a given answer: position i is the one that predicts token i of it."""
    rows_TV = logits([*prompt, *answer])
    scored_NV = rows_TV[len(prompt) - 1 : len(prompt) + len(answer) - 1].float()
    return Walk(prompt, answer, torch.log_softmax(scored_NV, -1).cpu())


def module_logits(model: Any, device: torch.device | str) -> Logits:
    """The forward pass of a transformers model."""

    def logits(ids: list[int]) -> Tensor:
        output = model(input_ids=torch.tensor([ids], device=device), use_cache=False)
        return output.logits[0, -len(ids) :]  # learned vectors in front have logits too

    return logits


def plain_generation(model: Any) -> None:
    """Let a model keep no wishes of its own, such as a penalty for repeating itself."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()

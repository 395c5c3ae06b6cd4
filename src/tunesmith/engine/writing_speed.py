"""How long a step of grpo writes answers, from some tokens of a real batch."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from tunesmith.data.batches import Rows
from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TokenTable
from tunesmith.engine.sampler import Draw, Sampler, draws_of_step
from tunesmith.recipe import Grpo, Recipe

FEW, MORE = 1, 9  # tokens of an answer; the difference tells a token from reading the question


def seconds_of_writing(
    recipe: Recipe,
    model: Any,
    renderer: Renderer,
    questions: TokenTable,
    rows: Rows,
    device: torch.device,
) -> float:
    """Seconds of a step whose questions are `rows`, with answers of half the longest length.

    Of the batches that are written together the middle one by length stands for all.
    """
    settings = recipe.stage
    assert isinstance(settings, Grpo)
    draws = draws_of_step(rows, settings.group_size)
    sampler = Sampler(model, renderer, settings, recipe.training.seed, device)
    batches = sampler.batches(questions, draws)
    batch = batches[len(batches) // 2]
    seconds_of(sampler, questions, batch, FEW)  # warms up allocator and kernels
    few, more = (seconds_of(sampler, questions, batch, tokens) for tokens in (FEW, MORE))
    a_token = max(0.0, more - few) / (MORE - FEW)
    length = max(FEW, settings.max_answer_tokens // 2)
    return len(batches) * (few + a_token * (length - FEW))


def seconds_of(sampler: Sampler, questions: TokenTable, draws: list[Draw], tokens: int) -> float:
    """Seconds in which these answers are written up to so many tokens."""
    short = sampler.settings.model_copy(update={"max_answer_tokens": tokens})
    started = time.perf_counter()
    replace(sampler, settings=short).answers(questions, draws, 1, lambda *_: None)
    return time.perf_counter() - started

"""Scores of a reward model as rewards. It reads question and answer in its own template and tokens.

So its tokenizer need not be that of the model in training; where it is another one, that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.data.batches import micro_batches
from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.renderer import Renderer
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import Document, lay_out
from tunesmith.engine.generate import Target, find_target, renderer_of
from tunesmith.engine.head import Head
from tunesmith.engine.models import context_length, load_reward_model
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.stages.reward import document_rewards
from tunesmith.errors import ModelError
from tunesmith.evaluation.rewards import Answered, NoReward
from tunesmith.models.files import is_reward_model
from tunesmith.recipe import Grpo, Recipe
from tunesmith.recipe.rewards import ModelReward

BUDGET = {"cpu": 2048, "cuda": 32768, "mps": 4096}  # tokens at once


class ModelSource:
    """Kind `model`."""

    def __init__(self, model: Any, renderer: Renderer, device: torch.device) -> None:
        self._backbone = build_backbone(model, attention="auto")
        self._head = Head.of(model)
        self._renderer, self._device = renderer, device
        self._limit = context_length(model.config)

    def rewards(self, answers: Sequence[Answered]) -> list[float | NoReward | None]:
        """The score of each answer, read off the last token."""
        documents = [self._document(answer) for answer in answers]
        found: list[float | NoReward | None] = [
            document if isinstance(document, NoReward) else None for document in documents
        ]
        fitting = [
            at for at, document in enumerate(documents) if not isinstance(document, NoReward)
        ]
        lengths = np.array([len(d[0]) if not isinstance(d, NoReward) else 0 for d in documents])
        rows = np.array(fitting, np.int64)
        for group in micro_batches(rows, lengths, BUDGET[self._device.type]) if fitting else []:
            texts = [d for at in group if not isinstance(d := documents[int(at)], NoReward)]
            for at, score in zip(group.tolist(), self._scores(texts), strict=True):
                found[at] = score
        return found

    @torch.no_grad()
    def _scores(self, documents: list[Document]) -> list[float]:
        numbers = list(range(len(documents)))
        batch = lay_out(documents, numbers, numbers, self._device)
        return document_rewards(self._backbone, self._head, batch).tolist()

    def _document(self, answer: Answered) -> Document | NoReward:
        turns = [Message(m["role"], m.get("content") or "") for m in answer.messages]
        asked = Conversation((*turns, Message("assistant", answer.text)))
        rows = self._renderer.encode([asked])
        if not rows:
            return NoReward("the reward model's template refuses the conversation")
        row = rows[-1]
        if self._limit is not None and len(row.ids) > self._limit:
            return NoReward(f"{len(row.ids)} tokens are more than the reward model's context")
        return row.ids, row.targets

    def close(self) -> None:
        """Nothing was started."""


def find_reward_models(recipe: Recipe, base_dir: Path) -> None:
    """ModelError where one that is to give rewards cannot be had, before anything else loads."""
    if isinstance(recipe.stage, Grpo):
        for reward in recipe.stage.rewards:
            if isinstance(reward, ModelReward):
                find_reward_model(reward, base_dir)


def find_reward_model(reward: ModelReward, base_dir: Path) -> Target:
    """Where a reward model lies; a folder is named from the folder of the run on."""
    local = base_dir / Path(reward.model).expanduser()
    try:
        found = find_target(str(local) if local.is_dir() else reward.model)
    except ModelError as error:
        raise ModelError(
            f"stage.rewards: the reward model {reward.model} cannot be had. {error.message}",
            hint="Name the run of a training with stage.kind: rm, its folder, or a sequence "
            "classifier with one label on a hub.",
            code="reward_model_missing",
            name=reward.model,
        ) from error
    if found.adapter is not None or not is_reward_model(found.directory):
        raise ModelError(
            f"{reward.model} is no reward model: it does not score texts.",
            hint="Train one with stage.kind: rm, or name a sequence classifier with one label.",
            code="not_a_reward_model",
            name=reward.model,
        )
    return found


def open_reward_model(
    reward: ModelReward,
    own: Renderer,
    device: torch.device,
    dtype: torch.dtype,
    reporter: Reporter,
    *,
    base_dir: Path,
) -> ModelSource:
    """Load a reward model; ModelError where it is none."""
    found = find_reward_model(reward, base_dir)
    model: Any = load_reward_model(
        found.directory, seed=0, dtype=dtype, attention=register_flat_attention(), device=device
    )
    model.eval().requires_grad_(False)
    renderer, _ = renderer_of(found)
    if renderer.tokenizer.fingerprint != own.tokenizer.fingerprint:
        reporter.warn(
            "reward_model_retokenised",
            f"The reward model {reward.model} has another tokenizer: every answer is put into its "
            "own template and tokens before it is scored.",
            "Nothing has to be done. A reward model made from the same base saves that work.",
        )
    if renderer.template_source.startswith("default"):
        reporter.warn(
            "reward_model_without_template",
            f"The reward model {reward.model} has no chat template: it reads answers in the "
            f"built-in one ({renderer.template_source.removeprefix('default ')}).",
            "Put the template that it was trained with into its folder, as chat_template.jinja.",
        )
    return ModelSource(model, renderer, device)

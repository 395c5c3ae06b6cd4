"""The loop of a training, with all that a loop with rollouts needs beside."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tunesmith.data.renderer import Renderer
from tunesmith.data.table import TokenTable
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.checkpoint import LoopState
from tunesmith.engine.fused import FusedDecoder
from tunesmith.engine.head import Head
from tunesmith.engine.loop import Parts, Trainer
from tunesmith.engine.policy_loop import OfReference, RolloutTrainer, Writing
from tunesmith.engine.reward_model import open_reward_model
from tunesmith.engine.rollouts import token_values
from tunesmith.engine.sampler import Sampler
from tunesmith.engine.setup import Base, load_trainable
from tunesmith.engine.stages.policy import Values
from tunesmith.errors import RecipeError
from tunesmith.evaluation.rewards import build_judge
from tunesmith.recipe import Grpo
from tunesmith.runs import CheckpointDir


@contextmanager
def opened_trainer(
    parts: Parts,
    state: LoopState | None,
    base: Base,
    renderer: Renderer,
    found: CheckpointDir | None,
) -> Generator[Trainer]:
    """The loop of the stage; processes that judge answers end with it."""
    settings = parts.recipe.stage
    if not isinstance(settings, Grpo):
        yield Trainer(parts, state)
        return
    _refuse_capped(parts.head, settings)
    judge = build_judge(
        settings.rewards,
        parts.run.path,
        lambda reward: open_reward_model(
            reward, renderer, parts.device, base.dtype, parts.reporter, base_dir=parts.run.path
        ),
    )
    with judge:
        sampler = Sampler(parts.model, renderer, settings, parts.recipe.training.seed, parts.device)
        writing = Writing(settings, sampler, judge, _reference(parts, base, settings))
        yield RolloutTrainer(parts, writing, state, None if found is None else found.path)


def _refuse_capped(head: Head, settings: Grpo) -> None:
    if head.softcap is None or settings.temperature == 1:
        return
    raise RecipeError(
        "stage.temperature is not 1, and the model caps its scores: probabilities at another "
        "temperature are not computed for such models.",
        hint="Write stage.temperature: 1.",
        code="temperature_with_cap",
    )


def _reference(parts: Parts, base: Base, settings: Grpo) -> OfReference | None:
    """Log-probabilities under the model as it was before training; None without a KL term."""
    if settings.beta == 0:
        return None
    budget = parts.recipe.training.micro_batch_tokens
    assert isinstance(budget, int)
    how: dict[str, Any] = {
        "temperature": settings.temperature, "budget": budget, "device": parts.device,
    }  # fmt: skip
    if settings.reference == "adapter_off":
        fused = parts.backbone if isinstance(parts.backbone, FusedDecoder) else None
        off: Any = parts.model.disable_adapter if fused is None else fused.adapters_off

        def without_adapter(table: TokenTable) -> Values:
            with off():
                return token_values(parts.backbone, parts.head, table, **how)

        return without_adapter
    copy: Any = load_trainable(parts.recipe, parts.run, base, parts.reporter)
    copy.eval().requires_grad_(False)
    backbone = build_backbone(copy, attention=parts.recipe.model.attention)
    head = Head.of(copy)
    return lambda table: token_values(backbone, head, table, **how)

"""What learns in a step: all trained weights, or one layer after the other (BAdam).

BAdam (Luo and others 2024, arXiv 2404.02827) gives gradients and moments to one block of weights
for some steps, then to the next: training all layers takes the memory of one. A block begins with
fresh moments each time. Blocks are layers; tables of words, heads and the last norm stay as they
are, as in the authors' own code.

Where all learn, their updates may be made within the backward pass: see in_backward.py.

Which block learns is a function of step and seed, so a checkpoint need not say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tunesmith.engine.adapter import trainable_parameters
from tunesmith.engine.arena import Arena
from tunesmith.engine.in_backward import open_layered
from tunesmith.engine.methods.freeze import decoder_layers
from tunesmith.engine.optimizer import Optimizers, build_optimizer, parameter_groups
from tunesmith.engine.reporter import Reporter
from tunesmith.recipe import Optimizer, Recipe


class Learning:
    """The weights that learn just now, in flat memory, and the rule that updates them."""

    arena: Arena
    optimizer: Optimizers

    def __init__(self, recipe: Recipe, model: Any) -> None:
        self._recipe, self._model = recipe, model
        self._blocks = layer_blocks(model) if takes_turns(recipe) else None
        self._current: int | None = None
        learned = [part for _, part in trainable_parameters(model)]
        if self._blocks is not None:
            learned = [part for block in self._blocks for part in block]
        self.num_weights = sum(part.numel() for part in learned)  # of the whole run

    def warn_of_layers_without_turn(self, total_steps: int, reporter: Reporter) -> None:
        """Say that a run of so many steps is too short for every layer to learn."""
        if self._blocks is None:
            return
        every, layers = self._recipe.training.optimizer.block_switch_steps, len(self._blocks)
        left_out = layers - -(-total_steps // every)
        if left_out > 0:
            reporter.warn(
                "layers_without_turn",
                f"{left_out} of {layers} layers never learn: the run has {total_steps} steps, and "
                f"a layer has {every} before the next one.",
                "Set training.optimizer.block_switch_steps to at most "
                f"{max(1, total_steps // layers)}, or train longer.",
            )

    def enter(self, step: int) -> bool:
        """Let the weights of a step (from 1) learn; True where they are others than before."""
        number = 0
        if self._blocks is not None:
            settings, seed = self._recipe.training.optimizer, self._recipe.training.seed
            number = block_of_step(step, len(self._blocks), settings, seed)
        if number == self._current:
            return False
        if self._blocks is not None:
            self._hand_over(self._blocks[number])
        self._current = number
        self.arena, self.optimizer = self._opened()
        return True

    def _hand_over(self, block: Sequence[nn.Parameter]) -> None:
        """Take the gradients from the block before, and mark the next one as trained."""
        if self._current is not None:
            self.arena.release()
            del self.arena, self.optimizer  # before the next ones take their memory
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        for parameter in block:
            parameter.requires_grad_(True)

    def _opened(self) -> tuple[Arena, Optimizers]:
        training, adapter = self._recipe.training, self._recipe.adapter
        if training.update_in_backward:
            return open_layered(self._recipe, self._model)
        groups = parameter_groups(
            trainable_parameters(self._model),
            weight_decay=training.optimizer.weight_decay,
            loraplus_ratio=adapter.loraplus_lr_ratio if adapter.kind == "lora" else 1.0,
        )
        arena = Arena(groups, exact=training.master_weights)
        optimizer = build_optimizer(
            arena, training.optimizer, model=self._model, seed=training.seed
        )
        return arena, optimizer


def takes_turns(recipe: Recipe) -> bool:
    """Whether layers learn one after the other."""
    return recipe.training.optimizer.kind == "badam"


def layer_blocks(model: Any) -> list[list[nn.Parameter]]:
    """The trained parameters of each layer, in the order of layers."""
    found = [
        [part for part in layer.parameters() if part.requires_grad]
        for layer in decoder_layers(model)
    ]
    return [block for block in found if block]


def block_of_step(step: int, blocks: int, settings: Optimizer, seed: int) -> int:
    """Which of the blocks learns in a step; in a random order each has its turn once a round."""
    round_number, place = divmod((step - 1) // settings.block_switch_steps, blocks)
    match settings.block_order:
        case "ascending":
            return place
        case "descending":
            return blocks - 1 - place
        case "random":
            generator = torch.Generator().manual_seed((seed * 1_000_003 + round_number) % 2**63)
            return int(torch.randperm(blocks, generator=generator)[place])

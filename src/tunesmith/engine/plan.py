"""`tunesmith plan`: what a recipe will need, from its rows, its model and two seconds of work."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.data.batches import StepPlan, micro_batches
from tunesmith.data.prepare import Prepared, build_renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.backbone import backbone_of
from tunesmith.engine.dropout import key_dropout_by_row, set_training
from tunesmith.engine.head import Head
from tunesmith.engine.learning import Learning
from tunesmith.engine.memory import MemoryEstimate, Room, room_of
from tunesmith.engine.methods.quantised import num_parameters
from tunesmith.engine.process import keep_freed_memory
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.reward_model import find_reward_models
from tunesmith.engine.setup import (
    Base,
    choose_device,
    decide,
    device_name,
    load_trainable,
    memory_of,
    open_base,
    read_rows,
    step_plan,
)
from tunesmith.engine.stage_setup import stage_to_measure, trial_answers
from tunesmith.engine.writing_speed import seconds_of_writing
from tunesmith.recipe import Grpo, Recipe, dump_recipe, load_recipe
from tunesmith.runs import RunDir
from tunesmith.runs.files import format_bytes

MEASURE_SECONDS = 2.0


@dataclass(frozen=True)
class Plan:
    """What will happen, and whether it fits."""

    rows: dict[str, int]
    datasets: list[dict[str, Any]]  # what each gives to an epoch; see data/mixing.py
    steps: int
    epochs: float
    tokens: int
    label_tokens: int
    parameters: int
    trainable_parameters: int
    micro_batch_tokens: int
    activation_checkpointing: str
    activation_checkpointing_auto: bool  # whether the recipe says auto
    memory: MemoryEstimate
    room: Room
    tokens_per_second: float
    seconds: float
    writing_seconds: float  # of these: until the model has written its own answers (grpo)
    device: str
    warnings: list[str]

    @property
    def fits(self) -> bool:
        """Whether the estimate stays below the memory that is free."""
        return self.room.fits(self.memory)

    def advice(self) -> list[str]:
        """What to lower when it does not fit."""
        if self.fits:
            return []
        of_activations = "training.micro_batch_tokens (the result stays the same)"
        if self.activation_checkpointing != "full":
            of_activations += ", or set training.activation_checkpointing: full"
        elif not self.memory.in_main_memory:
            of_activations += ", or on a GPU set training.activation_offload: true"
        parts = {
            "activations": of_activations,
            "in_main_memory": of_activations,
            "optimizer": "the number of trained weights (adapter.kind: lora, or a lower rank)",
            "weights": "the size of the base model, or keep its weights in 4 bits "
            "(model.quantization: nf4 with adapter.kind: lora)",
            "logits": "data.max_length",
        }
        order = sorted(parts, key=lambda part: -getattr(self.memory, part))
        return [f"Lower {part}." for part in list(dict.fromkeys(map(parts.get, order)))[:2]]

    def document(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        return {
            **{k: v for k, v in vars(self).items() if k not in ("memory", "room")},
            "memory_bytes": {**vars(self.memory), "total": self.memory.total},
            "free_bytes": self.room.device,
            "fits": self.fits,
            "advice": self.advice(),
        }


class _Collector(Reporter):
    """Keeps warnings for the plan and shows progress to nobody."""

    def __init__(self) -> None:
        super().__init__(None)
        self.warnings: list[str] = []

    def warn(self, code: str, message: str, hint: str = "") -> None:
        """Collect instead of writing an event."""
        del code
        self.warnings.append(f"{message} {hint}".strip())


def make_plan(recipe: Recipe, run: RunDir) -> Plan:
    """Read the rows, load the model and measure; nothing is trained."""
    reporter = _Collector()
    find_reward_models(recipe, run.path)
    device = choose_device(recipe.training.device)
    base = open_base(recipe, run, reporter, device)
    prepared = read_rows(recipe, run, base, TextTokenizer.load(base.tokenizer_dir), reporter)
    steps = step_plan(recipe, prepared)
    room = room_of(device)
    model = load_trainable(recipe, run, base, reporter)
    asked, recipe = recipe, decide(recipe, base, model, prepared, steps, room)
    micro_batch = recipe.training.micro_batch_tokens
    assert isinstance(micro_batch, int)
    memory = memory_of(recipe, base, model, micro_batch_tokens=micro_batch)
    learning = Learning(recipe, model)
    learning.warn_of_layers_without_turn(steps.total_steps, reporter)
    speed = writing = 0.0
    if room.fits(memory):
        speed = measured_speed(recipe, base, model, trial_answers(recipe, prepared), steps)
        writing = writing_time(recipe, run, base, model, prepared, steps)
    tokens, labels = _tokens(trial_answers(recipe, prepared), steps)
    if recipe.stage.kind == "grpo":
        tokens, labels = (recipe.stage.group_size * each for each in (tokens, labels))
    return Plan(
        rows=_rows(prepared),
        datasets=prepared.report["mixing"]["datasets"],
        steps=steps.total_steps,
        epochs=recipe.training.epochs,
        tokens=tokens,
        label_tokens=labels,
        parameters=num_parameters(model),
        trainable_parameters=learning.num_weights,
        micro_batch_tokens=micro_batch,
        activation_checkpointing=recipe.training.activation_checkpointing,
        activation_checkpointing_auto=asked.training.activation_checkpointing == "auto",
        memory=memory,
        room=room,
        tokens_per_second=round(speed, 1),
        seconds=round(tokens / speed + writing, 1) if speed else 0.0,
        writing_seconds=round(writing, 1),
        device=device_name(device),
        warnings=reporter.warnings,
    )


def _rows(prepared: Prepared) -> dict[str, int]:
    return {
        "train": len(prepared.train_rows),
        "validation": 0 if prepared.validation is None else len(prepared.validation),
        "test": prepared.report["test"]["rows"],
    }


def _tokens(prepared: Prepared, steps: StepPlan) -> tuple[int, int]:
    """Tokens and label tokens of the whole run."""
    passes = steps.total_steps / max(steps.steps_of_one_epoch, 1)
    pool = prepared.train_rows
    return (
        round(passes * int(prepared.train.lengths[pool].sum())),
        round(passes * int(prepared.train.label_counts[pool].sum())),
    )


def measured_speed(
    recipe: Recipe, base: Base, model: Any, prepared: Prepared, steps: StepPlan
) -> float:
    """Tokens per second of whole steps on this machine, at a learning rate of zero."""
    dropout = key_dropout_by_row(model, recipe.training.seed)
    learning = Learning(recipe, model)
    learning.enter(1)
    arena, optimizer = learning.arena, learning.optimizer
    backbone = backbone_of(recipe, model, dropout)
    head, stage = Head.of(model), stage_to_measure(recipe, prepared)
    set_training(model, True)
    budget = recipe.training.micro_batch_tokens
    assert isinstance(budget, int)
    speeds: list[float] = []
    began = time.perf_counter()
    for step in steps.steps():
        started = time.perf_counter()
        arena.zero_grad()
        totals = stage.totals(prepared.train, step.rows)
        for rows in micro_batches(step.rows, prepared.train.lengths, budget):
            batch = stage.batch(prepared.train, rows, base.device)
            dropout.set(step.number, batch)
            stage.loss(backbone, head, batch, totals).loss.backward()
        arena.clip(recipe.training.max_grad_norm)
        optimizer.step()
        if base.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        speeds.append(int(prepared.train.lengths[step.rows].sum()) / (now - started))
        if now - began > MEASURE_SECONDS and len(speeds) > 1:
            break
    # The first step warms up allocator and kernels.
    return statistics.median(speeds[1:] or speeds)


def writing_time(
    recipe: Recipe, run: RunDir, base: Base, model: Any, prepared: Prepared, steps: StepPlan
) -> float:
    """Seconds of the whole run in which the model writes the answers that it learns from."""
    settings = recipe.stage
    if not isinstance(settings, Grpo):
        return 0.0
    tokenizer = TextTokenizer.load(base.tokenizer_dir)
    renderer = build_renderer(recipe.data, settings, tokenizer, base_dir=run.path)
    first = next(iter(steps.steps()))
    a_step = seconds_of_writing(recipe, model, renderer, prepared.train, first.rows, base.device)
    return a_step * math.ceil(steps.total_steps / settings.iterations)


def show(plan: Plan) -> str:
    """The plan for a person."""
    memory = plan.memory
    share = plan.trainable_parameters / plan.parameters
    lines = [
        f"Device       {plan.device}",
        f"Rows         {plan.rows['train']:,} to train on, {plan.rows['validation']:,} to validate"
        + (f", {plan.rows['test']:,} to test" if plan.rows["test"] else ""),
        *_mixture(plan.datasets),
        f"Steps        {plan.steps:,} (epochs: {plan.epochs:g})",
        f"Tokens       {plan.tokens:,}, of which {plan.label_tokens:,} are learned from",
        f"Parameters   {plan.parameters:,}, of which {plan.trainable_parameters:,} "
        f"({share:.1%}) are trained",
        f"Memory       {format_bytes(memory.total)} of {format_bytes(plan.room.device)} free: "
        f"weights {format_bytes(memory.weights)}, optimizer {format_bytes(memory.optimizer)}, "
        f"activations {format_bytes(memory.activations)}, logits {format_bytes(memory.logits)}",
        f"Activations  {_activations(plan)}",
        f"Micro-batch  {plan.micro_batch_tokens:,} tokens at once (memory only)",
    ]
    if plan.tokens_per_second:
        minutes, seconds = divmod(round(plan.seconds), 60)
        lines.append(
            f"Time         about {minutes} min {seconds:02d} s at {plan.tokens_per_second:,.0f} "
            "tokens/s, measured here just now"
        )
    if plan.writing_seconds:
        share = plan.writing_seconds / plan.seconds
        lines.append(
            f"Writing      {share:.0%} of the time goes to writing answers, if they have half of "
            "the longest length"
        )
    lines += [f"Warning      {warning}" for warning in plan.warnings]
    lines.append("Fits." if plan.fits else "Does not fit. " + " ".join(plan.advice()))
    return "\n".join(lines) + "\n"


_KEPT = {
    "off": "of all layers are kept",
    "selective": "of every second layer are computed twice",
    "full": "of every layer are computed twice",
}


def _activations(plan: Plan) -> str:
    """Where those of a micro-batch are until backward needs them."""
    kind, waiting = plan.activation_checkpointing, plan.memory.in_main_memory
    chosen = ", chosen by auto" if plan.activation_checkpointing_auto else ""
    told = f"{_KEPT[kind]} (activation_checkpointing: {kind}{chosen})"
    if not waiting:
        return told
    room = format_bytes(plan.room.main_memory)
    return f"{told}; {format_bytes(waiting)} wait in main memory, of {room} free"


def _mixture(datasets: list[dict[str, Any]]) -> list[str]:
    """A line for each dataset, where there are several or one is not drawn as it is."""
    if len(datasets) == 1 and datasets[0]["rate"] == 1:
        return []
    return [
        f"  {each['share']:5.1f} %    {each['rows_drawn']:,} of {each['rows_available']:,} rows "
        f"(x {each['rate']:.3g}), {each['tokens']:,} tokens: {each['name']}"
        + (" (general)" if each["role"] == "general" else "")
        for each in datasets
    ]


def main(arguments: list[str]) -> int:
    """`python -m tunesmith.engine plan RECIPE.yaml [--json]`; exit code 1 when it does not fit."""
    parser = argparse.ArgumentParser(prog="tunesmith plan")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    recipe = load_recipe(options.recipe)
    with tempfile.TemporaryDirectory(prefix="tunesmith-plan-") as folder:
        run = RunDir.create(Path(folder) / "run", dump_recipe(recipe), recipe_name=recipe.name)
        plan = make_plan(recipe, run)
    text = json.dumps(plan.document(), ensure_ascii=False) + "\n" if options.json else show(plan)
    sys.stdout.write(text)
    return 0 if plan.fits else 1

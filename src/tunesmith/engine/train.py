"""From a recipe to a better model. Read `train` first: it builds the parts and runs them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import torch

from tunesmith.data.batches import StepPlan, order_hash
from tunesmith.data.prepare import Prepared, build_renderer
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.arena import Arena
from tunesmith.engine.backbone import backbone_of, decoder_of
from tunesmith.engine.checkpoint import LoopState, load_checkpoint
from tunesmith.engine.dropout import add_row_noise, key_dropout_by_row
from tunesmith.engine.export import Result, measures, write_artifacts
from tunesmith.engine.faults import Faults
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.head import Head
from tunesmith.engine.in_backward import refuse_processes
from tunesmith.engine.learning import Learning
from tunesmith.engine.loop import Outcome, Parts
from tunesmith.engine.loss_scale import LossScale
from tunesmith.engine.memory import room_of
from tunesmith.engine.methods.quantised import num_parameters
from tunesmith.engine.model_card import Measure
from tunesmith.engine.optimizer import Optimizers
from tunesmith.engine.ranks import Ranks
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.reward_model import find_reward_models
from tunesmith.engine.rollout_setup import opened_trainer
from tunesmith.engine.row_losses import RowLosses
from tunesmith.engine.setup import (
    Base,
    decide,
    device_name,
    load_trainable,
    memory_of,
    open_base,
    read_rows,
    step_plan,
    tell_checkpointing,
)
from tunesmith.engine.stage_setup import StageParts
from tunesmith.engine.weights import write_weights
from tunesmith.evaluation.curves import draw_curves
from tunesmith.recipe import Recipe, dump_recipe
from tunesmith.runs import (
    CheckpointDir,
    RunDir,
    read_control,
    read_events,
    write_atomically,
)


def train(
    recipe: Recipe,
    run: RunDir,
    reporter: Reporter,
    ranks: Ranks,
    device: torch.device,
    found: CheckpointDir | None = None,
) -> Outcome:
    """Train one recipe to the end, from a checkpoint that was found, or from the beginning."""
    faults = Faults()
    refuse_processes(recipe, ranks)
    find_reward_models(recipe, run.path)
    base = open_base(recipe, run, reporter, device)
    tokenizer = TextTokenizer.load(base.tokenizer_dir)
    prepared = read_rows(recipe, run, base, tokenizer, reporter)
    renderer = build_renderer(recipe.data, recipe.stage, tokenizer, base_dir=run.path)
    plan = step_plan(recipe, prepared)
    room = room_of(device)
    model = load_trainable(recipe, run, base, reporter)
    asked, recipe = recipe, decide(recipe, base, model, prepared, plan, room)
    tell_checkpointing(asked, recipe, reporter)
    if ranks.is_first:
        write_atomically(run.resolved_path, dump_recipe(recipe))
    dropout = key_dropout_by_row(model, recipe.training.seed)
    if recipe.stage.kind == "sft":
        add_row_noise(decoder_of(model), recipe.stage.neftune_alpha, dropout)
    learning = Learning(recipe, model)
    learning.enter(1 if found is None else found.step)
    arena, optimizer = learning.arena, learning.optimizer
    backbone = backbone_of(recipe, model, dropout)
    head = Head.of(model, LossScale.of(recipe.training.loss_scale, base.dtype))
    stages = StageParts(
        *(recipe, run, model, backbone, head, prepared, plan, ranks, device, reporter)
    ).stages()
    row_losses = RowLosses(prepared.train, plan.num_epochs)
    state = resume(run, found, model, arena, optimizer, row_losses)
    backbone.refresh()
    announce(recipe, prepared, plan, model, base, learning, reporter)
    parts = Parts(
        recipe=recipe,
        run=run,
        model=model,
        backbone=backbone,
        refresh=backbone.refresh,
        learning=learning,
        head=head,
        stage=stages.training,
        arena=arena,
        optimizer=optimizer,
        plan=plan,
        table=prepared.train,
        validation=prepared.validation,
        validation_stage=stages.validation,
        row_losses=row_losses,
        dropout=dropout,
        device=device,
        ranks=ranks,
        reporter=reporter,
        faults=faults,
        write_weights=lambda path: write_weights(model, path),
        wanted=requests(run),
    )
    started = time.perf_counter()
    with opened_trainer(parts, state, base, renderer, found) as trainer:
        outcome = trainer.fit()
    if outcome.status == "finished" and ranks.is_first:
        before, after = measures(read_events(run)[0], outcome.exported_step)
        warn_if_never_better(outcome, before, after, reporter)
        export(parts, base, prepared, renderer, outcome)
        reporter.emit(
            "finished",
            step=outcome.state.step,
            reason=outcome.reason,
            best_step=outcome.state.best_step,
            best_loss=outcome.state.best_loss,
            result_step=outcome.exported_step,
            result_loss=None if after is None else after.loss,
            tokens=outcome.state.tokens,
            seconds=round(time.perf_counter() - started, 2),
        )
    return outcome


# ---------------------------------------------------------------- the parts


def resume(
    run: RunDir,
    found: CheckpointDir | None,
    model: Any,
    arena: Arena,
    optimizer: Optimizers,
    row_losses: RowLosses,
) -> LoopState | None:
    """The state of a checkpoint, put in place; None for a run that begins."""
    if found is None:
        return None
    row_losses.read(run.data_dir / "row_losses.parquet")
    return load_checkpoint(found.path, model, arena, optimizer)


def announce(
    recipe: Recipe,
    prepared: Prepared,
    plan: StepPlan,
    model: Any,
    base: Base,
    learning: Learning,
    reporter: Reporter,
) -> None:
    """The `plan` event: what will happen."""
    learning.warn_of_layers_without_turn(plan.total_steps, reporter)
    tokens = recipe.training.micro_batch_tokens
    assert isinstance(tokens, int)
    pool = prepared.train_rows
    reporter.emit(
        "plan",
        total_steps=plan.total_steps,
        epochs=recipe.training.epochs,
        rows=len(pool),
        validation_rows=0 if prepared.validation is None else len(prepared.validation),
        test_rows=prepared.report["test"]["rows"],
        datasets=prepared.report["mixing"]["datasets"],
        tokens_per_epoch=int(prepared.train.lengths[pool].sum()),
        label_tokens_per_epoch=int(prepared.train.label_counts[pool].sum()),
        parameters=num_parameters(model),
        trainable_parameters=learning.num_weights,
        micro_batch_tokens=tokens,
        activation_checkpointing=recipe.training.activation_checkpointing,
        memory_bytes_estimate=memory_of(recipe, base, model, micro_batch_tokens=tokens).total,
        fused=why_not_fused(model, decoder_of(model)) is None,
    )


def warn_if_never_better(
    outcome: Outcome, before: Measure | None, after: Measure | None, reporter: Reporter
) -> None:
    """Say that training has only made the model worse: a result that looks finished hides it."""
    if outcome.state.best_step != 0 or before is None or after is None:
        return
    losses = ["NaN" if loss is None else f"{loss:.4f}" for loss in (before.loss, after.loss)]
    reporter.warn(
        "never_better",
        f"No evaluation was better than before training: the result is step "
        f"{outcome.exported_step} with validation loss {losses[1]}; before training it was "
        f"{losses[0]}.",
        "Lower training.learning_rate (a tenth is a good try), train fewer epochs, and check that "
        "the validation rows are like the training rows.",
    )


def export(
    parts: Parts, base: Base, prepared: Prepared, renderer: Renderer, outcome: Outcome
) -> None:
    """Artifacts and curves of a finished run, each announced by an event."""
    state = outcome.state
    result = Result(
        step=outcome.exported_step,
        last_step=state.step,
        reason=outcome.reason,
        seconds=state.seconds,
        device=device_name(parts.device),
        data_fingerprint=prepared.fingerprint,
        row_order_hash=order_hash(parts.plan, range(parts.plan.num_epochs)),
        chat_template=_own_template(renderer, parts.recipe),
        stop_ids=tuple(renderer.stop_ids),
    )
    curves = draw_curves(parts.run) if parts.recipe.report.curves else []
    written = write_artifacts(
        parts.run,
        parts.model,
        recipe=parts.recipe,
        base_dir=base.directory,
        tokenizer_dir=base.tokenizer_dir,
        result=result,
        logs=curves,
    )
    for artifact in written:
        parts.reporter.emit("artifact", kind=artifact.kind, path=artifact.path)


def _own_template(renderer: Renderer, recipe: Recipe) -> str | None:
    """The chat template that was trained with, where the tokenizer's files do not hold it."""
    if recipe.stage.kind == "pt" or renderer.chat_template == renderer.tokenizer.chat_template:
        return None
    return renderer.chat_template


def requests(run: RunDir) -> Callable[[], str | None]:
    """What a user or the system wants of this process: asked at every step boundary.

    A request in control.json counts; SIGTERM or SIGINT without one means pause.
    """
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.append(received))

    def wanted() -> str | None:
        if run.control_path.exists():
            control = read_control(run)
            if control is not None:
                return control.intent
        return "pause" if signals else None

    return wanted

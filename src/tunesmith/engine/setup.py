"""The parts of a training before its loop: base model, rows, plan, and every `auto` decided.

Shared by `train` and `plan`, so that a plan is made of the very parts that will be trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import nn

from tunesmith.data.batches import StepPlan
from tunesmith.data.prepare import Prepared, prepare
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.adapter import apply_adapter, decided_adapter
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.memory import (
    CPU_MICRO_BATCH,
    CUDA_MICRO_BATCH,
    MemoryEstimate,
    Shape,
    activation_bytes,
    choose_micro_batch,
    estimate_memory,
    free_memory,
)
from tunesmith.engine.models import (
    cache_directory,
    context_length,
    decide_dtype,
    exact_context,
    load_config,
    load_model,
    load_tokenizer_files,
    resolve_base,
)
from tunesmith.engine.reporter import Reporter
from tunesmith.errors import DataError, InputError, RunDirError
from tunesmith.recipe import Notice, Recipe, data_notices
from tunesmith.runs import RunDir, checkpoints, write_atomically

TINY_MODEL = 50_000_000  # parameters
EVALUATIONS = 10  # that `evaluate.every_steps: auto` aims at


@dataclass(frozen=True)
class Base:
    """The base model on disk: folders, configuration and how it will be computed."""

    directory: Path
    tokenizer_dir: Path
    config: Any
    dtype: torch.dtype
    device: torch.device


def open_base(recipe: Recipe, run: RunDir, reporter: Reporter, device: torch.device) -> Base:
    """Find, check and describe the base model; nothing large is read yet."""
    directory = resolve_base(
        recipe.model,
        base_dir=run.path,
        on_progress=lambda done, total, unit: reporter.progress("download", done, total, unit),
    )
    config = load_config(directory, trust_remote_code=recipe.model.trust_remote_code)
    tokenizer_dir = load_tokenizer_files(directory, cache_directory())
    dtype = decide_dtype(recipe.model.dtype, device, reporter.warn)
    return Base(directory, tokenizer_dir, config, dtype, device)


def read_rows(
    recipe: Recipe, run: RunDir, base: Base, tokenizer: TextTokenizer, reporter: Reporter
) -> Prepared:
    """Rows as tokens, from the cache if they are there; the report goes into the run."""
    prepared = prepare(
        recipe.data,
        recipe.stage,
        tokenizer,
        seed=recipe.training.seed,
        cache_dir=cache_directory() / "tokens",
        base_dir=run.path,
        max_context=context_length(base.config),
        on_progress=lambda what, done, total: reporter.progress("tokenise", done, total, what),
    )
    require_exact_rows(prepared, base.config)
    run.data_dir.mkdir(parents=True, exist_ok=True)
    path = run.data_dir / "report.json"
    if path.is_file() and checkpoints(run):  # before the first one there is nothing to mix
        before = orjson.loads(path.read_bytes()).get("fingerprint")
        if before not in (None, prepared.fingerprint):
            raise RunDirError(
                "The data of this run has changed since it was started; going on would mix two "
                "datasets. Nothing was changed.",
                hint="Put the original files back, or start a new run.",
                code="data_changed",
            )
    for warning in prepared.warnings:
        reporter.warn(warning["code"], warning["message"], warning["hint"])
    for notice in _notices(recipe, base, prepared):
        reporter.warn(notice.code, notice.message, notice.hint)
    report = {**prepared.report, "fingerprint": prepared.fingerprint}
    write_atomically(path, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    if prepared.test_rows is not None:
        write_atomically(run.data_dir / "test_rows.json", orjson.dumps(prepared.test_rows))
    return prepared


def require_exact_rows(prepared: Prepared, config: Any) -> None:
    """Refuse rows whose loss would depend on which other rows share their micro-batch."""
    limit = exact_context(config)
    tables = [prepared.train, *([prepared.validation] if prepared.validation else [])]
    longest = max(int(table.lengths.max(initial=0)) for table in tables)
    if limit is not None and longest > limit:
        raise DataError(
            f"The longest row has {longest:,} tokens. Beyond its original context of {limit:,}, "
            "this model scales the positions of all rows that are computed together by the longest "
            "of them, so the result would depend on the size of the micro-batch.",
            hint=f"Set data.max_length to at most {limit}.",
            code="row_beyond_exact_context",
        )


def _notices(recipe: Recipe, base: Base, prepared: Prepared) -> list[Notice]:
    """What only the data shows. The advice on the learning rate is for models of usual size."""
    shortest = int(prepared.train.full_lengths.min())
    found = data_notices(recipe, rows=len(prepared.train_rows), shortest_row_tokens=shortest)
    shape = Shape.of(base.config)
    context = context_length(base.config)
    if context is not None and shortest > context:  # no max_length would help
        found = [n for n in found if n.code != "length_below_every_row"]
    is_tiny = 12 * shape.layers * shape.hidden**2 < TINY_MODEL
    return [n for n in found if not (is_tiny and n.code == "high_rate_small_data")]


def step_plan(recipe: Recipe, prepared: Prepared) -> StepPlan:
    """All optimizer steps of the run."""
    training = recipe.training
    return StepPlan(
        prepared.train_rows,
        prepared.train.lengths,
        batch_size=training.batch_size,
        batch_tokens=training.batch_tokens,
        epochs=training.epochs,
        max_steps=training.max_steps,
        seed=training.seed,
    )


def load_trainable(recipe: Recipe, run: RunDir, base: Base, reporter: Reporter) -> nn.Module:
    """The base model with its adapters, on the device."""
    reporter.progress("load", 0, 1, "model")
    attention = recipe.model.attention
    model = load_model(
        base.directory,
        dtype=base.dtype,
        attention=register_flat_attention() if attention in ("auto", "flat") else attention,
        device=base.device,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    tuned = apply_adapter(
        model,
        recipe.adapter,
        seed=recipe.training.seed,
        base_dir=run.path,
        on_warning=reporter.warn,
    )
    reporter.progress("load", 1, 1, "model")
    return tuned


def decide(recipe: Recipe, base: Base, model: Any, prepared: Prepared, plan: StepPlan) -> Recipe:
    """The recipe with every `auto` decided, as resolved.yaml records it."""
    training = recipe.training
    every = training.evaluate.every_steps
    if every == "auto":
        every = max(1, -(-plan.total_steps // EVALUATIONS))
    tokens, attention = training.micro_batch_tokens, recipe.model.attention
    if tokens == "auto":
        tokens = micro_batch_size(recipe, base, model, prepared)
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(
                update={
                    "dtype": str(base.dtype).removeprefix("torch."),
                    "attention": "flat" if attention == "auto" else attention,
                }
            ),
            "adapter": decided_adapter(model, recipe.adapter),
            "training": training.model_copy(
                update={
                    "micro_batch_tokens": tokens,
                    "device": base.device.type,
                    "evaluate": training.evaluate.model_copy(update={"every_steps": every}),
                }
            ),
        }
    )


def micro_batch_size(recipe: Recipe, base: Base, model: Any, prepared: Prepared) -> int:
    """Tokens of a micro-batch that suit the device and fit into its memory."""
    fixed = memory_of(recipe, base, model, micro_batch_tokens=0).total
    per_token = activation_bytes(
        Shape.of(base.config),
        bytes_per_value=base.dtype.itemsize,
        fused=why_not_fused(model, decoder_of(model)) is None,
        checkpointing=recipe.training.activation_checkpointing,
    )
    return choose_micro_batch(
        CUDA_MICRO_BATCH if base.device.type == "cuda" else CPU_MICRO_BATCH,
        int(prepared.train.lengths.max()),
        free_memory(base.device),
        fixed,
        per_token,
    )


def memory_of(recipe: Recipe, base: Base, model: Any, *, micro_batch_tokens: int) -> MemoryEstimate:
    """The closed-form estimate for a model in memory."""
    return estimate_memory(
        Shape.of(base.config),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        micro_batch_tokens=micro_batch_tokens,
        bytes_per_value=base.dtype.itemsize,
        fused=why_not_fused(model, decoder_of(model)) is None,
        checkpointing=recipe.training.activation_checkpointing,
    )


def choose_device(wanted: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; each torchrun process has its own GPU."""
    if wanted == "auto":
        wanted = "cpu"
        if torch.cuda.is_available():
            wanted = "cuda"
        elif torch.backends.mps.is_available():
            wanted = "mps"
    elif (wanted == "cuda" and not torch.cuda.is_available()) or (
        wanted == "mps" and not torch.backends.mps.is_available()
    ):
        raise InputError(
            f"The device is set to {wanted}, but torch sees no such device here.",
            hint="Run `tunesmith doctor`, or set training.device (--device in chat) to auto.",
            code="device_missing",
        )
    if wanted == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """Such as `NVIDIA H200` or `cpu (2 threads)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type

"""The parts of a training before its loop: base model, rows, plan, and every `auto` decided.

Shared by `train` and `plan`, so that a plan is made of the very parts that will be trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson
import torch
from torch import nn

from tunesmith.data.batches import StepPlan
from tunesmith.data.prepare import Prepared, prepare
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.adapter import (
    adapters_below,
    apply_adapter,
    decided_adapter,
    parts_to_save,
)
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.fused import why_not_fused
from tunesmith.engine.in_backward import largest_step, refuse_pieces, trained_layers
from tunesmith.engine.learning import layer_blocks
from tunesmith.engine.memory import (
    CPU_MICRO_BATCH,
    CUDA_MICRO_BATCH,
    LEAST_SHARE,
    MemoryEstimate,
    Places,
    Room,
    Shape,
    Trained,
    activation_bytes,
    choose_micro_batch,
    estimate_memory,
    kept_beside,
    with_checkpointing,
)
from tunesmith.engine.methods.adaption import refuse_other_attention
from tunesmith.engine.methods.loftq import pack_with_adapters
from tunesmith.engine.methods.packed_files import Packing
from tunesmith.engine.methods.quantised import (
    num_packed,
    num_parameters,
    quantise,
    require_library,
)
from tunesmith.engine.methods.rope import Rope, decided_factor, rope_of
from tunesmith.engine.methods.stack import keep_stack, merge_adapters
from tunesmith.engine.methods.vocabulary import grow, grown_tokenizer, new_ids
from tunesmith.engine.models import (
    cache_directory,
    context_length,
    decide_dtype,
    exact_context,
    load_config,
    load_model,
    load_reward_model,
    load_tokenizer_files,
    resolve_base,
    with_rows,
)
from tunesmith.engine.optimizer import is_hidden
from tunesmith.engine.reporter import Reporter
from tunesmith.engine.stage_setup import decided_stage
from tunesmith.errors import DataError, InputError, RecipeError, RunDirError
from tunesmith.recipe import Notice, Optimizer, Recipe, data_notices
from tunesmith.recipe.adapters import ADAPTERS, Lora
from tunesmith.recipe.capabilities import WITHOUT_OWN_MEMORY
from tunesmith.recipe.problems import problem
from tunesmith.recipe.prompts import AdapterTuning, InFront
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
    new_ids: tuple[int, ...] = ()  # tokens that the tokenizer has and the weights have no rows for
    rope: Rope | None = None  # how the positions of the weights are scaled


def open_base(recipe: Recipe, run: RunDir, reporter: Reporter, device: torch.device) -> Base:
    """Find, check and describe the base model; nothing large is read yet."""
    require_library(recipe.model.quantization)
    _refuse_quantised_on_mps(recipe, device)
    _refuse_offload_without_gpu(recipe, device)
    directory = resolve_base(
        recipe.model,
        base_dir=run.path,
        on_progress=lambda done, total, unit: reporter.progress("download", done, total, unit),
    )
    config = load_config(directory, trust_remote_code=recipe.model.trust_remote_code)
    _refuse_beside_packed(recipe, config)
    if isinstance(recipe.adapter, AdapterTuning):
        refuse_other_attention(config)
    rope = _decided_rope(recipe, config, reporter)
    if rope is not None:
        rope.apply(config)
    own = load_tokenizer_files(directory, cache_directory())
    words = recipe.model.new_words
    tokenizer_dir = grown_tokenizer(own, words, cache_directory(), reporter.warn)
    ids = new_ids(tokenizer_dir, own)
    config = with_rows(config, ids)
    dtype = decide_dtype(recipe.model.dtype, device, reporter.warn)
    return Base(directory, tokenizer_dir, config, dtype, device, tuple(ids), rope)


def _decided_rope(recipe: Recipe, config: Any, reporter: Reporter) -> Rope | None:
    """How positions are scaled; not at all where the rows fit already."""
    longest = recipe.data.max_length
    model = decided_factor(recipe.model, config, longest)
    if model.rope_scaling != recipe.model.rope_scaling:
        reporter.warn(
            "rope_not_needed",
            f"Rows of {longest:,} tokens fit into the model's context of "
            f"{context_length(config):,}: its positions are not scaled.",
            "Raise data.max_length, or write model.rope_factor.",
        )
    return rope_of(model)


def _refuse_beside_packed(recipe: Recipe, config: Any) -> None:
    """Weights of few bits are what adapters stand beside, not what is trained or rounded again."""
    packing = Packing.of(config)
    if packing is None:
        return
    kind, quantization = recipe.adapter.kind, recipe.model.quantization
    if kind not in ADAPTERS:
        raise RecipeError(
            f"The base is packed by {packing.method}: its weights have {packing.bits} bits, too "
            f"few to be trained themselves (adapter.kind: {kind}).",
            hint="Write adapter.kind: lora, or choose the unpacked model as model.base.",
            code="packed_base_needs_adapter",
            field="adapter.kind",
            method=packing.method,
        )
    if recipe.stage.kind == "rm":
        raise RecipeError(
            f"The base is packed by {packing.method}; a reward model starts from a whole model.",
            hint="Choose the unpacked model as model.base.",
            code="reward_base_is_packed",
            field="model.base",
            method=packing.method,
        )
    if quantization != "none":
        raise RecipeError(
            f"The base is packed by {packing.method} already; model.quantization: {quantization} "
            "would round its weights a second time.",
            hint="Write model.quantization: none, or choose the unpacked model as model.base.",
            code="packed_twice",
            field="model.quantization",
            method=packing.method,
        )


def _refuse_quantised_on_mps(recipe: Recipe, device: torch.device) -> None:
    """As the rules of the recipe do where the device is named there."""
    if device.type != "mps" or recipe.model.quantization == "none":
        return
    told = problem("quantised_not_on_mps")
    raise RecipeError(told.message, hint=told.hint, code="quantised_not_on_mps")


def _refuse_offload_without_gpu(recipe: Recipe, device: torch.device) -> None:
    """As the rules of the recipe do where the device is named there."""
    if not recipe.training.activation_offload or device.type not in WITHOUT_OWN_MEMORY:
        return
    told = problem("offload_needs_gpu", device=device.type)
    raise RecipeError(
        told.message,
        hint=told.hint,
        code="offload_needs_gpu",
        field="training.activation_offload",
        device=device.type,
    )


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
        max_context=_room(recipe, base),
        on_progress=lambda what, done, total: reporter.progress("tokenise", done, total, what),
    )
    taken = answer_tokens(recipe) + virtual_tokens(recipe)
    require_exact_rows(prepared, base.config, answer_tokens=taken)
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


def require_exact_rows(prepared: Prepared, config: Any, *, answer_tokens: int = 0) -> None:
    """Refuse rows whose loss would depend on which other rows share their micro-batch."""
    limit = exact_context(config)
    limit = None if limit is None else limit - answer_tokens
    tables = [prepared.train, *([prepared.validation] if prepared.validation else [])]
    longest = max(table.longest_document for table in tables)
    if limit is not None and longest > limit:
        raise DataError(
            f"The longest row has {longest:,} tokens. Beyond its original context of {limit:,}, "
            "this model scales the positions of all rows that are computed together by the longest "
            "of them, so the result would depend on the size of the micro-batch.",
            hint=f"Set data.max_length to at most {limit}.",
            code="row_beyond_exact_context",
            longest=longest,
            limit=limit,
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


def answer_tokens(recipe: Recipe) -> int:
    """Most tokens that the model itself puts behind a row."""
    return recipe.stage.max_answer_tokens if recipe.stage.kind == "grpo" else 0


def virtual_tokens(recipe: Recipe) -> int:
    """Places of each row that learned vectors take."""
    adapter = recipe.adapter
    return adapter.virtual_tokens if isinstance(adapter, InFront) else 0


def _room(recipe: Recipe, base: Base) -> int | None:
    """Tokens of a row that the model has positions for."""
    context = context_length(base.config)
    return None if context is None else context - virtual_tokens(recipe)


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
        repeats=recipe.stage.iterations if recipe.stage.kind == "grpo" else 1,
    )


def load_trainable(recipe: Recipe, run: RunDir, base: Base, reporter: Reporter) -> nn.Module:
    """The base model with its adapters, on the device."""
    reporter.progress("load", 0, 1, "model")
    attention, packing = recipe.model.attention, recipe.model.quantization
    how: dict[str, Any] = {
        "dtype": base.dtype,
        "attention": register_flat_attention() if attention in ("auto", "flat") else attention,
        # Weights are packed on their way to the device, which has no room for all of them.
        "device": base.device if packing == "none" else "cpu",
        "trust_remote_code": recipe.model.trust_remote_code,
        "rope": base.rope,
    }
    if recipe.stage.kind == "rm":
        model = load_reward_model(base.directory, seed=recipe.training.seed, **how)
    else:
        model = load_model(base.directory, **how)
    grow(model, base.new_ids)
    below = adapters_below(recipe.adapter, base_dir=run.path)
    stack = merge_adapters(model, below) if below else None
    is_loftq = isinstance(recipe.adapter, Lora) and recipe.adapter.init == "loftq"
    is_beside = isinstance(recipe.adapter, AdapterTuning)  # PEFT looks at the weights it is put on
    if packing != "none" and not is_loftq and not is_beside:
        whole = parts_to_save(recipe.adapter, base_dir=run.path)
        quantise(model, packing, base.device, whole=whole)
        model = model.to(base.device)  # pyright: ignore[reportArgumentType]
    tuned = apply_adapter(
        model,
        recipe.adapter,
        seed=recipe.training.seed,
        base_dir=run.path,
        new_ids=base.new_ids,
        on_warning=reporter.warn,
    )
    if isinstance(recipe.adapter, Lora) and recipe.adapter.init == "loftq":
        whole = parts_to_save(recipe.adapter, base_dir=run.path)
        rounds = recipe.adapter.loftq_iterations
        pack_with_adapters(tuned, packing, base.device, rounds=rounds, whole=whole)
        tuned = tuned.to(base.device)  # pyright: ignore[reportArgumentType]
    if packing != "none" and is_beside:
        quantise(tuned, packing, base.device)
        tuned = tuned.to(base.device)  # pyright: ignore[reportArgumentType]
    if stack is not None:
        keep_stack(tuned, stack)
    reporter.progress("load", 1, 1, "model")
    return tuned


def decide(
    recipe: Recipe, base: Base, model: Any, prepared: Prepared, plan: StepPlan, room: Room
) -> Recipe:
    """The recipe with every `auto` decided, as resolved.yaml records it.

    `room`: before the model was loaded, as the estimate counts the model too.
    """
    training = recipe.training
    every = training.evaluate.every_steps
    if every == "auto":
        every = max(1, -(-plan.total_steps // EVALUATIONS))
    attention = recipe.model.attention
    decided = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(
                update={
                    "dtype": str(base.dtype).removeprefix("torch."),
                    "attention": "flat" if attention == "auto" else attention,
                    "rope_scaling": "none" if base.rope is None else base.rope.kind,
                    "rope_factor": 1.0 if base.rope is None else base.rope.factor,
                }
            ),
            "adapter": decided_adapter(model, recipe.adapter),
            "stage": decided_stage(recipe),
            "training": training.model_copy(
                update={
                    "device": base.device.type,
                    "evaluate": training.evaluate.model_copy(update={"every_steps": every}),
                }
            ),
        }
    )
    return _fitted(decided, base, model, prepared, plan, room)


def _fitted(
    recipe: Recipe, base: Base, model: Any, prepared: Prepared, plan: StepPlan, room: Room
) -> Recipe:
    """With the micro-batch and the checkpointing of activations that the memory asks for."""
    longest = int(prepared.train.lengths.max()) + answer_tokens(recipe)
    if recipe.training.update_in_backward:
        tokens = whole_steps(recipe.training.micro_batch_tokens, prepared, plan)
        recipe = with_micro_batch(recipe, tokens)

    def estimate(tried: Recipe) -> MemoryEstimate:
        least = max(longest, wanted_micro_batch(base.device) // LEAST_SHARE)
        tokens = micro_batch_size(tried, base, model, room, least=least)
        return memory_of(tried, base, model, micro_batch_tokens=tokens)

    decided = with_checkpointing(recipe, estimate, room)
    tokens = micro_batch_size(decided, base, model, room, least=longest)
    return with_micro_batch(decided, tokens)


def tell_checkpointing(asked: Recipe, decided: Recipe, reporter: Reporter) -> None:
    """A notice where `auto` computes activations twice, as that takes time."""
    kind = decided.training.activation_checkpointing
    if asked.training.activation_checkpointing != "auto" or kind == "off":
        return
    which, time = ("layer", "third") if kind == "full" else ("second layer", "sixth")
    reporter.warn(
        "activations_recomputed",
        "The activations of all layers do not fit into the memory that is free, so those of every "
        f"{which} are computed twice (training.activation_checkpointing: {kind}). The result stays "
        f"the same; a step takes about a {time} longer.",
        "Lower training.micro_batch_tokens or close what else uses the memory; off keeps them all.",
    )


def with_micro_batch(recipe: Recipe, tokens: int) -> Recipe:
    """The recipe with that many tokens at once."""
    training = recipe.training.model_copy(update={"micro_batch_tokens": tokens})
    return recipe.model_copy(update={"training": training})


def whole_steps(tokens: int | Literal["auto"], prepared: Prepared, plan: StepPlan) -> int:
    """Tokens of a micro-batch that holds any step as a whole."""
    if tokens == "auto":
        return largest_step(plan, prepared.train)
    refuse_pieces(plan, prepared.train, tokens)
    return tokens


def wanted_micro_batch(device: torch.device) -> int:
    """Tokens of a micro-batch that suit a device."""
    return CUDA_MICRO_BATCH if device.type == "cuda" else CPU_MICRO_BATCH


def micro_batch_size(recipe: Recipe, base: Base, model: Any, room: Room, *, least: int) -> int:
    """Tokens of a micro-batch that suit the device and fit into its memory, or the least."""
    tokens = recipe.training.micro_batch_tokens
    if tokens != "auto":
        return tokens
    wanted = wanted_micro_batch(base.device)
    per_token = activation_bytes(
        Shape.of(base.config),
        bytes_per_value=base.dtype.itemsize,
        fused=why_not_fused(model, decoder_of(model)) is None,
        checkpointing=recipe.training.recomputed_layers,
        beside=kept_beside(recipe.adapter, Shape.of(base.config)),
        offload=recipe.training.activation_offload,
    )
    whole = memory_of(recipe, base, model, micro_batch_tokens=wanted).total
    return choose_micro_batch(wanted, least, room.device, whole - wanted * per_token, per_token)


def memory_of(recipe: Recipe, base: Base, model: Any, *, micro_batch_tokens: int) -> MemoryEstimate:
    """The closed-form estimate for a model in memory."""
    return estimate_memory(
        Shape.of(base.config),
        parameters=num_parameters(model),
        trained=replace(
            trained_weights(model, recipe.training.optimizer),
            without_gradient=_updated_on_the_way(recipe, model),
        ),
        micro_batch_tokens=micro_batch_tokens,
        bytes_per_value=base.dtype.itemsize,
        fused=why_not_fused(model, decoder_of(model)) is None,
        checkpointing=recipe.training.recomputed_layers,
        quantised=num_packed(model),
        quantization=recipe.model.quantization,
        beside=kept_beside(recipe.adapter, Shape.of(base.config)),
        master_weights=recipe.training.master_weights,
        places=Places.of(recipe, micro_batch_tokens),
        offload=recipe.training.activation_offload,
    )


def trained_weights(model: nn.Module, optimizer: Optimizer) -> Trained:
    """What the estimate of memory has to know of a model whose gradients are chosen."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if optimizer.kind == "badam":  # one layer at a time: the largest
        blocks = [{id(p) for p in block} for block in layer_blocks(model)]
        of_blocks = [[(n, p) for n, p in trained if id(p) in block] for block in blocks]
        trained = max(of_blocks, key=lambda block: sum(p.numel() for _, p in block))
    inside = [p for name, p in trained if is_hidden(name, p)]
    weights = sum(p.numel() for p in inside)
    # Of sides that differ, the one that stands for all: a matrix of side s has 1 / s rows a weight.
    shares = sum(p.numel() / min(p.shape) for p in inside)
    return Trained(
        weights=sum(p.numel() for _, p in trained),
        inside=weights,
        narrow=max(1, round(weights / shares)) if shares else 1,
        edges=sum(sum(p.shape) for _, p in trained),
        optimizer=optimizer.kind,
        projection_rank=optimizer.projection_rank,
    )


def _updated_on_the_way(recipe: Recipe, model: Any) -> int:
    """Weights of layers that leave their gradient memory to another layer."""
    if not recipe.training.update_in_backward:
        return 0
    layers, _ = trained_layers(model)
    sizes = [sum(p.numel() for _, p in named) for _, named in layers]
    return sum(sizes) - max(sizes, default=0)


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
            device=wanted,
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

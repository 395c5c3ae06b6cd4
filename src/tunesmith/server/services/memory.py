"""How much memory a job will take on each of its devices: the engine's formula on what is known.

Where the files of the base are here, its sizes are those that the engine will see, and the estimate
agrees with the engine's own plan; else they are taken to be usual for the number of weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from tunesmith.models.memory import (
    CPU_MICRO_BATCH,
    CUDA_MICRO_BATCH,
    FUSED_FAMILIES,
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
    linear_weights,
    lora_parameters,
    oft_parameters,
    with_checkpointing,
)
from tunesmith.recipe import Recipe
from tunesmith.recipe.adapters import ADAPTERS, IN_FRONT, Adapter, Expand, Freeze, Lora, Oft
from tunesmith.recipe.prompts import AdapterTuning, Prefix, Prompt, PTuning
from tunesmith.server.datadir import DataDir
from tunesmith.server.flavours import Flavour
from tunesmith.server.services.models.grounds import folders
from tunesmith.server.services.submission import Resolved

_UNKNOWN: Final = 1 << 60  # more than any device has
# Resident bytes of the program itself, which shares the memory with a training on the CPU: measured
# with torch 2.13 on x86-64, the peak of small trainings less their estimate.
_PROGRAM_ON_CPU: Final = 430_000_000


@dataclass(frozen=True)
class Memory:
    """An estimate: from the sizes of the model's layers, or only from its number of weights."""

    bytes: int
    basis: Literal["layers", "parameters"]


def expected_memory(
    session: Session,
    place: DataDir,
    resolved: Resolved,
    parameters: int | None,
    family: str,
    flavour: Flavour | None,
) -> Memory | None:
    """Bytes on one device; None where nothing at all is known of the base."""
    known = _shape(session, place, resolved)
    if parameters is None:
        return None
    shape = known or Shape.like(parameters)
    total = memory_of_recipe(resolved.recipe, shape, parameters, family, flavour)
    if not _is_gpu(flavour):
        total += _PROGRAM_ON_CPU
    return Memory(total, "layers" if known else "parameters")


def _is_gpu(flavour: Flavour | None) -> bool:
    return flavour is not None and flavour.kind == "cuda"


def memory_of_recipe(
    recipe: Recipe, shape: Shape, parameters: int, family: str, flavour: Flavour | None
) -> int:
    """The engine's estimate, with its choices of number format, micro-batch and checkpointing."""
    on_gpu = _is_gpu(flavour)
    bytes_per_value = _bytes_per_value(recipe.model.dtype, on_gpu=on_gpu)
    fused = not on_gpu and bytes_per_value == 4 and family in FUSED_FAMILIES
    beside = kept_beside(recipe.adapter, shape)
    # The engine's own decoder turns nothing, and has nothing beside the text or in front of it.
    fused = fused and not beside and recipe.adapter.kind not in IN_FRONT
    trained = trained_by(recipe, shape, parameters)
    quantization = recipe.model.quantization
    quantised = 0 if quantization == "none" else min(parameters, linear_weights(shape))
    if recipe.adapter.kind in {*ADAPTERS, "expand"}:
        parameters += trained.weights

    how: dict[str, Any] = {"bytes_per_value": bytes_per_value, "fused": fused, "beside": beside}
    room = _room(flavour)
    wanted = CUDA_MICRO_BATCH if on_gpu else CPU_MICRO_BATCH

    def of_micro_batch(tried: Recipe, tokens: int) -> MemoryEstimate:
        return estimate_memory(
            shape,
            parameters=parameters,
            trained=trained,
            micro_batch_tokens=tokens,
            quantised=quantised,
            quantization=quantization,
            master_weights=tried.training.master_weights,
            places=Places.of(tried, tokens),
            checkpointing=tried.training.recomputed_layers,
            offload=tried.training.activation_offload,
            **how,
        )

    def estimate(tried: Recipe) -> MemoryEstimate:
        training, tokens = tried.training, tried.training.micro_batch_tokens
        if tokens == "auto" and training.update_in_backward:
            tokens = _tokens_of_a_step(tried)
        if tokens == "auto":
            per_token = activation_bytes(
                shape,
                checkpointing=training.recomputed_layers,
                offload=training.activation_offload,
                **how,
            )
            free = _UNKNOWN if room is None else room.device
            fixed = of_micro_batch(tried, wanted).total - wanted * per_token
            tokens = choose_micro_batch(wanted, wanted // LEAST_SHARE, free, fixed, per_token)
        return of_micro_batch(tried, int(tokens))

    return estimate(with_checkpointing(recipe, estimate, room)).total


def _room(flavour: Flavour | None) -> Room | None:
    """What one device of a flavour has for a training; nobody says how large its host is."""
    if flavour is None or flavour.memory_bytes is None:
        return None
    program = 0 if _is_gpu(flavour) else _PROGRAM_ON_CPU
    return Room(max(0, flavour.memory_bytes - program), _UNKNOWN)


def _tokens_of_a_step(recipe: Recipe) -> int:
    """Where a step is computed at once; rows are taken to have a quarter of the longest length."""
    rows = recipe.training.batch_size * recipe.data.max_length // 4
    return recipe.training.batch_tokens or rows


def trained_by(recipe: Recipe, shape: Shape, parameters: int) -> Trained:
    """What a recipe trains, and by which rule."""
    weights = trainable_weights(recipe.adapter, shape, parameters)
    adapter = recipe.adapter
    narrow = adapter.rank if isinstance(adapter, Lora) else shape.hidden
    rule = recipe.training.optimizer
    if rule.kind == "badam":  # a layer at a time
        weights = linear_weights(shape) // shape.layers + 2 * shape.hidden
    return Trained(
        weights=weights,
        inside=weights if isinstance(adapter, Lora) else min(weights, linear_weights(shape)),
        narrow=narrow,
        edges=round(weights / narrow + weights / (2 * shape.hidden)),
        optimizer=rule.kind,
        projection_rank=rule.projection_rank,
        without_gradient=_updated_on_the_way(recipe, shape, weights),
    )


def _updated_on_the_way(recipe: Recipe, shape: Shape, weights: int) -> int:
    """Weights of layers that leave their gradient memory to another layer."""
    if not recipe.training.update_in_backward:
        return 0
    if recipe.adapter.kind == "full":
        layer = linear_weights(shape) // shape.layers + 2 * shape.hidden
        return (shape.layers - 1) * layer
    layers = _layers_of(recipe.adapter, shape)
    return weights - weights // max(layers, 1)


def _layers_of(adapter: Adapter, shape: Shape) -> int:
    """How many layers are trained, or put in."""
    number = shape.layers
    if isinstance(adapter, Freeze | AdapterTuning):
        number = abs(adapter.layers)
    elif isinstance(adapter, Expand):
        number = adapter.blocks
    return min(number, shape.layers)


def trainable_weights(adapter: Adapter, shape: Shape, parameters: int) -> int:
    """How many weights a method trains."""
    if isinstance(adapter, Lora):
        return lora_parameters(shape, adapter.rank, adapter.targets)
    if isinstance(adapter, Oft):
        size = adapter.block_size
        return oft_parameters(shape, size, adapter.targets, shared=adapter.block_share)
    if isinstance(adapter, Prompt):
        return adapter.virtual_tokens * shape.hidden
    if isinstance(adapter, PTuning):
        width = adapter.encoder_width
        network = (2 * shape.hidden + width) * width + 2 * width + shape.hidden
        return adapter.virtual_tokens * shape.hidden + network
    if isinstance(adapter, Prefix):
        keys = shape.kv_heads * shape.head_width
        all_layers, width = 2 * shape.layers * keys, adapter.encoder_width
        if not adapter.projection:
            return adapter.virtual_tokens * all_layers
        return (adapter.virtual_tokens + width) * keys + width + (width + 1) * all_layers
    if isinstance(adapter, AdapterTuning):
        return _layers_of(adapter, shape) * (adapter.virtual_tokens * shape.hidden + 1)
    if isinstance(adapter, Freeze | Expand):
        table = shape.vocabulary * shape.hidden
        # What is not in linear layers tells whether the head has a table of its own.
        tables = 2 if parameters - linear_weights(shape) > 1.5 * table else 1
        inside = max(0, parameters - tables * table)
        return inside * _layers_of(adapter, shape) // shape.layers
    return parameters


def _bytes_per_value(dtype: str, *, on_gpu: bool) -> int:
    if dtype == "auto":
        return 2 if on_gpu else 4
    return 4 if dtype == "float32" else 2


def _shape(session: Session, place: DataDir, resolved: Resolved) -> Shape | None:
    """The sizes of the base, or of what an adapter rests on, where its files are here."""
    shapes = map(Shape.read, folders(session, place, resolved.base, resolved.base_reference))
    return next((shape for shape in shapes if shape is not None), None)

"""Which weights are trained: all of them, or low-rank adapters through PEFT.

Read `apply_adapter` first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunesmith.engine.model_sources import resolve_adapter
from tunesmith.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from tunesmith.recipe import Full, Lora

ALL_LINEAR = "all-linear"


@contextmanager
def known_notices() -> Generator[None]:
    """Hide peft's notices about an old name in transformers and about ranks of fused experts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        warnings.filterwarnings("ignore", ".*(rank|alpha)_pattern keys did not", RuntimeWarning)
        yield


def apply_adapter(
    model: PreTrainedModel,
    adapter: Full | Lora,
    *,
    seed: int,
    base_dir: Path | None = None,
    on_warning: Callable[[str, str, str], None] | None = None,
) -> PreTrainedModel | PeftModel:
    """Make trainable what the recipe says; new adapters start from `seed` on any device alike."""
    if adapter.kind == "full":
        model.requires_grad_(True)
        return model
    if adapter.continue_from is not None:
        folder = resolve_adapter(adapter.continue_from, base_dir=base_dir)
        tuned = _continue(model, adapter, folder, on_warning)
    else:
        tuned = _new_lora(model, adapter, seed)
    _refuse_adapted_head(tuned)
    return tuned


def _new_lora(model: PreTrainedModel, adapter: Lora, seed: int) -> PeftModel:
    from peft import LoraConfig, TaskType, get_peft_model

    targets = target_names(model, adapter.targets)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        fan_in_fan_out=_stores_transposed(model, targets),
        bias="none",
    )
    with torch.random.fork_rng(devices=[]), known_notices():
        torch.manual_seed(seed)  # adapters are drawn on the CPU, then moved
        tuned: Any = get_peft_model(model, config)
    _check_precision(tuned)
    return tuned


def _continue(
    model: PreTrainedModel,
    adapter: Lora,
    folder: Path,
    on_warning: Callable[[str, str, str], None] | None,
) -> PeftModel:
    from peft import LoraConfig, PeftModel

    config = LoraConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise ModelError(
            f"{folder} is no LoRA adapter; only those can be continued.",
            hint="Choose another adapter.continue_from, or leave it out.",
        )
    for name, stored, wanted in (
        ("rank", config.r, adapter.rank),
        ("alpha", config.lora_alpha, adapter.alpha),
    ):
        if stored != wanted and on_warning is not None:
            on_warning(
                "adapter_settings_kept",
                f"adapter.{name} is {wanted}, but the adapter in {folder} has {stored}, "
                "which is used.",
                f"Write `{name}: {stored}` under `adapter:`, or leave out continue_from.",
            )
    config.lora_dropout = adapter.dropout
    try:
        with known_notices():
            tuned = PeftModel.from_pretrained(model, str(folder), is_trainable=True, config=config)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"The adapter in {folder} does not fit the base model: {str(error).splitlines()[0]}",
            hint="Continue it on the base model that it was trained on "
            f"({config.base_model_name_or_path}).",
        ) from error
    _check_precision(tuned)
    return tuned


def decided_adapter(model: Any, adapter: Full | Lora) -> Full | Lora:
    """The settings as they are: an adapter that is gone on with keeps its own."""
    if adapter.kind == "full" or adapter.continue_from is None:
        return adapter
    used = model.peft_config[model.active_adapter]
    targets = used.target_modules
    return adapter.model_copy(
        update={
            "rank": used.r,
            "alpha": used.lora_alpha,
            "targets": targets if isinstance(targets, str) else sorted(targets),
        }
    )


def target_names(model: nn.Module, targets: str | list[str]) -> list[str]:
    """Module names for PEFT, sorted; an unknown one is refused with the list of what exists."""
    layers = _linear_layers(model)
    if targets == ALL_LINEAR:
        head = _head_name(model)
        return sorted({name.rsplit(".", 1)[-1] for name in layers if name != head})
    wanted = [targets] if isinstance(targets, str) else list(targets)
    unknown = [
        target
        for target in wanted
        if not any(name == target or name.endswith(f".{target}") for name in layers)
    ]
    if unknown:
        existing = sorted({name.rsplit(".", 1)[-1] for name in layers})
        raise RecipeError(
            f"adapter.targets: the model has no layer named {', '.join(unknown)}.",
            hint=f"It has: {', '.join(existing)}. `{ALL_LINEAR}` takes all but the head.",
            code="unknown_target_module",
            unknown=unknown,
            existing=existing,
        )
    _refuse_tied_head(model, wanted)
    return sorted(set(wanted))


def _refuse_tied_head(model: nn.Module, wanted: list[str]) -> None:
    """A head that shares its weight with the embeddings cannot be merged without them."""
    head = _head_name(model)
    if head is None or not _text_config(model).tie_word_embeddings:
        return
    if any(head == target or head.endswith(f".{target}") for target in wanted):
        raise RecipeError(
            f"adapter.targets: {head} shares its weight with the embeddings of this model, so an "
            "adapter on it could not be merged.",
            hint=f"Leave {head} out, or train all weights (adapter.kind: full).",
            code="tied_target_module",
        )


def _refuse_adapted_head(tuned: Any) -> None:
    """The chunked loss reads the head's own weight, so an adapter there would never be trained."""
    if hasattr(tuned.get_output_embeddings(), "lora_A"):
        raise RecipeError(
            f"The head of the model ({_head_name(tuned)}) takes no adapter.",
            hint=f"Leave it out of adapter.targets; `{ALL_LINEAR}` takes all layers but the head.",
            code="head_target_module",
        )


def _text_config(model: nn.Module) -> Any:
    return model.config.get_text_config()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def _linear_layers(model: nn.Module) -> list[str]:
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer with a transposed weight

    return [name for name, part in model.named_modules() if isinstance(part, (nn.Linear, Conv1D))]


def _head_name(model: nn.Module) -> str | None:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return next((name for name, part in model.named_modules() if part is head), None)


def _stores_transposed(model: nn.Module, targets: list[str]) -> bool:
    """True when the targets are GPT-2's Conv1D layers, whose weight is input x output."""
    from transformers.pytorch_utils import Conv1D

    return any(
        isinstance(part, Conv1D) and any(name.endswith(target) for target in targets)
        for name, part in model.named_modules()
    )


def _check_precision(model: nn.Module) -> None:
    """Adapters stay in float32 over a bfloat16 base: small updates would be rounded away."""
    assert all(part.dtype == torch.float32 for part in model.parameters() if part.requires_grad)


def trainable_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Name and parameter of everything that is trained, shared ones once, in a fixed order."""
    return [(name, part) for name, part in model.named_parameters() if part.requires_grad]


def is_lora_b(name: str) -> bool:
    """True for the B matrix of an adapter."""
    return ".lora_B." in name


def takes_decay(name: str, parameter: torch.Tensor) -> bool:
    """False for biases and norms, which are vectors in every family."""
    return parameter.ndim >= 2 and not name.endswith("bias")


def lora_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name (as in the base model) and module of every layer that carries adapters."""
    from peft.tuners.lora import LoraLayer

    for name, part in model.named_modules():
        if isinstance(part, LoraLayer):
            yield name, part


@torch.no_grad()
def merged_state(model: PeftModel) -> dict[str, torch.Tensor]:
    """The base model's weights with the adapters added; the model itself is left as it is.

    The sum is built in float64, so that each weight is rounded once, to its own number format.
    """
    base: Any = model.get_base_model()
    # Adapters on the experts of a mixture wrap a parameter of any name, one inside the other.
    adapted = {
        f"{_plain_name(name)}.{getattr(layer, 'parameter_name', 'weight')}": (layer, adapter)
        for name, layer in lora_layers(base)
        for adapter in layer.active_adapters
        if adapter in layer.r
    }
    state: dict[str, torch.Tensor] = {}
    for name, value in base.state_dict().items():
        if ".lora_" in name:
            continue
        plain = _plain_name(name)
        state[plain] = value
        if plain in adapted:
            delta = _exact_delta(*adapted.pop(plain))
            state[plain] = (value.to(delta.dtype) + delta).to(value.dtype)
    assert not adapted, f"adapters without a weight: {sorted(adapted)}"
    return state


def _exact_delta(layer: Any, adapter: str) -> torch.Tensor:
    """What an adapter adds to a weight, in float64 where the device has it."""
    factors = [layer.lora_A[adapter].weight, layer.lora_B[adapter].weight]
    if factors[0].device.type == "mps":
        return layer.get_delta_weight(adapter).float()
    kept = [factor.data for factor in factors]
    try:
        for factor in factors:
            factor.data = factor.data.double()
        return layer.get_delta_weight(adapter)
    finally:
        for factor, data in zip(factors, kept, strict=True):
            factor.data = data  # the very memory that the optimizer knows


def _plain_name(name: str) -> str:
    """A name in the model with adapters -> the name that the base model has for it."""
    return name.replace(".base_layer", "")

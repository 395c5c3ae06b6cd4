"""Which weights are trained: all of them, some layers, or low-rank adapters through PEFT.

Read `apply_adapter` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunesmith.engine.methods.adaption import new_adaption
from tunesmith.engine.methods.expand import expand
from tunesmith.engine.methods.freeze import freeze_all_but, is_called
from tunesmith.engine.methods.oft import new_oft, oft_layers, turned
from tunesmith.engine.methods.pissa import keep_start
from tunesmith.engine.methods.prefix import new_prefix
from tunesmith.engine.methods.prompts import new_prompts
from tunesmith.engine.methods.put_on import known_notices, put_on
from tunesmith.engine.methods.vocabulary import (
    all_trained_rows,
    look_up_in_tables,
    refuse_trained_tokens,
    token_rows,
)
from tunesmith.engine.model_sources import resolve_adapter
from tunesmith.errors import ModelError, RecipeError
from tunesmith.recipe.adapters import (
    ALL_LINEAR,
    Adapter,
    Expand,
    Freeze,
    Full,
    Lora,
    Oft,
    names_in,
    patterns,
)
from tunesmith.recipe.prompts import AdapterTuning, Prefix, Prompt, PTuning

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def apply_adapter(
    model: PreTrainedModel,
    adapter: Adapter,
    *,
    seed: int,
    base_dir: Path | None = None,
    new_ids: Sequence[int] = (),
    on_warning: Callable[[str, str, str], None] | None = None,
) -> PreTrainedModel | PeftModel:
    """Make trainable what the recipe says; new adapters start from `seed` on any device alike.

    `new_ids` are tokens that the tables of the model have just got rows for.
    """
    if isinstance(adapter, Full):
        model.requires_grad_(True)
        return model
    if isinstance(adapter, Freeze):
        freeze_all_but(model, adapter)
        return model
    if isinstance(adapter, Expand):
        expand(model, adapter)
        return model
    if isinstance(adapter, Prompt | PTuning):
        with known_notices():
            return new_prompts(model, adapter, seed)
    if isinstance(adapter, Prefix):
        with known_notices():
            return new_prefix(model, adapter, seed)
    if isinstance(adapter, AdapterTuning):
        with known_notices():
            tuned = new_adaption(model, adapter, seed)
        _check_precision(tuned)
        return tuned
    if isinstance(adapter, Oft):
        with known_notices():
            tuned = new_oft(model, adapter, target_names(model, adapter.targets))
        _check_precision(tuned)
    elif adapter.continue_from is not None:
        folder = resolve_adapter(adapter.continue_from, base_dir=base_dir)
        tuned = _continue(model, adapter, folder, on_warning)
    else:
        tuned = _new_lora(model, adapter, seed, new_ids)
    _refuse_adapted_head(tuned)
    return tuned


def _new_lora(
    model: PreTrainedModel, adapter: Lora, seed: int, new_ids: Sequence[int]
) -> PeftModel:
    from peft import LoraConfig, TaskType, get_peft_model

    targets = target_names(model, adapter.targets)
    whole = names_in(adapter.modules_to_save)
    _refuse_unknown(model, whole, "adapter.modules_to_save")
    _refuse_tied(model, whole)
    ranks, alphas = patterns(adapter.rank_pattern), patterns(adapter.alpha_pattern)
    _refuse_unknown(model, [*ranks, *alphas], "adapter.rank_pattern")
    config = LoraConfig(
        # PEFT trains and saves the score of a reward model whole, beside the adapters.
        task_type=TaskType.SEQ_CLS if hasattr(model, "score") else TaskType.CAUSAL_LM,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        fan_in_fan_out=_stores_transposed(model, targets),
        bias="none",
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        init_lora_weights=_start(adapter),
        rank_pattern=ranks,
        alpha_pattern=alphas,
        modules_to_save=whole or None,
        trainable_token_indices=token_rows(model, new_ids),
    )
    with torch.random.fork_rng(devices=[]), known_notices():
        torch.manual_seed(seed)  # adapters are drawn on the CPU, then moved
        tuned: Any = get_peft_model(model, config)
    _check_precision(tuned)
    look_up_in_tables(tuned)
    if adapter.init == "pissa":
        keep_start(tuned)
    return tuned


def adapters_below(adapter: Adapter, *, base_dir: Path | None = None) -> list[Path]:
    """The folders of the adapters that are merged into the base before training."""
    names = names_in(adapter.merge_first) if isinstance(adapter, Lora) else []
    return [resolve_adapter(name, base_dir=base_dir) for name in names]


def parts_to_save(adapter: Adapter, *, base_dir: Path | None = None) -> list[str]:
    """Names of the parts that are trained whole beside adapters, old or new."""
    if not isinstance(adapter, Lora):
        return []
    if adapter.continue_from is None:
        return names_in(adapter.modules_to_save)
    from peft import PeftConfig

    folder = resolve_adapter(adapter.continue_from, base_dir=base_dir)
    return list(getattr(PeftConfig.from_pretrained(str(folder)), "modules_to_save", None) or [])


def _start(adapter: Lora) -> Any:
    """PEFT's name for how adapters begin."""
    if adapter.init == "pissa" and adapter.pissa_iterations:
        return f"pissa_niter_{adapter.pissa_iterations}"
    # LoftQ's adapters are set once the base is packed.
    return {"zero": True, "gaussian": "gaussian", "pissa": "pissa", "loftq": True}[adapter.init]


def _refuse_unknown(model: nn.Module, names: list[str], field: str) -> None:
    existing = [name for name, _ in model.named_modules() if name]
    for wanted in names:
        if not any(is_called(name, wanted) for name in existing):
            raise RecipeError(
                f"{field}: the model has no part named {wanted}.",
                hint="It has: " + ", ".join(sorted({n.rsplit(".", 1)[-1] for n in existing})) + ".",
                code="unknown_module",
                field=field,
                unknown=wanted,
                existing=sorted({name.rsplit(".", 1)[-1] for name in existing}),
            )


def _refuse_tied(model: Any, names: list[str]) -> None:
    """A copy of one of two tied matrices would tear them apart."""
    tied = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not _text_config(model).tie_word_embeddings or tied[1] is None:
        return
    for name, part in model.named_modules():
        if any(part is each for each in tied) and any(is_called(name, one) for one in names):
            raise RecipeError(
                f"adapter.modules_to_save: {name} shares its weight with the other end of this "
                "model, so it cannot be trained apart from it.",
                hint=f"Leave {name} out, or train it with adapter.kind: freeze and "
                f"adapter.extra_modules: [{name}].",
                code="tied_module_to_save",
                module=name,
            )


def _continue(
    model: PreTrainedModel,
    adapter: Lora,
    folder: Path,
    on_warning: Callable[[str, str, str], None] | None,
) -> PeftModel:
    from peft import LoraConfig

    refuse_trained_tokens(folder)
    config = LoraConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise ModelError(
            f"{folder} is no LoRA adapter; only those can be continued.",
            hint="Choose another adapter.continue_from, or leave it out.",
        )
    if config.task_type == "SEQ_CLS" and not hasattr(model, "score"):
        raise ModelError(
            f"{folder} is the adapter of a reward model: it scores answers, and this stage writes "
            "them.",
            hint="Choose another adapter.continue_from, or write stage.kind: rm.",
            code="adapter_of_reward_model",
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
    tuned = put_on(model, folder, is_trainable=True, config=config)
    _check_precision(tuned)
    return tuned


def decided_adapter(model: Any, adapter: Adapter) -> Adapter:
    """The settings as they are: an adapter that is gone on with keeps its own."""
    if isinstance(adapter, AdapterTuning):
        layers = model.peft_config[model.active_adapter].adapter_layers
        return adapter.model_copy(update={"layers": layers})
    if not isinstance(adapter, Lora) or adapter.continue_from is None:
        return adapter
    used = model.peft_config[model.active_adapter]
    targets = used.target_modules
    return adapter.model_copy(
        update={
            "rank": used.r,
            "alpha": round(used.lora_alpha),  # that of several adapters in one may be a fraction
            "targets": targets if isinstance(targets, str) else sorted(targets),
            "rslora": used.use_rslora,
            "dora": used.use_dora,
            "init": "zero",
            "modules_to_save": sorted(used.modules_to_save or []),
            "rank_pattern": [f"{name}={rank}" for name, rank in used.rank_pattern.items()],
            "alpha_pattern": [f"{name}={round(a)}" for name, a in used.alpha_pattern.items()],
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
            module=head,
        )


def _refuse_adapted_head(tuned: Any) -> None:
    """The chunked loss reads the head's own weight, so an adapter there would never be trained."""
    head = tuned.get_output_embeddings()
    if hasattr(head, "lora_A") or hasattr(head, "oft_R"):
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
    if head is None:  # that of a reward model
        head = getattr(model, "score", None)
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
    adapters = (p for name, p in model.named_parameters() if _is_of_adapter(name))
    assert all(part.dtype == torch.float32 for part in adapters if part.requires_grad)


def _is_of_adapter(name: str) -> bool:
    """True for a weight of LoRA, OFT or adapter tuning, by its name in the model."""
    return ".lora_" in name or ".oft_R." in name or ".adaption_" in name


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
    return {name: exact.to(stored.dtype) for name, stored, exact in exact_weights(model)}


@torch.no_grad()
def exact_weights(model: PeftModel) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name (as in the base model), weight, and the weight with the adapters added, unrounded.

    One by one, so that a large model needs room for one sum only.
    """
    base: Any = model.get_base_model()
    for rows in all_trained_rows(base):
        rows.publish()
    # Adapters on the experts of a mixture wrap a parameter of any name, one inside the other.
    adapted = {
        f"{_plain_name(name)}.{getattr(layer, 'parameter_name', 'weight')}": (layer, adapter)
        for name, layer in lora_layers(base)
        for adapter in layer.active_adapters
        if adapter in layer.r
    }
    rotated = {
        f"{_plain_name(name)}.weight": (layer, adapter)
        for name, layer in oft_layers(base)
        for adapter in layer.active_adapters
    }
    for name, value in base.state_dict().items():
        if _is_of_adapter(name) or ".original_module." in name or ".trainable_tokens_" in name:
            continue
        plain = _plain_name(name)
        exact = value
        if plain in adapted:
            layer, adapter = adapted.pop(plain)
            delta = _exact_delta(layer, adapter)
            exact = value.to(delta.dtype) + delta
            if adapter in layer.lora_magnitude_vector:
                exact = _of_length(exact, layer, adapter)
        elif plain in rotated:
            exact = turned(*rotated.pop(plain), value)
        yield plain, value, exact
    left = sorted([*adapted, *rotated])
    assert not left, f"adapters without a weight: {left}"


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


def _of_length(weight: torch.Tensor, layer: Any, adapter: str) -> torch.Tensor:
    """DoRA: a weight whose rows have the lengths that were learned (columns in GPT-2's layers)."""
    inputs = 0 if getattr(layer, "fan_in_fan_out", False) else 1
    lengths = layer.lora_magnitude_vector[adapter].weight.to(weight.dtype)
    factor = lengths / torch.linalg.vector_norm(weight, dim=inputs)
    return weight * factor.unsqueeze(inputs)


def _plain_name(name: str) -> str:
    """A name in the model with adapters -> the name that the base model has for it."""
    name = name.replace(".token_adapter", "").replace(".base_layer", "")
    return name.replace(".modules_to_save.default", "")

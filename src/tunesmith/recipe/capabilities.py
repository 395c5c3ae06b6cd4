"""What goes together: the one place that recipes, servers, consoles and the documents ask.

Each rule yields the contradictions that it finds in a recipe. `refusal` builds the plainest recipe
of a choice and asks the same rules, so that no table can say another thing than a check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.recipe.adapters import (
    ADAPTERS,
    IN_FRONT,
    Adapter,
    Freeze,
    Lora,
    is_pattern,
    names_in,
)
from tunesmith.recipe.problems import Problem, problem
from tunesmith.recipe.prompts import AdapterTuning

if TYPE_CHECKING:
    from tunesmith.recipe.schema import Recipe

Checkpointing = Literal["off", "selective", "full"]
LONGEST_WORD = 200  # characters of a new token
WITHOUT_OWN_MEMORY = ("cpu", "mps")  # devices that compute in main memory
TABLES = frozenset(
    {"embed_tokens", "wte", "word_embeddings", "embed_in", "lm_head", "embed_out", "output_layer"}
)
"""Names that families give to their tables of words."""


@dataclass(frozen=True)
class Contradiction:
    """Fields that cannot stand together."""

    paths: tuple[str, ...]
    problem: Problem


Found = Iterator[Contradiction]


def clash(paths: tuple[str, ...], code: str, **values: Any) -> Contradiction:
    """A contradiction of these fields, in the words of its code."""
    return Contradiction(paths, problem(code, **values))


def _freeze(recipe: Recipe) -> Found:
    if isinstance(recipe.adapter, Freeze) and recipe.adapter.layers == 0:
        yield clash(("adapter.layers",), "nothing_trained")


def _lora(recipe: Recipe) -> Found:
    adapter = recipe.adapter
    if not isinstance(adapter, Lora):
        return
    for name, written in (("rank", adapter.rank_pattern), ("alpha", adapter.alpha_pattern)):
        path = f"adapter.{name}_pattern"
        for each in names_in(written):
            if not is_pattern(each):
                yield clash((path,), "not_a_pattern", field=path, value=each)
    if adapter.continue_from is not None and adapter.init != "zero":
        paths = ("adapter.init", "adapter.continue_from")
        yield clash(paths, "continued_has_its_start", init=adapter.init)
    below = names_in(adapter.merge_first)
    if below and adapter.dora:
        yield clash(("adapter.merge_first", "adapter.dora"), "merged_below_dora")
    twice = [name for name in below if name == adapter.continue_from or below.count(name) > 1]
    if twice:
        paths = ("adapter.merge_first", "adapter.continue_from")
        yield clash(paths, "merged_twice", name=twice[0])


def _quantised(recipe: Recipe) -> Found:
    adapter = recipe.adapter
    if recipe.model.quantization == "none":
        if isinstance(adapter, Lora) and adapter.init == "loftq":
            yield clash(("adapter.init", "model.quantization"), "loftq_needs_quantised")
        return
    if adapter.kind not in ADAPTERS:
        paths = ("model.quantization", "adapter.kind")
        yield clash(paths, "quantised_needs_lora", method=adapter.kind)
    elif isinstance(adapter, Lora) and adapter.init == "pissa":
        yield clash(("model.quantization", "adapter.init"), "quantised_pissa")
    if recipe.training.device == "mps":
        paths = ("model.quantization", "training.device")
        yield clash(paths, "quantised_not_on_mps")


def _optimizers(recipe: Recipe) -> Found:
    kind, method = recipe.training.optimizer.kind, recipe.adapter.kind
    if kind in ("galore", "apollo") and method in ADAPTERS:
        paths = ("training.optimizer.kind", "adapter.kind")
        yield clash(paths, "projection_of_adapters", optimizer=kind, method=method)
    if kind == "muon" and method in ADAPTERS - {"lora"}:
        paths = ("training.optimizer.kind", "adapter.kind")
        yield clash(paths, "muon_needs_matrices", method=method)


def _blocks(recipe: Recipe) -> Found:
    if recipe.training.optimizer.kind != "badam":
        return
    rule, method = "training.optimizer.kind", recipe.adapter.kind
    if method != "full":
        yield clash((rule, "adapter.kind"), "blocks_of_all_weights", method=method)
    if recipe.stage.kind == "rm":
        yield clash((rule, "stage.kind"), "blocks_without_score")
    if recipe.model.new_words:
        yield clash((rule, "model.new_tokens"), "blocks_without_words")


_OF_TORCH = ("adafactor", "muon")  # rules that know float32 weights alone


def _master_weights(recipe: Recipe) -> Found:
    training, method = recipe.training, recipe.adapter.kind
    if training.master_weights:
        return
    if method in ADAPTERS or method in IN_FRONT:
        paths = ("training.master_weights", "adapter.kind")
        yield clash(paths, "adapters_are_exact", method=method)
    elif recipe.model.dtype != "bfloat16":
        paths = ("training.master_weights", "model.dtype")
        yield clash(paths, "rounding_of_bfloat16", dtype=recipe.model.dtype)
    if training.optimizer.kind in _OF_TORCH:
        paths = ("training.master_weights", "training.optimizer.kind")
        yield clash(paths, "optimizer_needs_masters", optimizer=training.optimizer.kind)


_LAYER_BY_LAYER = ("adamw", "adamw_8bit")  # rules of which each layer can have its own


def _update_in_backward(recipe: Recipe) -> Found:
    training, method, field = recipe.training, recipe.adapter.kind, "training.update_in_backward"
    if not training.update_in_backward:
        return
    if method in ADAPTERS or method in IN_FRONT:
        yield clash((field, "adapter.kind"), "gradients_are_small", method=method)
    if recipe.stage.kind not in ("sft", "pt"):
        yield clash((field, "stage.kind"), "updates_of_another_stage", stage=recipe.stage.kind)
    if training.max_grad_norm > 0:
        paths = (field, "training.max_grad_norm")
        yield clash(paths, "norm_known_too_late", norm=f"{training.max_grad_norm:g}")
    if training.optimizer.kind not in _LAYER_BY_LAYER:
        paths = (field, "training.optimizer.kind")
        yield clash(paths, "optimizer_not_by_layer", optimizer=training.optimizer.kind)
    if recipe.model.dtype == "float16":
        yield clash((field, "model.dtype"), "updates_not_taken_back")
    if recipe.model.attention not in ("auto", "flat"):
        paths = (field, "model.attention")
        yield clash(paths, "layers_passed_again", attention=recipe.model.attention)


def _in_front(recipe: Recipe) -> Found:
    method = recipe.adapter.kind
    if method not in IN_FRONT:
        return
    if recipe.stage.kind in ("rm", "grpo"):
        paths = ("adapter.kind", "stage.kind")
        yield clash(paths, "vectors_of_another_stage", method=method, stage=recipe.stage.kind)
    if recipe.export.merge:
        yield clash(("export.merge", "adapter.kind"), "vectors_not_merged", method=method)
    asked = recipe.training.activation_checkpointing
    if asked not in ("auto", "off") and _cannot_recompute(recipe):
        paths = ("training.activation_checkpointing", "adapter.kind", "model.attention")
        yield clash(paths, "prefix_not_checkpointed", attention=recipe.model.attention)


def _beside(recipe: Recipe) -> Found:
    adapter = recipe.adapter
    if not isinstance(adapter, AdapterTuning):
        return
    if adapter.layers < 1:
        yield clash(("adapter.layers",), "last_layers_alone", layers=adapter.layers)
    if recipe.stage.kind == "rm":
        yield clash(("adapter.kind", "stage.kind"), "no_place_for_score", method=adapter.kind)
    if recipe.training.optimizer.kind == "adafactor":
        yield clash(("training.optimizer.kind", "adapter.kind"), "gates_stay_closed")
    if recipe.export.merge:
        yield clash(("export.merge", "adapter.kind"), "vectors_not_merged", method=adapter.kind)


def _cannot_recompute(recipe: Recipe) -> bool:
    """Whether the keys that a layer met first would be there twice when it runs again."""
    alone = recipe.model.attention not in ("auto", "flat")
    return recipe.adapter.kind == "prefix" and alone


def checkpointing_to_try(recipe: Recipe) -> tuple[Checkpointing, ...]:
    """What training.activation_checkpointing may become, from the fastest on."""
    asked = recipe.training.activation_checkpointing
    if asked != "auto":
        return (asked,)
    return ("off",) if _cannot_recompute(recipe) else ("off", "selective", "full")


def _offload(recipe: Recipe) -> Found:
    training = recipe.training
    if training.activation_offload and training.device in WITHOUT_OWN_MEMORY:
        paths = ("training.activation_offload", "training.device")
        yield clash(paths, "offload_needs_gpu", device=training.device)


def _new_words(recipe: Recipe) -> Found:
    model, adapter = recipe.model, recipe.adapter
    for field, words in (
        ("model.new_tokens", names_in(model.new_tokens)),
        ("model.new_special_tokens", names_in(model.new_special_tokens)),
    ):
        for word in words:
            if not word.strip() or len(word) > LONGEST_WORD or words.count(word) > 1:
                yield clash((field,), "not_a_token", field=field, value=word, most=LONGEST_WORD)
                break
    both = [w for w in names_in(model.new_tokens) if w in names_in(model.new_special_tokens)]
    if both:
        paths = ("model.new_tokens", "model.new_special_tokens")
        yield clash(paths, "token_in_both", value=both[0])
    if model.new_words:
        yield from _their_vectors(adapter)


_WITH_VECTORS = ("full", "freeze", "lora")  # methods that can train the vectors of words


def _their_vectors(adapter: Adapter) -> Found:
    """The method has to train the vectors of new words, and nothing else may hold them too."""
    field = "model.new_tokens"
    if adapter.kind not in _WITH_VECTORS:
        yield clash((field, "adapter.kind"), "tokens_not_trained", method=adapter.kind)
    if isinstance(adapter, Freeze) and not any(map(_is_table, names_in(adapter.extra_modules))):
        paths = (field, "adapter.kind", "adapter.extra_modules")
        yield clash(paths, "tokens_stay_frozen")
    if not isinstance(adapter, Lora):
        return
    if adapter.continue_from is not None:
        yield clash((field, "adapter.continue_from"), "tokens_of_old_adapter")
    whole = [name for name in names_in(adapter.modules_to_save) if _is_table(name)]
    if whole:
        paths = (field, "adapter.modules_to_save")
        yield clash(paths, "tokens_in_whole_table", module=whole[0])


def _is_table(name: str) -> bool:
    """Whether a part of a model is a table with a vector for each token."""
    return name.rsplit(".", 1)[-1] in TABLES


def _rope(recipe: Recipe) -> Found:
    kind, factor = recipe.model.rope_scaling, recipe.model.rope_factor
    paths = ("model.rope_factor", "model.rope_scaling")
    if kind == "none" and factor not in ("auto", 1):
        yield clash(paths, "factor_without_scaling", factor=f"{factor:g}")
    elif kind != "none" and factor == 1:
        yield clash(paths, "factor_of_one", kind=kind)
    elif kind == "dynamic" and factor == "auto":
        yield clash(paths, "dynamic_needs_factor")
    method = recipe.adapter.kind
    if kind != "none" and method in ADAPTERS and method != "lora":
        paths = ("model.rope_scaling", "adapter.kind")
        yield clash(paths, "scaling_of_method", method=method)


RULES: tuple[Callable[[Recipe], Found], ...] = (
    *(_freeze, _lora, _quantised, _optimizers, _blocks, _master_weights),
    *(_update_in_backward, _offload, _in_front, _beside, _new_words, _rope),
)
"""Of methods, precision, optimizers and devices; those of stages and data are in checks.py."""

FAMILIES_OF: Mapping[str, frozenset[str]] = {"adapter": frozenset({"llama", "mistral", "gpt2"})}
"""Methods that PEFT has for some families alone, by the `model_type` of their configuration."""


def refusal_of_family(method: str, family: str) -> Problem | None:
    """Why models of a family cannot be trained with a method; None where they can."""
    families = FAMILIES_OF.get(method)
    if families is None or family in families:
        return None
    known = ", ".join(sorted(families))
    return problem("method_of_other_families", method=method, family=family, known=known)


PRECISIONS = ("float32", "bfloat16", "float16")
QUANTISATIONS = ("nf4", "int8")
DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Choice:
    """One choice of each kind; what is not said is the plainest there is."""

    stage: str = "sft"
    method: str = "full"
    precision: str = "float32"
    device: str = "cpu"
    optimizer: str = "adamw"
    quantization: str = "none"
    master_weights: bool = True
    activation_offload: bool = False


def refusal(choice: Choice) -> Problem | None:
    """Why a choice is refused, and the nearest that works; None where it works."""
    from tunesmith.recipe.schema import Recipe

    plain = {
        "model": {
            **{"base": "starter", "dtype": choice.precision},
            "quantization": choice.quantization,
        },
        "adapter": {"kind": choice.method},
        "stage": {"kind": choice.stage},
        "data": {"train": [{"dataset": "rows.jsonl"}]},
        "training": {
            **{"device": choice.device, "optimizer": {"kind": choice.optimizer}},
            "master_weights": choice.master_weights,
            "activation_offload": choice.activation_offload,
        },
    }
    recipe = Recipe.model_validate(plain, context={"check_fields_together": False})
    found = (each.problem for rule in RULES for each in rule(recipe))
    return next(found, None)

"""Longer contexts: the frequencies of rotary positions scaled as transformers' own configuration.

A stretched configuration is saved with the result, so that plain transformers computes alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.engine.model_sources import recipe_of_result
from tunesmith.errors import RecipeError
from tunesmith.recipe.model import Model


@dataclass(frozen=True)
class Rope:
    """How positions are scaled: a kind of transformers, and by how much."""

    kind: str
    factor: float

    def apply(self, config: Any) -> None:
        """Change a configuration in place; one that says the same already stays as it is."""
        text = config.get_text_config()
        now = dict(_parameters(text))
        if (now.get("rope_type"), now.get("factor")) == (self.kind, self.factor):
            return
        if now.get("rope_type", "default") != "default":
            raise RecipeError(
                "model.rope_scaling: the model's positions are scaled already "
                f"({now['rope_type']}).",
                hint="Write model.rope_scaling: none.",
                code="rope_scaled_already",
                kind=str(now["rope_type"]),
            )
        before = int(text.max_position_embeddings)
        now |= {"rope_type": self.kind, "factor": self.factor}
        if self.kind in ("yarn", "llama3"):
            now["original_max_position_embeddings"] = before
        if self.kind == "llama3":  # as Llama 3.1 was made; of the old context, not of the new one
            now |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        text.rope_parameters = now
        if self.kind != "dynamic":  # which counts from the context that the model was made with
            text.max_position_embeddings = int(before * self.factor)


def _parameters(text: Any) -> dict[str, Any]:
    """The one set of rotary parameters of a family; families without are refused."""
    found: Any = getattr(text, "rope_parameters", None)
    length = getattr(text, "max_position_embeddings", None)
    plain = isinstance(found, dict) and "rope_theta" in found and isinstance(length, int)
    if not plain or hasattr(text, "original_max_position_embeddings"):
        raise RecipeError(
            f"model.rope_scaling: models of the family {text.model_type} have no rotary positions "
            "that could be scaled so.",
            hint="Write model.rope_scaling: none, and choose a model with a longer context.",
            code="rope_not_offered",
            family=str(text.model_type),
        )
    return found


def rope_of(model: Model) -> Rope | None:
    """What a recipe asks for, once its factor is decided; None for nothing."""
    if model.rope_scaling == "none":
        return None
    assert model.rope_factor != "auto", "decided before"
    return Rope(model.rope_scaling, model.rope_factor)


def rope_of_adapter(adapter: Path) -> Rope | None:
    """The scaling that an adapter was trained with, as the recipe of its run says."""
    recipe = recipe_of_result(adapter)
    return None if recipe is None else rope_of(recipe.model)


def decided_factor(model: Model, config: Any, longest: int) -> Model:
    """The recipe's model with its factor: the least whole number that makes rows fit."""
    if model.rope_scaling == "none" or model.rope_factor != "auto":
        return model
    text = config.get_text_config()
    _parameters(text)
    factor = -(-longest // int(text.max_position_embeddings))
    if factor < 2:
        return model.model_copy(update={"rope_scaling": "none", "rope_factor": 1.0})
    return model.model_copy(update={"rope_factor": float(factor)})

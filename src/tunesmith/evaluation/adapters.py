"""Whether a model is an adapter on another one: by its recipe or PEFT's settings, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tunesmith.models.adapters import is_beside, is_in_front, is_lora
from tunesmith.recipe import load_recipe

_CONFIG = "adapter_config.json"
_DTYPES = ("auto", "float32", "bfloat16")  # that a served model may be told to have


def dtype_of_adapter(base: str, tuned: str) -> str | None:
    """The number format that an adapter on this base was trained in; None where it is none.

    None is never wrong: it only means that both are served one after the other.
    """
    folder = _adapter_folder(Path(tuned).expanduser())
    if folder is None:
        return None
    recipe_file = _recipe_file(folder)
    if recipe_file is not None:
        model = load_recipe(recipe_file).model
        if model.new_words or model.rope_scaling != "none":  # made for another base
            return None
        below, dtype = model.base, str(model.dtype)
    else:
        below, dtype = _base_in(folder / _CONFIG), "auto"
    if not _is_same(base, below) or dtype not in _DTYPES:
        return None
    # Others are merged, into a base of their own.
    return dtype if is_lora(folder) or is_in_front(folder) else None


def makes_reward_model(place: Path) -> bool:
    """Whether an adapter, a checkpoint or a run is one of a training of a reward model."""
    folder = _adapter_folder(place)
    recipe_file = None if folder is None else _recipe_file(folder)
    return recipe_file is not None and load_recipe(recipe_file).stage.kind == "rm"


def is_unserved(place: Path) -> bool:
    """Whether layers attend to learned vectors beside the text, which no serving process does."""
    folder = _adapter_folder(place)
    return folder is not None and is_beside(folder)


def _adapter_folder(place: Path) -> Path | None:
    """The adapter of a run, of a checkpoint, or the folder itself."""
    candidates = (place / "artifacts" / "adapter", place / "adapter", place)
    return next((each for each in candidates if (each / _CONFIG).is_file()), None)


def _recipe_file(adapter: Path) -> Path | None:
    """Of RUN/artifacts/adapter and RUN/checkpoints/step-000100/adapter."""
    runs = adapter.absolute().parents[1:3]
    names = ("resolved.yaml", "recipe.yaml")
    return next((run / n for run in runs for n in names if (run / n).is_file()), None)


def _base_in(config: Path) -> str:
    try:
        content: Any = orjson.loads(config.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ""
    return str(content.get("base_model_name_or_path", "")) if isinstance(content, dict) else ""


def _is_same(one: str, other: str) -> bool:
    """The same name, or two paths to one folder; a folder is never a name of the hub."""
    first, second = Path(one).expanduser(), Path(other).expanduser()
    if first.is_dir() and second.is_dir():
        return first.resolve() == second.resolve()
    return one == other and not first.is_dir()

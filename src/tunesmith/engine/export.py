"""The result of a run as files that other programs load. Read `write_artifacts` first.

artifacts/
  adapter/                        PEFT layout, or
  model/                          transformers layout; both where a merged model is asked for
  README.md, BASE_README.md       the model card, and the base model's own
  training_logs/user_params.json  every setting
  passport.json                   versions, fingerprints, seed, hardware
  manifest.json                   written last
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor, nn

from tunesmith import __version__
from tunesmith.engine.adapter import known_notices, merged_state
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.methods.rope import rope_of
from tunesmith.engine.methods.vocabulary import trained_ids
from tunesmith.engine.model_card import Card, Measure, model_card
from tunesmith.engine.model_sources import is_hub_snapshot
from tunesmith.engine.models import DTYPES, TOKENIZER_FILES, load_model, load_reward_model
from tunesmith.engine.weights import is_adapter_model, separate_state, write_adapter
from tunesmith.recipe import Recipe
from tunesmith.runs import RunDir, read_events, write_manifest
from tunesmith.runs.files import fsync_directory, storage_errors

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel

LARGEST_SHARD = "5GB"
LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
QUANTISING = "bitsandbytes"


@dataclass(frozen=True)
class Result:
    """What a finished training knows about itself; the rest is in its recipe and its events."""

    step: int  # of the weights that are exported
    last_step: int
    reason: str
    seconds: float
    device: str
    data_fingerprint: str
    row_order_hash: str
    chat_template: str | None = None  # as trained, where it is not the tokenizer's own
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """One thing that was written: its kind and its folder, relative to the run."""

    kind: str
    path: str


def write_artifacts(
    run: RunDir,
    model: nn.Module,
    *,
    recipe: Recipe,
    base_dir: Path,
    tokenizer_dir: Path,
    result: Result,
    logs: Sequence[Path] = (),
) -> list[Artifact]:
    """Write everything beside `artifacts/`, then put it in place at once; old ones are replaced.

    `logs` are files that go into training_logs/ as they are, such as pictures of the curves.
    """
    draft = run.path / ".artifacts.tmp"
    with storage_errors(run.artifacts_dir):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        kinds = _write_weights(model, draft, recipe, base_dir)
        for kind in kinds:
            copy_tokenizer(tokenizer_dir, draft / kind, chat_template=result.chat_template)
            copy_licences(base_dir, draft / kind)
            set_stop_tokens(draft / kind, result.stop_ids)
        _write_texts(run, draft, recipe, base_dir, kinds, result)
        for log in logs:
            shutil.copy(log, draft / "training_logs" / log.name)
        write_manifest(draft, kinds=list(kinds), step=result.step)
        _put_in_place(draft, run.artifacts_dir)
    return [Artifact(kind, f"{run.artifacts_dir.name}/{kind}") for kind in kinds]


# ---------------------------------------------------------------- weights


def _write_weights(
    model: nn.Module, draft: Path, recipe: Recipe, base_dir: Path
) -> tuple[str, ...]:
    if not is_adapter_model(model):
        save_model(model, draft / "model")
        return ("model",)
    save_adapter(model, draft / "adapter", **_base_reference(recipe, base_dir))
    grown = bool(trained_ids(draft / "adapter"))
    # A score beside adapters is for PEFT; merged, transformers alone loads a reward model.
    scaled = recipe.model.rope_scaling != "none"
    if not recipe.export.merge and recipe.stage.kind != "rm" and not grown and not scaled:
        return ("adapter",)
    tuned = _on_whole_base(model, draft / "adapter", recipe, base_dir)
    save_model(tuned.get_base_model(), draft / "model", state=merged_state(tuned))
    if scaled:  # PEFT's files cannot say that the base has other positions
        shutil.rmtree(draft / "adapter")
        return ("model",)
    # On the base as it is neither an adapter with tokens of its own can be put nor one with a
    # score: the model comes first.
    is_whole = grown or recipe.stage.kind == "rm"
    return ("model", "adapter") if is_whole else ("adapter", "model")


def _on_whole_base(model: Any, adapter: Path, recipe: Recipe, base_dir: Path) -> Any:
    """The model, or its adapter on the base as it was before it was quantised.

    Merged into quantised weights, the sum would have to be rounded to 4 or 8 bits again.
    """
    if recipe.model.quantization == "none":
        return model

    how: dict[str, Any] = {
        "dtype": DTYPES[recipe.model.dtype],
        "attention": "auto",
        "device": torch.device("cpu"),
        "trust_remote_code": recipe.model.trust_remote_code,
        "rope": rope_of(recipe.model),
    }
    if recipe.stage.kind == "rm":
        base = load_reward_model(base_dir, seed=recipe.training.seed, **how)
    else:
        base = load_model(base_dir, **how)
    return put_on(base, adapter)


def save_adapter(model: nn.Module, directory: Path, *, base: str, revision: str | None) -> None:
    """The adapter in PEFT's layout, byte for byte the same for the same weights."""
    tuned: Any = model
    with known_notices():
        write_adapter(tuned, directory)
    file = directory / "adapter_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base
    settings["revision"] = revision
    if isinstance(settings.get("target_modules"), list):  # a set, in any order
        settings["target_modules"] = sorted(settings["target_modules"])
    write_json(file, settings)


def save_model(model: nn.Module, directory: Path, state: dict[str, Tensor] | None = None) -> None:
    """The model in the layout of transformers; parameters may be views of flat memory."""
    saver: Any = model
    _mend_generation_config(saver)
    state = separate_state(model) if state is None else state
    saver.save_pretrained(directory, state_dict=state, max_shard_size=LARGEST_SHARD)


def _mend_generation_config(model: PreTrainedModel) -> None:
    """transformers refuses to save contradictory defaults, which published models do have."""
    settings: GenerationConfig | None = getattr(model, "generation_config", None)
    if settings is None:
        return
    for mend in (lambda: None, lambda: setattr(settings, "do_sample", True)):
        mend()  # a temperature without sampling: sampling is what the authors meant
        if _is_valid(settings):
            return
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig.from_model_config(model.config)


def _is_valid(settings: GenerationConfig) -> bool:
    try:
        settings.validate(strict=True)
    except ValueError:
        return False
    return True


def _base_reference(recipe: Recipe, base_dir: Path) -> dict[str, Any]:
    """How the adapter names its base: an id with its commit, or the folder."""
    if is_hub_snapshot(base_dir):
        return {"base": recipe.model.base, "revision": base_dir.name}
    if recipe.model.base == "starter":
        return {"base": "starter", "revision": None}
    return {"base": str(base_dir), "revision": None}


# ---------------------------------------------------------------- tokenizer and texts


def copy_tokenizer(source: Path, target: Path, *, chat_template: str | None = None) -> None:
    """The tokenizer's files, with the template that the model was trained with."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if chat_template is not None:
        (target / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def copy_licences(source: Path, target: Path) -> None:
    """Licence texts and notices of a model, which go wherever its weights go."""
    for pattern in ("LICENSE*", "LICENCE*", "NOTICE*"):
        for file in source.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, target / file.name)


def set_stop_tokens(directory: Path, stop_ids: Sequence[int]) -> None:
    """Let plain `generate` stop where the model learned to stop."""
    file = directory / "generation_config.json"
    if stop_ids and file.is_file():
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["eos_token_id"] = list(stop_ids)
        write_json(file, settings)


def _write_texts(
    run: RunDir,
    draft: Path,
    recipe: Recipe,
    base_dir: Path,
    kinds: tuple[str, ...],
    result: Result,
) -> None:
    events, _ = read_events(run.events_path)
    before, after = measures(events, result.step)
    card = Card(
        recipe=recipe,
        kinds=kinds,
        steps=result.last_step,
        reason=result.reason,
        before=before,
        after=after,
        plan=next((event for event in reversed(events) if event["type"] == "plan"), {}),
        device=result.device,
        seconds=result.seconds,
    )
    (draft / "README.md").write_text(model_card(card), encoding="utf-8")
    if (base_dir / "README.md").is_file():
        shutil.copyfile(base_dir / "README.md", draft / "BASE_README.md")
    (draft / "training_logs").mkdir()
    write_json(draft / "training_logs" / "user_params.json", recipe.model_dump(mode="json"))
    write_json(draft / "passport.json", passport(recipe, base_dir, result, before, after))


def measures(events: Sequence[dict[str, Any]], step: int) -> tuple[Measure | None, Measure | None]:
    """Validation before training, and at the exported step (or the last one before it)."""
    found = {
        event["step"]: Measure(
            event["step"], event.get("loss"), event.get("token_accuracy"), event.get("rows", 0)
        )
        for event in events
        if event["type"] == "evaluation"
    }
    later = [number for number in found if 0 < number <= step]
    return found.get(0), found[max(later)] if later else None


def passport(
    recipe: Recipe,
    base_dir: Path,
    result: Result,
    before: Measure | None,
    after: Measure | None,
) -> dict[str, Any]:
    """What is needed to judge or to repeat the run."""
    libraries = LIBRARIES if recipe.model.quantization == "none" else (*LIBRARIES, QUANTISING)
    return {
        "name": recipe.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": recipe.training.seed,
        "data": {"fingerprint": result.data_fingerprint, "row_order_sha256": result.row_order_hash},
        "base": {
            "name": recipe.model.base,
            "commit": base_dir.name if is_hub_snapshot(base_dir) else None,
            "quantization_in_training": recipe.model.quantization,
            "files": {
                file.name: file.stat().st_size for file in sorted(base_dir.glob("*.safetensors"))
            },
        },
        "result": {
            "step": result.step,
            "last_step": result.last_step,
            "reason": result.reason,
            "seconds": round(result.seconds, 2),
            "validation_before": None if before is None else vars(before),
            "validation_after": None if after is None else vars(after),
        },
        "versions": {"tunesmith": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in libraries},
        "hardware": hardware(result.device),
    }


def hardware(device: str) -> dict[str, Any]:
    """The machine that trained."""
    gpus = range(torch.cuda.device_count())
    return {
        "device": device,
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(number) for number in gpus],
        "cuda": torch.version.cuda,
    }


# ---------------------------------------------------------------- files


def write_json(file: Path, content: Any) -> None:
    """A JSON file for people to read as well."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def _put_in_place(draft: Path, target: Path) -> None:
    """Two renames: at any moment either the old or the new artifacts are whole on the disk."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    draft.rename(target)
    fsync_directory(target.parent)
    shutil.rmtree(old, ignore_errors=True)

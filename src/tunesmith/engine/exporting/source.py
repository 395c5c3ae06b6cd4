"""What is exported: a run, a checkpoint, a model folder or a hub id, found and checked.

The weights are read when a format asks for them; finding a source loads no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.adapter import exact_weights, merged_state
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.generate import Target, _renderer, find_target, tokenizer_files
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.methods.rope import rope_of_adapter
from tunesmith.engine.model_sources import (
    OnProgress,
    is_hub_snapshot,
    resolve_name,
    run_of_result,
)
from tunesmith.engine.models import (
    DTYPES,
    check_vocabulary,
    load_config,
    load_model,
)
from tunesmith.engine.weights import separate_state
from tunesmith.models.files import ModelFiles, check_model_files, kind_of, read_header, read_json
from tunesmith.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_STORED = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Source:
    """A trained model on this machine: its folders, its words, and its numbers' format."""

    asked: str  # as the user named it
    name: str  # for files: letters, digits, dots and dashes
    directory: Path  # of the full weights: the base's for an adapter
    adapter: Path | None
    recipe: Recipe | None
    base_name: str | None  # of the model before the training, where that is known
    base_revision: str | None
    run: Path | None
    tokenizer_dir: Path
    renderer: Renderer
    config: PretrainedConfig
    files: ModelFiles
    dtype: torch.dtype  # of the stored weights

    @property
    def is_plain(self) -> bool:
        """Trained on plain text, without any chat template."""
        is_pt = self.recipe is not None and self.recipe.stage.kind == "pt"
        return is_pt and self.renderer.tokenizer.chat_template is None

    @property
    def chat_template(self) -> str | None:
        """The template of the training; None for a model of plain text."""
        return None if self.is_plain else self.renderer.chat_template

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer."""
        if not self.is_plain:
            return self.renderer.stop_ids
        eos = self.renderer.tokenizer.eos_id
        return [] if eos is None else [eos]

    @property
    def num_parameters(self) -> int:
        """Stored numbers; tied weights count once."""
        return self.files.weight_bytes // torch.finfo(self.dtype).bits * 8


def find_source(asked: str, *, base: str | None, on_progress: OnProgress) -> Source:
    """Resolve a name and check everything that can be checked without loading weights."""
    found = find_target(asked, None, on_progress)
    if base is not None:
        found = _on_another_base(found, base, on_progress)
    files = check_model_files(found.directory)
    rope = None if found.adapter is None else rope_of_adapter(found.adapter)
    config = load_config(found.directory, rope=rope)
    _refuse_quantised(found, config)
    check_vocabulary(found.directory, config)
    tokenizer_dir = tokenizer_files(found)
    result = found.adapter or found.directory
    base_name, revision = _base_of(found)
    return Source(
        asked=asked,
        name=_file_name(found, asked),
        directory=found.directory,
        adapter=found.adapter,
        recipe=found.recipe,
        base_name=base_name,
        base_revision=revision,
        run=run_of_result(result),
        tokenizer_dir=tokenizer_dir,
        renderer=_renderer(found.recipe, TextTokenizer.load(tokenizer_dir)),
        config=config,
        files=files,
        dtype=_stored_dtype(files),
    )


def _on_another_base(found: Target, base: str, on_progress: OnProgress) -> Target:
    if found.adapter is None:
        raise ExportRefused(
            "--base says on which model an adapter is put, but there is no adapter here.",
            hint="Leave out --base.",
            code="base_without_adapter",
        )
    directory = resolve_name(base, on_progress=on_progress)
    if kind_of(directory) == "adapter":
        raise ExportRefused(f"--base {base} is an adapter itself.", hint="Name a whole model.")
    return Target(directory, found.adapter, found.recipe, base)


def _refuse_quantised(found: Target, config: Any) -> None:
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return
    if isinstance(settings, dict):
        method = settings.get("quant_method", "unknown")
    else:
        method = getattr(settings, "quant_method", "unknown")
    raise ExportRefused(
        f"The weights in {found.directory} are quantised already "
        f"({getattr(method, 'value', method)}): what rounding took from them cannot be brought "
        "back, and merging would round again.",
        hint="Name the base in full precision: --base MODEL, a folder or a hub id."
        if found.adapter
        else "Export the model that it was made of.",
        code="base_is_quantised",
    )


def _base_of(found: Target) -> tuple[str | None, str | None]:
    """Name and commit of the base, for cards and for the adapter's own settings."""
    if found.recipe is None and found.adapter is None:
        return None, None
    name = found.base_name or str(found.directory)
    is_hub = found.adapter is not None and is_hub_snapshot(found.directory)
    return name, found.directory.name if is_hub else None


def _file_name(found: Target, asked: str) -> str:
    text = found.recipe.name if found.recipe is not None else Path(asked.rstrip("/")).name
    return re.sub(r"[^\w.-]+", "-", text or "model").strip("-.") or "model"


def _stored_dtype(files: ModelFiles) -> torch.dtype:
    """The format of most of the numbers in the weight files."""
    sizes: dict[str, int] = {}
    for path in files.weights:
        for entry in read_header(path).values():
            begin, end = entry["data_offsets"]
            sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + end - begin
    most = max(sizes, key=lambda name: sizes[name], default="F32")
    if most not in _STORED:
        raise ExportRefused(
            f"The weights in {files.directory} are stored as {most}, which is no full precision.",
            hint="Export from float32, bfloat16 or float16 weights.",
            code="base_is_quantised",
        )
    return DTYPES[_STORED[most]]


# ---------------------------------------------------------------- weights


def load_tuned(source: Source, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> Any:
    """The model with its adapter beside it, as the training has it."""
    rope = None if source.adapter is None else rope_of_adapter(source.adapter)
    model: Any = load_model(
        source.directory, dtype=dtype, attention="auto", device=device, rope=rope
    )
    if source.adapter is not None:
        model = put_on(model, source.adapter)
    return model.eval()


def merged(source: Source) -> tuple[Any, dict[str, Tensor]]:
    """The model of a source and its merged weights, in the format that they are stored in."""
    tuned = load_tuned(source, dtype=source.dtype)
    if source.adapter is None:
        return tuned, separate_state(tuned)
    if _is_exact(source.adapter):
        return tuned.get_base_model(), merged_state(tuned)
    whole = tuned.merge_and_unload()
    return whole, separate_state(whole)


class Weights:
    """The merged weights one by one, as exact as they can be had."""

    def __init__(self, source: Source) -> None:
        tuned = load_tuned(source, dtype=source.dtype)
        self._is_exact = source.adapter is not None and _is_exact(source.adapter)
        if source.adapter is not None and not self._is_exact:
            tuned = tuned.merge_and_unload()
        self._model = tuned

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes, in the order of `each`."""
        if self._is_exact:
            return {name: tuple(stored.shape) for name, stored, _ in exact_weights(self._model)}
        return {name: tuple(value.shape) for name, value in self._model.state_dict().items()}

    @torch.no_grad()
    def each(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value in float32."""
        if self._is_exact:
            for name, _, exact in exact_weights(self._model):
                yield name, exact.float()
            return
        for name, value in self._model.state_dict().items():
            yield name, value.float()


def _is_exact(adapter: Path) -> bool:
    """True where the adapter only adds B A to weights, or turns them: that is computed exactly."""
    settings = read_json(adapter / "adapter_config.json")
    odd = (
        "use_dora",
        "modules_to_save",
        "lora_bias",
        "use_qalora",
        "alora_invocation_tokens",
        "coft",
    )
    is_known = settings.get("peft_type") in ("LORA", "OFT")
    return is_known and settings.get("bias", "none") == "none" and not any(map(settings.get, odd))

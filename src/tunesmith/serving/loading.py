"""From the name of a model to an engine that answers. Read `load_served` first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from tunesmith.engine.backbone import decoder_of
from tunesmith.engine.fused import why_not_llama_shaped
from tunesmith.engine.generate import Target, find_target, renderer_of, take_advice
from tunesmith.engine.methods.rope import rope_of_adapter
from tunesmith.engine.methods.vocabulary import trained_ids
from tunesmith.engine.model_sources import OnProgress, recipe_of_result, resolve_adapter
from tunesmith.engine.models import context_length, decide_dtype, exact_context, load_model
from tunesmith.engine.setup import choose_device
from tunesmith.errors import InputError, ModelError
from tunesmith.models.adapters import is_beside, is_in_front, is_lora
from tunesmith.serving.decoder import Decoder
from tunesmith.serving.engine import Deliver, Engine
from tunesmith.serving.fast import FastDecoder
from tunesmith.serving.modules import ModuleDecoder
from tunesmith.serving.options import Options
from tunesmith.serving.scheduler import Limits
from tunesmith.serving.voices import Voice, Voices

# Share of the memory that is free once the model is there, for keys and values.
CACHE_SHARE = {"cpu": 0.4, "cuda": 0.85, "mps": 0.4}
PROMPT_TOKENS = {"cpu": 512, "cuda": 4096, "mps": 1024}  # a step
DEFAULT_CONTEXT = 1 << 20  # of a model that has no limit


@dataclass
class Served:
    """A loaded model with all that can be asked."""

    engine: Engine
    voices: Voices
    about: dict[str, Any]


def load_served(
    options: Options,
    *,
    deliver: Deliver | None = None,
    on_progress: OnProgress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Served:
    """Load base and adapters and start the engine."""
    device = choose_device(options.device)
    found = _whole(find_target(options.base, on_progress=on_progress))
    wanted = options.dtype
    if wanted == "auto" and found.recipe is not None:
        wanted = found.recipe.model.dtype
    dtype = decide_dtype(wanted, device)
    say(f"loading {found.directory} ({str(dtype).removeprefix('torch.')} on {device})")
    decoder, advised, reason = _load_decoder(found.directory, dtype, device, options)
    base = _base_voice(options, found, advised)
    engine = Engine(
        decoder,
        base.tokenizer,
        limits=Limits(options.max_concurrent, PROMPT_TOKENS[device.type]),
        max_waiting=options.queue,
        deliver=deliver,
    )
    engine.start()
    voices = Voices(base)
    if found.adapter is not None:  # a run that trained an adapter: it answers by its own name
        voices.add(adapter_voice(engine, voices, _name_of(options), str(found.adapter)))
    for name, path in options.adapters:
        voices.check_free(name)
        say(f"loading the adapter {name}")
        voices.add(adapter_voice(engine, voices, name, path))
    about = {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "context": decoder.context,
        "decoder": "fast" if reason is None else "modules",
        "why_not_fast": reason,
    }
    return Served(engine, voices, about)


def _whole(found: Target) -> Target:
    """An adapter that cannot answer beside its base is merged into it while it loads.

    It changes weights and is no LoRA, or its base has other tokens or positions.
    """
    adapter = found.adapter
    if adapter is None:
        return found
    if is_beside(adapter):  # before anything large is read
        raise ModelError(
            f"{adapter} holds vectors that layers attend to beside the text (adapter tuning), "
            "which are not served.",
            hint="Ask it with `tunesmith chat`, or train with adapter.kind: lora.",
            code="attention_not_served",
            model=str(adapter),
        )
    stands_beside = is_lora(adapter) or is_in_front(adapter)
    if stands_beside and not (trained_ids(adapter) or rope_of_adapter(adapter)):
        return found
    return Target(adapter, None, found.recipe, found.base_name)


def adapter_voice(engine: Engine, voices: Voices, name: str, path: str) -> Voice:
    """Read an adapter: its files are checked first, its weights go into the running engine."""
    voices.check_free(name)
    directory = resolve_adapter(path)
    found = Target(voices.base.directory, directory, recipe_of_result(directory))
    renderer, is_plain = renderer_of(found)
    if renderer.tokenizer.fingerprint == voices.base.tokenizer.fingerprint:
        # A parsed vocabulary takes much memory; one is enough for all that share it.
        renderer.tokenizer.__dict__["core"] = voices.base.tokenizer.core
    adapter = engine.load_adapter(directory)
    return Voice(name, renderer, is_plain, directory, voices.base.advised, adapter)


def _base_voice(options: Options, found: Target, advised: dict[str, Any]) -> Voice:
    name = _name_of(options)
    if found.adapter is not None:
        name = found.base_name or str(found.directory)
    # Under an adapter the base speaks by its own training, as it does alone.
    recipe = recipe_of_result(found.directory) if found.adapter else found.recipe
    plain = Target(found.directory, None, recipe)
    renderer, is_plain = renderer_of(plain)
    return Voice(name, renderer, is_plain, found.directory, advised)


def _name_of(options: Options) -> str:
    """The name that was given; the last part of a folder's path; else the id itself."""
    if options.name:
        return options.name
    folder = Path(options.base).expanduser()
    return folder.resolve().name if folder.is_dir() else options.base


def _load_decoder(
    directory: Path, dtype: torch.dtype, device: torch.device, options: Options
) -> tuple[Decoder, dict[str, Any], str | None]:
    """The model in memory, how its authors sample it, and why it is not the fast decoder."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    model: Any = load_model(directory, dtype=dtype, attention="auto", device=device).eval()
    model.requires_grad_(False)
    advised = take_advice(model)
    reason = why_not_llama_shaped(decoder_of(model))
    if reason is None and exact_context(model.config) is not None:
        reason = "rotary frequencies that depend on the length"
    context = _context(model, options)
    budget = _cache_budget(device, options)
    if reason is None:
        return FastDecoder(model, budget=budget, context=context), advised, None
    return ModuleDecoder(model, budget=budget, context=context), advised, reason


def _context(model: Any, options: Options) -> int:
    own = context_length(model.config) or DEFAULT_CONTEXT
    if options.context is None:
        return own
    if options.context > own:
        raise InputError(
            f"--context {options.context:,} is more than the model has positions for ({own:,})."
        )
    return options.context


def _cache_budget(device: torch.device, options: Options) -> int:
    if options.cache_gb is not None:
        return max(int(options.cache_gb * 2**30), 1)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    return int(free * CACHE_SHARE[device.type])

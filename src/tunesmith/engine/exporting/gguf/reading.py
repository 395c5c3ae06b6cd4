"""A GGUF file as transformers reads it: weights, numbers, tokenizer and template."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Artefact
from tunesmith.engine.exporting.gguf.families import context_of, global_rope, head_width
from tunesmith.engine.exporting.gguf.writing import Gguf
from tunesmith.engine.models import _check_complete


def require_gguf() -> None:
    """An error with a mend where the library is not installed."""
    if find_spec("gguf") is None:
        raise ExportRefused(
            "--format gguf and ollama need the gguf package, which this Python has not installed.",
            hint="pip install 'tunesmith[export]'",
            code="extra_not_installed",
        )


def read_gguf(folder: Path, name: str, plan: Gguf, *, device: torch.device) -> Artefact:
    """The file in float32.

    transformers' reader leaves some numbers of the file aside (the width of heads of Qwen 3, say),
    so the model is built from our settings, and what the file says is compared with them here.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, __version__

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        config=_readable(plan.source.config),
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
    )
    model, report = loaded
    if model.config.get_text_config().tie_word_embeddings:
        absent = set(report.get("missing_keys") or ()) - {"lm_head.weight"}
        report = {**report, "missing_keys": absent}
    _check_complete(folder / name, report)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
    return Artefact(
        model.to(device).eval(),
        tokenizer,
        f"transformers {__version__} (GGUF)",
        tuple(_differences(folder / name, plan)),
    )


def _readable(config: Any) -> Any:
    """The settings in a class that the reader has names for: it knows no Mistral, which is a Llama
    within its window.
    """
    if config.model_type != "mistral":
        return config
    from transformers import LlamaConfig

    fields = config.to_dict()
    for name in ("model_type", "sliding_window", "architectures"):
        fields.pop(name, None)
    return LlamaConfig(**fields)


def _differences(file: Path, plan: Gguf) -> list[str]:
    """Numbers of the file that are not the model's."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    config, prefix = plan.source.config, plan.family.architecture
    wanted: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": context_of(config),
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head_width(config),
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": global_rope(config)["rope_theta"],
    }
    found: list[str] = []
    for name, value in wanted.items():
        field = reader.get_field(f"{prefix}.{name}")
        read = None if field is None else field.contents()
        if read is None or abs(float(read) - float(value)) > 1e-6 * abs(float(value)):
            found.append(f"{name} is {read} in the file, {value} in the model")
    return found

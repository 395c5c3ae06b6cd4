"""What people want to know about a model, read from its files: size, context, type, template."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from tunesmith.models.files import ModelFiles, read_header, read_json
from tunesmith.models.vocabulary import table_rows

_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")
_BESIDE_PACKED = ("qzeros", "scales", "g_idx")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class Facts:
    """One checked folder. What a folder does not say is None."""

    kind: str  # model, adapter
    family: str
    architecture: str
    parameters: int
    weight_bytes: int
    tensors: int
    dtype: str
    context: int | None = None
    vocabulary: int | None = None
    tokenizer: str | None = None  # the file that has it
    chat_template: bool = False
    quantised: str | None = None
    base: str | None = None  # of an adapter
    rank: int | None = None  # of an adapter

    @property
    def is_causal(self) -> bool:
        return self.kind == "adapter" or self.architecture.endswith(("ForCausalLM", "LMHeadModel"))

    def document(self) -> dict[str, Any]:
        """Everything that is known, for the registry."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_facts(files: ModelFiles) -> Facts:
    """The facts of a folder that `check_model_files` has passed."""
    name = "config.json" if files.kind == "model" else "adapter_config.json"
    config: dict[str, Any] = read_json(files.directory / name)
    parameters, dtype = _tensors(files.weights, _packed_bits(config))
    common: dict[str, Any] = {
        "kind": files.kind,
        "parameters": parameters,
        "weight_bytes": files.weight_bytes,
        "tensors": files.num_tensors,
        "dtype": dtype,
        "tokenizer": _tokenizer(files.directory),
        "chat_template": _has_template(files.directory),
    }
    if files.kind == "adapter":
        return Facts(
            family=str(config.get("peft_type") or "").lower(),
            architecture="",
            base=str(config.get("base_model_name_or_path") or "") or None,
            rank=_whole(config.get("r")),
            **common,
        )
    text = _section(config, "text_config") or config
    architectures = config.get("architectures")
    return Facts(
        family=str(text.get("model_type") or config.get("model_type") or ""),
        architecture=str(architectures[0])
        if isinstance(architectures, list) and architectures
        else "",
        context=next((size for key in _CONTEXT if (size := _whole(text.get(key)))), None),
        vocabulary=table_rows(files.directory, files.weights),
        quantised=_quantised(config),
        **common,
    )


@lru_cache(64)
def layer_names(directory: Path) -> frozenset[str]:
    """Last names of all layers with a matrix, such as q_proj; empty where there are no weights.

    The files of a model do not change once they are here, so each folder is read once.
    """
    found: set[str] = set()
    for path in sorted(directory.glob("model*.safetensors")):
        for name, entry in read_header(path).items():
            module, _, kind = name.rpartition(".")
            if kind in ("weight", "qweight") and len(entry["shape"]) == 2:
                found.add(module.rsplit(".", 1)[-1])
    return frozenset(found)


def _tensors(weights: tuple[Path, ...], packed_bits: int | None) -> tuple[int, str]:
    """Number of weights, and the type of most of them.

    GPTQ and AWQ keep several weights of `packed_bits` in each int32 of `qweight`; what stands
    beside it to unpack them is no weight.
    """
    types: Counter[str] = Counter()
    for path in weights:
        for name, entry in read_header(path).items():
            values, part = math.prod(entry["shape"]), name.rpartition(".")[2]
            if packed_bits is not None and part in _BESIDE_PACKED:
                continue
            if packed_bits is not None and part == "qweight":
                values = values * 32 // packed_bits
            types[entry["dtype"]] += values
    most = types.most_common(1)
    return sum(types.values()), most[0][0] if most else ""


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _quantised(config: dict[str, Any]) -> str | None:
    found = _section(config, "quantization_config")
    return str(found.get("quant_method") or "unknown") if found else None


def _packed_bits(config: dict[str, Any]) -> int | None:
    found = _section(config, "quantization_config")
    if str(found.get("quant_method", "")).lower() not in ("gptq", "awq"):
        return None
    return _whole(found.get("bits") or found.get("w_bit")) or 4


def _tokenizer(directory: Path) -> str | None:
    return next((name for name in _TOKENIZERS if (directory / name).is_file()), None)


def _has_template(directory: Path) -> bool:
    settings = directory / "tokenizer_config.json"
    if (directory / "chat_template.jinja").is_file():
        return True
    content: Any = read_json(settings) if settings.is_file() else {}
    return isinstance(content, dict) and bool(content.get("chat_template"))

"""From the name of a base model to a model in memory. Read `load_model` first.

`model_sources.py` finds, `tunesmith.models` downloads and checks the folder, this module loads it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunesmith.engine.methods.packed_files import Packing, plain_state
from tunesmith.engine.methods.prompts import refuse_merging
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.methods.rope import Rope, rope_of_adapter
from tunesmith.engine.methods.vocabulary import grown_tokenizer, trained_ids
from tunesmith.engine.model_sources import (
    OnProgress,
    is_checkpoint,
    recipe_of_result,
    resolve_name,
    run_of_result,
)
from tunesmith.errors import ModelError
from tunesmith.models.adapters import is_beside, is_in_front
from tunesmith.models.files import check_model_files, is_reward_model, kind_of
from tunesmith.models.vocabulary import check_tokenizer_size

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from tunesmith.recipe import Model
from tunesmith.runs.files import data_directory

# `on_warning(code, message, hint)`
OnWarning = Callable[[str, str, str], None]

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


def cache_directory() -> Path:
    """Where converted files are kept: TUNESMITH_DATA_DIR, by default ~/.tunesmith."""
    return data_directory() / "cache"


def resolve_base(
    model: Model, *, base_dir: Path | None = None, on_progress: OnProgress | None = None
) -> Path:
    """The checked folder of a recipe's base model.

    It is in the transformers layout, or in the PEFT layout for an earlier run that trained an
    adapter; `load_model` and `load_tokenizer_files` take both.
    """
    directory = resolve_name(
        model.base,
        source=model.source,
        revision=model.revision,
        base_dir=base_dir,
        on_progress=on_progress,
    )
    check_model_files(directory, trust_remote_code=model.trust_remote_code)
    return directory


def load_model(
    directory: Path,
    *,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    device: torch.device | str = "cpu",
    trust_remote_code: bool = False,
    rope: Rope | None = None,
) -> PreTrainedModel:
    """The model of a folder, every weight read from it; an adapter comes merged into its base.

    `attention` is a name that transformers knows; `auto` leaves the choice to it. `rope` scales the
    positions of a model that has not been scaled yet.
    """
    check_model_files(directory, trust_remote_code=trust_remote_code)
    if kind_of(directory) == "adapter":
        if is_in_front(directory) or is_beside(directory):
            raise refuse_merging(str(directory))
        base = load_model(
            base_of_adapter(directory),
            dtype=dtype,
            attention=attention,
            device=device,
            trust_remote_code=trust_remote_code,
            rope=rope or rope_of_adapter(directory),
        )
        return _merge(base, directory)
    config = load_config(directory, trust_remote_code=trust_remote_code, rope=rope)
    check_vocabulary(directory, config)
    model = _read_weights(directory, config, dtype, attention, trust_remote_code)
    return model.to(device)  # pyright: ignore[reportArgumentType]


def load_reward_model(
    directory: Path,
    *,
    seed: int,
    dtype: torch.dtype,
    attention: str,
    device: torch.device,
    trust_remote_code: bool = False,
    rope: Rope | None = None,
) -> PreTrainedModel:
    """A language model whose head is a new score, drawn from `seed`; a reward model keeps its own.

    transformers reads the score off the last token that is not padding.
    """
    if kind_of(directory) == "adapter":
        raise ModelError(
            f"{directory} is an adapter; a reward model starts from a whole model.",
            hint="Export it merged first: tunesmith export RUN --format merged --out DIR.",
            code="reward_base_is_adapter",
        )
    check_model_files(directory, trust_remote_code=trust_remote_code)
    config = load_config(directory, trust_remote_code=trust_remote_code, rope=rope)
    check_vocabulary(directory, config)
    if is_reward_model(directory) and config.num_labels != 1:
        raise ModelError(
            f"{directory} is a classifier with {config.num_labels} labels; a reward model has one, "
            "its score.",
            hint="Train one with stage.kind: rm, or name a sequence classifier with one label.",
            code="reward_model_of_labels",
            labels=config.num_labels,
        )
    config.num_labels = 1
    if config.pad_token_id is None:
        config.pad_token_id = _padding_of(directory)
    model = _read_weights(
        *(directory, config, dtype, attention, trust_remote_code), automatic=_REWARD
    )
    if not is_reward_model(directory):
        _draw_score(model, seed)
    return model.to(device)  # pyright: ignore[reportArgumentType]


_CAUSAL, _REWARD = "AutoModelForCausalLM", "AutoModelForSequenceClassification"


def _padding_of(directory: Path) -> int | None:
    """The number of the tokenizer's padding token."""
    from tunesmith.data.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.load(load_tokenizer_files(directory, cache_directory()))
    token = tokenizer.special("pad_token") or tokenizer.eos_token
    return None if token is None else tokenizer.token_id(token)


def _draw_score(model: Any, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        width = float(getattr(model.config.get_text_config(), "initializer_range", 0.02))
        model.score.weight.copy_(width * torch.randn(model.score.weight.shape))
    model.score.float()  # adapters and scores are trained in float32


def _read_weights(
    directory: Path,
    config: PretrainedConfig,
    dtype: torch.dtype,
    attention: str,
    trust_remote_code: bool,
    automatic: str = _CAUSAL,
) -> PreTrainedModel:
    import transformers
    from transformers.utils import logging

    if automatic == _CAUSAL and is_reward_model(directory):
        raise ModelError(
            f"{directory} is a reward model: it scores answers and writes none.",
            hint="Choose a language model here.",
            code="reward_model",
        )
    logging.disable_progress_bar()
    packing = Packing.of(config)
    if packing is not None:
        return _read_packed(
            *(directory, config, packing, dtype, attention, trust_remote_code, automatic)
        )
    try:
        loaded: Any = getattr(transformers, automatic).from_pretrained(
            directory,
            config=config,
            dtype=dtype,
            attn_implementation=None if attention == "auto" else attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except (ValueError, OSError, RuntimeError, ImportError, KeyError) as error:
        raise ModelError(
            f"The model in {directory} cannot be loaded: {_first_line(error)}",
            hint="Check that it is a causal language model that transformers "
            f"{_transformers_version()} knows.",
        ) from error
    model, report = loaded
    if automatic == _REWARD and not is_reward_model(directory):
        report["missing_keys"] = {name for name in report["missing_keys"] if "score." not in name}
    _check_complete(directory, report)
    model.name_or_path = str(directory)
    return model


def _read_packed(
    directory: Path,
    config: PretrainedConfig,
    packing: Packing,
    dtype: torch.dtype,
    attention: str,
    trust_remote_code: bool,
    automatic: str,
) -> PreTrainedModel:
    """A model of GPTQ or AWQ with plain weights, which is used as any other."""
    import transformers

    if automatic == _REWARD:
        raise ModelError(
            f"{directory} is packed by {packing.method}; a reward model starts from a whole model.",
            hint="Choose the unpacked model.",
            code="reward_base_is_packed",
        )
    plain: Any = config
    del plain.quantization_config
    model: Any = getattr(transformers, automatic).from_config(
        config,
        dtype=dtype,
        attn_implementation=None if attention == "auto" else attention,
        trust_remote_code=trust_remote_code,
    )
    state = plain_state(directory, packing, dtype)
    if config.get_text_config().tie_word_embeddings and "model.embed_tokens.weight" in state:
        state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    try:
        found = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a layer of another shape
        raise ModelError(
            f"The packed weights in {directory} do not belong to its config.json: "
            f"{_first_line(error)}",
            hint="Download the model again.",
        ) from error
    # Some programs write biases of zeros for layers that have none.
    lost = [n for n in found.unexpected_keys if n.endswith(".bias") and bool(state[n].any())]
    _check_complete(directory, {"missing_keys": [*found.missing_keys, *lost]})
    model.tie_weights()
    model.name_or_path = str(directory)
    return model.eval()


def _check_complete(directory: Path, report: dict[str, Any]) -> None:
    """Weights that are not in the files would stay random; that is never what someone wants."""
    absent = [*sorted(report.get("missing_keys") or ()), *_names(report.get("mismatched_keys"))]
    if absent:
        shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise ModelError(
            f"{len(absent)} weights of {directory} are missing or have another shape: {shown}.",
            hint="config.json and the weights do not belong together; download the model again.",
            code="model_weights_incomplete",
            count=len(absent),
        )


def _names(mismatched: Any) -> list[str]:
    return [entry if isinstance(entry, str) else str(entry[0]) for entry in mismatched or ()]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _transformers_version() -> str:
    import transformers

    return transformers.__version__


def _merge(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    merged: Any = put_on(model, adapter)
    merged = merged.merge_and_unload()
    merged.name_or_path = str(adapter)
    return merged


def base_of_adapter(directory: Path) -> Path:
    """The folder of the base model that an adapter was trained on."""
    settings = json.loads((directory / "adapter_config.json").read_bytes())
    name = settings.get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"{directory / 'adapter_config.json'} does not name its base model.",
            hint="Write the id or folder of the base model as base_model_name_or_path there.",
        )
    try:
        return resolve_name(str(name), revision=str(settings.get("revision") or "main"))
    except ModelError as error:
        # The folder of the base has moved, say: the run still knows where the base came from.
        recipe = recipe_of_result(directory)
        if recipe is None or recipe.model.base == name:
            raise ModelError(
                f"The base model of the adapter {directory} was not found. {error.message}",
                hint=error.hint,
                code=error.code,
            ) from error
        return resolve_base(recipe.model, base_dir=run_of_result(directory))


def load_config(
    directory: Path, *, trust_remote_code: bool = False, rope: Rope | None = None
) -> PretrainedConfig:
    """The configuration of a model folder, of its base for an adapter."""
    from transformers import AutoConfig

    if kind_of(directory) == "adapter":
        rope = rope or rope_of_adapter(directory)
        config = load_config(
            base_of_adapter(directory), trust_remote_code=trust_remote_code, rope=rope
        )
        return with_rows(config, trained_ids(directory))
    try:
        config = AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ModelError(
            f"config.json in {directory} is not understood: {_first_line(error)}",
            hint=f"transformers {_transformers_version()} has to know the model type.",
        ) from error
    if rope is not None:
        rope.apply(config)
    return config


def with_rows(config: PretrainedConfig, ids: Sequence[int]) -> PretrainedConfig:
    """A configuration whose tables have rows for these tokens, too."""
    text = config.get_text_config()
    text.vocab_size = max([int(text.vocab_size), *(number + 1 for number in ids)])
    return config


def context_length(config: PretrainedConfig) -> int | None:
    """Most tokens of one row that the model has positions for; None when there is no limit."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            rope = getattr(text, "rope_parameters", None) or {}
            grows = rope.get("rope_type") == "dynamic"
            return int(value * rope["factor"]) if grows else value
    return None


def exact_context(config: PretrainedConfig) -> int | None:
    """Longest row whose rotary frequencies do not depend on the other rows of its micro-batch.

    `longrope` and `dynamic` choose the frequencies of all rows by the longest one, once it is
    longer than the original context (transformers' modeling_rope_utils). None: no such limit.
    """
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    each = [parameters, *(p for p in parameters.values() if isinstance(p, dict))]
    limits = [
        int(p.get("original_max_position_embeddings") or text.max_position_embeddings)
        for p in each
        if p.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(limits, default=None)


def decide_dtype(
    requested: str, device: torch.device | str, on_warning: OnWarning | None = None
) -> torch.dtype:
    """The number format of the weights: float32 on CPU and MPS, bfloat16 on CUDA where it can."""
    kind = torch.device(device).type
    fitting = "bfloat16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    warn = on_warning or _ignore_warning
    if requested == "auto":
        return DTYPES[fitting]
    if requested != "float32" and kind == "cpu":
        warn(
            f"{requested}_on_cpu",
            f"{requested} on this CPU may be more than ten times slower than float32.",
            "Write `dtype: auto` under `model:`.",
        )
    return DTYPES[requested]


def _ignore_warning(code: str, message: str, hint: str) -> None:
    """For callers that have decided the format before and warned then."""


def embedding_rows(config: PretrainedConfig) -> int:
    """Number of tokens that the model has a vector for."""
    return int(config.get_text_config().vocab_size)


def check_vocabulary(tokenizer_dir: Path, config: PretrainedConfig) -> None:
    """Refuse a tokenizer that does not belong to the model; the error names both sizes."""
    check_tokenizer_size(tokenizer_dir, embedding_rows(config))


def load_tokenizer_files(directory: Path, cache: Path) -> Path:
    """A folder with tokenizer.json: the model's own, or a copy converted once into `cache`."""
    if (directory / "tokenizer.json").is_file():
        return directory
    if kind_of(directory) == "adapter":
        found = load_tokenizer_files(base_of_adapter(directory), cache)
        recipe = recipe_of_result(directory)
        return grown_tokenizer(found, {} if recipe is None else recipe.model.new_words, cache)
    if is_checkpoint(directory.parent):  # it holds the weights only
        recipe = recipe_of_result(directory)
        if recipe is not None:
            base = resolve_base(recipe.model, base_dir=run_of_result(directory))
            found = load_tokenizer_files(base, cache)
            return grown_tokenizer(found, recipe.model.new_words, cache)
    if not any(_may_be_tokenizer(file.name) for file in directory.iterdir()):
        raise ModelError(
            f"{directory} has no tokenizer.json, and no other file of a tokenizer.",
            hint="Copy the model's tokenizer.json and tokenizer_config.json beside its weights.",
            code="tokenizer_missing",
        )
    target = cache / "tokenizers" / _tokenizer_fingerprint(directory)
    if not (target / "tokenizer.json").is_file():
        _convert_tokenizer(directory, target)
    return target


def _may_be_tokenizer(name: str) -> bool:
    """Each class of tokenizers has file names of its own; these parts are in all of them."""
    is_settings = name in ("special_tokens_map.json", "added_tokens.json", "tokenizer_config.json")
    parts = ("token", "vocab", "merges", "spiece", "spm", "bpe")
    return not is_settings and (name.endswith(".model") or any(part in name for part in parts))


def _tokenizer_fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        if (directory / name).is_file():
            digest.update(name.encode() + b"\0" + (directory / name).read_bytes())
    return digest.hexdigest()[:32]


def _convert_tokenizer(directory: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as place:
        _save_fast_tokenizer(directory, Path(place))
        check_vocabulary(Path(place), load_config(directory))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(place, target)


def _save_fast_tokenizer(directory: Path, place: Path) -> None:
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notices about the conversion, which is what we want
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            tokenizer.save_pretrained(place)
    except Exception as error:  # each tokenizer class raises its own
        raise ModelError(
            f"{directory} has no tokenizer.json, and its tokenizer cannot be converted: "
            f"{_first_line(error)}",
            hint="Install sentencepiece (pip install sentencepiece protobuf), or put the model's "
            "tokenizer.json into the folder.",
            code="tokenizer_missing",
        ) from error
    if not (place / "tokenizer.json").is_file():
        raise ModelError(
            f"{directory} has a tokenizer with code of its own, which is not supported.",
            hint="Use a version of the model with a tokenizer.json.",
            code="tokenizer_missing",
        )

"""README.md of a result: what was trained on what, whether it got better, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith import __version__
from tunesmith.recipe import DataSource, Recipe
from tunesmith.recipe.adapters import names_in, told

# Why a training ended, in words.
ENDINGS = {
    "done": "all that was planned",
    "max_steps": "as many as were asked for",
    "target_loss": "the loss reached its target",
    "patience": "the validation loss had stopped falling",
    "stopped": "stopped by the user",
}


@dataclass(frozen=True)
class Measure:
    """One evaluation on the validation rows."""

    step: int
    loss: float | None
    token_accuracy: float | None
    rows: int


@dataclass(frozen=True)
class Card:
    """What the card tells besides the recipe."""

    recipe: Recipe
    kinds: tuple[str, ...]  # adapter, model, or both
    steps: int
    reason: str
    before: Measure | None
    after: Measure | None
    plan: dict[str, Any]  # the `plan` event: rows, tokens, parameters
    device: str
    seconds: float


def model_card(card: Card) -> str:
    """The whole card in English, with a Chinese part at the end."""
    recipe = card.recipe
    parts = [
        _front_matter(card),
        f"# {recipe.name}",
        f"{_base_name(recipe)} fine-tuned with tunesmith {__version__}: {_method(recipe)}, "
        f"{card.steps:,} steps ({ENDINGS.get(card.reason, card.reason)}).",
        "## Results",
        _results(card, ("Validation", "Before", "After"), ("Loss", "Token accuracy")),
        "The validation loss did not fall below its value before training." if _worse(card) else "",
        "## How to use it",
        _usage(card),
        "## Training data",
        _table(("Dataset", "Format", "Sampling"), _datasets(recipe)),
        _counts(card),
        "## Settings",
        _table(("Setting", "Value"), _settings(recipe)),
        "Every setting is in `training_logs/user_params.json`; versions, hardware and the "
        "fingerprints of data and row order are in `passport.json`.",
        _limits(recipe),
        "## 中文说明",
        f"本模型由 tunesmith {__version__} 在 {_base_name(recipe)} 的基础上微调得到："
        f"{_method_zh(recipe)}，共 {card.steps:,} 步。",
        _results(card, ("验证集", "训练前", "训练后"), ("损失", "词元准确率")),
        "训练后的验证损失没有低于训练前。" if _worse(card) else "",
        "使用方法：" + _usage_zh(card),
        "全部参数见 `training_logs/user_params.json`；版本、硬件、数据指纹见 `passport.json`。"
        "基座模型的说明见 `BASE_README.md`（如有）。模型的回答可能有误，上线前请用自己的数据评测。",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(card: Card) -> str:
    base = card.recipe.model.base
    library = "peft" if "adapter" in card.kinds else "transformers"
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    if not Path(base).is_absolute() and base != "starter":
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join([*lines, "tags:", "- tunesmith", f"- {card.recipe.stage.kind}", "---"])


def _base_name(recipe: Recipe) -> str:
    base = recipe.model.base
    return f"`{Path(base).name}`" if Path(base).is_absolute() else f"`{base}`"


_STAGES = {
    "sft": ("supervised fine-tuning", "有监督微调"),
    "pt": ("continued pre-training", "增量预训练"),
    "dpo": ("direct preference optimisation", "直接偏好优化（DPO）"),
    "simpo": ("simple preference optimisation", "简单偏好优化（SimPO）"),
    "orpo": ("odds ratio preference optimisation", "比值比偏好优化（ORPO）"),
    "cpo": ("contrastive preference optimisation", "对比偏好优化（CPO）"),
    "kto": ("Kahneman-Tversky optimisation", "KTO 偏好优化"),
    "rm": ("reward modelling", "奖励模型训练"),
    "grpo": ("group relative policy optimisation", "组相对策略优化（GRPO）"),
}


_PACKED = {
    "nf4": ("4 bits (QLoRA, NF4 with double quantisation)", " 4 位（NF4，双重量化）"),
    "int8": ("8 bits (QLoRA, int8)", " 8 位（int8）"),
}


def _method(recipe: Recipe) -> str:
    method = f"{_STAGES[recipe.stage.kind][0]} {told(recipe.adapter)}"
    packed = _PACKED.get(recipe.model.quantization)
    return method if packed is None else f"{method} on a base in {packed[0]}"


def _method_zh(recipe: Recipe) -> str:
    method = f"{_STAGES[recipe.stage.kind][1]}，{told(recipe.adapter, 'zh')}"
    packed = _PACKED.get(recipe.model.quantization)
    return method if packed is None else f"{method}，基座以{packed[1]}保存（QLoRA）"


def _results(card: Card, head: tuple[str, str, str], names: tuple[str, str]) -> str:
    before, after = card.before, card.after
    if after is None:
        return ""
    rows = [
        (names[0], _number(before and before.loss, 4), _number(after.loss, 4)),
        (
            names[1],
            _number(before and before.token_accuracy, 3),
            _number(after.token_accuracy, 3),
        ),
    ]
    return _table((f"{head[0]} ({after.rows})", head[1], f"{head[2]} (step {after.step})"), rows)


def _worse(card: Card) -> bool:
    if card.before is None or card.after is None or card.before.loss is None:
        return False
    return card.after.loss is None or card.after.loss >= card.before.loss


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _usage(card: Card) -> str:
    parts: list[str] = []
    if "adapter" in card.kinds and card.recipe.model.new_words:
        parts.append(
            "The adapter with peft, which gives the base rows for the new tokens:\n\n```python\n"
            "from peft import AutoPeftModelForCausalLM\n"
            "from transformers import AutoTokenizer\n\n"
            'model = AutoPeftModelForCausalLM.from_pretrained("adapter")\n'
            'tokenizer = AutoTokenizer.from_pretrained("adapter")\n'
            f"{_generate_lines(card)}```"
        )
    elif "adapter" in card.kinds:
        parts.append(
            "The adapter with peft:\n\n```python\n"
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"{_base_line(card.recipe)}"
            'model = PeftModel.from_pretrained(base, "adapter")\n'
            'tokenizer = AutoTokenizer.from_pretrained("adapter")\n'
            f"{_generate_lines(card)}```"
        )
    if "model" in card.kinds:
        parts.append(
            "The model with transformers:\n\n```python\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            'model = AutoModelForCausalLM.from_pretrained("model")\n'
            'tokenizer = AutoTokenizer.from_pretrained("model")\n'
            f"{_generate_lines(card)}```"
        )
    parts.append("In the terminal, with the directory of the run:\n\n```\n" + _chat() + "\n```")
    return "\n\n".join(parts)


def _usage_zh(card: Card) -> str:
    loader = "peft" if "adapter" in card.kinds else "transformers"
    return f"代码见上文（{loader}）；在终端中对话：\n\n```\n{_chat()}\n```"


def _chat() -> str:
    return "tunesmith chat RUN\ntunesmith chat RUN --compare"


def _base_line(recipe: Recipe) -> str:
    base = recipe.model.base
    if base == "starter":
        return (
            "from tunesmith.starter import starter_directory\n\n"
            "base = AutoModelForCausalLM.from_pretrained(starter_directory())\n"
        )
    name = "path/to/the/base/model" if Path(base).is_absolute() else base
    return f"base = AutoModelForCausalLM.from_pretrained({json.dumps(name)})\n"


def _generate_lines(card: Card) -> str:
    if card.recipe.stage.kind == "pt":
        prompt = 'inputs = tokenizer("Once upon a time", return_tensors="pt")\n'
    else:
        prompt = (
            'messages = [{"role": "user", "content": "Hello"}]\n'
            "inputs = tokenizer.apply_chat_template(\n"
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n'
            ")\n"
        )
    return (
        f"{prompt}output = model.generate(**inputs, max_new_tokens=200)\n"
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))\n'
    )


def _datasets(recipe: Recipe) -> list[tuple[str, str, str]]:
    return [
        (f"`{Path(source.dataset).name}`", source.format, _sampling(source, recipe))
        for source in recipe.data.train
    ]


def _sampling(source: DataSource, recipe: Recipe) -> str:
    if source.share is not None:
        return f"{source.share:g} % of the rows"
    if source.role == "general":
        return f"general, {recipe.data.general_ratio:g} rows for each other one"
    return f"x {source.sampling_rate:g}"


def _counts(card: Card) -> str:
    plan = card.plan
    if not plan:
        return ""
    return (
        f"{plan.get('rows', 0):,} training rows an epoch with {plan.get('tokens_per_epoch', 0):,} "
        f"tokens, of which {plan.get('label_tokens_per_epoch', 0):,} are learned; "
        f"{plan.get('validation_rows', 0):,} validation rows. "
        f"{plan.get('trainable_parameters', 0):,} of {plan.get('parameters', 0):,} parameters were "
        f"trained in {_duration(card.seconds)} on {card.device}."
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def _settings(recipe: Recipe) -> list[tuple[str, str]]:
    training, is_packed = recipe.training, recipe.model.quantization in _PACKED
    rows: list[tuple[str, Any]] = [
        ("Batch size (rows a step)", training.batch_size),
        ("Batch tokens", training.batch_tokens),
        ("Epochs", training.epochs),
        ("Most steps", training.max_steps),
        ("Learning rate", training.learning_rate),
        ("Schedule", training.schedule.kind),
        ("Warm-up ratio", training.schedule.warmup_ratio),
        ("Smallest rate ratio", training.schedule.min_ratio),
        ("Optimizer", training.optimizer.kind),
        ("Weight decay", training.optimizer.weight_decay),
        ("Largest gradient norm", training.max_grad_norm),
        ("Longest row (tokens)", recipe.data.max_length),
        ("Precision", recipe.model.dtype),
        ("Quantised base in training", recipe.model.quantization if is_packed else None),
        ("Seed", training.seed),
    ]
    if recipe.adapter.kind == "lora":
        targets = recipe.adapter.targets
        shown = targets if isinstance(targets, str) else ", ".join(targets)
        rows += [("LoRA targets", shown), ("LoRA dropout", recipe.adapter.dropout)]
        rows += [("LoRA+ ratio", recipe.adapter.loraplus_lr_ratio)]
        below = ", ".join(names_in(recipe.adapter.merge_first))
        rows += [("Contains the adapters", below or None)]
    return [(name, f"{value}") for name, value in rows if value is not None]


def _limits(recipe: Recipe) -> str:
    data = recipe.data
    texts = {
        "prefix": data.prefix,
        "instruction_template": data.instruction_template,
        "response_template": data.response_template,
    }
    used = {name: text for name, text in texts.items() if text}
    around = (
        "Questions and answers were wrapped with these texts in training; `tunesmith chat` adds "
        "them, other programs have to: "
        + ", ".join(f"{name} {json.dumps(text, ensure_ascii=False)}" for name, text in used.items())
        + ".\n\n"
        if used
        else ""
    )
    if recipe.model.quantization in _PACKED:
        around += (
            "The adapter was trained beside quantised weights and goes with the base in full "
            "precision; in training the base was "
            f"rounded to {_PACKED[recipe.model.quantization][0]}, so the numbers above can differ "
            "slightly from those of this result.\n\n"
        )
    return (
        f"{around}The model can be wrong, and inherits the limits and the licence of its base; "
        "evaluate it on your own data before you rely on it."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )

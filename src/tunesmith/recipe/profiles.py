"""Profiles (defaults and ranges by name) and presets (values by name). Data only, no code.

Names and values are written as their sources write them; loading understands them like any recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.recipe.problems import Notice, notice


@dataclass(frozen=True)
class Rule:
    """A narrower range for one field. `required`: the profile has no default for it."""

    ge: float | None = None
    le: float | None = None
    multiple_of: int | None = None
    choices: tuple[Any, ...] = ()
    required: bool = False

    def allows(self, value: Any) -> bool:
        if value is None:
            return not self.required
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        low = self.ge is None or value >= self.ge
        high = self.le is None or value <= self.le
        return low and high and (self.multiple_of is None or value % self.multiple_of == 0)

    def describe(self, language: str = "en") -> str:
        """The range in words: 'a multiple of 10 from 1000 to 2000'."""
        words = _WORDS[language]
        if self.choices:
            many = words["one of"] if len(self.choices) > 1 else ""
            return many + ", ".join(str(choice) for choice in self.choices)
        step = self.multiple_of
        text = words["multiple of"].format(step) if step else words["value"]
        if self.ge is not None and self.le is not None:
            return text + words["ge le"].format(self.ge, self.le)
        if self.ge is not None:
            return text + words["ge"].format(self.ge)
        return text if self.le is None else text + words["le"].format(self.le)


_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "one of": "one of ",
        "multiple of": "a multiple of {}",
        "value": "a value",
        "ge le": " from {:g} to {:g}",
        "ge": " of at least {:g}",
        "le": " of at most {:g}",
    },
    "zh": {
        "one of": "可选 ",
        "multiple of": "{} 的倍数",
        "value": "数值",
        "ge le": "，{:g} 到 {:g}",
        "ge": "，不小于 {:g}",
        "le": "，不大于 {:g}",
    },
}


@dataclass(frozen=True)
class Profile:
    """Defaults and ranges of one system."""

    name: str
    en: str
    zh: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rules: Mapping[str, Rule] = field(default_factory=dict[str, Rule])


@dataclass(frozen=True)
class Preset:
    """Values for one purpose. `profile` is the one that they were written for."""

    name: str
    en: str
    zh: str
    profile: str
    values: Mapping[str, Any]
    notices: tuple[Notice, ...] = ()


_PANGU_RULES: dict[str, Rule] = {
    "stage.kind": Rule(choices=("sft",)),
    "training.batch_size": Rule(ge=1),
    "training.epochs": Rule(ge=1, le=50),
    "training.learning_rate": Rule(ge=0, le=1),
    "training.optimizer.kind": Rule(choices=("adamw",)),
    "training.schedule.min_ratio": Rule(ge=0, le=1),
    "training.schedule.warmup_ratio": Rule(ge=0, le=1),
    "training.checkpoint.every_steps": Rule(ge=1000, le=2000, multiple_of=10),
    "data.validation.fraction": Rule(ge=0.01, le=0.5),
    "data.validation.max_rows": Rule(le=100),
}

_PROFILES = (
    Profile(
        "default",
        "Our own defaults: LoRA, cosine, a tenth of the data held out. Takes any sensible value.",
        "本产品的默认值：LoRA、cosine 调度、拆出十分之一的数据用于验证。接受任何合理的取值。",
    ),
    Profile(
        "pangu-full",
        "Huawei Pangu, supervised fine-tuning of all weights.",
        "华为盘古：有监督微调，全量微调。",
        defaults={
            "finetuning_type": "full",
            "batch_size": 8,
            "epochs": 1,
            "learning_rate": 1e-4,
            "optimizer": "adamw",
            "min_ratio": 1e-5,
            "warmup_ratio": 0.1,
            "save_steps": 1000,
        },
        rules={"adapter.kind": Rule(choices=("full",)), **_PANGU_RULES},
    ),
    Profile(
        "pangu-lora",
        "Huawei Pangu, supervised fine-tuning with LoRA. The rank has no default.",
        "华为盘古：有监督微调，局部微调（LoRA）。LoRA 秩没有默认值，必须填写。",
        defaults={
            "finetuning_type": "lora",
            "batch_size": 8,
            "epochs": 4,
            "learning_rate": 1e-4,
            "optimizer": "adamw",
            "min_ratio": 0.1,
            "warmup_ratio": 0.01,
            "save_steps": 1000,
        },
        rules={
            "adapter.kind": Rule(choices=("lora",)),
            "adapter.rank": Rule(choices=(8, 16, 32, 64), required=True),
            **_PANGU_RULES,
        },
    ),
    Profile(
        "llamafactory",
        "LLaMA-Factory: effective batch 16 as 2 per device x 8 accumulation, fp16, no validation.",
        "LLaMA-Factory：有效批量 16（每卡 2 × 累积 8），fp16，默认不验证。",
        defaults={
            "finetuning_type": "lora",
            "lora_rank": 8,
            "lora_alpha": 16,
            "learning_rate": 5e-5,
            "num_train_epochs": 3.0,
            "max_grad_norm": 1.0,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 8,
            "compute_type": "fp16",
            "cutoff_len": 1024,
            "max_samples": 100000,
            "val_size": 0,
            "lr_scheduler_type": "cosine",
            "min_ratio": 0.0,
            "warmup_ratio": 0.0,
        },
    ),
    Profile(
        "qianfan",
        "Baidu Qianfan: LoRA, cosine as advised.",
        "百度千帆：LoRA，学习率调整计划建议保持 cosine。",
        defaults={"finetuning_type": "lora", "lr_scheduler_type": "cosine"},
        rules={"data.train.*.sampling_rate": Rule(ge=0.01, le=10)},
    ),
    Profile(
        "gallery",
        "Huawei AI Gallery: LoRA for text QA and text generation.",
        "华为 AI Gallery：文本问答和文本生成默认使用 LoRA。",
        defaults={"finetuning_type": "lora", "max_grad_norm": 1.0},
    ),
)


def _pangu(name: str, en: str, zh: str, **values: Any) -> Preset:
    fixed = {"finetuning_type": "full", "batch_size": 8, "optimizer": "adamw"}
    return Preset(name, en, zh, "pangu-full", {**fixed, **values})


_BASIC_EN = (
    "text analysis, text generation, translation, query generation, open QA, knowledge QA, "
    "rewriting, summarising and aggregating, chat"
)
_BASIC_ZH = "文本分析、文本生成、翻译、查询生成、开放问答、知识问答、改写、摘要与聚合、闲聊"

MINIMUM_HARDWARE_24GB = notice("minimum_hardware", "preset")

_PRESETS = (
    _pangu(
        "pangu-n2-basic",
        f"Pangu N2-base, basic scenarios: {_BASIC_EN}.",
        f"盘古 N2 基础模型，基础场景：{_BASIC_ZH}。",
        epochs=4,
        learning_rate=7.5e-5,
        min_ratio=0.067,
        warmup_ratio=0.01,
    ),
    _pangu(
        "pangu-n2-nl2sql",
        "Pangu N2-base, questions to SQL.",
        "盘古 N2 基础模型，NL2SQL。",
        epochs=4,
        learning_rate=1e-5,
        min_ratio=0.067,
        warmup_ratio=0.013,
    ),
    _pangu(
        "pangu-n2-nl2json",
        "Pangu N2-base, questions to JSON.",
        "盘古 N2 基础模型，NL2JSON。",
        epochs=3,
        learning_rate=7.5e-5,
        min_ratio=0.01,
        warmup_ratio=0.01,
    ),
    _pangu(
        "pangu-n2-nl2code",
        "Pangu N2-base, questions to code.",
        "盘古 N2 基础模型，NL2CODE。",
        epochs=4,
        learning_rate=1e-5,
        min_ratio=0.067,
        warmup_ratio=0.013,
    ),
    _pangu(
        "pangu-n4-basic",
        f"Pangu N4-basic-4K, basic scenarios: {_BASIC_EN}.",
        f"盘古 N4-basic-4K，基础场景：{_BASIC_ZH}。",
        epochs=6,
        learning_rate=3e-6,
        min_ratio=0.01,
        warmup_ratio=0.05,
        save_steps=1000,
    ),
    Preset(
        "24gb-card",
        "One card with 24 GB: 8 rows per device x 2 accumulation, fp16, a tenth held out.",
        "单张 24 GB 显卡：每卡 8 条 × 累积 2，fp16，拆出十分之一用于验证。",
        "llamafactory",
        {
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": 2,
            "num_train_epochs": 3.0,
            "learning_rate": 5e-5,
            "optim": "adamw",
            "max_grad_norm": 1.0,
            "max_samples": 100000,
            "compute_type": "fp16",
            "cutoff_len": 1024,
            "val_size": 0.1,
            "lr_scheduler_type": "cosine",
        },
        (MINIMUM_HARDWARE_24GB,),
    ),
)

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in _PROFILES}
PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}

"""Models to start from that ship as facts, and what each family of models can be trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from tunesmith.recipe.adapters import ADAPTERS
from tunesmith.recipe.capabilities import Choice, refusal, refusal_of_family
from tunesmith.recipe.catalog import variants
from tunesmith.recipe.problems import Problem

Task = Literal["text QA", "text generation", "custom"]
# Trained in the tests against plain transformers, with every method.
TESTED_FAMILIES: Final = frozenset(
    {
        "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
        "phi3", "glm4", "qwen3_moe", "deepseek_v3", "olmo2", "gpt2",
    }
)  # fmt: skip
# Families whose models come with Python code, which is not run.
_WITH_CODE: Final = frozenset({"baichuan", "chatglm", "internlm", "qwen", "xverse"})
PACKED: Final = ("gptq", "awq")  # packed weights that can be read
STARTER: Final = "starter"
_FULL_BYTES: Final = 2 + 4 + 4 + 8  # weights, exact copy, gradients, two moments
_LORA_SHARE: Final = 0.01  # of the weights that adapters add, about rank 16 on all layers


class Preset(BaseModel):
    """One well-known model, by what people choose it for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    family: str
    billions: float = Field(gt=0)
    context: int = Field(gt=0)
    task: Task = "text generation"
    licence: str
    gated: bool = False
    hubs: Mapping[str, str] = {}
    defaults: Mapping[str, Any] = {}  # values of a recipe that suit the model, by path
    en: str
    zh: str

    @property
    def parameters(self) -> int:
        return round(self.billions * 1e9)

    @property
    def size(self) -> str:
        return size_label(self.parameters)

    def about(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


class _Catalog(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    guide: Mapping[str, list[str]]
    presets: list[Preset]


@dataclass(frozen=True)
class Capability:
    """Whether a training type goes with a method on a model, and why not."""

    stage: str
    method: str
    reasons: tuple[str, str] | None = None  # why not, in English and in Chinese

    @property
    def available(self) -> bool:
        return self.reasons is None

    def reason(self, language: str) -> str:
        """Why it is refused; empty where it is not."""
        return self.reasons[language == "zh"] if self.reasons else ""


# Why not, by what the files of a model say, or by the code of the rule.
_REASONS: Final[dict[str, tuple[str, str]]] = {
    "own_code": (
        "Models of this family need Python code of their own, which is not run.",
        "该系列模型需要运行自带的 Python 代码，平台不执行此类代码。",
    ),
    "quantised": (
        "The weights are quantised; import the model in full precision.",
        "权重已量化；请导入未量化的模型。",
    ),
    "packed": (
        "The weights are packed (GPTQ or AWQ) and stay as they are: train an adapter beside them, "
        "such as LoRA.",
        "权重已打包（GPTQ 或 AWQ），保持不变：请训练适配器，例如 LoRA。",
    ),
    "not_causal": (
        "It is not a language model that writes text from left to right.",
        "该模型不是自左向右生成文本的语言模型。",
    ),
    "vectors_of_another_stage": (
        "Vectors in front of the text (prompt tuning, P-tuning, prefix tuning) are not for reward "
        "models and reinforcement: train LoRA.",
        "学习文本之前向量的方法（Prompt Tuning、P-Tuning、Prefix Tuning）不支持奖励模型和强化学习："
        "请使用 LoRA。",
    ),
}


def presets() -> Mapping[str, Preset]:
    """All presets by name, in the order of the file."""
    return {preset.name: preset for preset in _catalog().presets}


def guide(language: str) -> list[str]:
    """How to choose: by need, cost and length of texts."""
    texts = _catalog().guide
    return list(texts.get(language) or texts["en"])


def find_preset(name: str) -> Preset | None:
    """By name, or by its id on any hub."""
    known = presets()
    by_hub = (preset for preset in known.values() if name in preset.hubs.values())
    return known.get(name) or next(by_hub, None)


def own_defaults(name: str) -> Mapping[str, Any]:
    """Values of a recipe, by path, that suit a model; empty where we know nothing better."""
    preset = find_preset(name)
    return preset.defaults if preset is not None else {}


def capabilities(family: str, *, quantised: str = "", is_causal: bool = True) -> list[Capability]:
    """Every training type and method of the recipe, and whether a model of this kind takes it.

    `quantised` is the way in which its weights are packed, as its files name it.
    """
    reason = ""
    if family in _WITH_CODE:
        reason = "own_code"
    elif not is_causal:
        reason = "not_causal"
    elif quantised and quantised not in PACKED:
        reason = "quantised"
    kinds = variants()

    def refused(stage: str, method: str) -> tuple[str, str] | None:
        if reason:
            return _REASONS[reason]
        if quantised and (method not in ADAPTERS or stage == "rm"):
            return _REASONS["packed"]
        return _by_rules(stage, method) or _by_family(method, family)

    return [
        Capability(stage, method, refused(stage, method))
        for stage in kinds["stage"]
        for method in kinds["adapter"]
    ]


@cache
def _by_rules(stage: str, method: str) -> tuple[str, str] | None:
    """Why a recipe with both is refused whatever the model, in English and in Chinese."""
    problem = refusal(Choice(stage, method))
    if problem is None:
        return None
    return _REASONS.get(problem.code) or _in_words(problem)


@cache
def _by_family(method: str, family: str) -> tuple[str, str] | None:
    """Why models of a family do not take a method; nobody knows of one without a name."""
    problem = refusal_of_family(method, family) if family else None
    return None if problem is None else _in_words(problem)


def _in_words(problem: Problem) -> tuple[str, str]:
    en, zh = (problem.in_language(language) for language in ("en", "zh"))
    return f"{en.message} {en.hint}", f"{zh.message}{zh.hint}"


def memory_bytes(parameters: int, method: str) -> int:
    """Weights, gradients and optimizer on a GPU in bfloat16; what a batch takes comes on top."""
    if method == "full":
        return parameters * _FULL_BYTES
    return round(parameters * 2 + parameters * _LORA_SHARE * 16)


def size_label(parameters: int) -> str:
    """596000000 -> 0.6B, 134500000 -> 135M, 1930000 -> 1.9M"""
    for unit, amount in (("B", 1e9), ("M", 1e6)):
        number = parameters / amount
        if number >= 0.45:
            return (
                f"{number:.1f}".removesuffix(".0") + unit if number < 100 else f"{number:.0f}{unit}"
            )
    return f"{parameters / 1e3:.0f}K"


def context_label(tokens: int) -> str:
    """4096 -> 4k"""
    return f"{tokens / 1024:.0f}k" if tokens >= 1024 else str(tokens)


@cache
def _catalog() -> _Catalog:
    text = (resources.files("tunesmith.models") / "presets.yaml").read_text(encoding="utf-8")
    return _Catalog.model_validate(yaml.safe_load(text))

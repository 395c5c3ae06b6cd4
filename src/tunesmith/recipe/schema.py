"""The recipe: the only description of a training. Read this first, then the sections it names."""

from __future__ import annotations

from typing import Self

from pydantic import ValidationInfo, model_validator

from tunesmith.recipe.checks import contradictions
from tunesmith.recipe.dataset import Data
from tunesmith.recipe.fields import Section, field, required, section
from tunesmith.recipe.gate import Gate
from tunesmith.recipe.model import Adapter, Lora, Model
from tunesmith.recipe.stages import Sft, Stage
from tunesmith.recipe.training import Export, Report, Training


class Recipe(Section):
    """What to train: model, method, data and every number, complete and frozen."""

    name: str = field(
        "run",
        "Name of the run and of its result.",
        "训练任务及其结果的名称。",
        aliases="run_name model_name suffix",
        changes="records",
        min_length=1,
    )
    profile: str = field(
        "default",
        "Named set of defaults and ranges that fills what is not written.",
        "配置档：一组命名的默认值和取值范围，用于补全未填写的项。",
    )
    preset: str | None = field(
        None,
        "Named set of values on top of the profile; what is written wins over it.",
        "预设：在配置档之上的一组取值；明确填写的值优先。",
    )
    model: Model = required("The model that training starts from.", "训练的起点模型。")
    adapter: Adapter = section(Lora, "Which weights are trained.", "训练哪些参数。")
    stage: Stage = section(Sft, "What is learned from the data.", "从数据中学习什么。")
    data: Data = required("Rows to learn from.", "训练数据。")
    training: Training = section(Training, "How the model learns.", "如何训练。")
    export: Export = section(Export, "What is written at the end.", "训练结束时输出什么。")
    gate: Gate = section(Gate, "When the result counts as better.", "何时判定结果更好。")
    report: Report = section(Report, "Where the curves go.", "训练曲线发送到哪里。")

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo) -> Self:
        if info.context is None or info.context.get("check_fields_together", True):
            found = contradictions(self)
            if found:
                told = (each.problem for each in found)
                raise ValueError(" ".join(f"{each.message} {each.hint}" for each in told))
        return self

    @property
    def tokens_per_checkpoint(self) -> int:
        """Upper estimate of the tokens learned between two checkpoints: steps x rows x length."""
        training = self.training
        step = training.batch_tokens or training.batch_size * self.data.max_length
        return training.checkpoint.every_steps * step

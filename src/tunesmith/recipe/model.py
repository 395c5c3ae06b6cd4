"""The base model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.recipe.adapters import Adapter, Full, Lora, as_list, names_in
from tunesmith.recipe.fields import Section, field, required

__all__ = ["Adapter", "Full", "Lora", "Model"]


class Model(Section):
    """The model that training starts from."""

    base: str = required(
        "Base model: a hub id, a local folder, `starter`, or an earlier result. Bigger models "
        "answer better and need more memory and time; the biggest is not always the best choice.",
        "基座模型：模型仓库 ID、本地目录、`starter` 或之前的训练结果。模型越大效果通常越好，但需要"
        "更多显存和时间；最大的不一定最合适。",
        aliases="model_name_or_path base_model 训练模型 基座模型",
        min_length=1,
    )
    source: Literal["auto", "hub", "modelscope", "local"] = field(
        "auto",
        "Where the base comes from. `auto`: a folder if it exists, else Hugging Face (ModelScope "
        "with USE_MODELSCOPE_HUB=1).",
        "基座模型的来源。`auto`：目录存在则用本地目录，否则用 Hugging Face（设置"
        " USE_MODELSCOPE_HUB=1 时用 ModelScope）。",
        aliases="model_source",
        spellings="huggingface=hub hf=hub ms=modelscope",
    )
    revision: str = field(
        "main",
        "Branch, tag or commit on the hub. A commit makes the run repeatable.",
        "模型仓库的分支、标签或提交号。写提交号可保证结果可复现。",
        aliases="model_revision",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(
        "auto",
        "Number format of computing. `auto`: bfloat16 where the GPU has it, else float32. "
        "bfloat16 halves memory; float32 is exact and slow on a GPU. float16 is for GPUs without "
        "bfloat16, such as V100 and T4: as small, with losses scaled against underflow "
        "(training.loss_scale). What is trained has exact float32 weights beside it in either.",
        "计算精度。`auto`：GPU 支持时用 bfloat16，否则用 float32。bfloat16 显存减半；float32 更精"
        "确，但在 GPU 上较慢。float16 用于不支持 bfloat16 的 GPU（如 V100、T4）：显存相同，通过缩放"
        "损失避免下溢（training.loss_scale）。两种 16 位精度下，被训练的参数都另存一份 float32 精确"
        "值。",
        aliases="torch_dtype compute_type fp16 bf16 pure_bf16 计算类型 计算精度",
        spellings="fp32=float32 bf16=bfloat16 fp16=float16 pure_bf16=bfloat16 half=float16",
    )
    quantization: Literal["none", "nf4", "int8"] = field(
        "none",
        "QLoRA: keep the frozen weights of the layers in 4 bits (`nf4`, with double quantisation) "
        "or 8 bits (`int8`), with adapter.kind: lora. A quarter or half of the memory of bfloat16; "
        "slower steps, a slightly lower quality. Needs bitsandbytes. The result is an ordinary "
        "adapter on the whole base.",
        "QLoRA：冻结的各层权重以 4 位（`nf4`，含双重量化）或 8 位（`int8`）保存，须配合"
        " adapter.kind: lora。权重显存约为 bfloat16 的四分之一或一半；每步较慢，效果略低。需要安装"
        " bitsandbytes。结果是未量化基座上的普通适配器。",
        aliases="量化 量化等级",
        spellings="4bit=nf4 8bit=int8 4=nf4 8=int8",
    )
    new_tokens: str | list[str] = field(
        [],
        "Words that become one token each, such as [<think>, 阿司匹林]. Their vectors begin as the "
        "mean of those of all known tokens and are trained, with adapter.kind: lora too; give them "
        "some hundred rows in which they occur. Beside an adapter the whole model is written.",
        "新增的词，每个词成为一个 token，如 [<think>, 阿司匹林]。其向量以全部已有 token 的平均值"
        "为初始值并参与训练（adapter.kind: lora 时也是）；建议提供数百行含有这些词的数据。除适配"
        "器外，还会写出完整模型。",
        aliases="add_tokens",
    )
    new_special_tokens: str | list[str] = field(
        [],
        "As new_tokens, for marks that steer the model and are no part of what people read, such "
        "as [<|search|>]: programs leave them out of the text of an answer.",
        "同 new_tokens，用于控制模型、不属于正文的标记，如 [<|search|>]：程序输出回答时会将其略"
        "去。",
        aliases="add_special_tokens",
    )
    rope_scaling: Literal["none", "linear", "dynamic", "yarn", "llama3"] = field(
        "none",
        "Stretch the context of a model with rotary positions, for rows longer than it was made "
        "for. `yarn`: keeps short texts nearly as good; the usual choice. `llama3`: as Llama 3.1. "
        "`linear`: simple, needs the most training. `dynamic`: acts only where a text is longer "
        "than the old context, when the result is used; training stays within it. The result is a "
        "whole model, with adapters too.",
        "扩展使用旋转位置编码的模型的上下文，用于比原上下文更长的数据。`yarn`：短文本效果几乎不变，"
        "最常用。`llama3`：Llama 3.1 的方式。`linear`：最简单，需要的训练最多。`dynamic`：仅在使用"
        "时文本超过原上下文才起作用，训练仍限于原上下文。结果为完整模型，用适配器训练时也是如此。",
        aliases="rope_type",
    )
    rope_factor: Annotated[float, Field(ge=1, le=1000)] | Literal["auto"] = field(
        "auto",
        "By how much rope_scaling stretches the context. `auto`: the least whole number that makes "
        "data.max_length fit. Larger ones cost quality.",
        "rope_scaling 将上下文扩展的倍数。`auto`：能容纳 data.max_length 的最小整数。倍数越大，"
        "质量损失越多。",
        unit="times",
    )
    attention: Literal["auto", "flat", "eager", "sdpa"] = field(
        "auto",
        "Attention code. `flat` runs all rows of a micro-batch as one sequence; the others are "
        "for models that it does not know.",
        "注意力实现。`flat` 将一个微批次的所有样本拼成一条序列计算；其余选项用于 `flat` 尚不支持的"
        "模型。",
        aliases="attn_implementation flash_attn",
        spellings="fa2=flat flash_attention_2=flat disabled=eager",
        changes="speed",
    )
    trust_remote_code: bool = field(
        False,
        "Run Python code that comes with the model. It can do anything on this machine: only for "
        "a repository that you have read.",
        "允许运行模型仓库自带的 Python 代码。这些代码可在本机执行任何操作，仅在您审阅过该仓库后开"
        "启。",
    )

    @field_validator("new_tokens", "new_special_tokens", mode="before")
    @classmethod
    def _split_names(cls, names: Any) -> Any:
        return as_list(names)

    @property
    def new_words(self) -> dict[str, bool]:
        """All new tokens in their order, and whether each is special."""
        plain = dict.fromkeys(names_in(self.new_tokens), False)
        return plain | dict.fromkeys(names_in(self.new_special_tokens), True)

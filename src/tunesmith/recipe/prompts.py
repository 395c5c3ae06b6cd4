"""Methods that learn vectors for the model to read, and leave every weight as it is.

Those of `InFront` stand in front of the text; `AdapterTuning` has them beside it.
"""

from __future__ import annotations

from typing import Literal

from tunesmith.recipe.fields import Section, field


class _Vectors(Section):
    """What all of them have."""

    virtual_tokens: int = field(
        20,
        "How many vectors are learned: in front of every text, or (`adapter`) in each of the "
        "layers. More learn more, and take their time in every row; in front of the text each "
        "takes a place of the context, too.",
        "学习的向量个数：位于每段文本之前，或（`adapter`）位于所选的每一层。越多学得越多，每条"
        "数据的计算时间也越长；位于文本之前时，每个还占用一个上下文位置。",
        aliases="num_virtual_tokens adapter_len",
        ge=1,
        le=1000,
    )


class InFront(_Vectors):
    """Vectors that stand in front of the text."""


class Prompt(InFront):
    """Prompt tuning: some vectors in front of the text learn."""

    kind: Literal["prompt"] = "prompt"
    init: Literal["vocabulary", "random"] = field(
        "vocabulary",
        "How the vectors begin. `vocabulary`: as words drawn at random; steadier. `random`: from a "
        "normal distribution; further from anything that the model knows.",
        "向量的初始值。`vocabulary`：随机抽取的词向量，更稳定。`random`：服从正态分布，离模型"
        "熟悉的内容更远。",
        aliases="prompt_tuning_init",
        spellings="sample_vocab=vocabulary SAMPLE_VOCAB=vocabulary RANDOM=random",
    )


class _FromNetwork(InFront):
    """Vectors that a small network makes in training."""

    encoder_width: int = field(
        128,
        "Width of the network that the vectors come from in training; the result holds the vectors "
        "alone. Wider learns more steadily, and takes more memory.",
        "训练时生成向量的网络的宽度；结果只包含向量本身。越宽学得越稳定，占用显存也越多。",
        aliases="encoder_hidden_size",
        ge=1,
        le=16384,
    )


class PTuning(_FromNetwork):
    """P-tuning: the vectors in front of the text come from a small network."""

    kind: Literal["p_tuning"] = "p_tuning"


class Prefix(_FromNetwork):
    """Prefix tuning (Li and Liang 2021): every layer has learned keys and values of its own."""

    kind: Literal["prefix"] = "prefix"
    projection: bool = field(
        False,
        "Let a small network of width encoder_width make the keys and values while training. "
        "Learns more steadily; takes more memory. The result is the same without.",
        "训练时由宽度为 encoder_width 的小网络生成键和值。学习更稳定，但占用更多显存；结果形式"
        "不变。",
        aliases="prefix_projection",
    )


class AdapterTuning(_Vectors):
    """Adapter tuning (LLaMA-Adapter): upper layers attend to learned vectors beside the text.

    A gate for each layer, which begins at zero, says how much of their answer is added.
    """

    kind: Literal["adapter"] = "adapter"
    layers: int = field(
        30,
        "How many of the last layers have vectors; a model with fewer has them in all.",
        "最后多少层带有学习的向量；模型层数不足时为全部层。",
        aliases="adapter_layers",
        unit="layers",
        ge=-1000,
        le=1000,
    )

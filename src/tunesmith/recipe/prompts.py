"""Methods that learn vectors in front of the text, and leave every weight as it is.

`InFront` is what all of them are.
"""

from __future__ import annotations

from typing import Literal

from tunesmith.recipe.fields import Section, field


class InFront(Section):
    """What all of them have."""

    virtual_tokens: int = field(
        20,
        "How many vectors stand in front of every text. More learn more; each takes a place of "
        "the context, and its time in every row.",
        "每段文本之前的向量个数。越多学得越多，但每个都占用一个上下文位置和相应的计算时间。",
        aliases="num_virtual_tokens",
        ge=1,
        le=1000,
    )


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

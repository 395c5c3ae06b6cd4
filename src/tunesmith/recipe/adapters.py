"""Which weights are trained: one section for each method. `ADAPTERS` says which save an adapter."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from tunesmith.recipe.fields import Section, field
from tunesmith.recipe.prompts import AdapterTuning, InFront, Prefix, Prompt, PTuning

ALL_LINEAR: Final = "all-linear"  # every linear layer but the head


def as_list(value: Any) -> Any:
    """'q_proj,v_proj' is a list of names too, and nothing is an empty list."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and "," in value:
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


class Full(Section):
    """All weights are trained: usually the best result, and the most memory and time."""

    kind: Literal["full"] = field(
        "full",
        "Which weights are trained. `full`: all of them; usually the best result, needs the most "
        "memory and time. `lora`: small matrices beside frozen weights; a fraction of the memory, "
        "nearly as good. `freeze`: only some layers of the model itself; little memory, and the "
        "other layers keep what they know. `expand` (LLaMA-Pro): new layers between the old ones, "
        "for new knowledge without forgetting; the model becomes larger. `oft`: turns "
        "frozen weights instead of adding to them; forgets less, at slower steps than LoRA. "
        "`prompt`, `p_tuning`: learn some vectors in front of the text; the smallest results, for "
        "large models and simple tasks, and never merged. `prefix`: learns such vectors in every "
        "layer, which does more. `adapter` (LLaMA-Adapter): upper layers attend to learned vectors "
        "beside the text, gated from zero, so training begins exactly at the base and takes no "
        "place of the context; few families, never merged.",
        "训练方式。`full` 全量微调：更新全部参数，通常效果最好，但最耗显存和时间。"
        "`lora` 局部微调：只训练附加的低秩矩阵，显存占用小得多，效果接近。"
        "`freeze` 冻结微调：只训练模型自身的部分层，显存占用小，其余层保持原有能力。"
        "`expand`（LLaMA-Pro）：在原有层之间插入新层，只训练新层，可学习新知识而不遗忘，但模型会变大。"
        "`oft`：旋转冻结的权重而不是相加，更好地保留基座能力，但每步比 LoRA 慢。"
        "`prompt`、`p_tuning`：只学习文本之前的若干向量，结果最小，适合大模型和简单任务，不能合并。"
        "`prefix`：在每一层都学习这样的向量，作用更强。"
        "`adapter`（LLaMA-Adapter）：上层在文本之外还关注学习的向量，由从零开始的门控加入，因此训练"
        "恰好从基座开始，也不占用上下文位置；只支持少数模型系列，不能合并。",
        aliases="finetuning_type adapter_kind 训练方式 训练方法 微调方式",
        spellings="全量微调=full 全量更新=full 全参数微调=full 局部微调=lora 局部微调/lora=lora "
        "冻结微调=freeze",
    )


class Freeze(Section):
    """Some layers are trained as they are, all others stay frozen."""

    kind: Literal["freeze"] = "freeze"
    layers: int = field(
        2,
        "How many layers are trained: 2 the last two, -2 the first two; not 0. The last ones shape "
        "answers, the first ones read the text. More learn more and take more memory. With kind "
        "`adapter`: how many of the last layers have vectors; a model with fewer has them in all.",
        "训练的层数：2 表示最后两层，-2 表示最前两层，不能为 0。靠后的层决定回答，靠前的层处理"
        "输入。层数越多学得越多，占用显存也越多。`adapter` 时：最后多少层带有学习的向量，模型层数"
        "不足时为全部层。",
        aliases="freeze_trainable_layers trainable_layers",
        unit="layers",
        ge=-1000,
        le=1000,
    )
    modules: str | list[str] = field(
        "all",
        "Which parts of these layers are trained: `all`, or names such as [self_attn] or [mlp].",
        "这些层中训练哪些模块：`all`（全部）或模块名，如 [self_attn]、[mlp]。",
        aliases="freeze_trainable_modules trainable_modules",
        min_length=1,
    )
    extra_modules: str | list[str] = field(
        [],
        "Parts outside of the layers that are trained too, such as [embed_tokens, norm, lm_head].",
        "层之外同时训练的模块，如 [embed_tokens, norm, lm_head]。",
        aliases="freeze_extra_modules",
    )

    @field_validator("modules", "extra_modules", mode="before")
    @classmethod
    def _split_names(cls, names: Any) -> Any:
        return as_list(names)


class Expand(Section):
    """LLaMA-Pro: new layers between the old ones, which alone are trained."""

    kind: Literal["expand"] = "expand"
    blocks: int = field(
        2,
        "How many layers are added, evenly spread; it has to divide the number of layers. More "
        "learn more, and the model becomes larger and slower by as much.",
        "新增的层数，均匀插入原有各层之间；须能整除原有层数。越多学得越多，模型也相应变大变慢。",
        aliases="num_expand expand_blocks",
        unit="layers",
        ge=1,
        le=1000,
    )


class Lora(Section):
    """Low-rank matrices A and B are trained beside frozen weights, and can be merged into them."""

    kind: Literal["lora"] = "lora"
    rank: int = field(
        16,
        "Number of LoRA weights: the inner dimension of each adapter. Higher is more flexible, "
        "and takes more memory.",
        "LoRA 秩：低秩矩阵的维度，决定 LoRA 参数量。越大可训练参数越多、越灵活，占用显存也越多。",
        aliases="lora_rank loraRank lora_r r LoRA秩 LoRA轶值",
        ge=1,
        le=4096,
    )
    alpha: int = field(
        32,
        "How strongly the adapters act: their output is multiplied by alpha / rank. Twice the "
        "rank is usual. Higher learns faster, and too high becomes unstable.",
        "LoRA 影响力的缩放：输出乘以 alpha / rank，通常取秩的两倍。越大学得越快，过大则训练不稳"
        "定。",
        aliases="lora_alpha loraAlpha",
        ge=1,
    )
    dropout: float = field(
        0.0,
        "Share of adapter inputs dropped at random. Protects against overfitting on small data; "
        "slows learning.",
        "随机丢弃适配器输入的比例。数据少时可防止过拟合，但会减慢学习。",
        aliases="lora_dropout loraDropout",
        unit="ratio",
        ge=0,
        lt=1,
    )
    targets: str | list[str] = field(
        ALL_LINEAR,
        "Which layers get adapters: `all-linear`, or a list of module names such as [q_proj, "
        "v_proj]. More layers learn more and take more memory.",
        "为哪些层添加适配器：`all-linear`（全部线性层）或模块名列表，如 [q_proj, v_proj]。层数越多"
        "效果越好，显存占用也越多。",
        aliases="lora_target target_modules lora_targets",
        spellings="all=all-linear",
        min_length=1,
    )
    loraplus_lr_ratio: float = field(
        1.0,
        "LoRA+: how many times faster matrix B learns than A. 1 is off; 8 or 16 recommended. "
        "Published gain: 1-2 % quality and up to about 2x speed at the same compute cost.",
        "LoRA+：矩阵 B 的学习率是矩阵 A 的多少倍。1 表示关闭，推荐 8 或 16。论文结果：效果提升"
        " 1-2 %，同等算力下最高约快 2 倍。",
        unit="times",
        gt=0,
        le=1000,
    )
    rslora: bool = field(
        False,
        "rsLoRA: multiply by alpha / sqrt(rank) in place of alpha / rank. Keeps high ranks (64 and "
        "more) learning; at low ranks it acts like a much higher alpha.",
        "rsLoRA：用 alpha / sqrt(rank) 代替 alpha / rank。高秩（64 以上）时仍能有效学习；低秩时相当"
        "于大幅提高 alpha。",
        aliases="use_rslora rank_stabilized",
    )
    dora: bool = field(
        False,
        "DoRA: learn the length of each row of weights apart from its direction. Often better at "
        "low ranks; clearly slower, and needs more memory.",
        "DoRA：将权重的长度与方向分开学习。低秩时往往效果更好，但明显更慢、更占显存。",
        aliases="use_dora",
    )
    init: Literal["zero", "gaussian", "pissa", "loftq"] = field(
        "zero",
        "How adapters start. `zero`: without any effect. `gaussian`: the same, A drawn from a "
        "normal distribution. `pissa`: from the strongest directions of the weights themselves "
        "(learns faster; the result is saved as an ordinary adapter of twice the rank). `loftq`: "
        "as what model.quantization has rounded off, so that training begins nearer to the whole "
        "model; saved like pissa.",
        "适配器的初始值。`zero`：初始不起作用。`gaussian`：同上，A 服从正态分布。`pissa`：取权重"
        "自身最主要的方向（学得更快；结果保存为秩加倍的普通适配器）。`loftq`：取 "
        "model.quantization 舍去的部分，使训练从更接近完整模型的状态开始；保存方式同 pissa。",
        aliases="init_lora_weights",
        spellings="kaiming=zero default=zero",
    )
    pissa_iterations: int = field(
        16,
        "How exactly `pissa` finds these directions: rounds of a fast approximation; 0 computes "
        "them exactly, which takes long on large models.",
        "`pissa` 求主方向的精度：快速近似的迭代次数；0 表示精确计算，大模型耗时较长。",
        aliases="pissa_iter",
        ge=0,
        le=1000,
    )
    loftq_iterations: int = field(
        5,
        "How often `loftq` takes turns at packing the weights and decomposing what is lost; the "
        "nearest round is used. Each round takes a full decomposition of every layer.",
        "`loftq` 交替量化权重与分解误差的轮数，取误差最小的一轮。每轮都要完整分解每一层。",
        aliases="loftq_iter",
        ge=1,
        le=100,
    )
    modules_to_save: str | list[str] = field(
        [],
        "Parts that are trained whole beside the adapters, such as [embed_tokens, lm_head] for "
        "new words. Takes as much memory as training these parts fully.",
        "与适配器同时完整训练的模块，例如学习新词时的 [embed_tokens, lm_head]。显存占用与全量训练"
        "这些模块相同。",
        aliases="additional_target",
    )
    rank_pattern: str | list[str] = field(
        [],
        "Another rank for some layers: [q_proj=8, layers.0.mlp.up_proj=32].",
        "为部分层单独设置秩：[q_proj=8, layers.0.mlp.up_proj=32]。",
    )
    alpha_pattern: str | list[str] = field(
        [],
        "Another alpha for some layers: [q_proj=16].",
        "为部分层单独设置 alpha：[q_proj=16]。",
    )
    continue_from: str | None = field(
        None,
        "Adapter of an earlier result to go on from: its run or adapter folder. Empty starts new "
        "adapters.",
        "继续训练的起点：之前训练结果的运行目录或适配器目录。留空则从新的适配器开始。",
        aliases="finetuned_model adapter_name_or_path 我的模型",
    )

    merge_first: str | list[str] = field(
        [],
        "Earlier adapters of the same base that are merged into it before training, in this order: "
        "their run or adapter folders, such as [runs/a, runs/b]. The result contains them: it is "
        "one adapter on that base.",
        "训练前依次合并到基座中的已有适配器（须属于同一基座）：其运行目录或适配器目录，如 [runs/a, "
        "runs/b]。结果已包含它们，是该基座上的一个适配器。",
        aliases="adapters_to_merge",
    )

    @field_validator(
        *("targets", "modules_to_save", "rank_pattern", "alpha_pattern", "merge_first"),
        mode="before",
    )
    @classmethod
    def _split_names(cls, names: Any) -> Any:
        return as_list(names)


class Oft(Section):
    """Orthogonal fine-tuning: the inputs of frozen layers are turned, block by block."""

    kind: Literal["oft"] = "oft"
    block_size: int = field(
        32,
        "How many inputs of a layer are turned together; it has to divide the inputs of every "
        "chosen layer. Larger blocks learn more, and take more memory and time.",
        "每个旋转块包含的输入维数，须能整除所选各层的输入维数。越大学得越多，占用显存和时间也越多。",
        aliases="oft_block_size",
        ge=2,
        le=1024,
    )
    targets: str | list[str] = field(
        ALL_LINEAR,
        "Which layers are turned: `all-linear`, or a list of module names such as [q_proj, "
        "v_proj]. More layers learn more and take more memory.",
        "旋转哪些层：`all-linear`（全部线性层）或模块名列表，如 [q_proj, v_proj]。层数越多学得"
        "越多，显存占用也越多。",
        aliases="oft_target",
        spellings="all=all-linear",
        min_length=1,
    )
    block_share: bool = field(
        False,
        "Turn all blocks of a layer alike: far fewer trained weights, and it learns less.",
        "同一层的所有块共用一个旋转：可训练参数少得多，学得也更少。",
    )
    exact_rotation: bool = field(
        False,
        "Compute each rotation exactly, by solving equations, in place of a short series. Lengths "
        "and angles are kept at any learning rate; slower.",
        "用解方程精确计算旋转，而不用短级数近似。任何学习率下都保持长度和夹角不变，但更慢。",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _split_names(cls, names: Any) -> Any:
        return as_list(names)


def told(adapter: Adapter, language: str = "en") -> str:
    """The method in a few words, behind the name of the stage."""
    zh = language == "zh"
    if isinstance(adapter, Full):
        return "全量更新" if zh else "of all weights"
    if isinstance(adapter, Freeze):
        number = abs(adapter.layers)
        if zh:
            return f"只训练{'最后' if adapter.layers > 0 else '最前'} {number} 层"
        return f"of the {'last' if adapter.layers > 0 else 'first'} {number} layers"
    if isinstance(adapter, Expand):
        blocks = adapter.blocks
        return f"新增 {blocks} 层（LLaMA-Pro）" if zh else f"of {blocks} new layers (LLaMA-Pro)"
    if isinstance(adapter, Oft):
        size = adapter.block_size
        return f"OFT（块大小 {size}）" if zh else f"with OFT (blocks of {size})"
    if isinstance(adapter, InFront):
        name = {"prompt": "prompt tuning", "p_tuning": "P-tuning"}.get(
            adapter.kind, "prefix tuning"
        )
        count = adapter.virtual_tokens
        return f"{name}（{count} 个向量）" if zh else f"with {name} ({count} vectors)"
    if isinstance(adapter, AdapterTuning):
        count, layers = adapter.virtual_tokens, adapter.layers
        if zh:
            return f"adapter tuning（最后 {layers} 层各 {count} 个向量）"
        return f"with adapter tuning ({count} vectors in each of the last {layers} layers)"
    name = ("rs" if adapter.rslora else "") + ("DoRA" if adapter.dora else "LoRA")
    if zh:
        return f"{name}（秩 {adapter.rank}，alpha {adapter.alpha}）"
    return f"with {name} (rank {adapter.rank}, alpha {adapter.alpha})"


def patterns(written: str | list[str]) -> dict[str, int]:
    """['q_proj=8'] -> {'q_proj': 8}; what is not written so was refused before."""
    pairs = (each.partition("=") for each in names_in(written) if is_pattern(each))
    return {name.strip(): int(number) for name, _, number in pairs}


def is_pattern(written: str) -> bool:
    """True for name=number, the number at least 1."""
    name, mark, number = written.partition("=")
    number = number.strip()
    return bool(mark and name.strip()) and number.isascii() and number.isdigit() and int(number) > 0


def names_in(value: str | list[str]) -> list[str]:
    """One name or several, as a list."""
    return [value] if isinstance(value, str) else list(value)


Adapter = Annotated[
    Full | Freeze | Expand | Lora | Oft | Prompt | PTuning | Prefix | AdapterTuning,
    Field(discriminator="kind"),
]

IN_FRONT = frozenset({"prompt", "p_tuning", "prefix"})
"""Methods that learn vectors in front of the text: no part of any weight."""

ADAPTERS = frozenset({"lora", "oft", "adapter"}) | IN_FRONT
"""Methods whose result is an adapter beside the base; that of the others is a whole model."""


def starts_as_base(adapter: Adapter, *, new_words: bool = False) -> bool:
    """True where switching the adapters off gives the model as it was before training.

    Vectors of new words are written into the tables of the base while they are trained.
    """
    if new_words:
        return False
    if not isinstance(adapter, Lora):
        return adapter.kind in ADAPTERS
    begins_away = adapter.init in ("pissa", "loftq")
    return adapter.continue_from is None and not begins_away and not adapter.modules_to_save

"""The base model, and which of its weights are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.recipe.fields import Section, field, required


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
        "bfloat16 halves memory; float32 is exact and slow on a GPU.",
        "计算精度。`auto`：GPU 支持时用 bfloat16，否则用 float32。bfloat16 显存减半；float32 更精"
        "确，但在 GPU 上较慢。",
        aliases="torch_dtype compute_type fp16 bf16 pure_bf16 计算类型 计算精度",
        spellings="fp32=float32 bf16=bfloat16 fp16=float16 pure_bf16=bfloat16 half=float16",
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


class Full(Section):
    """All weights are trained: usually the best result, and the most memory and time."""

    kind: Literal["full"] = field(
        "full",
        "Which weights are trained. `full`: all of them; usually the best result, needs the most "
        "memory and time. `lora`: small matrices beside frozen weights; a fraction of the memory, "
        "nearly as good.",
        "训练方式。`full` 全量微调：更新全部参数，通常效果最好，但最耗显存和时间。"
        "`lora` 局部微调：只训练附加的低秩矩阵，显存占用小得多，效果接近。",
        aliases="finetuning_type adapter_kind 训练方式 训练方法 微调方式",
        spellings="全量微调=full 全量更新=full 全参数微调=full 局部微调=lora 局部微调/lora=lora",
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
        "all-linear",
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
    continue_from: str | None = field(
        None,
        "Adapter of an earlier result to go on from: its run or adapter folder. Empty starts new "
        "adapters.",
        "继续训练的起点：之前训练结果的运行目录或适配器目录。留空则从新的适配器开始。",
        aliases="finetuned_model adapter_name_or_path 我的模型",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _split_names(cls, targets: Any) -> Any:
        """'q_proj,v_proj' is a list of names too."""
        if isinstance(targets, str) and "," in targets:
            return [name.strip() for name in targets.split(",") if name.strip()]
        return targets


class Sft(Section):
    """Supervised fine-tuning: the model learns to give the answers of the data."""

    kind: Literal["sft"] = field(
        "sft",
        "Training type. `sft`: learn answers from question-answer data. `pt`: go on with "
        "pre-training on plain text.",
        "训练类型。`sft` 有监督微调：从问答数据中学习回答。`pt` 增量预训练：在纯文本上继续预训练。",
        aliases="stage_kind training_type method.type 训练类型",
        spellings="supervised=sft 有监督微调=sft 监督微调=sft pretrain=pt 增量预训练=pt 预训练=pt",
    )
    loss_on: Literal["all_turns", "last_turn"] = field(
        "all_turns",
        "Which answers of a dialogue are learned. `all_turns` uses the data best; `last_turn` "
        "when earlier answers are only context.",
        "多轮对话中学习哪些回答。`all_turns` 充分利用数据；若之前的回答只是上下文，则选"
        " `last_turn`。",
        spellings="all=all_turns last=last_turn",
    )


class Pretrain(Section):
    """Continued pre-training: every token of a text is learned, nothing is masked."""

    kind: Literal["pt"] = "pt"


Adapter = Annotated[Full | Lora, Field(discriminator="kind")]
Stage = Annotated[Sft | Pretrain, Field(discriminator="kind")]

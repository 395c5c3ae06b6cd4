"""How the weights move: length, rate, batch, and when to look and to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tunesmith.recipe.fields import Section, field, section

StepsOrAuto = Annotated[int, Field(ge=1)] | Literal["auto"]
TokensOrAuto = Annotated[int, Field(ge=8)] | Literal["auto"]


LOW_IS_GOOD = ("loss", "kl")


class Schedule(Section):
    """How the learning rate goes up and down over the training."""

    kind: Literal["cosine", "linear", "constant"] = field(
        "cosine",
        "Curve of the learning rate after warm-up. Keep `cosine` unless you know better: fast at "
        "first, gentle at the end.",
        "预热之后学习率的变化曲线。建议保持 `cosine`：前期快，后期平缓。",
        aliases="lr_scheduler_type lr_scheduler schedule 学习率调整计划",
        spellings="constant_with_warmup=constant cosine_with_min_lr=cosine",
    )
    warmup_ratio: float = field(
        0.1,
        "Share of the whole training in which the rate climbs to its full value. Steadies the "
        "start; too long wastes steps.",
        "学习率从零升到设定值所占的训练比例。可使开始阶段更稳定，过长则浪费训练步数。",
        aliases="热身比例 学习率预热步数占比 预热比例",
        unit="ratio",
        ge=0,
        le=1,
    )
    min_ratio: float = field(
        0.1,
        "Floor of the rate: lowest learning rate = learning rate x this ratio. Higher goes on "
        "learning to the end, lower settles more calmly.",
        "学习率衰减比率：最低学习率 = 学习率 × 该比率。较大则后期仍继续学习，较小则收敛更平稳。",
        aliases="学习率衰减比率 lr_decay_ratio min_lr_rate",
        unit="ratio",
        ge=0,
        le=1,
    )


OptimizerKind = Literal[
    "adamw", "adamw_8bit", "adafactor", "adam_mini", "muon", "galore", "apollo", "badam"
]


class Optimizer(Section):
    """The rule that turns gradients into updates."""

    kind: OptimizerKind = field(
        "adamw",
        "Optimizer. `adamw`: the usual choice for language models; 8 bytes a trained weight. "
        "`adamw_8bit`: nearly the same in 2 bytes, slower. `adam_mini`: half of AdamW's memory. "
        "`adafactor`: almost none, less steady; its step shrinks by itself. `muon`: turns the "
        "gradients of matrices into even steps in all directions; half of AdamW's memory, often "
        "faster when all weights are trained. `galore`, `apollo`: AdamW in a small image of each "
        "matrix's gradient, for training all weights with the memory of LoRA. `badam`: AdamW on "
        "one layer after the other; gradients and moments of a single layer, for large models.",
        "优化器。`adamw`：大语言模型的常用选择，每个训练参数占 8 字节。`adamw_8bit`：效果相近，仅"
        "占 2 字节，但较慢。`adam_mini`：显存为 AdamW 的一半。`adafactor`：几乎不占显存，但不够稳"
        "定，步长会自动减小。`muon`：使矩阵梯度在各方向上步长均匀；显存为 AdamW 的一半，全量训练时"
        "往往更快。`galore`、`apollo`：在每个矩阵梯度的低维投影中运行 AdamW，以接近 LoRA 的显存训练"
        "全部参数。`badam`：逐层运行 AdamW，只需一层的梯度和动量，适合大模型。",
        aliases="optim optimizer 优化器",
        spellings="adamw_torch=adamw adamw_torch_fused=adamw adamw_hf=adamw adam_w=adamw "
        "adamw_bnb_8bit=adamw_8bit adamw_torch_8bit=adamw_8bit galore_adamw=galore "
        "apollo_adamw=apollo",
    )
    weight_decay: float = field(
        0.0,
        "Regularisation: pulls weights towards zero at each step, against overfitting. 0.01 to "
        "0.1 is usual; too much keeps the model from learning.",
        "权重衰减：正则化手段，每步使权重向零收缩，防止过拟合。常用 0.01-0.1，过大则学不动。",
        aliases="权重衰减数值 权重衰减",
        ge=0,
        le=1,
    )
    beta1: float = field(
        0.9,
        "Memory of the mean gradient. Rarely changed.",
        "梯度一阶矩的衰减系数，一般无需修改。",
        aliases="adam_beta1",
        ge=0,
        lt=1,
    )
    beta2: float = field(
        0.999,
        "Memory of the squared gradient. 0.95 reacts faster and suits long pre-training.",
        "梯度二阶矩的衰减系数。0.95 反应更快，适合较长的预训练。",
        aliases="adam_beta2",
        ge=0,
        lt=1,
    )
    epsilon: float = field(
        1e-8,
        "Keeps the update finite where gradients vanish. Rarely changed.",
        "梯度接近零时防止除零的小量，一般无需修改。",
        aliases="adam_epsilon",
        gt=0,
        le=1,
    )
    block_switch_steps: int = field(
        50,
        "badam: steps that a layer learns before the next one has its turn, with fresh moments. "
        "The run should be long enough for every layer: at least layers x this.",
        "badam：每层连续训练的步数，之后换到下一层并重新累积动量。总步数至少应为层数 × 该值，使每层"
        "都得到训练。",
        aliases="badam_switch_interval",
        unit="steps",
        ge=1,
    )
    block_order: Literal["ascending", "descending", "random"] = field(
        "ascending",
        "badam: order of the layers. `ascending`: from the words on, `descending`: from the answer "
        "on, which also spares most of the backward pass at first; `random`: each once a round.",
        "badam：各层的顺序。`ascending`：从输入端开始；`descending`：从输出端开始，初期反向计算也更"
        "少；`random`：每轮每层一次，顺序随机。",
        aliases="badam_switch_mode",
    )
    projection_rank: int = field(
        128,
        "galore, apollo: rows of the image of a gradient. Higher keeps more of it and takes more "
        "memory; a quarter of the width of the model is usual.",
        "galore、apollo：梯度投影的秩。越大保留的信息越多、越占显存；通常取模型宽度的四分之一。",
        aliases="galore_rank apollo_rank",
        ge=1,
        le=65536,
    )
    projection_gap: int = field(
        200,
        "galore, apollo: steps until the projection is made anew. Smaller follows the gradient "
        "better; for galore each time costs a decomposition.",
        "galore、apollo：重新计算投影的间隔步数。越小越能跟随梯度变化；galore 每次都要做一次分解。",
        aliases="galore_update_interval apollo_update_interval",
        unit="steps",
        ge=1,
    )
    projection_scale: float = field(
        1.0,
        "galore, apollo: factor of the updates of matrices. galore: 0.25 to 2; apollo takes its "
        "square root: 1 at usual ranks, 128 at rank 1.",
        "galore、apollo：矩阵更新的缩放系数。galore 取 0.25-2；apollo 取其平方根：通常的秩取 1，"
        "秩为 1 时取 128。",
        aliases="galore_scale apollo_scale",
        gt=0,
        le=10000,
    )


class LossScaling(Section):
    """How losses are scaled with float16, whose smallest number many gradients fall below."""

    initial: float = field(
        65536.0,
        "float16: what the loss is multiplied with at first. Where gradients become too large, the "
        "step is left out and this is halved. Lower it if many first steps are left out.",
        "float16：损失的初始放大倍数。梯度溢出时跳过该步并将其减半。若开始时跳过的步数较多，可调"
        "小。",
        aliases="init_scale",
        ge=1,
        le=2**24,
    )
    growth_steps: int = field(
        2000,
        "float16: updates in a row without overflow after which the factor is doubled.",
        "float16：连续多少次更新没有溢出后，放大倍数加倍。",
        aliases="growth_interval loss_scale_window",
        unit="steps",
        ge=1,
    )


class Evaluate(Section):
    """When the model is measured on the validation rows."""

    every_steps: StepsOrAuto = field(
        "auto",
        "Steps between two evaluations; `auto` gives about ten in a run. More often shows "
        "overfitting sooner and makes training longer.",
        "两次评估之间的步数；`auto` 表示整个训练约评估十次。越频繁越早发现过拟合，但训练时间更长。",
        aliases="eval_steps evaluate_every_steps 评估间隔",
        unit="steps",
    )


class Checkpoint(Section):
    """What is kept of a run, to resume it or to choose another step as its result."""

    every_steps: int = field(
        100,
        "Steps between two checkpoints; the final state is always saved. More often loses less "
        "after a fault and makes training longer. Tokens in between = steps x batch size x length.",
        "两次保存之间的步数；最终状态总会保存。越频繁，故障时损失越少，但训练时间更长。"
        "间隔内的 token 数 = 步数 × 批量大小 × 序列长度。",
        aliases="save_steps checkpoint_every_steps 模型保存步数 Checkpoint保存间隔数",
        unit="steps",
        changes="records",
        ge=1,
    )
    keep: int = field(
        3,
        "How many checkpoints are kept, the newest ones and the best. Saving more makes training "
        "longer and fills the disk. At least 2, so that a broken one never costs the run.",
        "保留的 Checkpoint 个数（最新的和最好的）。保存越多训练越久、占用磁盘越多。至少 2 个，以免"
        "一个损坏就丢失训练。",
        aliases="save_total_limit Checkpoint保存个数",
        changes="records",
        ge=2,
    )


Metric = Literal[
    "loss",
    "token_accuracy",
    "reward_accuracy",
    "reward_margin",
    "chosen_log_prob",
    "reward",
    "kl",
]


class Stop(Section):
    """When a run ends before its last step, and what it keeps."""

    metric: Metric = field(
        "loss",
        "What says which evaluation is the best, for early stopping and for the result. `loss` "
        "fits every training; with preferences `reward_accuracy` (share of pairs told apart) is "
        "closer to the aim, and coarser; with grpo `reward` (its loss is minus the reward). `loss` "
        "and `kl` are better when low, the others when high.",
        "以哪项指标判断最好的一次评估，用于早停和选取结果。`loss` 适用于所有训练；偏好训练中"
        " `reward_accuracy`（区分正确的偏好对比例）更接近目标，但较粗；grpo 可用 `reward`（其损失"
        "为负的奖励）。`loss` 和 `kl` 越低越好，其余越高越好。",
        aliases="metric_for_best_model",
        spellings="eval_loss=loss eval_rewards/accuracies=reward_accuracy "
        "eval_rewards/margins=reward_margin eval_reward=reward",
    )
    patience: int | None = field(
        None,
        "Early stopping: end after this many evaluations without a lower validation loss. Saves "
        "time and prevents overfitting; too small stops at a bump. Empty: never.",
        "早停：验证损失连续这么多次评估没有下降就停止。可节省时间并防止过拟合，过小会因波动过早停"
        "止。留空则不启用。",
        aliases="early_stopping_patience early_stopping_steps 早停",
        unit="evaluations",
        ge=1,
    )
    target_loss: float | None = field(
        None,
        "End when the loss is down to this value: the validation loss where there are validation "
        "rows, else the training loss of a step. A useful band is 0.7 to 1.4. Empty: never.",
        "损失降到该值时停止：有验证集时看验证损失，否则看单步训练损失。参考区间为 0.7-1.4。"
        "留空则不启用。",
        ge=0,
    )
    restore_best: bool = field(
        True,
        "The result is the checkpoint that was best by `metric`, not the last one.",
        "以 `metric` 最好的 Checkpoint 作为结果，而不是最后一个。",
        aliases="load_best_model_at_end",
    )

    def value_of(self, metrics: Mapping[str, float]) -> float:
        """What is watched, turned so that lower is better; a missing one is the worst."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return math.inf
        return value if self.metric in LOW_IS_GOOD else -value


class Training(Section):
    """How long, how fast and in how large steps the model learns."""

    epochs: float = field(
        3.0,
        "How often the model sees every row. More for few rows, at most 10 advised; too many "
        "recite instead of understanding. A training loss of 0.7 to 1.4 is a good end.",
        "每条数据训练的轮数。数据少可多几轮，建议不超过 10；过多会死记硬背。训练损失在 0.7-1.4 之"
        "间较理想。",
        aliases="num_train_epochs n_epochs epoch 训练轮数 迭代轮次",
        unit="epochs",
        gt=0,
        le=10000,
    )
    max_steps: int | None = field(
        None,
        "At most this many optimizer steps; the run ends earlier when the epochs are done. Empty: "
        "no limit.",
        "最多的训练步数；轮数先完成则提前结束。留空则不限制。",
        unit="steps",
        spellings="-1=null",
        ge=1,
    )
    batch_size: int = field(
        16,
        "Rows per weight update: per device x accumulation x devices (4 x 2 on one device is 8; "
        "1-2 per device is the usual advice below 10 B parameters). Bigger is faster and steadier, "
        "takes more memory (micro_batch_tokens limits it), and may fail to converge or overfit. "
        "Batch size and learning rate go up and down together.",
        "每次更新参数使用的数据条数：每卡条数 × 累积步数 × 卡数（单卡 4 × 2 即 8；10 B 以下的模型"
        "通常建议每卡 1-2 条）。越大训练越快、越稳定，但占用显存更多（可用 micro_batch_tokens 限"
        "制），也可能不收敛或过拟合。批量大小与学习率应同增同减。",
        aliases="effective_batch_size batchsize per_device_train_batch_size "
        "gradient_accumulation_steps 数据批量大小 批处理大小",
        unit="rows",
        ge=1,
    )
    batch_tokens: int | None = field(
        None,
        "Instead of batch_size: as many rows per update as fit into this many tokens, packed over "
        "the whole dataset. Fullest use of a GPU, other mathematics: long rows then share an "
        "update with fewer others.",
        "代替 batch_size：每次更新取满这么多 token，跨整个数据集打包。GPU 利用率最高，但训练过程不"
        "同：长数据与更少的其他数据共享一次更新。",
        aliases="packing",
        unit="tokens",
        ge=8,
    )
    learning_rate: float = field(
        1e-4,
        "Size of the steps. Higher learns faster and may become unstable or forget; lower is "
        "safer and slower. With few rows start at 5e-5. It goes up and down together with the "
        "batch size.",
        "学习率：每步更新的幅度。越大学得越快，但可能不稳定或遗忘；越小越稳但更慢。数据较少时建议"
        "从 5e-5 开始。应与批量大小同增同减。",
        aliases="lr learning_rate_multiplier 学习率",
        ge=0,
        le=1,
    )
    schedule: Schedule = section(Schedule, "Course of the learning rate.", "学习率的变化过程。")
    optimizer: Optimizer = section(Optimizer, "Rule of the updates.", "参数更新规则。")
    loss_scale: LossScaling = section(
        LossScaling, "Scaling of losses, with float16 only.", "损失缩放，仅用于 float16。"
    )
    master_weights: bool = field(
        True,
        "With bfloat16 and all weights trained: keep an exact float32 copy of each trained weight "
        "beside it, which updates add up in. Off (pure bfloat16) saves 4 of 18 bytes a weight: "
        "updates are rounded into the weights by chance, right on average, a little noisier.",
        "bfloat16 全量训练时，为每个被训练的参数另存一份 float32 精确值，用于累积更新。关闭（纯"
        " bfloat16）可将每个参数的 18 字节减少 4 字节：更新以随机舍入写入参数，平均值准确，噪声略"
        "大。",
    )
    update_in_backward: bool = field(
        False,
        "Update each layer as soon as backward is through with it, so that gradients take the "
        "memory of one layer, not of all: nearly 4 bytes a trained weight less, same result. "
        "Needs max_grad_norm 0, AdamW, no adapter, and one process; a step is computed at once, so "
        "keep batch_size small.",
        "反向计算每经过一层就立即更新该层，梯度只占一层而非所有层的显存：每个被训练的参数约省 4 字"
        "节，结果不变。需要 max_grad_norm 为 0、使用 AdamW、不用适配器、单进程；每步一次算完，因此"
        " batch_size 宜小。",
        aliases="optimizer_in_bwd",
    )
    max_grad_norm: float = field(
        1.0,
        "Gradients longer than this are shortened to it. Prevents leaps on odd rows; too small "
        "slows learning. 0 is off.",
        "梯度裁剪：超过该范数的梯度会被缩短。可防止异常数据造成的剧烈更新，过小则学习变慢。0 表示"
        "关闭。",
        aliases="gradient_clipping grad_clip 梯度裁剪",
        ge=0,
    )
    seed: int = field(
        42,
        "Start of all random choices. The same seed on the same data gives the same run.",
        "随机种子。相同的种子和数据得到相同的训练过程。",
        aliases="random_seed 随机种子",
        ge=0,
        le=2**32 - 1,
    )
    micro_batch_tokens: TokensOrAuto = field(
        "auto",
        "Tokens computed at once; a longer row is computed alone. Only memory and speed: lower it "
        "when memory runs out; the result stays the same.",
        "一次计算的 token 数，更长的数据单独计算。只影响显存和速度：显存不足时调小，结果不变。",
        unit="tokens",
        changes="speed",
    )
    log_every_steps: int = field(
        1,
        "Steps between two lines of the log.",
        "两条日志之间的步数。",
        aliases="logging_steps",
        unit="steps",
        changes="records",
        ge=1,
    )
    activation_checkpointing: Literal["auto", "off", "selective", "full"] = field(
        "auto",
        "Compute activations twice instead of keeping them. `off`: fastest, takes most memory. "
        "`full`: those of every layer; much less memory, about a third slower. `selective`: those "
        "of every second layer; half of the saving for half of the time. `auto`: the first of off, "
        "selective and full whose estimate fits into the memory that is free at the start; "
        "`tunesmith plan` says which. Same result.",
        "重新计算激活值而不保存。`off`：最快，占用内存最多；`full`：所有层都重新计算，显存大幅减少，"
        "速度约慢三分之一；`selective`：每两层重新计算一层，节省和耗时均约为一半。`auto`：依次取 "
        "off、selective、full 中估算能放入启动时空闲内存的第一个，`tunesmith plan` 会显示所选。"
        "结果不变。",
        aliases="gradient_checkpointing",
        spellings="true=full false=off",
        changes="speed",
    )
    activation_offload: bool = field(
        False,
        "Keep activations in main memory, not on the GPU, until backward needs them: room for "
        "longer rows or a larger model, but each one travels there and back, and main memory has "
        "to hold them. With activation_checkpointing full only the inputs of layers travel, which "
        "is least. Same result. Try activation_checkpointing alone first; needs a GPU (CUDA).",
        "激活值在反向计算用到之前保存在主内存而不是 GPU 上：可容纳更长的数据或更大的模型，但每个激"
        "活值都要往返传输，且主内存要放得下。与 activation_checkpointing: full 一起使用时只传输各层"
        "的输入，传输量最小。结果不变。建议先单独使用 activation_checkpointing；需要 GPU（CUDA）。",
        aliases="enable_activation_offloading",
        changes="speed",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        "auto",
        "Where to compute. `auto` takes a GPU when there is one.",
        "计算设备。`auto` 表示有 GPU 时使用 GPU。",
        changes="speed",
        spellings="gpu=cuda",
    )
    evaluate: Evaluate = section(Evaluate, "When to measure.", "何时评估。")
    checkpoint: Checkpoint = section(Checkpoint, "What to keep.", "保存什么。")
    stop: Stop = section(Stop, "When to end early.", "何时提前结束。")

    @property
    def recomputed_layers(self) -> int:
        """Activations of every n-th layer are computed twice; 0: of none."""
        assert self.activation_checkpointing != "auto", "models/memory.py decides that first"
        return {"off": 0, "selective": 2, "full": 1}[self.activation_checkpointing]


class Export(Section):
    """What is written at the end, beside the adapter or the model."""

    merge: bool = field(
        False,
        "Also write the model with the adapter merged in: runs anywhere without PEFT, takes the "
        "disk space of the whole model.",
        "同时输出合并了适配器的完整模型：无需 PEFT 即可运行，但占用完整模型的磁盘空间。",
        aliases="export_merge",
        changes="records",
    )


class Report(Section):
    """Where the curves go, besides the run directory.

    What fails on the way cannot stop a run; a package that is not installed is told before it.
    """

    curves: bool = field(
        True,
        "Draw the curves as pictures (PNG and SVG) beside the result.",
        "把曲线绘成图片（PNG 和 SVG），放在结果旁边。",
        changes="records",
    )
    tensorboard: bool = field(
        True,
        "Write TensorBoard files into the run.",
        "在运行目录中写入 TensorBoard 文件。",
        changes="records",
    )
    wandb: bool = field(
        False,
        "Send curves to Weights & Biases.",
        "将曲线发送到 Weights & Biases。",
        changes="records",
    )
    wandb_project: str = field(
        "tunesmith",
        "Project of Weights & Biases.",
        "Weights & Biases 的项目。",
        changes="records",
        min_length=1,
    )
    wandb_entity: str = field(
        "",
        "Team or user of Weights & Biases; empty: that of the account.",
        "Weights & Biases 的团队或用户；空表示账号默认值。",
        changes="records",
    )
    wandb_name: str = field(
        "",
        "Name of the run at Weights & Biases; empty: that of the recipe.",
        "在 Weights & Biases 中的名称；空表示配方的名称。",
        changes="records",
    )
    wandb_tags: str | list[str] = field(
        "",
        "Tags at Weights & Biases: one, or a list.",
        "Weights & Biases 的标签：一个或列表。",
        changes="records",
    )
    mlflow: bool = field(
        False, "Send curves to MLflow.", "将曲线发送到 MLflow。", changes="records"
    )
    swanlab: bool = field(
        False,
        "Send curves to SwanLab.",
        "将曲线发送到 SwanLab。",
        aliases="use_swanlab",
        changes="records",
    )

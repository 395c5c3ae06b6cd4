"""What is learned from the data: one section for each training type.

The preference stages compare answers. `dpo` and `kto` measure how far the model has moved from a
reference, which is the model as it was before training; the others need none. `grpo` learns from
rewards of its own answers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tunesmith.recipe.fields import Section, field
from tunesmith.recipe.rewards import AnyReward


class Sft(Section):
    """Supervised fine-tuning: the model learns to give the answers of the data."""

    kind: Literal["sft"] = field(
        "sft",
        "Training type. `sft`: learn answers from question-answer data. `pt`: go on with "
        "pre-training on plain text. From pairs of a better and a worse answer: `dpo` (the usual "
        "choice), `simpo` and `orpo` (no reference: faster, less memory; `orpo` teaches answers "
        "at the same time), `cpo`, `rm` (a model that scores answers). `kto`: from single answers "
        "marked as good or bad. `grpo`: reinforcement, from rewards of the model's own answers.",
        "训练类型。`sft` 有监督微调：从问答数据中学习回答。`pt` 增量预训练：在纯文本上继续预训练。"
        "基于偏好对（较好与较差的回答）：`dpo`（常用）、`simpo` 和 `orpo`（无需参考模型，更快更省"
        "显存；`orpo` 同时学习回答）、`cpo`、`rm`（训练给回答打分的奖励模型）。`kto`：基于单条标记"
        "为好或坏的回答。`grpo`：强化学习，从模型自己回答的奖励中学习。",
        aliases="stage_kind training_type method.type 训练类型",
        spellings="supervised=sft 有监督微调=sft 监督微调=sft pretrain=pt 增量预训练=pt 预训练=pt "
        "reward=rm reward_modeling=rm 奖励模型=rm 偏好优化=dpo 直接偏好优化=dpo reinforcement=grpo "
        "强化学习=grpo",
    )
    loss_on: Literal["all_turns", "last_turn"] = field(
        "all_turns",
        "Which answers of a dialogue are learned. `all_turns` uses the data best; `last_turn` "
        "when earlier answers are only context.",
        "多轮对话中学习哪些回答。`all_turns` 充分利用数据；若之前的回答只是上下文，则选"
        " `last_turn`。",
        spellings="all=all_turns last=last_turn",
    )
    label_smoothing: float = field(
        0.0,
        "How much the labels are doubted. sft: this share of the target goes to all tokens alike "
        "(0.1 is usual; against overconfidence, and the loss reads higher). Preferences: the "
        "share of pairs that are taken to be the wrong way round, for noisy judgements.",
        "标签平滑：对标签的怀疑程度。sft：将目标概率的这一比例均分给所有词元（常用 0.1，防止过度自"
        "信，损失数值会偏高）。偏好训练：假定有这一比例的偏好对标反了，适合有噪声的标注。",
        aliases="label_smoothing_factor dpo_label_smoothing",
        unit="ratio",
        ge=0,
        lt=0.5,
    )
    neftune_alpha: float = field(
        0.0,
        "NEFTune: strength of the noise on the embeddings while training. 5 often makes answers "
        "longer and livelier on small data; it can blur facts. 0 is off.",
        "NEFTune：训练时向词嵌入加入噪声的强度。数据较少时取 5 常使回答更长更生动，但可能使事实变得"
        "模糊。0 表示关闭。",
        aliases="neftune_noise_alpha",
        ge=0,
        le=100,
    )


class Pretrain(Section):
    """Continued pre-training: every token of a text is learned, nothing is masked."""

    kind: Literal["pt"] = "pt"


_BETA_EN = (
    "How firmly the model is held: with a reference, how near to it (0.1 is usual: 0.01 moves "
    "far, 0.5 hardly); without one, the sharpness of the comparison (simpo: 2 to 10), or in orpo "
    "the weight of the comparison. grpo: weight of the KL to the reference; 0 (usual) needs none."
)
_BETA_ZH = (
    "约束强度：有参考模型时表示与其保持多近（常用 0.1；0.01 变化大，0.5 几乎不变）；无参考模型时表"
    "示比较的锐度（simpo 取 2-10），在 orpo 中为比较项的权重。grpo：与参考模型的 KL 散度的权重，0"
    "（常用）"
    "表示不用参考模型。"
)
_FTX_EN = (
    "Weight of the usual loss on the better answers, added to the comparison. Keeps their "
    "likelihood from falling and the style stable; too much turns it into plain sft. cpo uses 1."
)
_FTX_ZH = (
    "在偏好损失之外，对较好回答附加的监督损失的权重。可防止其概率下降、保持风格稳定；过大则退化为"
    "普通"
    "的 sft。cpo 默认取 1。"
)
_REFERENCE_EN = (
    "Where the probabilities of the model before training come from. `adapter_off`: each step "
    "computes them with the adapter switched off (starts at once). `cached`: computed for all "
    "rows before the first step and kept with the run (faster from the second epoch on, and the "
    "only way when all weights are trained). `copy` (grpo with all weights trained): a second "
    "model "
    "in memory. `auto` chooses."
)
_REFERENCE_ZH = (
    "参考概率（训练前的模型）的来源。`adapter_off`：每一步关闭适配器计算（立即开始）。`cached`：在"
    "第一"
    "步之前为全部数据计算并随运行保存（从第二轮起更快；全量训练只能如此）。`copy`（全量训练的 grpo"
    "）：在"
    "内存中保留第二份模型。`auto` 自动选择。"
)


class Dpo(Section):
    """Direct preference optimisation: the better answer gains on the worse one."""

    kind: Literal["dpo"] = "dpo"
    loss: Literal["sigmoid", "hinge", "ipo", "robust"] = field(
        "sigmoid",
        "Form of the loss. `sigmoid`: the usual one. `hinge`: stops pushing once a pair is clear. "
        "`ipo`: aims at a fixed margin per token, against overfitting. `robust`: corrects for "
        "label_smoothing of flipped pairs. kto: `kto`, or `apo_zero_unpaired`, which needs no KL "
        "estimate. grpo: `dapo` weighs all tokens of a step alike, `grpo` all answers (long ones "
        "count less a token), `dr_grpo` divides by a fixed length.",
        "损失形式。`sigmoid`：常用。`hinge`：偏好已明确时不再推动。`ipo`：以每词元固定间隔为目标，"
        "防"
        "止过拟合。`robust`：按 label_smoothing 校正标反的偏好对。kto：`kto`，或无需估计 KL 的"
        " `apo_zero_unpaired`。grpo：`dapo` 一步内所有词元权重相同；`grpo` 所有回答权重相同（长回答"
        "的每个词元权重较小）；`dr_grpo` 除以固定长度。",
        aliases="loss_type",
        spellings="kto_pair=kto bnpo=dapo",
    )
    beta: float = field(
        0.1, _BETA_EN, _BETA_ZH, aliases="pref_beta dpo_beta simpo_beta kto_beta", gt=0, le=100
    )
    label_smoothing: float = field(0.0, "", "", unit="ratio", ge=0, lt=0.5)
    ftx: float = field(
        0.0, _FTX_EN, _FTX_ZH, aliases="pref_ftx ftx_gamma cpo_alpha rpo_alpha", ge=0, le=100
    )
    reference: Literal["auto", "adapter_off", "cached"] = field(
        "auto",
        _REFERENCE_EN,
        _REFERENCE_ZH,
        aliases="reference_log_probs",
        changes="speed",
    )


class Simpo(Section):
    """Simple preference optimisation: mean log-probabilities are compared, with no reference."""

    kind: Literal["simpo"] = "simpo"
    beta: float = field(2.0, "", "", gt=0, le=100)
    gamma: float = field(
        1.0,
        "Margin by which the better answer shall lead, in units of the reward (beta x mean "
        "log-probability). Half of beta is usual; higher separates more and drifts further.",
        "较好回答应领先的间隔，以奖励（beta × 平均对数概率）为单位。通常取 beta 的一半；越大区分越"
        "强，偏移也越大。",
        aliases="simpo_gamma",
        ge=0,
        le=100,
    )
    label_smoothing: float = field(0.0, "", "", unit="ratio", ge=0, lt=0.5)
    ftx: float = field(0.0, "", "", ge=0, le=100)


class Orpo(Section):
    """Odds ratio preference optimisation: learns the better answer and the comparison at once."""

    kind: Literal["orpo"] = "orpo"
    beta: float = field(0.1, "", "", gt=0, le=100)


class Cpo(Section):
    """Contrastive preference optimisation: dpo without a reference, held by learning answers."""

    kind: Literal["cpo"] = "cpo"
    loss: Literal["sigmoid", "hinge", "ipo"] = field("sigmoid", "", "")
    beta: float = field(0.1, "", "", gt=0, le=100)
    label_smoothing: float = field(0.0, "", "", unit="ratio", ge=0, lt=0.5)
    ftx: float = field(1.0, "", "", ge=0, le=100)


class Kto(Section):
    """Kahneman-Tversky optimisation: single answers that were found good or bad."""

    kind: Literal["kto"] = "kto"
    loss: Literal["kto", "apo_zero_unpaired"] = field("kto", "", "")
    beta: float = field(0.1, "", "", gt=0, le=100)
    desirable_weight: float = field(
        1.0,
        "Weight of the good answers. Where one kind is rarer, raise its weight so that weight x "
        "number is within 1 to 4/3 of the other's.",
        "好的回答的权重。若某一类较少，提高其权重，使 权重 × 条数 与另一类之比在 1 至 4/3 之间。",
        aliases="kto_chosen_weight",
        ge=0,
        le=1000,
    )
    undesirable_weight: float = field(
        1.0,
        "Weight of the bad answers; see desirable_weight.",
        "坏的回答的权重，参见 desirable_weight。",
        aliases="kto_rejected_weight",
        ge=0,
        le=1000,
    )
    reference: Literal["auto", "adapter_off", "cached"] = field("auto", "", "", changes="speed")


class Reward(Section):
    """A reward model: one number for each answer, higher for the better one."""

    kind: Literal["rm"] = "rm"
    center: float = field(
        0.0,
        "Weight of a term that keeps the scores of a pair around zero. 0.01 makes scores of "
        "different questions comparable; 0 leaves their level free.",
        "使一对回答的分数以零为中心的约束项权重。0.01 可使不同问题的分数可比；0 表示不约束。",
        aliases="center_rewards_coefficient",
        ge=0,
        le=10,
    )


class Grpo(Section):
    """Reinforcement: the model's own answers, the better ones of each group made likelier.

    The defaults are those of DAPO (Yu and others 2025); the algorithm is GRPO (Shao and others
    2024).
    """

    kind: Literal["grpo"] = "grpo"
    rewards: list[AnyReward] = field(
        [],
        "What an answer is worth: one entry for each source, added up by weight. `{kind: json, "
        "json_schema: ...}`, `{kind: sql}`, `{kind: grader, grader: ...}` (string check, "
        "similarity, Python, several by a formula), `{kind: python, file: reward.py}`, `{kind: "
        "model, model: ...}` (a reward model). Simple rewards that can be checked teach best.",
        "回答的奖励：每个来源一项，按权重相加。`{kind: json, json_schema: ...}`、`{kind: sql}`、"
        "`{kind: grader, grader: ...}`（字符串检查、相似度、Python、公式组合）、`{kind: python, "
        "file: "
        "reward.py}`、`{kind: model, model: ...}`（奖励模型）。简单且可验证的奖励效果最好。",
        aliases="reward_funcs 奖励",
    )
    group_size: int = field(
        8,
        "Answers to each question, compared with each other. More judge better and cost more "
        "time: a step writes batch_size x group_size answers. A question whose answers all get "
        "one reward teaches nothing.",
        "每个问题生成的回答数，组内互相比较。越多判断越准，耗时也越多：每步生成 batch_size × "
        "group_size 条回答。若一个问题的回答奖励全相同，则学不到东西。",
        aliases="num_generations",
        unit="answers",
        ge=2,
        le=1024,
    )
    max_answer_tokens: int = field(
        256,
        "Longest answer; one that is not done there is cut. It shares data.max_length with the "
        "question. Most of the time of a step goes into writing, so as short as the task allows.",
        "回答的最大长度，未写完则截断；与问题共享 data.max_length。每步的时间大多用于生成，按任务"
        "所需"
        "尽量取短。",
        aliases="max_completion_length",
        unit="tokens",
        ge=1,
    )
    temperature: float = field(
        1.0,
        "How freely answers vary. 1 is the model as it is; lower repeats what it does already, "
        "higher tries more and makes more nonsense.",
        "采样温度：回答的多样性。1 即模型本身的分布；较低则多重复已会的内容，较高则尝试更多、胡言"
        "也更"
        "多。",
        gt=0,
        le=10,
    )
    top_p: float = field(
        1.0,
        "Only the likeliest tokens that hold this share are drawn. 1 draws from all, which is "
        "what the loss assumes.",
        "只从累计概率达到该比例的最可能词元中采样。1 表示全部，损失函数即以此为前提。",
        unit="ratio",
        gt=0,
        le=1,
    )
    top_k: int = field(
        0,
        "Only so many of the likeliest tokens are drawn; 0 draws from all.",
        "只从最可能的若干词元中采样；0 表示全部。",
        unit="tokens",
        ge=0,
    )
    loss: Literal["dapo", "grpo", "dr_grpo"] = field("dapo", "", "")
    advantage: Literal["group", "rloo"] = field(
        "group",
        "How rewards become praise and blame. `group`: by how much a reward is above the mean of "
        "its group. `rloo`: above the mean of the other answers (with scale_rewards: none, as its "
        "authors have it).",
        "奖励如何转为优势值。`group`：高于组内平均的程度。`rloo`：高于同组其他回答平均的程度（原文"
        "配合"
        " scale_rewards: none）。",
        aliases="advantage_estimator",
    )
    scale_rewards: Literal["group", "batch", "none"] = field(
        "group",
        "What advantages are divided by: the spread of rewards in the `group`, in the whole "
        "`batch`, or by nothing. `group` gives hard and easy questions the same weight, and "
        "small differences a large one.",
        "优势值除以什么：`group` 组内奖励的标准差；`batch` 整批的标准差；`none` 不除。`group` 使难"
        "题和易"
        "题权重相同，但会放大微小差异。",
        spellings="true=group false=none",
    )
    clip_low: float = field(
        0.2,
        "How far the probability of a token may fall in one round of answers before it stops "
        "counting. Matters only with iterations above 1.",
        "一轮回答中词元概率最多下降多少后不再计入。仅在 iterations 大于 1 时起作用。",
        aliases="epsilon clip_ratio_low",
        unit="ratio",
        ge=0,
        lt=1,
    )
    clip_high: float = field(
        0.28,
        "How far it may rise. A little more than clip_low keeps the model trying new things "
        "(DAPO); 0.2 is the original.",
        "概率最多上升多少。略大于 clip_low 可保持探索（DAPO）；原始取值为 0.2。",
        aliases="epsilon_high clip_ratio_high",
        unit="ratio",
        ge=0,
        le=100,
    )
    delta: float | None = field(
        None,
        "Limit of the probability ratio for answers that were bad, too (two-sided clipping; above "
        "1 + clip_high). Prevents leaps with many iterations. Empty: none.",
        "对差的回答也限制概率比（双侧裁剪，应大于 1 + clip_high），多次迭代时防止剧变。留空则不限"
        "制。",
        gt=1,
        le=1000,
    )
    ratio: Literal["token", "sequence"] = field(
        "token",
        "Whether probabilities before and after are compared token by token, or over the whole "
        "answer (GSPO; steadier for mixtures of experts).",
        "新旧概率按词元比较，还是按整条回答比较（GSPO，对混合专家模型更稳定）。",
        aliases="importance_sampling_level",
    )
    iterations: int = field(
        1,
        "Weight updates with the same answers. More saves writing and learns from answers that "
        "the model would not give any more; 1 to 4.",
        "同一批回答用于更新参数的次数。增加可节省生成时间，但会从已过时的回答中学习；通常 1-4。",
        aliases="num_iterations mu",
        ge=1,
        le=64,
    )
    beta: float = field(0.0, "", "", ge=0, le=100)
    reference: Literal["auto", "adapter_off", "copy"] = field("auto", "", "", changes="speed")
    mask_truncated: bool = field(
        False,
        "Leave answers out that were cut at max_answer_tokens, instead of learning from their "
        "rewards. Steadier where good answers may be long.",
        "不从被 max_answer_tokens 截断的回答中学习。若好的回答可能较长，训练更稳定。",
        aliases="mask_truncated_completions",
    )
    show_rollouts: int = field(
        2,
        "How many answers of a logged step are shown in the events, with their rewards.",
        "每个记录步在事件中展示的回答条数（含奖励）。",
        aliases="num_completions_to_print",
        unit="answers",
        changes="records",
        ge=0,
        le=16,
    )

    @field_validator("scale_rewards", mode="before")
    @classmethod
    def _yes_or_no(cls, value: Any) -> Any:
        """TRL's true and false."""
        return {True: "group", False: "none"}[value] if isinstance(value, bool) else value


Stage = Annotated[
    Sft | Pretrain | Dpo | Simpo | Orpo | Cpo | Kto | Reward | Grpo, Field(discriminator="kind")
]

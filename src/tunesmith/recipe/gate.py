"""What a tuned model has to show before it counts as better than its base."""

from __future__ import annotations

from tunesmith.recipe.fields import Section, field


class Gate(Section):
    """The rules of the verdict: promote, hold or reject. They change nothing in the training."""

    primary: str = field(
        "auto",
        "The one score that decides, named before anybody looks: accuracy, rouge_l, json_equal, "
        "... `auto` takes the one that suits the reference answers.",
        "起决定作用的唯一指标，应在查看结果之前确定：accuracy、rouge_l、json_equal 等。"
        "`auto` 根据参考答案自动选择。",
        aliases="primary_score 主指标",
        changes="records",
        min_length=1,
    )
    min_gain: float = field(
        0.0,
        "Gain of the primary score that must be certain: the lower end of its interval lies above "
        "it. 0.02 is two points of a share. 0 promotes every certain gain, and with many rows tiny "
        "ones are certain. Higher promotes less.",
        "主指标必须确定达到的提升：置信区间下限须高于该值。0.02 表示 2 个百分点。0 表示只要确定有提"
        "升就通过，测试行数多时再小的提升也会通过。越大越难通过。",
        aliases="最小提升",
        changes="records",
        ge=0,
        le=100,
    )
    confidence: float = field(
        0.95,
        "Confidence of the intervals. 0.95 promotes at most some 3 of 100 models that are no "
        "better; higher is stricter and needs more rows.",
        "置信区间的置信水平。0.95 时，100 个并未变好的模型中最多约 3 个会被误判为通过；越高越严"
        "格，需要的数据越多。",
        changes="records",
        ge=0.5,
        le=0.999,
    )
    min_rows: int = field(
        50,
        "Test rows that a verdict needs; with fewer the model is held, whatever the numbers say.",
        "得出结论所需的最少测试行数；不足时无论结果如何都不予通过。",
        aliases="最少测试行数",
        unit="rows",
        changes="records",
        ge=1,
    )
    general: str = field(
        "builtin:probe",
        "Questions of general knowledge that both models answer, to see what was forgotten: "
        "`builtin:probe` (60 questions in English and Chinese), a dataset of yours, or `none`.",
        "两个模型都要回答的通用问题，用于检查遗忘：`builtin:probe`（60 道中英文题）、您自己的数据"
        "集，或 `none`。",
        aliases="forgetting_probe 通用测试集",
        changes="records",
        min_length=1,
    )
    max_forgetting: float | None = field(
        0.05,
        "Loss on the general questions that is accepted: 0.05 is five points. More holds the "
        "model; when it is certain to be more, the model is rejected. Empty: not judged.",
        "通用问题上可接受的下降幅度：0.05 表示 5 个百分点。超过则暂缓；确定超过则拒绝。留空则不判"
        "断。",
        aliases="最大遗忘",
        changes="records",
        ge=0,
        le=1,
    )
    max_length_growth: float | None = field(
        0.5,
        "How much longer answers may become than those of the base and than the references: 0.5 "
        "is half as long again. Empty: not judged.",
        "回答长度相对于基座模型和参考答案最多可增加的比例：0.5 表示增加一半。留空则不判断。",
        aliases="最大长度增长",
        unit="ratio",
        changes="records",
        ge=0,
    )
    max_latency_growth: float | None = field(
        None,
        "How much slower answers may become: 0.5 is half as long again. Empty, the default: not "
        "judged, as time depends on the machine and on the length of the answers.",
        "回答耗时最多可增加的比例：0.5 表示增加一半。默认留空，不作判断，因为耗时取决于机器和回答"
        "长度。",
        aliases="最大延迟增长",
        unit="ratio",
        changes="records",
        ge=0,
    )

    @property
    def own_general(self) -> str:
        """The dataset of one's own that `general` names; empty for what ships, and for `none`."""
        ships = self.general == "none" or self.general.startswith("builtin:")
        return "" if ships else self.general

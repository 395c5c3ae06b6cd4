"""Everything that reports say, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.evaluation.files import PREFERENCES
from tunesmith.evaluation.scores.score import Unit
from tunesmith.evaluation.verdict import Reason

SCORES: Mapping[str, tuple[str, str]] = {
    "exact_match": ("Exact match", "完全一致"),
    "normalised_match": ("Match, normalised", "规范化后一致"),
    "token_f1": ("Token F1", "词元 F1"),
    "contains": ("Right answers", "答对率"),
    "nearest_reference": ("Right answers", "答对率"),
    "accuracy": ("Accuracy", "准确率"),
    "macro_f1": ("Macro F1", "宏平均 F1"),
    "bleu": ("BLEU", "BLEU"),
    "rouge_1": ("ROUGE-1", "ROUGE-1"),
    "rouge_2": ("ROUGE-2", "ROUGE-2"),
    "rouge_l": ("ROUGE-L", "ROUGE-L"),
    "rouge_1_words": ("ROUGE-1, Chinese words", "ROUGE-1（分词）"),
    "rouge_2_words": ("ROUGE-2, Chinese words", "ROUGE-2（分词）"),
    "rouge_l_words": ("ROUGE-L, Chinese words", "ROUGE-L（分词）"),
    "json_valid": ("Valid JSON", "JSON 有效"),
    "json_schema": ("JSON of the right shape", "JSON 结构正确"),
    "json_equal": ("JSON equal", "JSON 内容一致"),
    "sql_equal": ("Same query result", "查询结果一致"),
    "code": ("Unit tests passed", "通过单元测试"),
    "perplexity": ("Perplexity", "困惑度"),
    "preference_accuracy": ("Preference accuracy", "偏好判断正确率"),
    "preference_margin": ("Preference margin", "偏好差距"),
    "reward_accuracy": ("Reward accuracy", "奖励准确率"),
    "reward_margin": ("Reward margin", "奖励差距"),
    "kl": ("Distance from the base (KL)", "与基座模型的距离（KL）"),
    "judge": ("Judge model", "裁判模型"),
    "length": ("Length", "长度"),
    "latency": ("Latency", "耗时"),
}
_HELP: Mapping[str, tuple[str, str]] = {
    "nearest_reference": (
        "nearly equal to its own reference, and to no other more",
        "与自己的参考答案几乎一致，且比其他参考答案更接近",
    ),
    "contains": ("an accepted answer stands in the reply", "回答中包含可接受的答案"),
    "perplexity": ("of the references; less is better", "参考答案的困惑度，越低越好"),
    "preference_accuracy": (
        "share of pairs whose better answer has the higher score or log-probability a token",
        "按奖励模型打分，或按每个词元的平均对数概率判断的占比",
    ),
    "preference_margin": (
        "better minus worse: scores, or log-probability a token",
        "较好回答减较差回答：分数或每个词元的平均对数概率",
    ),
    "reward_accuracy": (
        "share of pairs whose better answer gained more on the base",
        "较好回答相对基座模型提升更多的占比",
    ),
    "reward_margin": (
        "how much more the better answer gained on the base",
        "较好回答相对基座模型多提升了多少",
    ),
    "kl": (
        "nats a token of both answers; neither is better",
        "两个回答每个词元的奈特数，无优劣之分",
    ),
    "latency": ("of a request; less is better", "单次请求耗时，越低越好"),
    "length": ("in characters; neither is better", "字符数，无优劣之分"),
    "judge": ("share of duels won, ties count half", "对比获胜比例，平局计一半"),
    "macro_f1": ("mean over labels, seldom ones alike", "各类别平均，少见类别同等对待"),
    "rouge_l": ("longest common subsequence", "最长公共子序列"),
    "bleu": ("0 to 100", "0 到 100"),
}

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Is the tuned model better?",
        "title_single": "How good are the answers?",
        "promote": "promote",
        "hold": "hold",
        "reject": "reject",
        "promote_means": "The tuned model is better by the rules of its gate.",
        "hold_means": "Not yet: the gain is not certain, or a rule of its gate speaks against it.",
        "reject_means": "The tuned model is worse by the rules of its gate.",
        "base": "base",
        "tuned": "tuned",
        "data": "test rows",
        "rows": "rows",
        "model": "model",
        "scores": "Scores",
        "score": "score",
        "difference": "difference",
        "interval": "{0} interval",
        "worse_better": "worse · better",
        "worse": "worse",
        "better": "better",
        "won_lost": "rows won · tied · lost",
        "won": "won",
        "lost": "lost",
        "tied": "tied",
        "sign": "sign test",
        "primary": "decides",
        "rules": "Why",
        "wins": "Got better",
        "losses": "Got worse",
        "shown": "{0} of {1} rows, the largest differences first; all are in comparison.json",
        "none": "No row.",
        "question": "Question",
        "reference": "Reference",
        "row": "row",
        "refused": "refused: {0}",
        "nothing": "(nothing)",
        "general": "What was forgotten",
        "general_lead": "Both models answered {0} general questions of {1}.",
        "forgotten": "Known before, wrong now",
        "learnt": "Wrong before, known now",
        "no_general": "No general questions were asked.",
        "change": "Length and time of the answers",
        "length": "Length in characters",
        "latency": "Seconds a request",
        "median": "median",
        "mean": "mean",
        "of_references": "mean of the references: {0}",
        "how": "How this was computed",
        "how_text": (
            "Both models answered the same rows, greedily. Intervals are percentile intervals of a "
            "paired bootstrap with {0} resamples of the rows (seed {1}); the sign test compares "
            "rows won with rows lost. One score decides, named before the answers were seen."
        ),
        "gate": "Gate",
        "marks": "Marked words stand in the reference, in order.",
        "skipped": "left aside",
        "answers": "Answers",
        "value": "value",
        "lowest": "Rows with the lowest {0}",
        "highest": "Rows with the highest {0}",
        "answer": "Answer",
        "preferred": "What the model prefers",
    },
    "zh": {
        "title": "微调后的模型更好吗？",
        "title_single": "回答质量如何？",
        "promote": "通过",
        "hold": "暂缓",
        "reject": "拒绝",
        "promote_means": "按照门槛规则，微调后的模型更好。",
        "hold_means": "暂不通过：提升尚不确定，或有门槛规则未满足。",
        "reject_means": "按照门槛规则，微调后的模型更差。",
        "base": "基座",
        "tuned": "微调后",
        "data": "测试数据",
        "rows": "条",
        "model": "模型",
        "scores": "指标",
        "score": "指标",
        "difference": "差值",
        "interval": "{0} 置信区间",
        "worse_better": "变差 · 变好",
        "worse": "变差",
        "better": "变好",
        "won_lost": "胜 · 平 · 负（条）",
        "won": "胜",
        "lost": "负",
        "tied": "平",
        "sign": "符号检验",
        "primary": "主指标",
        "rules": "依据",
        "wins": "变好的数据",
        "losses": "变差的数据",
        "shown": "显示 {1} 条中的 {0} 条，差异大的在前；全部见 comparison.json",
        "none": "没有。",
        "question": "问题",
        "reference": "参考答案",
        "row": "第",
        "refused": "被拒绝：{0}",
        "nothing": "（空）",
        "general": "遗忘检查",
        "general_lead": "两个模型都回答了 {1} 的 {0} 道通用题。",
        "forgotten": "原来会、现在答错",
        "learnt": "原来答错、现在会",
        "no_general": "没有提问通用题。",
        "change": "回答的长度与耗时",
        "length": "长度（字符）",
        "latency": "单次请求耗时（秒）",
        "median": "中位数",
        "mean": "平均",
        "of_references": "参考答案平均：{0}",
        "how": "计算方法",
        "how_text": (
            "两个模型用贪心解码回答相同的数据。区间为配对自助法（bootstrap）的百分位区间，对数据重采"
            "样 {0} 次（随机种子 {1}）；符号检验比较胜出与落败的条数。结论只看一个主指标，且在看到"
            "回答之前就已确定。"
        ),
        "gate": "门槛",
        "marks": "高亮文字按顺序出现在参考答案中。",
        "skipped": "未使用",
        "answers": "回答",
        "value": "数值",
        "lowest": "{0}最低的数据",
        "highest": "{0}最高的数据",
        "answer": "回答",
        "preferred": "模型更偏好的回答",
    },
}

UNSCORED = ("no score for {0:,} of {1:,} rows", "{1:,} 条中有 {0:,} 条没有得分")
WHY_UNSCORED: Mapping[str, tuple[str, str]] = {
    "judge": ("the replies of the judge cannot be read", "无法解读裁判模型的回复"),
    "sql_equal": (
        "the query of the reference does not run, or no database is named",
        "参考查询无法执行，或未指定数据库",
    ),
    **dict.fromkeys(
        PREFERENCES,
        (
            "answers that are equal, or a question longer than the model's context",
            "两个回答相同，或提问超出模型上下文长度",
        ),
    ),
}

REASONS: Mapping[str, tuple[str, str]] = {
    "better": (
        "{name} went from {base} to {tuned}: a difference of {difference}, with {confidence} "
        "certainty between {low} and {high}, over {rows} rows.",
        "{name}从 {base} 变为 {tuned}：差值 {difference}，{confidence} 置信区间为 {low} 至 {high}，"
        "共 {rows} 条数据。",
    ),
    "worse": (
        "{name} went from {base} to {tuned}: a difference of {difference}, with {confidence} "
        "certainty between {low} and {high}, over {rows} rows.",
        "{name}从 {base} 变为 {tuned}：差值 {difference}，{confidence} 置信区间为 {low} 至 {high}，"
        "共 {rows} 条数据。",
    ),
    "not_shown": (
        "{name} went from {base} to {tuned}, a difference of {difference}, but by {rows} rows it "
        "may as well be {low} or {high}: more test rows would tell.",
        "{name}从 {base} 变为 {tuned}，差值 {difference}；但仅凭 {rows} 条数据，真实差值可能在"
        " {low} 到 {high} 之间。增加测试数据才能判断。",
    ),
    "no_difference": (
        "{name} is {base} for both models: none of {rows} rows differs.",
        "两个模型的{name}都是 {base}：{rows} 条数据没有任何差别。",
    ),
    "gain_too_small": (
        "{name} went from {base} to {tuned}, which is a gain, but not certainly more than the "
        "{min_gain} that the gate asks for: {low} to {high}.",
        "{name}从 {base} 变为 {tuned}，有提升，但不能确定超过门槛要求的 {min_gain}：区间为 {low} 至"
        " {high}。",
    ),
    "too_few_differ": (
        "{name} went from {base} to {tuned}, but only {differ} rows differ ({wins} won, {losses} "
        "lost): that can be chance (sign test p = {sign_p}).",
        "{name}从 {base} 变为 {tuned}，但只有 {differ} 条数据不同（胜 {wins}，负 {losses}），可能只"
        "是偶然（符号检验 p = {sign_p}）。",
    ),
    "too_few_rows": (
        "{rows} test rows are too few for a verdict; the gate asks for {min_rows}.",
        "测试数据只有 {rows} 条，门槛要求至少 {min_rows} 条。",
    ),
    "not_probed": ("What was forgotten is not judged.", "未检查遗忘情况。"),
    "forgot": (
        "It forgot: {base} of {rows} general questions were right before, {tuned} are now, and the "
        "loss is certainly above {most}.",
        "出现遗忘：{rows} 道通用题的答对率从 {base} 变为 {tuned}，下降幅度确定超过 {most}。",
    ),
    "may_have_forgotten": (
        "It may have forgotten: {base} of {rows} general questions were right before, {tuned} are "
        "now; the gate accepts a loss of {most}.",
        "可能出现遗忘：{rows} 道通用题的答对率从 {base} 变为 {tuned}；门槛最多允许下降 {most}。",
    ),
    "nothing_to_forget": (
        "The base itself answers {base} of {rows} general questions, so there is nothing to forget "
        "that they could show.",
        "基座模型本身只答对 {rows} 道通用题中的 {base}，因此无法据此判断遗忘。",
    ),
    "remembers": (
        "It remembers: {base} of {rows} general questions were right before, {tuned} are now.",
        "未见明显遗忘：{rows} 道通用题的答对率从 {base} 变为 {tuned}。",
    ),
    "longer": (
        "The answers are {growth} longer than those of the base and of the references; the gate "
        "accepts {most}.",
        "回答比基座模型和参考答案长 {growth}；门槛最多允许 {most}。",
    ),
    "slower": (
        "The answers take {growth} longer than those of the base; the gate accepts {most}.",
        "回答比基座模型慢 {growth}；门槛最多允许 {most}。",
    ),
}


def score_title(name: str, language: str) -> str:
    """The name of a score for people; that of an own scorer as it is."""
    known = SCORES.get(name)
    return known[language == "zh"] if known else name


def unscored_text(name: str, missing: int, total: int, language: str) -> str:
    """How many rows have no score, and why where that is known; nothing where all have one."""
    if not missing:
        return ""
    side = 1 if language == "zh" else 0
    text = UNSCORED[side].format(missing, total)
    why = WHY_UNSCORED.get(name)
    return text if why is None else f"{text}{'：' if side else ': '}{why[side]}"


def score_help(name: str, language: str) -> str:
    """A few words on what a score is; empty where its name says it."""
    known = _HELP.get(name)
    return known[language == "zh"] if known else ""


def number(value: float | None, unit: Unit | str) -> str:
    """A value with its unit: 45.2 %, 31.20, 0.45 s."""
    if value is None or value != value:
        return "-"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "seconds":
        return f"{value:.3g} s"
    if unit == "number" and 0 < abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 or unit == "characters" else f"{value:.2f}"


def signed(value: float | None, unit: Unit | str) -> str:
    """A difference: +13.9 (points of a share), -0.12 s; a true minus sign."""
    if value is None or value != value:
        return "-"
    shown = 100 * value if unit == "share" else value
    text = f"{abs(shown):.1f}" if unit in ("share", "points") else f"{abs(shown):.3g}"
    if unit == "characters":
        text = f"{abs(shown):,.0f}"
    sign = "" if float(text.replace(",", "")) == 0 else "+" if shown > 0 else "\u2212"
    return f"{sign}{text}" + (" s" if unit == "seconds" else "")


def reason_text(reason: Reason, language: str) -> str:
    """One finding as a sentence."""
    values: dict[str, Any] = dict(reason.values)
    unit = str(values.get("unit", "share"))
    name = score_title(str(values.get("score", "")), language)
    if language == "zh" and name and name.isascii():
        name += " "  # between Latin letters and Chinese
    shown: dict[str, Any] = {**values, "name": name}
    for key in ("base", "tuned"):
        if key in values:
            shown[key] = number(values[key], unit)
    for key in ("difference", "low", "high", "min_gain"):
        if key in values:
            shown[key] = signed(values[key], unit)
    points = (" points", " 个百分点")[language == "zh"] if "lost" in values else " %"
    for key in ("growth", "most"):
        if key in values:
            shown[key] = f"{100 * values[key]:.0f}{points}"
    if "confidence" in values:
        shown["confidence"] = f"{100 * values['confidence']:g} %"
    if "sign_p" in values:
        shown["sign_p"] = f"{values['sign_p']:.2g}"
        shown["differ"] = values["wins"] + values["losses"]
    return REASONS[reason.code][language == "zh"].format(**shown)

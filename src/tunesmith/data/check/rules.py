"""What a check can find: each rule with its weight, its words in two languages, and its mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Rule:
    """One kind of finding. `mend` is what a person can do; `fix` what `data fix` does by itself."""

    severity: Severity
    en: str
    zh: str
    mend_en: str = "Look at these rows; correct or remove them."
    mend_zh: str = "请查看这些数据，修改或删除。"
    fix: Literal["", "remove", "rewrite"] = ""


_LINE = ("Correct or remove the line.", "修改或删除该行。")
_COLUMNS = ("Name the columns with --prompt-field and so on.", "用 --prompt-field 等指定列名。")

# What keeps a line from being a row.
_UNREADABLE = {
    "invalid_data": Rule(
        "error",
        "The file, or the rest of it, cannot be read",
        "文件或其余部分无法读取",
        "Mend the file, or name its encoding.",
        "修复文件，或指定编码。",
    ),
    "invalid_json": Rule("error", "The line is no valid JSON", "不是合法的 JSON", *_LINE),
    "invalid_csv": Rule("error", "The line is not readable as CSV", "无法按 CSV 解析", *_LINE),
    "line_too_long": Rule("error", "The line is too long to be a row", "单行过长", *_LINE),
    "duplicate_keys": Rule("warning", "An object names a key twice", "JSON 对象有重复的键", *_LINE),
    "not_utf8": Rule(
        "error",
        "The text is not UTF-8",
        "文本不是 UTF-8 编码",
        "Import with --encoding auto, or with its name.",
        "导入时指定 --encoding auto 或编码名称。",
    ),
}

# What keeps a row from being a record.
_UNUSABLE = {
    "empty_text": Rule("error", "The text is empty", "文本为空", *_LINE),
    "empty_question": Rule("error", "The question is empty", "问题为空", *_LINE),
    "empty_answer": Rule("error", "The answer is empty", "回答为空", *_LINE),
    "no_messages": Rule("error", "The row has no list of messages", "没有消息列表", *_COLUMNS),
    "no_answer": Rule("error", "No turn is an answer", "没有助手回复", *_LINE),
    "unknown_role": Rule(
        "error",
        "A turn has a role that is not known",
        "消息的角色未知",
        "Roles are system, user, assistant and tool.",
        "角色应为 system、user、assistant 或 tool。",
    ),
    "weight_not_0_or_1": Rule("error", "A weight is neither 0 nor 1", "weight 不是 0 或 1", *_LINE),
    "content_is_not_text": Rule("error", "The content of a turn is no text", "消息内容不是文本"),
    "cell_is_not_text": Rule("error", "A cell holds no text", "单元格不是文本", *_COLUMNS),
    "nested_too_deep": Rule("error", "Objects lie in each other too deeply", "嵌套层级过深"),
    "tool_call_without_name": Rule("error", "A tool call names no function", "工具调用缺少函数名"),
}

# What is no fault, but teaches nothing in the usual stages.
_ASIDE = {
    "preference_row": Rule(
        "info",
        "The row compares two answers: sft and pt learn nothing from it",
        "偏好数据：sft 和 pt 不会从中学习",
    ),
    "undesirable_answer": Rule(
        "info",
        "The answer is marked as bad: sft and pt leave it out",
        "标记为不好的回答：sft 和 pt 不使用",
    ),
}

# What is wrong in a record.
_WRONG = {
    "missing_field": Rule("warning", "A column that the other rows have is missing", "缺少列"),
    "unknown_field": Rule("info", "A column that the other rows do not have", "多出的列"),
    "no_trained_turn": Rule(
        "error",
        "Every answer has weight 0: nothing is learned",
        "所有回复的 weight 都为 0，不会学到任何内容",
        "Give one of the answers weight 1, or remove the row.",
        "将其中一个回复的 weight 设为 1，或删除该条。",
    ),
    "roles_out_of_order": Rule(
        "warning",
        "Questions and answers do not alternate, or a system or tool turn stands oddly",
        "角色顺序不正常",
    ),
    "no_final_answer": Rule(
        "info",
        "The last turn is no answer: it trains nothing",
        "最后一条不是助手回复，不参与训练",
        "Add an answer, or cut the turn off.",
        "补充回复或删去最后一条消息。",
    ),
    "empty_turn": Rule("warning", "A turn is empty", "有空的消息"),
    "answers_equal": Rule("error", "Both answers of the pair are the same", "两个回答相同", *_LINE),
    "tool_arguments_not_json": Rule(
        "warning", "The arguments of a tool call are no JSON object", "工具调用的参数不是 JSON 对象"
    ),
    "tool_not_described": Rule(
        "warning", "A tool is called that the row does not describe", "调用了未声明的工具"
    ),
    "surrounding_space": Rule(
        "info",
        "An answer begins or ends with spaces or line breaks",
        "回答首尾有空白或换行",
        "`data fix` removes them.",
        "`data fix` 可自动去除。",
        "rewrite",
    ),
}

# What stands in the texts.
_TEXTS = {
    "placeholder": Rule("warning", "Text never filled in, or said by rote", "占位文本或套话"),
    "answer_repeats_question": Rule("warning", "The answer repeats the question", "回答重复问题"),
    "mojibake": Rule(
        "warning",
        "Garbled characters from a wrong encoding",
        "编码错误导致的乱码",
        "`data fix` restores what can be restored exactly.",
        "`data fix` 可修复能够精确还原的部分。",
        "rewrite",
    ),
    "control_characters": Rule(
        "warning",
        "Invisible control characters",
        "不可见的控制字符",
        "`data fix` removes them.",
        "`data fix` 可自动去除。",
        "rewrite",
    ),
    "broken_html": Rule(
        "info",
        "Leftovers of HTML",
        "残留的 HTML",
        "`data fix` turns entities and line breaks into text.",
        "`data fix` 可将实体和换行标签还原为文本。",
        "rewrite",
    ),
    "meaningless": Rule("warning", "Hardly any words", "几乎没有有意义的文字"),
    "personal_phone": Rule("warning", "A telephone number", "电话号码"),
    "personal_email": Rule("warning", "An e-mail address", "电子邮箱"),
    "personal_id_number": Rule("warning", "An identity number", "身份证件号码"),
    "personal_bank_card": Rule("warning", "A bank card number", "银行卡号"),
    "personal_ip": Rule("info", "An IP address", "IP 地址"),
}

# What only the whole dataset shows.
_TOGETHER = {
    "duplicate": Rule(
        "warning",
        "The same row again",
        "重复的数据",
        "`data fix` keeps the first of them.",
        "`data fix` 仅保留第一条。",
        "remove",
    ),
    "near_duplicate": Rule("info", "Nearly the text of an earlier row", "与之前的数据几乎相同"),
    "leakage": Rule(
        "error",
        "The row also stands in the other dataset",
        "该条同时出现在另一数据集中",
        "Remove it from one of them: a test on known rows proves nothing.",
        "从其中一个数据集中删除；用见过的数据评估没有意义。",
    ),
    "too_few_rows": Rule(
        "warning",
        "Fewer than 100 rows: training refuses so few unless data.allow_small is set",
        "少于 100 条：除非设置 data.allow_small，否则不能训练",
        "Add rows.",
        "补充数据。",
    ),
    "length_outlier": Rule("info", "Far longer than the other rows", "长度远超其他数据"),
    "class_imbalance": Rule(
        "info",
        "Some short answers are far more frequent than others",
        "短答案的类别严重不均衡",
        "Add rows of the rare answers, or draw them more often (sampling_rate).",
        "补充稀少类别的数据，或提高其采样率（sampling_rate）。",
    ),
    "mixed_languages": Rule("info", "A language that few rows have", "少数数据使用了其他语言"),
}

# What only a tokenizer shows.
_TOKENS = {
    "template_refused": Rule("error", "The chat template refuses the row", "对话模板拒绝该条数据"),
    "no_trainable_tokens": Rule("error", "No token of the row is learned", "没有可训练的 token"),
    "no_trainable_tokens_after_truncation": Rule(
        "error",
        "Nothing to learn is left after truncation",
        "截断后没有可训练的 token",
        "Raise max_length or shorten the question.",
        "增大 max_length 或缩短问题。",
    ),
    "overlong": Rule(
        "warning",
        "Longer than max_length: the end is cut off",
        "超过 max_length：末尾将被截断",
        "Raise max_length (see `data stats`), or shorten the rows.",
        "增大 max_length（参见 `data stats`）或缩短数据。",
    ),
}

RULES: dict[str, Rule] = {
    **_UNREADABLE,
    **_UNUSABLE,
    **_ASIDE,
    **_WRONG,
    **_TEXTS,
    **_TOGETHER,
    **_TOKENS,
}


def rule_of(code: str) -> Rule:
    """The rule of a code; a reason without one of its own is an error, named by its words."""
    return RULES.get(code) or Rule("error", code.replace("_", " ").capitalize(), code)

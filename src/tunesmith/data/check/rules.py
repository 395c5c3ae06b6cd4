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
    "unreadable": Rule(
        "error",
        "The file cannot be opened",
        "文件无法打开",
        "Look at its name, its permissions and its disk.",
        "检查文件名、权限和磁盘。",
    ),
    "not_text": Rule(
        "error",
        "The file holds something else than its name says",
        "文件内容与扩展名不符",
        "Give the file the ending of what it holds, or unpack it first.",
        "使用与内容一致的扩展名，或先解压。",
    ),
    "damaged_archive": Rule(
        "error",
        "The compressed file is damaged or cut off",
        "压缩文件损坏或不完整",
        "Take it from its source once more.",
        "重新获取该文件。",
    ),
    "expands_too_far": Rule(
        "error",
        "The file expands to more than is read",
        "文件解压后超过读取上限",
        "Split it, or unpack it and look at what it holds.",
        "拆分文件，或解压后检查内容。",
    ),
    "unknown_encoding": Rule(
        "error",
        "There is no encoding of that name",
        "编码名称不存在",
        "Known are for example utf-8, gb18030, big5 and utf-16; auto guesses.",
        "例如 utf-8、gb18030、big5、utf-16；auto 表示自动识别。",
    ),
    "not_decodable": Rule(
        "error",
        "The text is not in the encoding that was named or guessed",
        "文本不符合指定或识别出的编码",
        "Name another encoding, or mend or remove these lines.",
        "指定其他编码，或修改、删除这些行。",
    ),
    "no_object": Rule(
        "error",
        "A row is no object",
        "该条不是 JSON 对象",
        'Each row is an object such as {"question": "...", "answer": "..."}.',
        '每条应为对象，例如 {"question": "...", "answer": "..."}。',
    ),
    "invalid_json": Rule("error", "The line is no valid JSON", "不是合法的 JSON", *_LINE),
    "invalid_csv": Rule("error", "The line is not readable as CSV", "无法按 CSV 解析", *_LINE),
    "line_too_long": Rule("error", "The line is too long to be a row", "单行过长", *_LINE),
    "duplicate_keys": Rule(
        "warning",
        "An object names a key twice: the last value is taken",
        "JSON 对象有重复的键：使用最后一个值",
        "Remove the value that does not belong there.",
        "删除不应保留的值。",
    ),
    "sheets_left_out": Rule(
        "warning",
        "Only the first sheet is read",
        "只读取第一个工作表",
        "Save the other sheets as files of their own.",
        "将其他工作表另存为单独的文件。",
    ),
    "cells_without_value": Rule(
        "warning",
        "Cells hold errors, or formulas without a saved value, and count as empty",
        "单元格为错误值或没有保存结果的公式，按空处理",
        "Open the file in a spreadsheet program, mend these cells, and save it.",
        "用电子表格软件打开文件，修正这些单元格并保存。",
    ),
    "merged_cells": Rule(
        "warning",
        "Cells are merged: only the first one has the text",
        "存在合并单元格：只有第一个单元格有内容",
        "Split them and fill in the text in every row.",
        "取消合并，并在每一行填写内容。",
    ),
    "not_utf8": Rule(
        "error",
        "The text is not UTF-8",
        "文本不是 UTF-8 编码",
        "Import with --encoding auto, or with its name.",
        "导入时指定 --encoding auto 或编码名称。",
    ),
    "mixed_encodings": Rule(
        "error",
        "Some lines are in another encoding than the rest of the file",
        "部分行与文件其余部分的编码不同",
        "One encoding cannot read this file: convert these lines alone, or remove them.",
        "单一编码无法读取此文件：请单独转换或删除这些行。",
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
    "nested_too_deeply": Rule("error", "Turns lie in each other too deeply", "消息嵌套层级过深"),
    "tool_call_without_name": Rule("error", "A tool call names no function", "工具调用缺少函数名"),
    "tool_call_is_no_object": Rule("error", "A tool call is no object", "工具调用不是对象", *_LINE),
    "tool_calls_is_no_list": Rule("error", "tool_calls is no list", "tool_calls 不是列表", *_LINE),
    "tool_call_arguments_not_json": Rule(
        "error",
        "The arguments of a tool call cannot be written as JSON",
        "工具调用的参数无法写成 JSON",
    ),
    "tools_is_no_list": Rule("error", "The tools of a row are no list", "tools 不是列表", *_LINE),
    "tool_is_no_object": Rule(
        "error", "The description of a tool is no object", "工具描述不是对象"
    ),
    "turn_is_no_object": Rule(
        "error",
        "A list holds something that is no turn",
        "列表中的内容不是消息",
        'A turn is an object such as {"role": "user", "content": "..."}; texts stand as texts.',
        '消息应为对象，例如 {"role": "user", "content": "..."}；普通文本直接写成字符串。',
    ),
    "name_or_id_is_not_text": Rule(
        "error", "A name or an id is no text", "名称或 id 不是文本", *_LINE
    ),
    "history_is_no_list": Rule(
        "error", "The earlier turns are no list", "历史对话不是列表", *_LINE
    ),
    "history_is_no_list_of_pairs": Rule(
        "error",
        "Earlier turns are neither pairs nor messages",
        "历史对话既不是问答对也不是消息",
        'Such as [["question", "answer"], ...].',
        '例如 [["问题", "回答"], ...]。',
    ),
    "no_question": Rule("error", "No turn comes before the answers", "回答之前没有问题", *_LINE),
    "input_is_no_object": Rule(
        "error", "The input is no object with messages", "input 不是含消息的对象"
    ),
    "label_not_true_or_false": Rule(
        "error",
        "The label says neither good nor bad",
        "标签无法判断好坏",
        "Labels are true or false, 1 or 0, yes or no.",
        "标签应为 true/false、1/0 或 yes/no。",
    ),
    "answer_of_another_role": Rule(
        "error", "An answer of the pair is not from the assistant", "回答不是助手消息", *_LINE
    ),
    "empty_chosen": Rule(
        "error", "The better answer of the pair is empty", "较好的回答为空", *_LINE
    ),
    "empty_rejected": Rule(
        "error", "The worse answer of the pair is empty", "较差的回答为空", *_LINE
    ),
    "margin_is_no_number": Rule(
        "error",
        "The margin of a pair is no number",
        "偏好对的 margin 不是数字",
        "Leave the cell empty where there is none.",
        "没有时请留空。",
    ),
    "record_broken": Rule("error", "A stored record is damaged", "存储的记录已损坏", *_LINE),
    "unknown_kind": Rule(
        "error",
        "The row names no kind of record that is known",
        "记录类型未知",
        "Kinds are conversation, text, preference_pair, unpaired_preference and prompt.",
        "类型应为 conversation、text、preference_pair、unpaired_preference 或 prompt。",
    ),
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
    "no_pair": Rule(
        "error",
        "The row has no chosen and rejected answer, which this stage compares",
        "缺少该阶段要比较的 chosen 与 rejected 回答",
        "Give each row a chosen and a rejected answer, or choose stage sft.",
        "为每行提供 chosen 和 rejected 两个回答，或选用 sft 阶段。",
    ),
    "no_judgement": Rule(
        "error",
        "The row does not say whether its answer is good, which stage kto learns from",
        "没有说明回答好坏，而 kto 阶段要据此学习",
        "Add a column kto_tag or label with true or false.",
        "添加 kto_tag 或 label 列，取值 true 或 false。",
    ),
    "tool_arguments_not_json": Rule(
        "warning", "The arguments of a tool call are no JSON object", "工具调用的参数不是 JSON 对象"
    ),
    "tool_not_described": Rule(
        "warning", "A tool is called that the row does not describe", "调用了未声明的工具"
    ),
    "tool_call_id_unknown": Rule(
        "warning",
        "The result of a tool belongs to no call before it",
        "工具结果没有对应的调用",
        "tool_call_id is the id of one of the calls in the turn before.",
        "tool_call_id 应为之前一轮某个调用的 id。",
    ),
    "tool_result_missing": Rule(
        "warning",
        "A tool is called, and the conversation goes on without its result",
        "调用了工具但缺少其结果",
        "Add the result as a turn of the role tool.",
        "补充角色为 tool 的结果消息。",
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
    "leakage_near": Rule(
        "warning",
        "The other dataset holds nearly the same row",
        "另一数据集中有几乎相同的数据",
        "Remove it from one of them, unless the difference is what the test asks for.",
        "从其中一个数据集中删除，除非评估的正是两者的差别。",
    ),
    "leakage_question": Rule(
        "warning",
        "The other dataset asks the same question and has another answer",
        "另一数据集中有相同的问题，但回答不同",
        "Look whether a test on it proves anything, and which answer is right.",
        "请确认用它评估是否有意义，以及哪个回答正确。",
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

# OpenAI's own rules, under the names of its validation report; openai_rules.py finds them.
_OPENAI = {
    "data_type": Rule(
        "error", "A value has another type than OpenAI takes", "值的类型不符", *_LINE
    ),
    "missing_messages_list": Rule(
        "error", "The line has no list of messages", "缺少 messages", *_LINE
    ),
    "message_missing_key": Rule("error", "A message lacks a key", "消息缺少字段", *_LINE),
    "message_unrecognized_key": Rule(
        "error",
        "A message has a key that OpenAI does not know",
        "消息含有 OpenAI 不支持的字段",
        "Remove the key.",
        "删除该字段。",
    ),
    "unrecognized_role": Rule(
        "error",
        "A role that OpenAI does not know",
        "OpenAI 不支持的角色",
        "Roles are system, developer, user, assistant, tool and function.",
        "角色应为 system、developer、user、assistant、tool 或 function。",
    ),
    "missing_content": Rule("error", "A message has no content", "消息没有内容", *_LINE),
    "example_missing_assistant_message": Rule(
        "error", "No message is from the assistant", "没有助手消息", *_LINE
    ),
    "last_message_not_user": Rule(
        "error",
        "The last message of a question is not from the user",
        "问题的最后一条消息不是用户消息",
        "End the messages with the question; what a grader compares with stands in keys of its "
        "own.",
        "messages 应以用户的问题结尾；评分所需的参考内容写在单独的字段中。",
    ),
    "invalid_n_examples": Rule(
        "error",
        "OpenAI asks for at least 10 examples",
        "OpenAI 要求至少 10 条数据",
        "Add examples.",
        "请增加数据。",
    ),
    "missing_system_message": Rule(
        "warning",
        "No message is from the system",
        "没有系统消息",
        "Add one where answers shall follow instructions; without one nothing is wrong.",
        "需要系统指令时请添加；没有也不是错误。",
    ),
    "missing_user_message": Rule(
        "warning", "No message is from the user", "没有用户消息", "Look whether one was lost."
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
    **_OPENAI,
}


def rule_of(code: str) -> Rule:
    """The rule of a code; a reason without one of its own is an error, named by its words."""
    return RULES.get(code) or Rule("error", code.replace("_", " ").capitalize(), code)

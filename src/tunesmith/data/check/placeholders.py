"""Text that somebody meant to replace: fill-ins, unfilled templates, a model's stock phrases."""

from __future__ import annotations

import re

from tunesmith.data.check.markup import without_code

Span = tuple[int, int]

# Each pattern with words of which a text must hold one, in lower case: looking for words is far
# faster than any pattern.
_RULES = tuple(
    (words, re.compile(pattern))
    for words, pattern in (
        # Not "a TODO list" and not Spanish in capitals: "SOBRE TODO", "TODO EL MUNDO".
        (
            ("todo",),
            r"TODO(?<![\w-]....)(?<![A-Z]{2} ....)(?![\w-])"
            r"(?! +(?:[Ll]ist|[Aa]pp|[Ii]tem|[Tt]ask|[A-Z]{2}))",
        ),
        (("fixme",), r"FIXME(?<![\w-].....)(?![\w-])"),
        (("lorem ipsum",), r"(?i:lorem ipsum)"),
        (("xxx",), r"(?<![\w-])(?:x{3,}|X{4,})(?!\w|-large)"),
        (("xxx", "××"), r"(?<=[\u4e00-\u9fff])(?:X{3,}|x{3,}|×{2,})"),
        (("xxx", "××"), r"(?<![\w×])(?:X{3,}|x{3,}|×{2,})(?=[\u4e00-\u9fff])"),
        # A link such as [your account](https://...) is no fill-in.
        (
            ("[insert", "[your", "[enter your", "[fill in"),
            r"\[(?i:insert|your|enter your|fill in)(?: [^\]\n\[]{1,60}|_\w{1,40})\](?!\()",
        ),
        (("<insert", "<your"), r"<(?i:insert|your)[ _][^<>\n]{1,40}>"),
        ((" here",), r"\b(?i:your (?:answer|text|response|content) (?:goes )?here)\b"),
        (
            ("补充", "填写", "插入", "输入"),
            r"(?<!有)待补充|待填写|[此这]处(?:填写|插入|输入)|在此处?填写",
        ),
        (("[", "【", "［"), r"[\[【［](?:插入|填写|请填写|你的|您的)[^\]】］\n]{1,30}[\]】］]"),
        (
            ("as a",),
            r"\b[Aa][Ss] (?i:an? (?:AI|large|artificial intelligence) language model"
            r"|an (?:AI|artificial intelligence) (?:model|assistant|chatbot)"
            r"(?=[,.;:!?'’)，。\n]|$| (?:I|and|developed|trained|created|without|my|it)\b)"
            r"|an (?:AI|artificial intelligence)(?=,| I\b|[.!]?$|[.!]?\n))",
        ),
        (("ai language model",), r"\bI(?:['’]m| am) (?i:(?:just |only )?an AI language model)"),
        # Whom another maker's model says it is.
        (
            ("chatgpt", "openai"),
            r"我(?:是|叫)[^，。,.?？\n]{0,10}(?:ChatGPT|OpenAI|chatgpt)"
            r"|\bI(?:['’]m| am) (?:ChatGPT\b|an? [\w ,-]{0,40}\bby OpenAI\b)",
        ),
        (
            ("作为", "身为"),
            r"[作身]为(?:一[个名款种位])?(?:人工智能|AI|ai|大型|大)(?:语言模型"
            r"|(?:模型|助手|助理|程序|机器人)?(?=[,，、。！我\s]|$))",
        ),
    )
)
# Not LaTeX such as \frac{{a}}{{b}}.
_TEMPLATE = re.compile(
    r"\{\{(?<![0-9A-Za-z_\\}{^$]..)[ \t]*[A-Za-z_\u4e00-\u9fff][\w .-]{0,40}[ \t]*\}\}(?!\})"
)

# Supersets, for RE2: the first without regard to case, the second as written.
LIKELY = (
    r"(?i:lorem ipsum|xxx|[\[<](?:insert|your|enter|fill in)[ _]|your (?:answer|text|response|"
    r"content) (?:goes )?here|as an? (?:ai|large|artificial)|an ai language)|TODO|FIXME|××"
    r"|待补充|待填写|[此这]处(?:填写|插入|输入)|在此处?填写|[\[【［](?:插入|填写|请填写|你的|您的)"
    r"|ChatGPT|OpenAI|chatgpt"
    r"|[作身]为.{0,2}(?:人工智能|AI|ai|大)|\{\{[ \t]*[A-Za-z_\x{4e00}-\x{9fff}]"
)
# What spreadsheets and programs leave in an empty cell, as a whole answer.
EMPTY_CELLS = (
    *("nan", "null", "undefined", "#n/a", "#ref!", "#value!", "#name?", "#div/0!"),
    *(
        "n/a",
        "略",
        "略。",
        "（略）",
        "(略)",
        "[object object]",
        "<noinput>",
        "<nooutput>",
        "placeholder",
        "tbd",
    ),
)


def find_placeholder(text: str) -> Span | None:
    """Where a placeholder lies."""
    lowered = text.lower()
    for words, pattern in _RULES:
        if any(word in lowered for word in words) and (found := pattern.search(text)):
            return found.span()
    if "{{" in text and (found := _TEMPLATE.search(without_code(text))):
        return found.span()
    return None

"""Which scores suit the references: classes, JSON, queries, short answers, or texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tunesmith.evaluation.scores.sql import is_query, query_in
from tunesmith.evaluation.scores.structured import is_json_record
from tunesmith.evaluation.scores.texts import normalise, tokens

Kind = Literal[
    "classes",
    "json",
    "sql",
    "code",
    "short",
    "fixed",
    "long",
    "text",
    "pairs",
    "unasked",
]

_MOST = 0.8  # of the references decide
_LABEL_TOKENS = 6
_SHORT_TOKENS = 12
ALWAYS = ("length", "latency")
DEFAULTS: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy", "macro_f1"),
    "json": ("json_equal", "json_schema", "json_valid"),
    "sql": ("normalised_match", "token_f1"),
    "code": ("code",),
    "short": ("normalised_match", "token_f1", "exact_match"),
    "fixed": ("nearest_reference", "rouge_l", "bleu"),
    "long": ("rouge_l", "rouge_1", "rouge_2", "bleu", "token_f1"),
    "text": ("perplexity",),
    "pairs": ("preference_accuracy", "preference_margin"),
    "unasked": ("perplexity",),
}
"""By kind, the primary score first."""

WHY: dict[Kind, tuple[str, str]] = {
    "classes": (
        "The references are {distinct} short labels",
        "参考答案是 {distinct} 种简短标签",
    ),
    "json": ("The references are JSON", "参考答案是 JSON"),
    "sql": ("The references are SQL queries", "参考答案是 SQL 查询"),
    "code": ("The rows have unit tests", "数据带有单元测试"),
    "short": ("The references are short answers", "参考答案较短"),
    "fixed": (
        "The {rows} references are {distinct} answers that come again and again",
        "{rows} 条参考答案来自 {distinct} 个反复出现的固定答案",
    ),
    "long": ("The references are texts", "参考答案是较长的文本"),
    "text": ("The rows are plain texts without questions", "数据是没有提问的纯文本"),
    "pairs": (
        "The rows are pairs of a better and a worse answer",
        "数据是一好一差的回答对",
    ),
    "unasked": (
        "A model here is not served and cannot be asked",
        "有模型不支持提供服务，无法作答",
    ),
}


_MISSING = (
    " Left out, as not installed: {} (pip install 'tunesmith[scores]').",
    "未安装而略去：{}（pip install 'tunesmith[scores]'）。",
)


@dataclass(frozen=True)
class Choice:
    """The scores for some references, the primary one first, and why."""

    kind: Kind
    names: tuple[str, ...]
    rows: int
    distinct: int
    missing: tuple[str, ...] = ()  # scores left out, as their library is not installed

    def why(self, language: str = "en") -> str:
        """One sentence for people."""
        text = WHY[self.kind][language == "zh"].format(rows=self.rows, distinct=self.distinct)
        names = ", ".join(self.names)
        ends = "：采用 {}。" if language == "zh" else ", so the scores are {}."
        left_out = _MISSING[language == "zh"].format(", ".join(self.missing))
        return text + ends.format(names) + (left_out if self.missing else "")


def choose(
    references: Sequence[str], *, has_fixtures: bool = False, has_tests: bool = False
) -> Choice:
    """The scores that suit some references.

    Args:
        has_fixtures: There is a database for queries to run on.
        has_tests: Rows have unit tests, and running code is allowed.
    """
    distinct = _distinct(references)
    kind = _kind(references, distinct, has_tests)
    names = DEFAULTS[kind]
    if kind == "sql" and has_fixtures:
        names = ("sql_equal", *names)
    return Choice(kind, names + ALWAYS * (kind != "text"), len(references), distinct)


def choose_for_pairs(references: Sequence[str], *, asks: bool) -> Choice:
    """The scores of pairs, which are measured; where answers are written too, what they tell."""
    names = DEFAULTS["pairs"] + ALWAYS * asks
    return Choice("pairs", names, len(references), _distinct(references))


def choose_unasked(references: Sequence[str]) -> Choice:
    """What is measured of a model that is not served, so that it can be asked for nothing."""
    return Choice("unasked", DEFAULTS["unasked"], len(references), _distinct(references))


def _distinct(references: Sequence[str]) -> int:
    return len({normalise(reference) for reference in references})


def _kind(references: Sequence[str], distinct: int, has_tests: bool) -> Kind:
    if not references:
        return "text"
    if has_tests:
        return "code"
    total = len(references)
    if sum(map(is_json_record, references)) >= _MOST * total:
        return "json"
    if sum(is_query(query_in(reference)) for reference in references) >= _MOST * total:
        return "sql"
    lengths = sorted(len(tokens(reference)) for reference in references)
    comes_again = total >= 4 and 2 * distinct <= total
    if comes_again and lengths[int(0.95 * (total - 1))] <= _LABEL_TOKENS:
        return "classes"
    if comes_again and total >= 20:
        return "fixed"
    return "short" if median(lengths) <= _SHORT_TOKENS else "long"

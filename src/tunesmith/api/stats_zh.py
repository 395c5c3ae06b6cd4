"""What statistics advise, in Chinese, from their own figures: they are kept in English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_chinese(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics with the reason of the recommended length and the advice in Chinese."""
    told = {**facts, "advice": _advice(int(facts["training_rows"]))}
    found = facts.get("recommended")
    if found:
        told["recommended"] = {
            **found,
            "why": _why(facts, int(found["max_length"])) or found["why"],
        }
    return told


def _why(facts: Mapping[str, Any], length: int) -> str:
    rows = facts["training_rows"]
    if rows and facts["documents"] == rows:
        return f"纯文本按 max_length 切分，不会丢失内容；通常取 {length:,}。"
    at = next((each for each in facts["max_lengths"] if each["max_length"] == length), None)
    if at is None:
        return ""
    labels = max(1, facts["answer_tokens"]["total"])
    whole, kept = at["share_whole"], 1 - at["label_tokens_lost"] / labels
    reason = f"取 {length:,} 时，{whole:.1%} 的数据保持完整，保留 {kept:.1%} 的回答 token"
    if whole >= 0.99 and kept >= 0.99:
        return f"{reason}；这是满足“99% 的数据完整且保留 99% 的回答”的最小常用长度。"
    return f"{reason}；这已是可用的最大长度，请拆分较长的数据。"


def _advice(rows: int) -> str:
    if rows < 100:
        return f"只有 {rows} 条数据，少于训练要求的 100 条。请补充数据：提问方式多样最有帮助。"
    if rows < 1000:
        return (
            f"{rows} 条数据可以教会一种风格或一项较窄的任务。如需更多，"
            "几千条亲自审阅过的数据比更长的训练更有效。"
        )
    if rows <= 20_000:
        return (
            f"{rows} 条数据足够大多数任务（精选的数据通常约 10,000 条即可）："
            "此后提高质量比增加数量更有效。"
        )
    return (
        f"{rows} 条数据超过大多数任务所需（精选的数据通常约 10,000 条即可）："
        "请保留质量最好、差异最大的部分。"
    )

"""Texts in two languages: values that read differently in each, and how templates are filled.

A value of a template is a text, a number, or words: {"en": "a, or b", "zh": "a 或 b"}. All of them
are plain data, so that a problem may be stored and told later to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast

Language = Literal["en", "zh"]
Words = dict[str, str]


class Text(NamedTuple):
    """A message and its hint: English, Chinese."""

    en: str
    en_hint: str
    zh: str
    zh_hint: str

    def of(self, language: str) -> tuple[str, str]:
        """Message and hint in a language."""
        return (self.zh, self.zh_hint) if language == "zh" else (self.en, self.en_hint)


def either(names: Iterable[str]) -> Words:
    """One of several: 'a or b'."""
    some = list(names)
    return {"en": " or ".join(some), "zh": " 或 ".join(some)}


def listed(names: Iterable[str]) -> Words:
    """Several: 'a, b'; says so where there are none."""
    some = list(names)
    return {"en": ", ".join(some) or "none", "zh": "、".join(some) or "无"}


def guess(near: Iterable[str]) -> Words:
    """'Did you mean lora?' and nothing where no name is near; a sentence may follow."""
    some = list(near)
    if not some:
        return {"en": "", "zh": ""}
    found = either(some)
    return {"en": f"Did you mean {found['en']}? ", "zh": f"是否想写 {found['zh']}？"}


def quoted(value: Any) -> Words:
    """A value that somebody wrote, as it stands in the recipe: 'x', 5e-5, true."""
    from tunesmith.recipe.catalog import show

    if value is None:
        return {"en": "empty", "zh": "空值"}
    text = repr(value) if isinstance(value, str) else show(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return {"en": text, "zh": text}


_LONGEST = 120  # characters of a value that are shown


def kind_of(value: Any) -> Words:
    """What a document holds instead of fields."""
    if isinstance(value, list):
        return {"en": "a list", "zh": "列表"}
    shown = quoted(value)
    return {"en": f"the value {shown['en']}", "zh": f"值 {shown['zh']}"}


def filled(template: str, values: Mapping[str, Any], language: str) -> str:
    """A template with its values in a language."""
    known = {name: said(value, language) for name, value in values.items()}
    return template.format_map(known).strip()


def said(value: Any, language: str) -> str:
    """One value in a language; English where it has no other words."""
    if isinstance(value, Mapping):
        words = cast("Mapping[str, str]", value)
        return str(words.get(language, words.get("en", "")))
    if isinstance(value, list | tuple):
        items = [said(each, language) for each in cast("list[Any]", value)[:_MOST_ITEMS]]
        return ("、" if language == "zh" else ", ").join(items) or {"zh": "无"}.get(
            language, "none"
        )
    return str(value)


_MOST_ITEMS = 20

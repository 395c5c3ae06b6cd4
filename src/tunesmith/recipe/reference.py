"""The parameter reference in docs/, made from the schema. Run it: python -m this module."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.recipe.catalog import FieldDoc, catalog, show
from tunesmith.recipe.pages import keep
from tunesmith.recipe.profiles import PRESETS, PROFILES, Preset, Profile


@dataclass(frozen=True)
class Page:
    """The fixed texts of the page in one language."""

    language: str
    file: str
    title: str
    intro: str
    top: str
    field_head: str
    required: str
    no_default: str
    empty: str
    only: str
    other_default: str
    spelled: str
    speed: str
    records: str
    profiles: str
    profile_head: str
    presets: str
    preset_head: str


_COMMAND = "`python -m tunesmith.recipe.reference`"

PAGES = (
    Page(
        language="en",
        file="parameters.md",
        title="Parameters",
        intro=f"""\
Every field of a recipe, made from its schema by {_COMMAND}.
Write a field under its path (`training: {{epochs: 3}}`), on the command line (`training.epochs=3`),
or under any of its other names at the top of the recipe (`num_train_epochs: 3`, `训练轮数: 3`).
Numbers may be written as `5e-5`. Two names of one field with different values are refused.""",
        top="Top level",
        field_head="Field | Default | Takes | Meaning | Other names",
        required="required",
        no_default="no default",
        empty="empty",
        only=" (only `{}`)",
        other_default="; {}: `{}`",
        spelled=" Also written: {}.",
        speed=" *Speed and memory only: the result stays the same.*",
        records=" *Does not change the training.*",
        profiles="""\
## Profiles

A profile is a named set of defaults and ranges: `profile: pangu-lora`. What it does not name keeps
the default above.""",
        profile_head="Profile | What it is | Sets | Takes only",
        presets="""\
## Presets

A preset fills in values on top of its profile: `preset: pangu-n2-nl2sql`. What you write wins.""",
        preset_head="Preset | Purpose | Profile | Sets",
    ),
    Page(
        language="zh",
        file="parameters.zh.md",
        title="参数说明",
        intro=f"""\
配方的所有字段，由 {_COMMAND} 根据配方定义生成。
可以按路径填写（`training: {{epochs: 3}}`），可以在命令行填写（`training.epochs=3`），
也可以在配方顶层使用任一别名（`num_train_epochs: 3`、`训练轮数: 3`）。
数值可以写成 `5e-5`。同一字段的两个名称若取值不同，会被拒绝。""",
        top="顶层",
        field_head="字段 | 默认值 | 取值 | 含义 | 别名",
        required="必填",
        no_default="无默认值",
        empty="空",
        only="（仅 `{}`）",
        other_default="；{}：`{}`",
        spelled="也可写作：{}。",
        speed="*只影响速度和显存，不改变结果。*",
        records="*不影响训练本身。*",
        profiles="""\
## 配置档

配置档是一组命名的默认值和取值范围：`profile: pangu-lora`。其中未列出的字段使用上文的默认值。""",
        profile_head="配置档 | 说明 | 默认值 | 限定取值",
        presets="""\
## 预设

预设在配置档之上填入一组取值：`preset: pangu-n2-nl2sql`。您明确填写的值优先。""",
        preset_head="预设 | 用途 | 配置档 | 取值",
    ),
)


def reference(page: Page) -> str:
    """The whole page as Markdown."""
    parts = [f"# {page.title}", page.intro]
    for section, fields in _by_section().items():
        rows = [_field_row(doc, page) for doc in fields]
        parts += [f"## {f'`{section}`' if section else page.top}", _table(page.field_head, rows)]
    profiles = [_profile_row(profile, page) for profile in PROFILES.values()]
    presets = [_preset_row(preset, page) for preset in PRESETS.values()]
    parts += [page.profiles, _table(page.profile_head, profiles)]
    parts += [page.presets, _table(page.preset_head, presets)]
    return "\n\n".join(parts) + "\n"


def _by_section() -> dict[str, list[FieldDoc]]:
    found: dict[str, list[FieldDoc]] = {}
    for doc in catalog().values():
        found.setdefault(doc.section, []).append(doc)
    return found


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = head.count("|") + 1
    lines = [f"| {head} |", "| " + " | ".join(["---"] * columns) + " |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _field_row(doc: FieldDoc, page: Page) -> tuple[str, ...]:
    facts = doc.facts if doc.facts.en else _first_with(doc.leaf).facts
    meaning = facts.en if page.language == "en" else facts.zh
    if facts.spellings:
        pairs = ", ".join(f"`{written}` = `{ours}`" for written, ours in facts.spellings.items())
        meaning += page.spelled.format(pairs)
    meaning += {"speed": page.speed, "records": page.records}.get(facts.changes, "")
    kinds = page.only.format("`, `".join(doc.kinds)) if doc.kinds else ""
    default = page.required if doc.required else f"`{show(doc.default)}`"
    default = page.empty if doc.default is None else default
    for kind, value in doc.other_defaults:
        default += page.other_default.format(kind, page.empty if value is None else show(value))
    names = ", ".join(f"`{alias}`" for alias in doc.facts.aliases)
    takes = doc.expected(page.language) + kinds
    return (f"`{doc.leaf}`", default, takes, meaning, names)


def _first_with(leaf: str) -> FieldDoc:
    return next(doc for doc in catalog().values() if doc.leaf == leaf and doc.facts.en)


def _profile_row(profile: Profile, page: Page) -> tuple[str, ...]:
    rules = [
        f"`{path}`: {rule.describe(page.language)}"
        + (f" ({page.no_default})" if rule.required else "")
        for path, rule in profile.rules.items()
    ]
    about = profile.en if page.language == "en" else profile.zh
    return (f"`{profile.name}`", about, _values(profile.defaults), "; ".join(rules))


def _preset_row(preset: Preset, page: Page) -> tuple[str, ...]:
    about = preset.en if page.language == "en" else preset.zh
    return (f"`{preset.name}`", about, f"`{preset.profile}`", _values(preset.values))


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}: {show(value)}`" for name, value in values.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    return keep({page.file: reference(page) for page in PAGES}, _COMMAND[1:-1], arguments)


if __name__ == "__main__":
    sys.exit(main())

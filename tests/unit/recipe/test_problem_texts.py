"""Every problem of a recipe has a code and is told whole in both languages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import parse
from tunesmith.recipe.load import loads
from tunesmith.recipe.problem_texts import TEXTS
from tunesmith.recipe.problems import Problem, read_problems
from tunesmith.recipe.words import Words, either, filled, guess, listed, quoted

SOURCE = Path(__file__).parents[3] / "src" / "tunesmith"
SMALL: dict[str, Any] = {"model": "starter", "data": ["builtin:shop"]}


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


@pytest.mark.parametrize("code", TEXTS)
def test_both_languages_of_a_code_name_the_same_values_and_both_say_what_to_do(code: str) -> None:
    text = TEXTS[code]
    assert placeholders(text.en) == placeholders(text.zh)
    assert placeholders(text.en_hint) == placeholders(text.zh_hint)
    assert text.en_hint
    assert text.zh_hint
    assert is_chinese(text.zh)
    assert not is_chinese(text.en + text.en_hint)


def raised() -> Iterator[tuple[Path, ast.Call]]:
    """Calls of problem(), refuse() of foreign names, and _clash(), wherever they are."""
    for package in ("recipe", "server"):
        for file in sorted((SOURCE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield file, node


def codes() -> Iterator[str]:
    places = {"problem": 0, "_clash": 1, "clash": 1}
    for _, call in raised():
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        is_refusal = isinstance(call.func, ast.Attribute) and call.func.attr == "refuse"
        place = 1 if is_refusal else places.get(name)
        if place is not None and len(call.args) > place:
            for each in ast.walk(call.args[place]):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value


def test_the_codes_that_are_raised_are_those_that_have_texts() -> None:
    made = {"unknown_profile", "unknown_preset"}  # f"unknown_{path}"
    made |= {code for code in TEXTS if code.startswith("yaml_")}  # a table in document.py
    named = {code for code in codes() if "_" in code and code.isidentifier()}
    assert named - {"unknown_"} <= TEXTS.keys()
    assert TEXTS.keys() - made <= set(codes())


def test_no_problem_is_made_without_a_code() -> None:
    """Only where an error becomes a problem, and where problems are read back, is one made so."""
    made = {
        file.name
        for file, call in raised()
        if isinstance(call.func, ast.Name) and call.func.id == "Problem"
    }
    assert made == {"problems.py", "recipes.py", "submission.py"}


def found(recipe: Any, *overrides: str) -> list[Problem]:
    with pytest.raises(RecipeError) as caught:
        loads(recipe, overrides) if isinstance(recipe, str) else parse(recipe, overrides)
    return read_problems(caught.value.details["problems"])


@pytest.mark.parametrize(
    ("recipe", "code", "chinese"),
    [
        (SMALL | {"epochs": 0}, "bad_value", "training.epochs|0 无效；应为：数值，大于 0"),
        (SMALL | {"epochs": "x"}, "bad_value", "training.epochs|'x' 无效"),
        (SMALL | {"r": 0}, "bad_value", "adapter.rank|0 无效（写作 r）；应为：整数，1 到 4096"),
        (SMALL | {"name": ""}, "empty_value", "name|不能为空；应为：文本"),
        (SMALL | {"seed": 1.5}, "bad_value", "training.seed|1.5 无效"),
        ({"model": "starter"}, "missing", "data.train|缺少该字段"),
        (SMALL | {"learning_rte": 1}, "unknown_field", "learning_rte|没有这个字段"),
        (SMALL | {"lr": 1e-4, "学习率": 1e-5}, "conflicting_names", "1e-5；两者是同一个字段"),
        (SMALL | {"adapter": {"kind": "qlora"}}, "unknown_kind", "'qlora' 无效；可选：full、lora"),
        (SMALL | {"profile": "pangu-lora", "rank": 7}, "outside_profile", "配置档 pangu-lora"),
        (SMALL | {"profile": "pangu-lora"}, "missing_in_profile", "没有它的默认值"),
        (SMALL | {"profile": "pangu"}, "unknown_profile", "没有名为 'pangu' 的配置档"),
        (SMALL | {"kind": "full", "adapter": {"rank": 8, "kind": "full"}}, "", ""),
        (SMALL | {"format": "text"}, "format_against_stage", "学习的是回答"),
        (SMALL | {"batch_tokens": 100}, "batch_below_row", "最长的数据放不下"),
        (SMALL | {"warmup_steps": 10}, "warmup_steps_not_share", "按训练总步数的比例"),
        ("[1]", "not_a_recipe", "内容是列表"),
        ("a: [", "yaml_unclosed", "括号或引号没有闭合"),
        ("model: starter\n\tx: 1\n", "yaml_tab", "制表符"),
        ("model: a: b\n", "yaml_two_colons", "此处不应出现"),
        ("model: *x\n", "yaml_alias", "锚点不存在"),
        ("epochs: 1\nepochs: 2\n", "written_twice", "写了两次"),
    ],
)
def test_what_users_do_wrong_is_told_whole_in_chinese(recipe: Any, code: str, chinese: str) -> None:
    problems = found(recipe)
    if not code:
        assert {each.code for each in problems} >= {"field_of_other_kind"}
        return
    (problem,) = [each for each in problems if each.code == code]
    told = problem.in_language("zh")
    assert chinese.partition("|")[2] in told.message or chinese in told.message
    assert told.path == problem.path
    assert is_chinese(told.message)
    assert is_chinese(told.hint or "无")


def test_a_problem_survives_being_stored_and_is_told_in_another_language_later() -> None:
    (problem,) = found(SMALL | {"learning_rte": 1})
    again = read_problems([{"field": problem.path, "code": problem.code, "values": problem.values}])
    assert again[0].in_language("en").message == problem.message
    assert again[0].in_language("zh").hint == "是否想写 training.learning_rate？"


def test_words_read_differently_by_language_and_texts_stay_as_they_are() -> None:
    some: list[Words] = [either("ab"), listed("ab"), listed(""), guess(["x"]), quoted(None)]
    assert [each["zh"] for each in some] == ["a 或 b", "a、b", "无", "是否想写 x？", "空值"]
    assert filled("{a} {b} {c}", {"a": either("xy"), "b": 1, "c": "t"}, "en") == "x or y 1 t"
    assert len(quoted("x" * 1000)["en"]) < 200


@pytest.mark.parametrize(
    ("entry", "code", "told"),
    [
        ({"kind": "format"}, "entry_of_unknown_kind", "entry 2 has kind format, which is not one"),
        ({"kind": "python"}, "entry_without", "entry 2 lacks file."),
        ({"kind": "json", "schemas": {}}, "entry_with_unknown", "entry 2 has a field schemas"),
        ({"kind": "json", "weight": "x"}, "entry_with_bad_value", "entry 2 has 'x' for weight"),
        (3, "bad_value", "is not a list of objects"),
    ],
)
def test_what_is_wrong_inside_an_entry_of_a_list_is_told(entry: Any, code: str, told: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse({**SMALL, "stage": {"kind": "grpo", "rewards": ["json", entry]}})
    [found] = read_problems(refused.value.details["problems"])
    assert (found.path, found.code) == ("stage.rewards", code)
    assert told in found.message

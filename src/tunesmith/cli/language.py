"""The language of the terminal: `TUNESMITH_LANG=zh` asks for Chinese.

The commonest errors are told in Chinese from their code and details. What a server refuses comes in
the language of the request; problems of a recipe have their texts in `recipe/problem_texts.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from string import Formatter
from typing import TYPE_CHECKING, Any, Final

from tunesmith.errors import RecipeError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.recipe.problems import Problem

# Message and hint by code. Where the details lack a name that the text has, it stays English.
TEXTS: Final[dict[str, tuple[str, str]]] = {
    "unknown_command": (
        "没有命令 {name}。",
        "{guess}`tunesmith --help` 列出所有命令。",
    ),
    "dataset_not_found": (
        "没有文件 {looked}，也没有名为 {name} 的数据集。",
        "{near}相对路径以配方所在目录或当前目录为起点。",
    ),
    "model_folder_not_found": (
        "没有目录 {name}。",
        "请填写模型所在的目录、模型仓库的 ID（如 Qwen/Qwen3-0.6B）或 `starter`。",
    ),
    "recipe_not_found": ("没有文件 {path}。", "请检查路径；现成的配方在 recipes/ 目录中。"),
    "run_exists": (
        "{path} 中已有一次训练，未做任何更改。",
        "加 --resume 可继续该训练，或用 --run 指定其他目录。",
    ),
    "directory_not_empty": (
        "{path} 不为空，也不是训练目录，未做任何更改。",
        "请用 --run 指定新的或空的目录。",
    ),
    "run_not_found": ("没有训练目录 {path}。", "请检查路径；开始新的训练时不要加 --resume。"),
    "engine_not_installed": (
        "训练和对话需要 {missing}，当前 Python 中没有安装。",
        "pip install 'tunesmith[engine]'",
    ),
    "server_not_installed": (
        "平台没有安装在当前 Python 中。",
        "pip install 'tunesmith[server]'",
    ),
    "no_token": (
        "没有用于 {url} 的令牌。",
        "请运行 `tunesmith login {url}`，或设置 TUNESMITH_TOKEN。",
    ),
    "no_address": (
        "已有令牌，但没有与之对应的服务器地址。",
        "请在 TUNESMITH_TOKEN 之外再设置 TUNESMITH_URL，例如 {url}。",
    ),
    "server_not_reachable": (
        "{address} 没有应答。",
        "`tunesmith serve` 是否正在那里运行？可用 TUNESMITH_URL 指定其他地址；如果发送过请求，"
        "重试前请先查看是否已生效。",
    ),
}
_WORDS: Final = {"Error:": "错误：", "Warning:": "警告："}


def chinese() -> bool:
    """Whether this terminal is asked to speak Chinese."""
    return os.environ.get("TUNESMITH_LANG", "").lower().startswith("zh")


def language() -> str:
    """`zh` or `en`."""
    return "zh" if chinese() else "en"


def heading(english: str) -> str:
    """A word that stands before what is told."""
    return _WORDS.get(english, english) if chinese() else english


def spoken(error: TunesmithError) -> tuple[str, str]:
    """Message and hint in the language of the terminal, where the error can tell itself anew."""
    if not chinese():
        return error.message, error.hint
    listed = error.details.get("problems")
    if isinstance(error, RecipeError) and listed:
        from tunesmith.recipe.problems import read_problems, told

        problems = [_problem(each) for each in read_problems(listed)]
        return told(str(error.details.get("source", "")), problems, "zh")
    return _told(error.code, error.details) or (error.message, error.hint)


def _problem(problem: Problem) -> Problem:
    found = _told(problem.code, problem.values)
    if found is None:
        return problem.in_language("zh")
    return replace(problem, message=found[0], hint=found[1])


def _told(code: str, details: Mapping[str, Any]) -> tuple[str, str] | None:
    if code not in TEXTS:
        return None
    wanted = {name for text in TEXTS[code] for _, name, _, _ in Formatter().parse(text) if name}
    if not wanted <= details.keys():
        return None
    from tunesmith.recipe.words import filled

    message, hint = (filled(text, details, "zh") for text in TEXTS[code])
    return message, hint

"""Which columns of a dataset mean what: seen in the first rows, explained in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from tunesmith.data.convert import Columns, Convert, messages_row, question_row, text_row
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset

Row = Mapping[str, Any]
SAMPLE_ROWS = 20

_PROMPTS = (
    *("prompt", "question", "query", "instruction", "input", "user", "ask", "q"),
    *("问题", "提问", "问", "指令", "输入", "用户"),
)
_RESPONSES = (
    *("response", "answer", "output", "completion", "reply", "assistant", "target", "a"),
    *("答案", "回答", "答", "回复", "答复", "输出"),
)
_INSTRUCTIONS = ("instruction", "指令")
_CONTEXTS = ("input", "输入")
_OUTPUTS = ("output", "输出")
_HISTORIES = ("history", "历史", "历史对话", "对话历史")
_SYSTEMS = ("system", "system_prompt", "系统", "系统提示", "系统提示词")
_LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "对话")
_TOOLS = ("tools", "functions", "工具")
_TEXTS = ("text", "content", "document", "文本", "内容", "正文")


@dataclass(frozen=True)
class Layout:
    """How rows of one file become records, and why."""

    format: str
    why: str
    convert: Convert


def find_layout(rows: Sequence[Row], wanted: Dataset, file: str) -> Layout:
    """Choose the format of a file from its first rows and what the recipe says."""
    table = _Table(rows, wanted, file)
    if wanted.format != "auto":
        return _BY_NAME[wanted.format](table, "the recipe says so")
    if wanted.prompt_field or wanted.response_field:
        return _prompt_response(table, "the recipe names its columns")
    column = table.list_column()
    if column is not None:
        return _turns(table, f"column '{column}' holds a list of turns")
    if table.find(_INSTRUCTIONS) and table.find(_OUTPUTS):
        return _alpaca(table, "it has the columns instruction and output")
    if table.find(_PROMPTS) and table.find(_RESPONSES):
        return _prompt_response(table, "its column names look like question and answer")
    if table.find(_TEXTS):
        return _text(table, "it has a column of text and no answers")
    raise DataError(
        f"{file}: cannot tell which columns hold question and answer. "
        f"The columns are: {table.names()}.",
        hint="Name them: data.train: [{dataset: ..., prompt_field: ..., response_field: ...}]",
        code="unknown_format",
    )


class _Table:
    """The first rows of a file, asked for columns."""

    def __init__(self, rows: Sequence[Row], wanted: Dataset, file: str) -> None:
        self.rows = rows
        self.wanted = wanted
        self.file = file
        self.columns = list(dict.fromkeys(name for row in rows for name in row))

    def names(self) -> str:
        return ", ".join(self.columns) or "none"

    def find(self, names: Sequence[str]) -> str | None:
        """The first column with one of these names, in any case."""
        by_name = {column.strip().lower(): column for column in self.columns}
        return next((by_name[name] for name in names if name in by_name), None)

    def require(self, what: str, names: Sequence[str], chosen: str | None = None) -> str:
        """The chosen column, or one with a usual name; DataError when there is none."""
        column = chosen if chosen in self.columns else None if chosen else self.find(names)
        if column is not None:
            return column
        missing = f"column '{chosen}'" if chosen else f"column for the {what}"
        near = get_close_matches(chosen or "", self.columns, n=1)
        raise DataError(
            f"{self.file}: there is no {missing}. The columns are: {self.names()}.",
            hint=f"Did you mean '{near[0]}'?" if near else f"Set {what}_field to one of them.",
            code="unknown_column",
            file=self.file,
            columns=self.columns,
        )

    def optional(self, what: str, names: Sequence[str], chosen: str | None) -> str | None:
        return self.require(what, names, chosen) if chosen else self.find(names)

    def list_column(self) -> str | None:
        """The first column with a usual name whose cells are lists of objects with roles."""
        found = (self.find([name]) for name in _LISTS)
        return next((name for name in found if name and self.turn_keys(name)), None)

    def turn_keys(self, column: str) -> set[str]:
        """The keys of the turns in a column of lists; empty when it holds no turns."""
        for row in self.rows:
            turns = _listed(row.get(column))
            if turns and isinstance(turns[0], dict):
                keys = set[str](turns[0])
                return keys if keys & {"role", "from"} else set()
        return set()


def _listed(value: Any) -> list[Any]:
    """A list, also one written as JSON text in a table cell."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return []
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def _turns(table: _Table, why: str) -> Layout:
    column = table.list_column() or table.require("messages", _LISTS)
    keys = table.turn_keys(column)
    name = "sharegpt" if "from" in keys else "messages"
    columns = Columns(
        messages=column,
        system=table.optional("system", _SYSTEMS, table.wanted.system_field),
        tools=table.find(_TOOLS),
    )
    shown = "from and value" if name == "sharegpt" else "role and content"
    return Layout(name, f"{name}: {why} ({shown})", partial(messages_row, columns=columns))


def _alpaca(table: _Table, why: str) -> Layout:
    columns = Columns(
        prompt=table.require("prompt", _INSTRUCTIONS, table.wanted.prompt_field),
        response=table.require("response", _OUTPUTS, table.wanted.response_field),
        context=table.find(_CONTEXTS),
        history=table.optional("history", _HISTORIES, table.wanted.history_field),
        system=table.optional("system", _SYSTEMS, table.wanted.system_field),
    )
    return Layout("alpaca", f"alpaca: {why}", partial(question_row, columns=columns))


def _prompt_response(table: _Table, why: str) -> Layout:
    columns = Columns(
        prompt=table.require("prompt", _PROMPTS, table.wanted.prompt_field),
        response=table.require("response", _RESPONSES, table.wanted.response_field),
        history=table.optional("history", _HISTORIES, table.wanted.history_field),
        system=table.optional("system", _SYSTEMS, table.wanted.system_field),
    )
    said = f"prompt_response: {why} (question '{columns.prompt}', answer '{columns.response}')"
    return Layout("prompt_response", said, partial(question_row, columns=columns))


def _text(table: _Table, why: str) -> Layout:
    columns = Columns(text=table.require("prompt", _TEXTS, table.wanted.prompt_field))
    return Layout("text", f"text: {why} ('{columns.text}')", partial(text_row, columns=columns))


_BY_NAME = {
    "alpaca": _alpaca,
    "sharegpt": _turns,
    "messages": _turns,
    "prompt_response": _prompt_response,
    "text": _text,
}

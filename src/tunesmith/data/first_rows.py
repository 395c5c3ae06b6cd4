"""The first rows of a file, asked which of its columns mean what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tunesmith.data.messages import SPEAKERS, USUAL, Speaker, Tags, json_or_self
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset

Row = Mapping[str, Any]

PROMPTS = (
    *("prompt", "question", "query", "instruction", "input", "user", "ask", "q"),
    *("问题", "提问", "问", "指令", "输入", "用户"),
)
RESPONSES = (
    *("response", "answer", "output", "completion", "reply", "assistant", "target", "a"),
    *("答案", "回答", "答", "回复", "答复", "输出"),
)
INSTRUCTIONS = ("instruction", "指令")
CONTEXTS = ("input", "输入")
OUTPUTS = ("output", "输出")
HISTORIES = ("history", "历史", "历史对话", "对话历史")
SYSTEMS = ("system", "system_prompt", "系统", "系统提示", "系统提示词")
LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "对话")
TOOLS = ("tools", "functions", "工具")
CHOSEN = ("chosen", "preferred_output", "preferred_completion")
REJECTED = ("rejected", "non_preferred_output", "non_preferred_completion")
KTO_TAG = "kto_tag"
MARGIN = "margin"
LABELS = (KTO_TAG, "label", "desirable")
TEXTS = ("text", "content", "document", "文本", "内容", "正文")
OPENAI_INPUT = "input"
_OPTIONS = ("prompt", "response", "history", "system")  # fields that commands take as well


class FirstRows:
    """The first rows of a file and what the recipe says about its columns."""

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
            hint=f"Did you mean '{near[0]}'?" if near else _name_it(what),
            code="unknown_column",
            file=self.file,
            columns=self.columns,
        )

    def optional(self, what: str, names: Sequence[str], chosen: str | None) -> str | None:
        """A column that rows may lack; later rows may have it under its most usual name."""
        if chosen and chosen.strip().lower() not in names:
            return self.require(what, names, chosen)
        return chosen or self.find(names) or next(iter(names), None)

    def cells(self, column: str) -> list[Any]:
        """What the rows hold in a column, without empty cells."""
        values = [row.get(column) for row in self.rows]
        return [value for value in values if value not in (None, "", [])]

    def list_column(self) -> str | None:
        """The first column with a usual name whose cells are lists of objects with roles."""
        found = (self.find([name]) for name in LISTS)
        return next((name for name in found if name and self.turn_keys(name)), None)

    def num_with(self, *columns: str) -> int:
        """How many of the rows have all of these columns."""
        return sum(all(column in row for column in columns) for row in self.rows)

    def num_with_turns(self, column: str) -> int:
        """How many of the rows have a list of objects in a column."""
        cells = (_listed(row.get(column)) for row in self.rows)
        return sum(bool(cell) and isinstance(cell[0], dict) for cell in cells)

    def turn_keys(self, column: str) -> set[str]:
        """The keys of the turns in a column of lists; empty when it holds no turns."""
        for turns in map(_listed, self.cells(column)):
            if turns and isinstance(turns[0], dict):
                keys = set[str](turns[0])
                return keys if keys & {"role", "from", self.wanted.role_tag} else set()
        return set()

    def ends_in_answers(self, column: str) -> bool:
        """True when a dialogue in a column ends with an answer."""
        tags = self.tags(self.turn_keys(column))
        last = [turns[-1] for turns in map(_listed, self.cells(column)) if turns]
        return any(tags.speaker_of(turn) == "assistant" for turn in last)

    def ends_in_questions(self, column: str) -> bool:
        """True when every dialogue in a column waits for an answer, and none is in it."""
        tags = self.tags(self.turn_keys(column))
        dialogues = [turns for turns in map(_listed, self.cells(column)) if turns]
        said = {tags.speaker_of(turn) for turns in dialogues for turn in turns}
        last = {tags.speaker_of(turns[-1]) for turns in dialogues}
        return bool(dialogues) and last == {"user"} and "assistant" not in said

    def has_openai_input(self) -> bool:
        """True when there is a column with OpenAI's input of preference lines."""
        column = self.find([OPENAI_INPUT])
        given = [json_or_self(value) for value in self.cells(column)] if column else []
        return any(isinstance(value, dict) and "messages" in value for value in given)

    def pair(self, answers: str | None = None) -> tuple[str, str] | None:
        """The columns of better and worse answers.

        Rows with `answers` beside them are read for these, unless the recipe names the pair.
        """
        chosen, rejected = self.wanted.chosen_field, self.wanted.rejected_field
        if chosen or rejected:
            return (
                self.require("chosen", CHOSEN, chosen),
                self.require("rejected", REJECTED, rejected),
            )
        found = self.find(CHOSEN), self.find(REJECTED)
        if found[0] and found[1] and not (answers and self.cells(answers)):
            return found[0], found[1]
        return None

    def label(self) -> str | None:
        """The column that says which answers are good; a class label, such as 3, says no such.

        Where most of its cells are true or false, the others are told row by row.
        """
        if self.wanted.label_field:
            return self.require("label", (), self.wanted.label_field)
        for column in filter(None, (self.find([name]) for name in LABELS)):
            cells = self.cells(column)
            has_one_meaning = column.strip().lower() == KTO_TAG
            if cells and (has_one_meaning or 2 * sum(map(_is_bool, cells)) > len(cells)):
                return column
        return None

    def tags(self, keys: set[str]) -> Tags:
        """How turns with these keys are read: the recipe's names come before the usual ones."""
        wanted = self.wanted
        speakers: dict[str | None, Speaker] = {
            wanted.function_tag: "call",
            wanted.observation_tag: "tool",
            wanted.system_tag: "system",
            wanted.assistant_tag: "assistant",
            wanted.user_tag: "user",
        }
        own: dict[str, Speaker] = {
            name.strip().lower(): speaker for name, speaker in speakers.items() if name
        }
        is_sharegpt = "from" in keys and "role" not in keys
        role, content = ("from", "value") if is_sharegpt else (USUAL.role, USUAL.content)
        return Tags(wanted.role_tag or role, wanted.content_tag or content, {**SPEAKERS, **own})


def _name_it(what: str) -> str:
    option = f", or --{what}-field on the command line" if what in _OPTIONS else ""
    return f"Name one of them as {what}_field in data.train{option}."


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    """A list, also one written as JSON text in a table cell."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json_or_self(value)
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]

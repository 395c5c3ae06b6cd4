"""Which columns of a dataset mean what: seen in the first rows, explained in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import orjson

from tunesmith.data import first_rows as names
from tunesmith.data.conversation import StoredRecord
from tunesmith.data.convert import (
    Columns,
    Convert,
    ConvertBy,
    RowUnusable,
    messages_row,
    question_row,
    text_row,
)
from tunesmith.data.first_rows import FirstRows, Row
from tunesmith.data.preferences import (
    judged_messages_row,
    judged_question_row,
    openai_pair_row,
    pair_row,
)
from tunesmith.data.prompts import prompt_row, question_alone_row
from tunesmith.data.records import KINDS, Kind, from_json, kind_of
from tunesmith.data.store.version import STORED_RECORD
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tunesmith.recipe import Dataset

SAMPLE_ROWS = 20
RECORD_KIND = "record_kind"  # the column of exports that hold several kinds of records


@dataclass(frozen=True)
class Layout:
    """How rows of one file become records, and why."""

    format: str
    why: str
    convert: Convert
    kind: Kind  # of every record of the file
    used: frozenset[str]  # columns that records take up, where a row has them


def find_layout(rows: Sequence[Row], wanted: Dataset, file: str) -> Layout:
    """Choose the format of a file from its first rows and what the recipe says."""
    if rows and STORED_RECORD in rows[0]:
        kind = kind_of(stored_row(rows[0]))
        used = frozenset({STORED_RECORD})
        return Layout("version", "a published version", stored_row, kind, used)
    table = FirstRows(rows, wanted, file)
    if wanted.format != "auto":
        return _BY_NAME[wanted.format](table, "the recipe says so")
    if wanted.messages_field:
        return _turns(table, "the recipe names its columns")
    if wanted.prompt_field or wanted.response_field:
        return _prompt_response(table, "the recipe names its columns")
    return _detected(table)


def stored_row(row: Row) -> StoredRecord:
    """Rows of a published version hold their records ready-made."""
    try:
        return from_json(orjson.loads(row[STORED_RECORD]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RowUnusable("record_broken") from error


def record_row(row: Row) -> StoredRecord:
    """A row that names the kind of its record, as exports of several kinds do."""
    kind = row.get(RECORD_KIND)
    read = _BY_KIND.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise RowUnusable("unknown_kind")
    return read(row, OF_KINDS)


@dataclass(frozen=True)
class _Candidate:
    """A format that rows may have, and how many of the first rows have its columns."""

    make: Callable[[FirstRows, str], Layout]
    why: str
    fits: int


def _detected(table: FirstRows) -> Layout:
    """The first format whose columns most rows have: a stray row decides nothing."""
    found = list(_candidates(table))
    most = [candidate for candidate in found if candidate.fits * 2 >= len(table.rows)]
    if found:
        chosen = most[0] if most else max(found, key=lambda candidate: candidate.fits)
        layout = chosen.make(table, chosen.why)
        if chosen.fits == len(table.rows):
            return layout
        share = f"; {chosen.fits} of the first {len(table.rows)} rows have these columns"
        return replace(layout, why=layout.why + share)
    raise DataError(
        f"{table.file}: cannot tell which columns hold question and answer. "
        f"The columns are: {table.names()}.",
        hint="Name them: data.train: [{dataset: ..., prompt_field: ..., response_field: ...}], or "
        "--prompt-field and --response-field on the command line, or in the form of the upload.",
        code="unknown_format",
        file=table.file,
        columns=table.names(),
    )


def _candidates(table: FirstRows) -> Iterator[_Candidate]:
    """What the rows may be, the likeliest first."""
    find, pair = table.find, table.pair()
    kinds = [row for row in table.rows if row.get(RECORD_KIND) in KINDS]
    if kinds:
        yield _Candidate(_of_kinds, "each row names its kind", len(kinds))
    if pair and table.has_openai_input():
        why = "its lines have an input and two outputs"
        yield _Candidate(_openai_pairs, why, table.num_with(*pair))
    if column := table.list_column():
        why = f"column '{column}' holds a list of turns"
        yield _Candidate(_turns, why, table.num_with_turns(column))
    instruction = find(names.INSTRUCTIONS)
    if instruction and (output := find(names.OUTPUTS)):
        why = "it has the columns instruction and output"
        yield _Candidate(_alpaca, why, table.num_with(instruction, output))
    elif instruction and pair:
        yield _Candidate(_alpaca, "it has the column instruction", table.num_with(instruction))
    response = find(names.RESPONSES)
    if (prompt := find(names.PROMPTS)) and (pair or response):
        why = "its column names look like question and answer"
        asked = (prompt, response) if response and not pair else (prompt,)
        yield _Candidate(_prompt_response, why, table.num_with(*asked))
    if pair and table.turn_keys(pair[0]):
        why = "it has no question beside its dialogues"
        yield _Candidate(_dialogue_pairs, why, table.num_with(*pair))
    if text := find(names.TEXTS):
        why = "it has a column of text and no answers"
        yield _Candidate(_text, why, table.num_with(text))
    if prompt and not (pair or response):
        why = f"it has questions ('{prompt}') and no answers"
        yield _Candidate(_questions_alone, why, table.num_with(prompt))


def _of_kinds(table: FirstRows, why: str) -> Layout:
    first = next(row[RECORD_KIND] for row in table.rows if row.get(RECORD_KIND) in KINDS)
    used = OF_KINDS.used() | {RECORD_KIND}
    return Layout("records", f"records: {why}", record_row, first, used)


def _turns(table: FirstRows, why: str) -> Layout:
    wanted = table.wanted
    if wanted.format != "auto" and not wanted.messages_field and table.has_openai_input():
        return _openai_pairs(table, why)
    usual = table.list_column() or table.find(names.LISTS)
    if usual is None and table.pair() and not wanted.messages_field:
        return _dialogue_pairs(table, why)
    column = table.require("messages", names.LISTS, wanted.messages_field or usual)
    keys = table.turn_keys(column)
    columns = Columns(
        messages=column,
        system=table.optional("system", names.SYSTEMS, wanted.system_field),
        tools=table.optional("tools", names.TOOLS, wanted.tools_field),
        tags=table.tags(keys),
    )
    said = f"{why} ({columns.tags.role} and {columns.tags.content})"
    format_name = "sharegpt" if "from" in keys else "messages"
    answers = column if table.ends_in_answers(column) else None
    if pair := table.pair(answers):
        return _pairs(format_name, said, columns, pair)
    if label := table.label():
        return _judged(format_name, said, columns, label, judged_messages_row)
    if table.ends_in_questions(column):
        said += ", whose last turn is a question: the model answers it (stage grpo)"
        return _layout(format_name, said, columns, "prompt", prompt_row)
    said += _left_aside(table)
    return _layout(format_name, said, columns, "conversation", messages_row)


def _alpaca(table: FirstRows, why: str) -> Layout:
    return _questions(
        table, "alpaca", why, names.INSTRUCTIONS, names.OUTPUTS, contexts=names.CONTEXTS
    )


def _prompt_response(table: FirstRows, why: str) -> Layout:
    return _questions(table, "prompt_response", why, names.PROMPTS, names.RESPONSES, contexts=())


def _questions(
    table: FirstRows,
    format_name: str,
    why: str,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    contexts: Sequence[str],
) -> Layout:
    """Questions and answers in columns. `tools` may mean anything there, so it must be named."""
    wanted = table.wanted
    prompt = table.require("prompt", prompts, wanted.prompt_field)
    columns = Columns(
        prompt=prompt,
        context=table.optional("context", contexts, wanted.context_field),
        history=table.optional("history", names.HISTORIES, wanted.history_field),
        system=table.optional("system", names.SYSTEMS, wanted.system_field),
        tools=table.optional("tools", (), wanted.tools_field),
        tags=table.tags(set()),
    )
    if pair := table.pair(wanted.response_field or table.find(responses)):
        return _pairs(format_name, f"{why} (question '{prompt}')", columns, pair)
    response = table.require("response", responses, wanted.response_field)
    columns = replace(columns, response=response)
    if format_name != "alpaca":
        why += f" (question '{prompt}', answer '{response}')"
    if label := table.label():
        return _judged(format_name, why, columns, label, judged_question_row)
    why += _left_aside(table)
    return _layout(format_name, why, columns, "conversation", question_row)


def _questions_alone(table: FirstRows, why: str) -> Layout:
    """Questions that wait for an answer; `input` beside an instruction is its context."""
    column = table.require("prompt", names.PROMPTS, table.wanted.prompt_field)
    contexts = names.CONTEXTS if column.strip().lower() in names.INSTRUCTIONS else ()
    columns = Columns(
        prompt=column,
        context=table.optional("context", contexts, table.wanted.context_field),
        history=table.optional("history", names.HISTORIES, table.wanted.history_field),
        system=table.optional("system", names.SYSTEMS, table.wanted.system_field),
        tools=table.optional("tools", (), table.wanted.tools_field),
        tags=table.tags(set()),
    )
    return _layout("prompt_response", why, columns, "prompt", question_alone_row)


def _openai_pairs(table: FirstRows, why: str) -> Layout:
    column = table.require("prompt", [names.OPENAI_INPUT])
    pair = (table.require("chosen", names.CHOSEN), table.require("rejected", names.REJECTED))
    # Messages and tools lie inside of the input, so they are no columns of the file.
    inside = Columns(prompt=column, messages="messages", tools="tools")
    layout = _pairs("messages", why, inside, pair)
    wanted = replace(inside, chosen=pair[0], rejected=pair[1], margin=names.MARGIN)
    convert = partial(openai_pair_row, columns=wanted)
    return replace(layout, convert=convert, used=frozenset({column, *pair, names.MARGIN}))


def _dialogue_pairs(table: FirstRows, why: str) -> Layout:
    """Both answers are whole dialogues, with the question inside."""
    pair = table.pair()
    assert pair is not None
    keys = table.turn_keys(pair[0])
    columns = Columns(
        system=table.optional("system", names.SYSTEMS, table.wanted.system_field),
        tools=table.optional("tools", names.TOOLS, table.wanted.tools_field),
        tags=table.tags(keys),
    )
    return _pairs("sharegpt" if "from" in keys else "messages", why, columns, pair)


def _text(table: FirstRows, why: str) -> Layout:
    columns = Columns(text=table.require("prompt", names.TEXTS, table.wanted.prompt_field))
    return _layout("text", f"{why} ('{columns.text}')", columns, "text", text_row)


def _pairs(format_name: str, why: str, columns: Columns, pair: tuple[str, str]) -> Layout:
    chosen, rejected = pair
    said = (
        f"{why}, '{chosen}' is better than '{rejected}': pairs, of which sft and pt learn nothing"
    )
    columns = replace(columns, chosen=chosen, rejected=rejected, margin=names.MARGIN)
    return _layout(format_name, said, columns, "preference_pair", pair_row)


def _judged(
    format_name: str,
    why: str,
    columns: Columns,
    label: str,
    convert: ConvertBy,
) -> Layout:
    said = f"{why}, '{label}' says which answers are good: sft and pt learn only these"
    columns = replace(columns, label=label)
    return _layout(format_name, said, columns, "unpaired_preference", convert)


def _left_aside(table: FirstRows) -> str:
    """What to tell when a pair stands beside answers."""
    pair = table.pair()
    if pair is None:
        return ""
    return (
        f"; '{pair[0]}' and '{pair[1]}' are left aside, since there is an answer: "
        "name them as chosen_field and rejected_field to take them"
    )


def _layout(format_name: str, why: str, columns: Columns, kind: Kind, convert: ConvertBy) -> Layout:
    by_row = partial(convert, columns=columns)
    return Layout(format_name, f"{format_name}: {why}", by_row, kind, columns.used())


OF_KINDS = Columns(
    messages="messages",
    tools="tools",
    text="text",
    chosen="chosen",
    rejected="rejected",
    label="label",
    margin=names.MARGIN,
)
_BY_KIND: dict[str, ConvertBy] = {
    "conversation": messages_row,
    "text": text_row,
    "preference_pair": pair_row,
    "unpaired_preference": judged_messages_row,
    "prompt": prompt_row,
}
_BY_NAME = {
    "alpaca": _alpaca,
    "sharegpt": _turns,
    "messages": _turns,
    "prompt_response": _prompt_response,
    "text": _text,
}

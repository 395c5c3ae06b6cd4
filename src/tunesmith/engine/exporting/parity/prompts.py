"""What both models are asked: rows of the run's own data, and a set that ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tunesmith.data.conversation import Conversation, Message, Text
from tunesmith.data.convert import RowUnusable, to_learn
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import dataset_files, read_rows
from tunesmith.data.records import from_json
from tunesmith.data.resolve import resolve_dataset
from tunesmith.engine.exporting.source import Source
from tunesmith.engine.models import context_length
from tunesmith.errors import DataError
from tunesmith.recipe import Dataset

PACKAGE = "tunesmith.engine.exporting.parity"
OWN_PROMPTS = 8
ANSWER_TOKENS = 32
PLAIN_CHARACTERS = 60  # of a document that is continued


@dataclass(frozen=True)
class Prompt:
    """A question, or the beginning of a text, with the tokens that the training has for it."""

    conversation: Conversation
    ids: list[int]
    origin: str  # run or shipped

    def shown(self) -> str:
        """The last thing that was asked."""
        return self.conversation.messages[-1].content


def choose_prompts(source: Source) -> tuple[list[Prompt], list[str]]:
    """Prompts that fit the context, and notes for the certificate."""
    notes: list[str] = []
    own: list[Conversation] = []
    if source.recipe is not None:
        try:
            own = list(islice(_own(source), OWN_PROMPTS))
        except (DataError, OSError) as error:
            reason = error.message if isinstance(error, DataError) else str(error)
            notes.append(f"The rows of the training are not at hand ({reason}).")
    asked = [(conversation, "run") for conversation in own]
    asked += [(conversation, "shipped") for conversation in shipped()]
    limit = (context_length(source.config) or 1 << 30) - ANSWER_TOKENS
    prompts: dict[tuple[int, ...], Prompt] = {}  # the same question asked once
    for conversation, origin in asked:
        try:
            ids = prompt_ids(source, conversation)
        except DataError:  # a template may refuse a system message, say
            continue
        if 0 < len(ids) <= limit:
            prompts.setdefault(tuple(ids), Prompt(conversation, ids, origin))
    return list(prompts.values()), notes


def prompt_ids(source: Source, conversation: Conversation) -> list[int]:
    """The tokens that the training would show before an answer."""
    if not source.is_plain:
        return source.renderer.prompt_ids(conversation)
    tokenizer = source.renderer.tokenizer
    ids = tokenizer.encode("".join(message.content for message in conversation.messages))
    bos = tokenizer.bos_id
    return [bos, *ids] if bos is not None and tokenizer.adds_bos else ids


def shipped() -> list[Conversation]:
    """Sixteen conversations, half of them Chinese."""
    text = resources.files(PACKAGE).joinpath("prompts.jsonl").read_text(encoding="utf-8")
    rows = [orjson.loads(line) for line in text.splitlines()]
    return [_conversation(from_json(row)) for row in rows]


def _conversation(record: Any) -> Conversation:
    assert isinstance(record, Conversation)
    return record


def _own(source: Source) -> Iterator[Conversation]:
    """What the first rows of each training file ask."""
    assert source.recipe is not None
    place = source.run or Path()
    for wanted in source.recipe.data.train:
        for file in dataset_files(resolve_dataset(wanted.dataset, place)):
            yield from islice(_questions(file, wanted), OWN_PROMPTS)


def _questions(file: Path, wanted: Dataset) -> Iterator[Conversation]:
    numbered = list(islice(read_rows(file, on_problem=lambda *_: None), SAMPLE_ROWS))
    rows = [row for _, row in numbered]
    layout = find_layout(rows, wanted, file.name)
    for row in rows:
        try:
            record = to_learn(layout.convert(row))
        except RowUnusable:
            continue
        if isinstance(record, Text):
            yield Conversation((Message("user", record.text[:PLAIN_CHARACTERS]),))
            continue
        messages = list(record.messages)
        while messages and messages[-1].role == "assistant":
            messages.pop()
        if messages:
            yield Conversation(tuple(messages), record.tools)

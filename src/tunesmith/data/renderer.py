"""The one way from a record to tokens and loss mask, for preview, training, evaluation and chat.

A token is supervised when all of its characters lie in a supervised span. So a token that straddles
the border between prompt and answer is not: at inference the prompt ends there, and the model never
has to produce that token. Ids are those of the whole row's text tokenised in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tunesmith.data.chat_template import ChatTemplate, TemplateRefused, find_template
from tunesmith.data.conversation import Conversation, Message, Record, Text, ToolCall
from tunesmith.data.shapes import FastRows
from tunesmith.data.tokenizer import SPECIAL_NAMES, TextTokenizer
from tunesmith.data.turns import ExactRows, RenderedRow, RenderedTurns
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Encoding

LossOn = Literal["all_turns", "last_turn"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The rows of one record. `refused` says why there are none."""

    rows: tuple[RenderedRow, ...] = ()
    untrained: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Token ids with targets: targets[t] = 1 when predicting token t counts in the loss.

    `record` is the position of the row's record in the list that was encoded; `split` is where the
    second side of a pair begins, 0 for other rows.
    """

    ids: npt.NDArray[np.uint32]
    targets: npt.NDArray[np.uint8]
    record: int = 0
    split: int = 0
    desirable: bool = True
    margin: float = 0.0
    note: bytes = b""  # of a question: its record as JSON, for the rewards of answers

    def documents(self) -> list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]:
        """The row, or both sides of a pair."""
        ids, targets, at = self.ids, self.targets, self.split
        return [(ids[:at], targets[:at]), (ids[at:], targets[at:])] if at else [(ids, targets)]

    @property
    def longest(self) -> int:
        """Tokens of its longer side."""
        return max(self.split, len(self.ids) - self.split)


class Renderer:
    """Renders and encodes records for one tokenizer and template."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        loss_on: LossOn = "all_turns",
        chat_template: str | None = None,
        prefix: str = "",
        instruction_template: str = "",
        response_template: str = "",
        base_dir: Path | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.loss_on: LossOn = loss_on
        self._around = {
            "user": _around(prefix + instruction_template, "{instruction}"),
            "assistant": _around(response_template, "{response}"),
        }
        self._formats = bool(prefix or instruction_template or response_template)
        # `chat_template` is the source in use, to be stored beside a trained model.
        self.chat_template, self.template_source = find_template(chat_template, tokenizer, base_dir)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; compiled templates are made there again."""
        made = ("template", "exact", "_fast", "stop_ids")
        return {name: value for name, value in self.__dict__.items() if name not in made}

    @cached_property
    def template(self) -> ChatTemplate:
        """Compiled at the first use: a run whose tokens are cached needs none."""
        return ChatTemplate(self.chat_template, self.tokenizer)

    @cached_property
    def exact(self) -> ExactRows:
        return ExactRows(self.template, self.tokenizer)

    @cached_property
    def _fast(self) -> FastRows:
        return FastRows(self.exact)

    def facts(self) -> dict[str, Any]:
        """What decides the tokens of a record, for the fingerprint of a cache."""
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "specials": {name: self.tokenizer.special(name) for name in SPECIAL_NAMES},
            "template": self.chat_template,
            "around": self._around,
            "loss_on": self.loss_on,
        }

    def around(self, role: str) -> tuple[str, str]:
        """The texts that the recipe puts before and behind the turns of a role."""
        return self._around.get(role, ("", ""))

    def render(self, record: Record) -> Rendered:
        """The rows of one record as text with supervised spans."""
        if isinstance(record, Text):
            return Rendered((_text_row(record.text, self.tokenizer),))
        messages = self._formatted(record.messages)
        trained = self._trained(messages)
        try:
            turns = self._turns(messages, trained, record)
        except TemplateRefused as refusal:
            return Rendered(refused=str(refusal))
        return Rendered(turns.rows, turns.untrained)

    def render_document(self, record: Record) -> Rendered:
        """The record as one text in which everything is learned, as pre-training takes it."""
        if isinstance(record, Text):
            return Rendered((_text_row(record.text, self.tokenizer),))
        try:
            text = self.template(self._formatted(record.messages), record.tools)
        except TemplateRefused as refusal:
            return Rendered(refused=str(refusal))
        return Rendered((RenderedRow(text, ((0, len(text)),)),))

    def encode(self, records: Sequence[Record]) -> list[EncodedRow]:
        """Tokens and targets of some records, in order; refused records have no rows."""
        return self.encode_rendered([self.render(record) for record in records])

    def encode_rendered(self, rendered: Sequence[Rendered]) -> list[EncodedRow]:
        """Tokens and targets of rendered records."""
        pairs = [(row, at) for at, record in enumerate(rendered) for row in record.rows]
        encodings = self.tokenizer.encode_with_offsets([row.text for row, _ in pairs])
        return [
            _encoded(encoding, row, at)
            for encoding, (row, at) in zip(encodings, pairs, strict=True)
        ]

    def prompt_text(
        self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> str:
        """What the model sees before it answers: the turns so far and the generation prompt."""
        messages = self._formatted(conversation.messages)
        chosen = conversation.tools if tools is None else tools
        try:
            return self.template(messages, chosen, generate=True)
        except TemplateRefused as refusal:
            why = str(refusal).rstrip(".")
            raise DataError(f"The chat template refuses this conversation: {why}.") from refusal

    def prompt_ids(
        self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The tokens of `prompt_text`."""
        return self.tokenizer.encode(self.prompt_text(conversation, tools))

    @cached_property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer: what the mask has at the end of turns, and end-of-text."""
        tokens = {self.tokenizer.eos_token} - {None}
        for messages in _stop_probes():
            try:
                turns = self.exact.rows(messages, self._trained(messages))
            except TemplateRefused:
                continue
            for row in turns.rows:
                tokens |= self.exact.end_tokens(row)
        ids = {self.tokenizer.token_id(token) for token in tokens if token}
        return sorted(number for number in ids if number is not None)

    def _turns(
        self, messages: Sequence[Message], trained: Sequence[int], record: Conversation
    ) -> RenderedTurns:
        is_plain = not record.tools and all(m.is_plain() for m in messages)
        fast = self._fast.rows(messages, trained) if is_plain else None
        return fast or self.exact.rows(messages, trained, record.tools)

    def _trained(self, messages: Sequence[Message]) -> list[int]:
        turns = [
            index
            for index, message in enumerate(messages)
            if message.role == "assistant" and message.weight != 0
        ]
        return turns if self.loss_on == "all_turns" else turns[-1:]

    def _formatted(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Questions and answers with the texts that the recipe puts around them."""
        if not self._formats:
            return messages
        return [self._wrapped(message) for message in messages]

    def _wrapped(self, message: Message) -> Message:
        before, after = self.around(message.role)
        text = message.content
        done = text.startswith(before) and text.endswith(after)  # such as the model's own answers
        if done or message.tool_calls:
            return message
        return replace(message, content=before + text + after)


def _around(template: str, place: str) -> tuple[str, str]:
    """What stands before and behind the place; without a place the template comes first."""
    before, _, after = template.partition(place)
    return before, after


def _text_row(text: str, tokenizer: TextTokenizer) -> RenderedRow:
    begin = (tokenizer.bos_token or "") if tokenizer.adds_bos else ""
    whole = begin + text + (tokenizer.eos_token or "")
    return RenderedRow(whole, ((len(begin), len(whole)),))


def _encoded(encoding: Encoding, row: RenderedRow, record: int) -> EncodedRow:
    ids = np.array(encoding.ids, dtype=np.uint32)
    targets = np.zeros(len(ids), dtype=np.uint8)
    for start, end in row.spans:
        first = _token_at(encoding, start, len(row.text), len(ids))
        if first < len(ids) and _begins_before(encoding, first, start):
            first += 1  # straddles the border
        targets[first : _token_at(encoding, end, len(row.text), len(ids))] = 1
    targets[:1] = 0  # nothing comes before it, so nothing predicts it
    return EncodedRow(ids, targets, record)


def _token_at(encoding: Encoding, char: int, num_chars: int, num_tokens: int) -> int:
    """The first token that covers this character or, where none does, the next one after it."""
    while char < num_chars:
        token: int | None = encoding.char_to_token(char)
        if token is not None:
            return token
        char += 1
    return num_tokens


def _begins_before(encoding: Encoding, token: int, char: int) -> bool:
    covered = encoding.token_to_chars(token)
    return covered is not None and covered[0] < char


def _stop_probes() -> list[list[Message]]:
    """A chat of two turns, and one in which a tool is called."""
    chat = [
        Message("user", "one"),
        Message("assistant", "two"),
        Message("user", "three"),
        Message("assistant", "four"),
    ]
    call = Message("assistant", "", tool_calls=(ToolCall("look", {"at": "it"}, "call00001"),))
    answer = Message("tool", "seen", name="look", tool_call_id="call00001")
    return [chat, [chat[0], call, answer, chat[3]]]

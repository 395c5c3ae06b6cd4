"""The exact way from a conversation to text and supervised spans: ask the template, turn by turn.

The law: for a trained turn k the model sees `prompt = template(messages[:k], generation prompt)` at
inference and must produce the answer through its end-of-turn token. So in a row

    text       = prompt + answer + whatever the template puts behind
    supervised = exactly the answer, end-of-turn token included, the newline behind it not

`answer` is what `template(messages[:k+1])` has behind the prompt, so nothing is guessed from text.

One row holds a whole conversation wherever its full rendering begins with that text. Some templates
render a turn differently once it is no longer the last (Qwen3 keeps an empty <think> block, and any
reasoning, in the last turn only; Mistral moves the system text to the last user turn). A turn whose
text is not what inference would see gets a row of its own, which ends with that turn; turns that
agree with each other share a row. Such splits are counted in the data report.

Templates without an end-of-turn token (GLM-4): the next role's token ends a turn when it follows at
once; the last turn, and any turn that nothing delimits, gets the tokenizer's end-of-text token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.data.chat_template import ChatTemplate, TemplateRefused
from tunesmith.data.conversation import Message
from tunesmith.data.tokenizer import TextTokenizer

MARK = "Qz-mark-zQ"
Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """One training row: its text, and the character ranges that the model must produce."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def pieces(self) -> Iterator[tuple[str, bool]]:
        """The text in order, as (piece, supervised)."""
        at = 0
        for start, end in self.spans:
            if at < start:
                yield self.text[at:start], False
            yield self.text[start:end], True
            at = end
        if at < len(self.text):
            yield self.text[at:], False


@dataclass(frozen=True, slots=True)
class RenderedTurns:
    """The rows of one conversation, and how many turns could not be trained."""

    rows: tuple[RenderedRow, ...]
    untrained: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """A text that ends with the turn; `end` is None when no end-of-turn token closes the answer."""

    text: str
    start: int
    end: int | None


@dataclass(slots=True)
class _Draft:
    text: str
    spans: list[tuple[int, int]]


class ExactRows:
    """Renders conversations by calling the template for every trained turn."""

    def __init__(self, template: ChatTemplate, tokenizer: TextTokenizer) -> None:
        self.template = template
        self.eos_token = tokenizer.eos_token or ""
        self._ends = tuple(tokenizer.special_tokens)
        longest_first = sorted(tokenizer.special_tokens, key=len, reverse=True)
        # `(?!)` matches nothing: a tokenizer without special tokens.
        self._special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def rows(
        self, messages: Sequence[Message], trained: Sequence[int], tools: Tools = ()
    ) -> RenderedTurns:
        """Rows with a span for each trained turn; TemplateRefused when nothing can be rendered."""
        full = self.template(messages, tools)
        drafts = [_Draft(full, [])]
        untrained = 0
        for index in reversed(trained):
            turn = self._turn(messages, index, tools, full)
            if turn is None:
                untrained += 1
            elif not any(self._attach(draft, turn) for draft in drafts):
                drafts.append(self._draft(turn))
        rows = [RenderedRow(d.text, tuple(sorted(d.spans))) for d in drafts if d.spans]
        rows.sort(key=lambda row: row.spans[-1][1])
        return RenderedTurns(tuple(rows), untrained)

    def end_tokens(self, row: RenderedRow) -> set[str]:
        """The special tokens that close the row's spans."""
        closed = [row.text[:end] for _, end in row.spans]
        return {token for text in closed for token in self._ends if text.endswith(token)}

    def _turn(
        self, messages: Sequence[Message], index: int, tools: Tools, full: str
    ) -> _Turn | None:
        """The turn as inference would see it; None when inference could never ask for it."""
        if index == 0:  # nothing to answer yet
            return None
        is_last = index == len(messages) - 1
        try:
            prompt = self.template(messages[:index], tools, generate=True)
            as_last = full if is_last else self.template(messages[: index + 1], tools)
            if as_last.startswith(prompt):
                text, start = as_last, len(prompt)
            else:
                text, start = self._realigned(messages, index, tools, prompt, as_last)
            end = self._end_of_turn(text, start)
            if end is not None and not self._template_closes(messages, index, tools):
                end = None
        except TemplateRefused:
            return None
        return _Turn(text, start, end)

    def _realigned(
        self, messages: Sequence[Message], index: int, tools: Tools, prompt: str, as_last: str
    ) -> tuple[str, int]:
        """Prompt and answer joined where the template changes the text before the answer.

        A mark in the last message before the turn shows what follows that message in both
        renderings; the answer begins where these two part. What is before comes from the prompt.
        """
        marked = list(messages[: index + 1])
        marked[index - 1] = replace(marked[index - 1], content=MARK)
        header = _behind_mark(self.template(marked[:index], tools, generate=True))
        tail = _behind_mark(self.template(marked, tools))
        if not (prompt.endswith(header) and as_last.endswith(tail)):
            raise TemplateRefused("the answer cannot be told from the prompt")
        common = _num_common(header, tail)
        start = len(prompt) - len(header) + common
        return prompt[:start] + tail[common:], start

    def _end_of_turn(self, text: str, start: int) -> int | None:
        """Where a closing special token ends; blank text may stand behind it."""
        closed = text.rstrip()
        return len(closed) if len(closed) > start and closed.endswith(self._ends) else None

    def _template_closes(self, messages: Sequence[Message], index: int, tools: Tools) -> bool:
        """False when the closing token comes from the content itself and not from the template."""
        turn = messages[index]
        if not turn.content.rstrip().endswith(self._ends):
            return True
        marked = [*messages[:index], replace(turn, content=MARK)]
        return self.template(marked, tools).rstrip().endswith(self._ends)

    def _attach(self, draft: _Draft, turn: _Turn) -> bool:
        """Supervise the turn in a row that has the turn's text at the same place, if it has."""
        if turn.end is not None:
            if not draft.text.startswith(turn.text[: turn.end]):
                return False
            draft.spans.append((turn.start, turn.end))
            return True
        if not draft.text.startswith(turn.text):
            return False
        if len(draft.text) == len(turn.text):
            draft.text += self.eos_token
            draft.spans.append((turn.start, len(draft.text)))
            return True
        following = self._special.match(draft.text, len(turn.text))
        if following is None:
            return False
        draft.spans.append((turn.start, following.end()))
        return True

    def _draft(self, turn: _Turn) -> _Draft:
        if turn.end is not None:
            return _Draft(turn.text, [(turn.start, turn.end)])
        text = turn.text + self.eos_token
        return _Draft(text, [(turn.start, len(text))])


def _num_common(one: str, other: str) -> int:
    """How many characters two texts have in common from the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _behind_mark(text: str) -> str:
    before, mark, behind = text.partition(MARK)
    if not mark or MARK in behind or MARK in before:
        raise TemplateRefused("the answer cannot be told from the prompt")
    return behind

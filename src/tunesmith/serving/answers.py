"""Answers and chunks of streams in the shapes of the OpenAI API, from the engine's pieces."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.serving.forced import ForcedCall
from tunesmith.serving.order import Delta, Scored
from tunesmith.serving.text import StopWatch
from tunesmith.serving.tokens import token_bytes
from tunesmith.serving.tools import Call, ToolFormat, new_call, read_calls

Json = dict[str, Any]


@dataclass
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int = 0

    def to_dict(self) -> Json:
        """As clients read it."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True)
class Head:
    """What all chunks of an answer begin with."""

    kind: str
    id: str
    model: str
    created: int

    @classmethod
    def of(cls, kind: str, model: str) -> Head:
        """A new one; `kind` is the object's."""
        prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
        return cls(kind, f"{prefix}-{secrets.token_hex(12)}", model, int(time.time()))

    def to_dict(self, choices: Sequence[Json], kind: str | None = None) -> Json:
        """With some choices."""
        return {
            "id": self.id,
            "object": kind or self.kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }


# ---------------------------------------------------------------- chat


class ChatText:
    """The text of a chat's answer, with calls of tools taken out of it."""

    def __init__(
        self,
        form: ToolFormat | None,
        special: frozenset[str] = frozenset(),
        forced: ForcedCall | None = None,
    ) -> None:
        self._form = form
        self._forced = forced
        self._special = special
        self._watch = StopWatch([form.beginning] if form and form.kind != "bare" else [])
        self._space = ""  # in front of a call it is left out
        self._rest: list[str] = []  # from the beginning of the first call on
        self._is_call = forced is not None
        self._began = False
        self.calls: list[Call] = []

    def push(self, text: str) -> str:
        """The text that is no part of a call."""
        form = self._form
        if form is None:
            return text
        if self._is_call:
            self._rest.append(text)
            return ""
        if form.kind == "bare" and not self._began and text.strip():
            self._began = True
            if text.lstrip().startswith("{"):
                self._is_call = True
                self._rest.append(text)
                return ""
        told = self._space + self._watch.push(text)
        if self._watch.stopped:
            self._is_call = True
            self._rest.append(form.opening + self._watch.behind)
        kept = told.rstrip()
        self._space = told[len(kept) :]
        return self._plain(kept)

    def finish(self) -> str:
        """The rest of the text; `calls` is known then."""
        if self._form is None:
            return ""
        if self._forced is not None:
            return self._finish_forced(self._forced, "".join(self._rest))
        if not self._is_call:
            return self._plain(self._space + self._watch.finish())
        text, self.calls = read_calls("".join(self._rest), self._form)
        return self._plain(text if self.calls else self._space + text)

    def _finish_forced(self, forced: ForcedCall, said: str) -> str:
        found = forced.read(said)
        if found is None:  # cut off: what there is stays text
            return forced.given[len(forced.head) :] + said
        self.calls = [new_call(*found)]
        return ""

    def _plain(self, text: str) -> str:
        for token in self._special:
            text = text.replace(token, "")
        return text


@dataclass
class ChatChoice:
    """One answer of a chat while it grows."""

    index: int
    text: ChatText
    tokenizer: TextTokenizer
    logprobs: bool = False
    content: list[str] = field(default_factory=list[str])
    scores: list[Json] = field(default_factory=list[Json])
    finish: str | None = None
    began: bool = False

    def take(self, delta: Delta) -> list[Json]:
        """Chunks (as choices) that a piece of the engine makes."""
        text = self.text.push(delta.text)
        if delta.finish is not None:
            text += self.text.finish()
            self.finish = "tool_calls" if self.text.calls else delta.finish
        scores = [chat_score(self.tokenizer, one) for one in delta.scored]
        self.content.append(text)
        self.scores += scores
        chunks: list[Json] = []
        if not self.began:
            self.began = True
            chunks.append(self._chunk({"role": "assistant", "content": ""}))
        if text or (scores and self.logprobs):
            chunks.append(self._chunk({"content": text}, scores))
        if self.finish is not None:
            calls = [{"index": n, **call.to_dict()} for n, call in enumerate(self.text.calls)]
            if calls:
                chunks.append(self._chunk({"tool_calls": calls}))
            chunks.append(self._chunk({}, finish=self.finish))
        return chunks

    def _chunk(self, delta: Json, scores: Sequence[Json] = (), finish: str | None = None) -> Json:
        told = {"content": list(scores), "refusal": None} if scores and self.logprobs else None
        return {"index": self.index, "delta": delta, "logprobs": told, "finish_reason": finish}

    def to_dict(self) -> Json:
        """The whole answer."""
        text = "".join(self.content)
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        if self.text.calls:
            message["content"] = text or None
            message["tool_calls"] = [call.to_dict() for call in self.text.calls]
        logprobs = {"content": self.scores, "refusal": None} if self.logprobs else None
        return {
            "index": self.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self.finish,
        }


def chat_score(tokenizer: TextTokenizer, one: Scored) -> Json:
    """One token with its log probability, and the likeliest of its place."""
    top = [_named(tokenizer, token, logprob) for token, logprob in one.top]
    return {**_named(tokenizer, one.token, one.logprob or 0.0), "top_logprobs": top}


def _named(tokenizer: TextTokenizer, token: int, logprob: float) -> Json:
    raw = token_bytes(tokenizer, token)
    return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}


# ---------------------------------------------------------------- completions


@dataclass
class TextChoice:
    """One answer of a completion while it grows."""

    index: int
    tokenizer: TextTokenizer
    echo: str = ""
    logprobs: bool = False
    content: list[str] = field(default_factory=list[str])
    scores: list[Scored] = field(default_factory=list[Scored])
    finish: str | None = None
    began: bool = False

    def take(self, delta: Delta) -> list[Json]:
        """Chunks (as choices) that a piece of the engine makes."""
        text, known = delta.text, list(delta.scored)
        if not self.began:
            self.began = True
            text = self.echo + text
            known = [*(delta.prompt or ()), *known]
        self.finish = delta.finish
        offset = sum(map(len, self.content))
        self.content.append(text)
        self.scores += known
        if not (text or known or self.finish):
            return []
        return [self._dict(text, known, offset)]

    def to_dict(self) -> Json:
        """The whole answer."""
        return self._dict("".join(self.content), self.scores, 0)

    def _dict(self, text: str, scores: Sequence[Scored], offset: int) -> Json:
        return {
            "index": self.index,
            "text": text,
            "logprobs": self._logprobs(scores, offset) if self.logprobs else None,
            "finish_reason": self.finish,
        }

    def _logprobs(self, scores: Sequence[Scored], offset: int) -> Json:
        names = [_text_of(self.tokenizer, one.token) for one in scores]
        offsets: list[int] = []
        for name in names:
            offsets.append(offset)
            offset += len(name)
        return {
            "tokens": names,
            "token_logprobs": [one.logprob for one in scores],
            "top_logprobs": [_top(self.tokenizer, one) for one in scores],
            "text_offset": offsets,
            "token_ids": [one.token for one in scores],  # ours; names may be the same for several
        }


def _top(tokenizer: TextTokenizer, one: Scored) -> dict[str, float] | None:
    if one.logprob is None:
        return None
    return {_text_of(tokenizer, token): logprob for token, logprob in one.top}


def _text_of(tokenizer: TextTokenizer, token: int) -> str:
    """A token as text; one that is no whole character as its bytes, so that names stay apart."""
    raw = token_bytes(tokenizer, token)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

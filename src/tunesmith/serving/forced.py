"""A call that must be: the answer begins with a name of the list, then comes one JSON object.

The beginning that the template writes is put into the prompt; from there each token has to go on
with a name and a JSON object, byte by byte, and the answer ends with the object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

_SPACE = frozenset(b" \t\n\r")
_DIGITS = frozenset(b"0123456789")
_ESCAPES = frozenset(b'"\\/bfnrt')
_HEX = frozenset(b"0123456789abcdefABCDEF")
# What may follow in a number: from its state, by the kind of byte.
_NUMBER = {
    "-": {"0": "0", "1": "i"},
    "0": {".": ".", "e": "e"},
    "i": {"0": "i", "1": "i", ".": ".", "e": "e"},
    ".": {"0": "f", "1": "f"},
    "f": {"0": "f", "1": "f", "e": "e"},
    "e": {"0": "x", "1": "x", "+": "s", "-": "s"},
    "s": {"0": "x", "1": "x"},
    "x": {"0": "x", "1": "x"},
}
_WHOLE_NUMBERS = frozenset("0ifx")
_WORDS = (b"true", b"false", b"null")


@dataclass(frozen=True, slots=True)
class Json:
    """How far a JSON object has come; `stack` holds what is open, innermost last.

    `mode` is what comes next: a value, the first `member` or key of an object, `colon`, `after` a
    value, or the inside of a `string`, `escape`, `hex`, `word` or `number`.
    """

    mode: str = "open"
    stack: str = ""
    rest: bytes | str = b""  # of a word, of hex digits, or the state of a number
    is_key: bool = False
    spaced: bool = False  # one space in a row is enough: a model could write them for ever

    @property
    def done(self) -> bool:
        """The object is closed."""
        return self.mode == "after" and not self.stack

    def step(self, byte: int) -> Json | None:
        """One byte further; None where no JSON goes on so."""
        if self.done:
            return None
        if self.mode in ("string", "escape", "hex", "word"):
            return self._inside(byte)
        if self.mode == "number":
            return self._number(byte)
        if byte in _SPACE:
            return None if self.spaced or self.mode == "open" else replace(self, spaced=True)
        return replace(self, spaced=False)._between(chr(byte))

    def _inside(self, byte: int) -> Json | None:
        if self.mode == "string":
            if byte == ord('"'):
                return replace(self, mode="colon" if self.is_key else "after")
            if byte == ord("\\"):
                return replace(self, mode="escape")
            return self if byte >= 0x20 else None
        if self.mode == "escape":
            if byte == ord("u"):
                return replace(self, mode="hex", rest=b"0000")
            return replace(self, mode="string") if byte in _ESCAPES else None
        if self.mode == "hex":
            left = self.rest[1:]
            following = replace(self, mode="hex" if left else "string", rest=left)
            return following if byte in _HEX else None
        if byte != self.rest[0]:
            return None
        return replace(self, mode="word" if self.rest[1:] else "after", rest=self.rest[1:])

    def _number(self, byte: int) -> Json | None:
        kind = "e" if byte in b"eE" else "0" if byte == ord("0") else chr(byte)
        kind = "1" if byte in _DIGITS and byte != ord("0") else kind
        following = _NUMBER[str(self.rest)].get(kind)
        if following is not None:
            return replace(self, rest=following)
        if self.rest not in _WHOLE_NUMBERS:
            return None
        return replace(self, mode="after", rest=b"").step(byte)

    def _between(self, char: str) -> Json | None:
        if self.mode == "open":
            return Json("member", "{") if char == "{" else None
        if self.mode == "colon":
            return replace(self, mode="value") if char == ":" else None
        if self.mode == "after":
            if char == ",":
                return replace(self, mode="key" if self.stack[-1] == "{" else "value")
            return self._close(char)
        if self.mode in ("member", "key"):
            if char == '"':
                return replace(self, mode="string", is_key=True)
            return self._close(char) if self.mode == "member" else None
        if self.mode == "item" and char == "]":
            return self._close(char)
        return self._value(char)

    def _close(self, char: str) -> Json | None:
        if char != {"{": "}", "[": "]"}[self.stack[-1]]:
            return None
        return replace(self, mode="after", stack=self.stack[:-1])

    def _value(self, char: str) -> Json | None:
        if char == '"':
            return replace(self, mode="string", is_key=False)
        if char in "{[":
            inner = "member" if char == "{" else "item"
            return replace(self, mode=inner, stack=self.stack + char)
        if char == "-" or char.isdigit():
            state = char if char in "-0" else "i"
            return replace(self, mode="number", rest=state)
        word = next((word for word in _WORDS if word[:1] == char.encode()), None)
        return None if word is None else replace(self, mode="word", rest=word[1:])


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come next: one of some beginnings, then a JSON object."""

    beginnings: tuple[bytes, ...]
    json: Json = Json()

    @property
    def done(self) -> bool:
        """Nothing more may come."""
        return self.json.done

    @property
    def in_text(self) -> bool:
        """Inside a JSON text, where nearly every byte may come."""
        return b"" in self.beginnings and self.json.mode == "string"

    def after(self, piece: bytes) -> Expected | None:
        """Behind one more token; None where it must not come. What is behind the end is left."""
        state = self
        for byte in piece:
            if state.done:
                break
            following = state._step(byte)
            if following is None:
                return None
            state = following
        return state if piece else None

    def _step(self, byte: int) -> Expected | None:
        if b"" in self.beginnings:
            json = self.json.step(byte)
            return None if json is None else Expected(self.beginnings, json)
        left = tuple(each[1:] for each in self.beginnings if each[0] == byte)
        return Expected(left) if left else None


@dataclass(frozen=True)
class ForcedCall:
    """A call of one of some functions. `head` stands in the prompt already.

    In the template's words: head `<tool_call>{"name": "`, middle `", "arguments": `.
    """

    names: tuple[str, ...]
    head: str
    middle: str

    @property
    def given(self) -> str:
        """What the prompt has of it: with one name, all up to the arguments."""
        return self.head + (self.names[0] + self.middle if len(self.names) == 1 else "")

    def expected(self) -> Expected:
        """What the model still has to say."""
        if len(self.names) == 1:
            return Expected((b"",))
        return Expected(tuple((name + self.middle).encode() for name in self.names))

    def read(self, said: str) -> tuple[str, str] | None:
        """(name, arguments as JSON text) in an answer; None where it was cut off."""
        text = (self.given + said)[len(self.head) :]
        for name in self.names:
            if text.startswith(name + self.middle):
                behind = text[len(name + self.middle) :]
                return _object(name, behind)
        return None


def _object(name: str, text: str) -> tuple[str, str] | None:
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError:
        return None
    return name, text[:end]

"""Tool calls in the text of an answer, in the form in which the template writes them.

Which form that is, the template itself tells: it renders a call, and what stands there is what the
model was trained to write.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tunesmith.data.chat_template import TemplateRefused
from tunesmith.data.conversation import Message, ToolCall
from tunesmith.data.renderer import Renderer

Kind = Literal["tagged", "listed", "bare"]
_NAME, _ARGUMENT = "probe_name", "probe_argument"
_PROBE = ToolCall(_NAME, {_ARGUMENT: "probe"}, "probe0001")


@dataclass(frozen=True)
class ToolFormat:
    """`tagged`: JSON between two tags; `listed`: a JSON list behind a tag; `bare`: JSON alone.

    `words`: what stands before the name, and between it and the arguments, where those follow it.
    """

    kind: Kind
    opening: str = ""
    closing: str = ""
    words: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def beginning(self) -> str:
        """The text with which calls begin."""
        return self.opening or "{"


@dataclass(frozen=True)
class Call:
    """One call, as the API tells it; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    def to_dict(self) -> dict[str, Any]:
        """The call as clients read it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


def find_format(renderer: Renderer) -> ToolFormat | None:
    """How the template of this model writes calls; None where it writes none that we know."""
    turns = [Message("user", "probe"), Message("assistant", "", tool_calls=(_PROBE,))]
    try:
        text = renderer.template(turns)
    except TemplateRefused:
        return None
    if _NAME not in text or _ARGUMENT not in text:
        return None
    for opening, closing in (("<tool_call>", "</tool_call>"), ("<|tool_call|>", "<|/tool_call|>")):
        if opening in text and "<arg_key>" not in text:
            return ToolFormat("tagged", opening, closing, _words_around(text, opening))
    if "[TOOL_CALLS]" in text:
        return ToolFormat("listed", "[TOOL_CALLS]", words=_words_around(text, "[TOOL_CALLS]"))
    if re.search(r'\{\s*"name"\s*:\s*"' + _NAME, text):
        return ToolFormat("bare", words=_words_around(text, "{"))
    return None


def _words_around(text: str, opening: str) -> tuple[str, str] | None:
    """What the template writes before a name, and between it and the arguments as an object."""
    name = text.rindex(_NAME)
    start = text.rfind(opening, 0, name)
    found = re.search(r'\{\s*"' + _ARGUMENT, text[name:])
    if start < 0 or found is None:
        return None
    return text[start:name], text[name + len(_NAME) : name + found.start()]


def read_calls(text: str, form: ToolFormat) -> tuple[str, list[Call]]:
    """(text besides the calls, the calls); text that is no valid call stays text."""
    if form.kind == "tagged":
        return _tagged(text, form)
    if form.kind == "listed":
        before, found, behind = text.partition(form.opening)
        calls = _calls_of(behind) if found else []
        return (before, calls) if calls else (text, [])
    calls = _calls_of(text)
    return ("", calls) if calls else (text, [])


def _tagged(text: str, form: ToolFormat) -> tuple[str, list[Call]]:
    # The last call may lack its closing tag where the answer was cut off behind its JSON.
    pattern = re.escape(form.opening) + r"(.*?)(?:" + re.escape(form.closing) + r"|\Z)"
    calls: list[Call] = []

    def take(match: re.Match[str]) -> str:
        found = _calls_of(match[1])
        calls.extend(found)
        return "" if found else match[0]

    rest = re.sub(pattern, take, text, flags=re.DOTALL)
    return (rest.strip() if calls else text), calls


def _calls_of(text: str) -> list[Call]:
    try:
        value: Any = orjson.loads(text.strip())
    except orjson.JSONDecodeError:
        return []
    found = list(_each(value))
    return [call for call in found if call is not None] if all(found) else []


def _each(value: Any) -> Iterator[Call | None]:
    for entry in value if isinstance(value, list) else [value]:
        fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
        name = fields.get("name")
        arguments = fields.get("arguments", fields.get("parameters", {}))
        if not isinstance(name, str) or not name:
            yield None
            return
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        yield new_call(name, text)


def new_call(name: str, arguments: str) -> Call:
    """A call with an id of its own."""
    return Call(f"call_{secrets.token_hex(12)}", name, arguments)

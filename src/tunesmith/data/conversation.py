"""What a row says, before any template: a conversation, a text, a judgement, or a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call of the model. `arguments` is text only when it is no valid JSON."""

    name: str
    arguments: Mapping[str, Any] | str
    id: str | None = None

    def for_template(self) -> dict[str, Any]:
        """The call as chat templates expect it."""
        call: dict[str, Any] = {
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }
        return {"id": self.id, **call} if self.id else call


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `weight` 0 keeps an assistant turn out of the loss; None leaves it to the stage."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    reasoning: str | None = None
    weight: int | None = None
    tool_call_id: str | None = None

    def is_plain(self) -> bool:
        """True when role and content say everything."""
        return not (self.tool_calls or self.name or self.reasoning or self.tool_call_id)

    def for_template(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        fields: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            fields["tool_calls"] = [call.for_template() for call in self.tool_calls]
        if self.reasoning:
            # Most templates read the second name, some the first; transformers offers both.
            fields = {"thinking": self.reasoning, **fields, "reasoning_content": self.reasoning}
        if self.name:
            fields["name"] = self.name
        if self.tool_call_id:
            fields["tool_call_id"] = self.tool_call_id
        return fields


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, and the tools that the model may call in them."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text to continue, as pre-training takes it."""

    text: str


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to the same turns, the better one first.

    `margin` says by how much it is better, for reward models.
    """

    messages: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class UnpairedPreference:
    """A conversation whose last answer somebody found good or bad."""

    messages: tuple[Message, ...]
    desirable: bool
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Turns that wait for an answer, and what rewards of answers may look at, by name."""

    messages: tuple[Message, ...]
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[Mapping[str, Any], ...] = ()


Record = Conversation | Text
StoredRecord = Conversation | Text | PreferencePair | UnpairedPreference | Prompt

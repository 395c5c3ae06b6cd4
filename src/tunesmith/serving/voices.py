"""Who can be asked: the base and its adapters, each with the renderer of its own training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tunesmith.data.chat_template import TemplateRefused
from tunesmith.data.conversation import Conversation
from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import DataError
from tunesmith.serving.deadline import TooSlow, within
from tunesmith.serving.decoder import places_in_front
from tunesmith.serving.errors import NameTaken, TemplateBroken, UnknownModel
from tunesmith.serving.tools import ToolFormat, find_format

Result = TypeVar("Result")
TEMPLATE_SECONDS = 5.0  # a thousand turns take a fraction of one
SHOWN = 10  # names in an error


@dataclass(eq=False)
class Voice:
    """A model by the name that requests ask for."""

    name: str
    renderer: Renderer
    is_plain: bool  # trained on plain text: a prompt is continued as it is
    directory: Path
    advised: Mapping[str, Any] = field(default_factory=dict[str, Any])
    adapter: Any = None  # as the decoder loaded it; None for the base
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def tokenizer(self) -> TextTokenizer:
        return self.renderer.tokenizer

    def context_of(self, context: int | None) -> int | None:
        """The part of the decoder's context that is left for tokens; None without a limit."""
        return None if context is None else context - places_in_front(self.adapter)

    @cached_property
    def num_tokens(self) -> int:
        """Size of the vocabulary."""
        return self.tokenizer.vocab_size

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        eos = self.tokenizer.eos_id
        if self.is_plain:
            return frozenset(() if eos is None else (eos,))
        return frozenset(self._in_time(lambda: self.renderer.stop_ids))

    @cached_property
    def text_stop_ids(self) -> frozenset[int]:
        """Tokens that end a plain text."""
        eos = self.tokenizer.eos_id
        return frozenset(() if eos is None else (eos,))

    def chat_ids(
        self, conversation: Conversation, tools: Sequence[Mapping[str, Any]] | None
    ) -> list[int]:
        """The tokens that the answer follows; TemplateBroken where the template refuses."""
        if self.is_plain:
            return self.text_ids("".join(m.content for m in conversation.messages))
        try:
            text = self._in_time(lambda: self.renderer.prompt_text(conversation, tools))
            return self.tokenizer.encode(text)
        except (DataError, TemplateRefused, RecursionError) as error:
            raise TemplateBroken(
                str(getattr(error, "message", error)),
                hint="Send turns that the template takes, or mend the template of the model.",
                param="messages",
            ) from error

    @cached_property
    def tool_format(self) -> ToolFormat | None:
        """How the template writes calls; None where it writes none that we know."""
        return self._in_time(lambda: find_format(self.renderer))

    def _in_time(self, render: Callable[[], Result]) -> Result:
        """TemplateBroken where the template of the model takes too long."""
        try:
            return within(TEMPLATE_SECONDS, render)
        except TooSlow:
            raise TemplateBroken(
                f"The chat template was not done with this after {TEMPLATE_SECONDS:.0f} s, and "
                "was ended.",
                hint="Look at the loops in the template of the model, or send fewer turns.",
                param="messages",
            ) from None

    def text_ids(self, text: str) -> list[int]:
        """The tokens of a text that is continued."""
        ids = self.tokenizer.encode(text)
        bos = self.tokenizer.bos_id
        return [bos, *ids] if bos is not None and self.tokenizer.adds_bos else ids


class Voices:
    """All that can be asked, by name; changed and read in the thread of the event loop."""

    def __init__(self, base: Voice) -> None:
        self.base = base
        self._by_name = {base.name: base}

    def __iter__(self) -> Any:
        return iter([*self._by_name.values()])

    def get(self, name: str | None) -> Voice:
        """The one of this name; UnknownModel tells the known ones."""
        voice = self._by_name.get(name or "")
        if voice is None:
            known = [*self._by_name]
            shown = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
            raise UnknownModel(
                f"The model {name!r} is not served here.",
                hint=f"Known are: {shown}.",
                param="model",
                known=known,
            )
        return voice

    def add(self, voice: Voice) -> None:
        """Offer one more; NameTaken where the name stands for something else."""
        self.check_free(voice.name)
        self._by_name[voice.name] = voice

    def check_free(self, name: str) -> None:
        """NameTaken where something goes by this name."""
        if name in self._by_name:
            raise NameTaken(
                f"Something is served as {name!r} already.",
                hint="Take another name, or remove that adapter first.",
                param="name",
            )

    def find(self, name: str) -> Voice | None:
        """The one of this name, if there is one."""
        return self._by_name.get(name)

    def remove(self, name: str) -> Voice:
        """No longer offer an adapter."""
        voice = self.get(name)
        if voice is self.base:
            raise NameTaken(
                f"{name!r} is the base itself, which stays as long as the server.",
                hint="End the server to unload it.",
                param="name",
            )
        return self._by_name.pop(name)

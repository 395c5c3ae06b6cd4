"""The formats of an export. Each checks, sizes, writes and reads its own kind of folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from tunesmith.engine.export import copy_licences, copy_tokenizer
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.limits import Precision
from tunesmith.engine.exporting.source import Source

FormatName = Literal["adapter", "merged", "gguf", "ollama", "int8", "int4"]
FORMATS: tuple[FormatName, ...] = ("adapter", "merged", "gguf", "ollama", "int8", "int4")


@dataclass(frozen=True)
class Choice:
    """What the user asked for beside the format."""

    gguf_type: Literal["f16", "q8_0"] = "f16"
    allow_drift: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Artefact:
    """An export as another program has loaded it."""

    model: Any
    tokenizer: Any  # of transformers
    read_by: str
    problems: tuple[str, ...] = ()  # settings that came back otherwise


class Format(Protocol):
    """One kind of folder; `precision` decides the limits of its certificate."""

    @property
    def precision(self) -> Precision: ...

    def notes(self) -> list[str]:
        """What a user should know about this export before it begins."""
        ...

    def num_bytes(self) -> int:
        """About what it takes on the disk, temporary files included."""
        ...

    def write(self, folder: Path, narrator: Narrator) -> None:
        """Write everything but card, certificate and manifest."""
        ...

    def read(self, folder: Path) -> Artefact:
        """Load it as a user would."""
        ...

    def usage(self) -> str:
        """Markdown for the card: how another program loads it."""
        ...


def format_of(name: FormatName, source: Source, choice: Choice) -> Format:
    """The format by its name, checked against the source; ExportRefused says why it cannot be."""
    return _BUILDERS[name](source, choice)


def write_words(source: Source, folder: Path) -> None:
    """Tokenizer, the template of the training, and licences."""
    copy_tokenizer(source.tokenizer_dir, folder, chat_template=source.chat_template)
    copy_licences(source.directory, folder)


def _adapter(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.peft_layout import AdapterFolder

    return AdapterFolder.of(source, choice)


def _merged(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.merged import MergedFolder

    return MergedFolder(source, choice)


def _gguf(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.gguf.folder import GgufFolder

    return GgufFolder.of(source, choice)


def _ollama(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.ollama import OllamaFolder

    return OllamaFolder.of(source, choice)


def _int8(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.torchao_layout import QuantisedFolder

    return QuantisedFolder.of("int8", source, choice)


def _int4(source: Source, choice: Choice) -> Format:
    from tunesmith.engine.exporting.torchao_layout import QuantisedFolder

    return QuantisedFolder.of("int4", source, choice)


_BUILDERS: dict[FormatName, Callable[[Source, Choice], Format]] = {
    "adapter": _adapter,
    "merged": _merged,
    "gguf": _gguf,
    "ollama": _ollama,
    "int8": _int8,
    "int4": _int4,
}

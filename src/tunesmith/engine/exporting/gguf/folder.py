"""`--format gguf`: one file that holds weights, tokenizer and template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunesmith.engine.export import copy_licences
from tunesmith.engine.exporting.formats import Artefact, Choice
from tunesmith.engine.exporting.gguf.families import context_of
from tunesmith.engine.exporting.gguf.reading import read_gguf, require_gguf
from tunesmith.engine.exporting.gguf.writing import Gguf, gguf_bytes, plan_gguf, write_gguf
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.limits import Precision
from tunesmith.engine.exporting.source import Source


@dataclass(frozen=True)
class GgufFolder:
    """The file and what belongs to it."""

    plan: Gguf
    choice: Choice

    @classmethod
    def of(cls, source: Source, choice: Choice) -> GgufFolder:
        """Refuse families, settings and tokenizers that GGUF cannot hold."""
        require_gguf()
        return cls(plan_gguf(source, choice.gguf_type, allow_nearest=choice.allow_drift), choice)

    @property
    def precision(self) -> Precision:
        """That of the tensors."""
        return "float16" if self.plan.kind == "f16" else "q8_0"

    @property
    def file_name(self) -> str:
        """Such as support-bot-f16.gguf."""
        return f"{self.plan.source.name}-{self.plan.kind}.gguf"

    def notes(self) -> list[str]:
        """Where the file says less than the model."""
        config = self.plan.source.config
        found: list[str] = []
        if self.plan.vocabulary.unknown_rule:
            found.append(
                f"{self.plan.vocabulary.unknown_rule}; texts are split as by "
                f"{self.plan.vocabulary.pre} instead."
            )
        if context_of(config) < config.max_position_embeddings:
            found.append(
                f"The file's context is {context_of(config):,} tokens, one sliding window of the "
                "model: readers of GGUF attend to everything in models of this family."
            )
        return found

    def num_bytes(self) -> int:
        """One file."""
        return gguf_bytes(self.plan)

    def write(self, folder: Path, narrator: Narrator) -> None:
        """The file, and the licences of the base."""
        write_gguf(self.plan, folder / self.file_name, narrator)
        copy_licences(self.plan.source.directory, folder)

    def read(self, folder: Path) -> Artefact:
        """By transformers' reader of GGUF."""
        return read_gguf(folder, self.file_name, self.plan, device=self.choice.device)

    def usage(self) -> str:
        """With llama.cpp."""
        return f"```\nllama-cli -m {self.file_name}\n```"

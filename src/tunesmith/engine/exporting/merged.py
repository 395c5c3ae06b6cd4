"""`--format merged`: the whole model in the layout of transformers, adapter and base as one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.engine.export import save_model, set_stop_tokens
from tunesmith.engine.exporting.formats import Artefact, Choice, write_words
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.limits import Precision
from tunesmith.engine.exporting.source import Source, merged
from tunesmith.models.files import check_model_files

_PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


@dataclass(frozen=True)
class MergedFolder:
    """Safetensors in shards, in the number format of the base."""

    source: Source
    choice: Choice

    @property
    def precision(self) -> Precision:
        """Without an adapter nothing is rounded anew."""
        return "float32" if self.source.adapter is None else _PRECISIONS[self.source.dtype]

    def notes(self) -> list[str]:
        """Nothing that a user would not expect."""
        return []

    def num_bytes(self) -> int:
        """As much as the base."""
        return self.source.files.weight_bytes

    def write(self, folder: Path, narrator: Narrator) -> None:
        """The sum is built in float64 and rounded once."""
        write_merged(self.source, folder, narrator)
        write_words(self.source, folder)
        set_stop_tokens(folder, self.source.stop_ids)

    def read(self, folder: Path) -> Artefact:
        """By plain transformers, in float32."""
        return read_folder(folder, torch.float32, self.choice.device)

    def usage(self) -> str:
        """With transformers."""
        return folder_usage()


def write_merged(source: Source, folder: Path, narrator: Narrator) -> None:
    """Weights and settings alone."""
    with narrator.step("Loading and merging" if source.adapter else "Loading the weights"):
        model, state = merged(source)
    with narrator.step("Writing the weights"):
        save_model(model, folder, state=state)


def read_folder(folder: Path, dtype: torch.dtype | str, device: torch.device) -> Artefact:
    """A folder by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, __version__

    check_model_files(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Artefact(model.to(device).eval(), tokenizer, f"transformers {__version__}")


def folder_usage() -> str:
    """How transformers loads a folder."""
    return (
        "```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")\n'
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n'
        "```"
    )

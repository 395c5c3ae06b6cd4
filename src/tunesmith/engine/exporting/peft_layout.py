"""`--format adapter`: the adapter alone, in PEFT's layout, with the words of its training."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.engine.export import write_json
from tunesmith.engine.exporting.draft import folder_bytes
from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.formats import Artefact, Choice, write_words
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.limits import Precision
from tunesmith.engine.exporting.source import Source
from tunesmith.engine.methods.put_on import put_on
from tunesmith.engine.methods.vocabulary import trained_ids
from tunesmith.models.files import check_model_files

_WEIGHTS = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class AdapterFolder:
    """PEFT's two files, beside tokenizer and template."""

    source: Source
    adapter: Path
    choice: Choice
    precision: Precision = "float32"

    @classmethod
    def of(cls, source: Source, choice: Choice) -> AdapterFolder:
        """Refuse a model whose weights were all trained."""
        if source.adapter is None:
            raise ExportRefused(
                f"{source.asked} is a whole model; it has no adapter to export.",
                hint="Use --format merged.",
                code="no_adapter",
            )
        check_model_files(source.adapter)
        return cls(source, source.adapter, choice)

    def notes(self) -> list[str]:
        """An adapter on a local folder is of no use elsewhere."""
        if self.source.base_revision is None and self.source.base_name != "starter":
            return [f"The adapter names its base as {self.source.base_name}."]
        return []

    def num_bytes(self) -> int:
        """Of the adapter's own folder."""
        return folder_bytes(self.adapter) + folder_bytes(self.source.tokenizer_dir)

    def write(self, folder: Path, narrator: Narrator) -> None:
        """Copy, and name the base as it is now."""
        with narrator.step("Copying the adapter"):
            for name in _WEIGHTS:
                shutil.copyfile(self.adapter / name, folder / name)
            file = folder / "adapter_config.json"
            settings = json.loads(file.read_text(encoding="utf-8"))
            settings["base_model_name_or_path"] = self.source.base_name
            settings["revision"] = self.source.base_revision
            write_json(file, settings)
            write_words(self.source, folder)

    def read(self, folder: Path) -> Artefact:
        """The base by transformers, the adapter by PEFT, the tokenizer from the folder."""
        from transformers import AutoModelForCausalLM, AutoTokenizer, __version__

        check_model_files(folder)
        base: Any = AutoModelForCausalLM.from_pretrained(
            self.source.directory, dtype=torch.float32, local_files_only=True
        )
        model = put_on(base.to(self.choice.device), folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return Artefact(model.eval(), tokenizer, f"peft on transformers {__version__}")

    def usage(self) -> str:
        """With PEFT."""
        base = self.source.base_name or "path/to/the/base"
        if trained_ids(self.adapter):  # only this class gives the base rows for new tokens
            return (
                "```python\n"
                "from peft import AutoPeftModelForCausalLM\n"
                "from transformers import AutoTokenizer\n\n"
                'model = AutoPeftModelForCausalLM.from_pretrained("path/to/this/folder")\n'
                'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n'
                "```"
            )
        return (
            "```python\n"
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"base = AutoModelForCausalLM.from_pretrained({json.dumps(base)})\n"
            'model = PeftModel.from_pretrained(base, "path/to/this/folder")\n'
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")\n'
            "```"
        )

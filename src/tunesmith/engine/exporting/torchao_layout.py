"""`--format int8` and `int4`: weights rounded to blocks by torchao, in transformers' layout."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from tunesmith.engine.export import LARGEST_SHARD, set_stop_tokens
from tunesmith.engine.exporting.errors import ExportFailed, ExportRefused
from tunesmith.engine.exporting.formats import Artefact, Choice, write_words
from tunesmith.engine.exporting.merged import folder_usage, read_folder, write_merged
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.source import Source
from tunesmith.runs.files import explain_storage_error

INT4_GROUP = 128  # weights that share a scale


@dataclass(frozen=True)
class QuantisedFolder:
    """Linear layers in blocks, everything else as it was."""

    bits: Literal["int8", "int4"]
    source: Source
    choice: Choice

    @classmethod
    def of(cls, bits: Literal["int8", "int4"], source: Source, choice: Choice) -> QuantisedFolder:
        """Refuse where torchao, or the device that it needs, is missing."""
        if find_spec("torchao") is None:
            raise ExportRefused(
                f"--format {bits} needs torchao, which this Python has not installed.",
                hint="pip install 'tunesmith[torchao]'",
                code="extra_not_installed",
            )
        if bits == "int4" and choice.device.type != "cuda":
            raise ExportRefused(
                "--format int4 needs a CUDA device: torchao packs 4-bit weights in the layout of "
                f"CUDA kernels and has none for {choice.device.type}.",
                hint="Use --format int8, or --format gguf --gguf-type q8_0; or run it where there "
                "is a GPU.",
                code="int4_needs_cuda",
            )
        return cls(bits, source, choice)

    @property
    def precision(self) -> Literal["int8", "int4"]:
        """The format's own limits."""
        return self.bits

    def notes(self) -> list[str]:
        """Who can read it."""
        return ["Programs that load this folder need torchao beside transformers."]

    def num_bytes(self) -> int:
        """The merged model is written first, then quantised from its files."""
        return self.source.files.weight_bytes + self.source.num_parameters * 5 // 4

    def write(self, folder: Path, narrator: Narrator) -> None:
        """From merged files, so that no more than one model is in memory."""
        whole = folder / ".merged"
        write_merged(self.source, whole, narrator)
        with narrator.step(f"Quantising to {self.bits}"):
            model = self._quantised(whole)
        with narrator.step("Writing the weights"):
            model.save_pretrained(folder, max_shard_size=LARGEST_SHARD)
        shutil.rmtree(whole)
        write_words(self.source, folder)
        set_stop_tokens(folder, self.source.stop_ids)

    def _quantised(self, folder: Path) -> Any:
        from transformers import AutoModelForCausalLM, TorchAoConfig

        dtype = torch.bfloat16 if self.bits == "int4" else self.source.dtype
        try:
            return AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                quantization_config=TorchAoConfig(quant_type=self._settings()),
                device_map=self.choice.device,
                local_files_only=True,
            )
        except (RuntimeError, ImportError, NotImplementedError, AssertionError) as error:
            if explain_storage_error(error, folder) is not None:
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportFailed(
                f"torchao could not quantise this model to {self.bits}: {reason}",
                hint="Use --format int8, or --format gguf --gguf-type q8_0.",
                code="quantisation_failed",
            ) from error

    def _settings(self) -> Any:
        quantization: Any = import_module("torchao.quantization")
        if self.bits == "int8":
            return quantization.Int8WeightOnlyConfig()
        return quantization.Int4WeightOnlyConfig(
            group_size=INT4_GROUP, int4_packing_format="tile_packed_to_4d"
        )

    def read(self, folder: Path) -> Artefact:
        """By transformers, which finds torchao by the settings in the folder."""
        dtype = torch.bfloat16 if self.bits == "int4" else self.source.dtype
        return read_folder(folder, dtype, self.choice.device)

    def usage(self) -> str:
        """With transformers and torchao."""
        return f"With torchao installed:\n\n{folder_usage()}"

"""Writes a GGUF file tensor by tensor: no more than one is in memory beside the model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tunesmith.engine.exporting.errors import ExportRefused
from tunesmith.engine.exporting.gguf.families import (
    Family,
    family_of,
    laid_out,
    rope_factors,
    write_numbers,
)
from tunesmith.engine.exporting.gguf.vocabulary import (
    Vocabulary,
    read_vocabulary,
    write_vocabulary,
)
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.source import Source, Weights

GgufType = Literal["f16", "q8_0"]
BLOCK = 32  # numbers of a block of q8_0: 32 bytes and one 16-bit scale
LARGEST_F16 = 65504.0
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Gguf:
    """Everything that is decided before a file is written."""

    source: Source
    kind: GgufType
    family: Family
    vocabulary: Vocabulary


def plan_gguf(source: Source, kind: GgufType, *, allow_nearest: bool) -> Gguf:
    """Check that a source can become a GGUF file; ExportRefused says why not."""
    family = family_of(source.config)
    rows = int(source.config.get_text_config().vocab_size)
    tokenizer = source.renderer.tokenizer
    vocabulary = read_vocabulary(tokenizer, rows, allow_nearest=allow_nearest)
    return Gguf(source, kind, family, vocabulary)


def gguf_bytes(plan: Gguf) -> int:
    """About how large the file becomes."""
    each = 2.0 if plan.kind == "f16" else (BLOCK + 2) / BLOCK
    return int(plan.source.num_parameters * each) + 40 * len(plan.vocabulary.tokens)


def write_gguf(plan: Gguf, path: Path, narrator: Narrator) -> None:
    """The whole file."""
    with narrator.step("Loading the weights"):
        weights = Weights(plan.source)
    from gguf import GGUFWriter

    writer: Any = GGUFWriter(path, plan.family.architecture)
    _write_facts(writer, plan)
    tensors = _tensors(plan, weights)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.stored_shape, tensor.dtype, tensor.num_bytes, tensor.raw
        )
    total = sum(tensor.num_bytes for tensor in tensors)
    with narrator.step(f"Writing {path.name}"):
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            done = 0
            for tensor, data in _filled(plan, weights, tensors):
                _write_tensor(writer, data)
                done += tensor.num_bytes
                narrator.tell(done, total, "bytes")
        finally:
            writer.close()


def _write_tensor(writer: Any, data: np.ndarray) -> None:
    try:
        writer.write_tensor_data(data)
    except OSError as error:
        if error.errno is None:  # numpy tells that a part was written, and not why
            _write_more(writer.fout[0].fileno())
        raise


def _write_more(file: int) -> None:
    """Meet the same obstacle again, this time with its number; the file is lost anyway."""
    os.write(file, bytes(1 << 20))
    os.fsync(file)


def _write_facts(writer: Any, plan: Gguf) -> None:
    from gguf import LlamaFileType

    source = plan.source
    writer.add_type("model")
    writer.add_name(source.name)
    if source.base_name is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, Path(source.base_name).name)
    is_f16 = plan.kind == "f16"
    writer.add_file_type(LlamaFileType.MOSTLY_F16 if is_f16 else LlamaFileType.MOSTLY_Q8_0)
    if not is_f16:
        writer.add_quantization_version(2)
    write_numbers(writer, source.config, plan.family)
    write_vocabulary(
        writer,
        plan.vocabulary,
        source.renderer.tokenizer,
        stop_ids=source.stop_ids,
        chat_template=source.chat_template,
        begins_with_bos=begins_with_bos(source),
    )


def begins_with_bos(source: Source) -> bool:
    """Whether readers shall put the token that begins texts before a prompt.

    Where the tokenizer does so, and a prompt of the training has it. A template that writes it by
    itself is left to do so.
    """
    tokenizer = source.renderer.tokenizer
    if source.is_plain or not tokenizer.adds_bos:
        return tokenizer.adds_bos
    from tunesmith.data.conversation import Conversation, Message

    ids = source.renderer.prompt_ids(Conversation((Message("user", "a"),)))
    return tokenizer.bos_id is not None and ids[:1] == [tokenizer.bos_id]


# ---------------------------------------------------------------- tensors


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the file: where it comes from and what it takes."""

    name: str
    source: str  # its name in the model
    shape: tuple[int, ...]
    raw: Any  # the kind of GGUF
    dtype: Any  # of the bytes as numpy holds them
    num_bytes: int

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """What the writer is told: for blocks the shape in bytes."""
        if self.dtype == np.uint8:
            return (*self.shape[:-1], self.shape[-1] // BLOCK * (BLOCK + 2))
        return self.shape


def _tensors(plan: Gguf, weights: Weights) -> list[PlannedTensor]:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

    config = plan.source.config
    numbers = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    architecture: MODEL_ARCH = numbers[plan.family.architecture]
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    is_tied = bool(config.get_text_config().tie_word_embeddings)
    found: list[PlannedTensor] = []
    if rope_factors(config) is not None:
        from tunesmith.engine.exporting.gguf.families import head_width

        found.append(_planned(ROPE_FACTORS, "", (head_width(config) // 2,), "f32"))
    for source, shape in weights.shapes().items():
        if is_tied and source == "lm_head.weight":
            continue
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ExportRefused(
                f"GGUF has no place for the weight {source} of this model.",
                hint="`--format merged` keeps every weight.",
                code="gguf_tensor_unknown",
            )
        found.append(_planned(name, source, shape, _kind_of(shape, plan.kind)))
    return found


def _kind_of(shape: tuple[int, ...], wanted: GgufType) -> str:
    """Norms and biases stay float32; rows that are no whole blocks become float16."""
    if len(shape) < 2:
        return "f32"
    return wanted if wanted == "f16" or shape[-1] % BLOCK == 0 else "f16"


def _planned(name: str, source: str, shape: tuple[int, ...], kind: str) -> PlannedTensor:
    from gguf import GGMLQuantizationType

    count = int(np.prod(shape))
    if kind == "q8_0":
        size = count // BLOCK * (BLOCK + 2)
        return PlannedTensor(name, source, shape, GGMLQuantizationType.Q8_0, np.uint8, size)
    if kind == "f16":
        return PlannedTensor(name, source, shape, GGMLQuantizationType.F16, np.float16, count * 2)
    return PlannedTensor(name, source, shape, GGMLQuantizationType.F32, np.float32, count * 4)


def _filled(
    plan: Gguf, weights: Weights, tensors: list[PlannedTensor]
) -> Iterator[tuple[PlannedTensor, np.ndarray]]:
    """Each tensor of the file with its bytes, in the order of the plan."""
    config = plan.source.config
    wanted = {tensor.source: tensor for tensor in tensors if tensor.source}
    factors = rope_factors(config)
    if factors is not None:
        yield tensors[0], factors.numpy().astype(np.float32)
    for name, value in weights.each():
        if name in wanted:
            laid = laid_out(name, value, config, plan.family)
            yield wanted[name], _stored(wanted[name], laid)


def _stored(tensor: PlannedTensor, value: Tensor) -> np.ndarray:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    numbers = value.cpu().contiguous().numpy()
    if tensor.raw == GGMLQuantizationType.Q8_0:
        return quantize(numbers, GGMLQuantizationType.Q8_0)
    if tensor.raw == GGMLQuantizationType.F16 and float(np.abs(numbers).max()) > LARGEST_F16:
        raise ExportRefused(
            f"{tensor.source} holds numbers beyond {LARGEST_F16:,.0f}, the largest of float16.",
            hint="Choose --gguf-type q8_0, or --format merged.",
            code="gguf_number_too_large",
        )
    return numbers.astype(tensor.dtype)

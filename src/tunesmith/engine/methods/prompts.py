"""Prompt tuning and P-tuning through PEFT: vectors in front of every text, and nothing else, learn.

Every document of a micro-batch has the vectors in front of it, at positions 0 to n - 1, whether it
lies alone or packed; its own tokens follow. Labels are at tokens only, so no vector is scored.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunesmith.engine.attention import Documents
from tunesmith.errors import ModelError
from tunesmith.recipe.prompts import Prompt, PTuning

if TYPE_CHECKING:
    from peft import PeftModel

_RANDOM = {"random": "RANDOM", "vocabulary": "SAMPLE_VOCAB"}


def new_prompts(model: Any, adapter: Prompt | PTuning, seed: int) -> PeftModel:
    """The frozen model with new vectors, drawn on the CPU from `seed`."""
    from peft import PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model

    common: dict[str, Any] = {
        "task_type": TaskType.CAUSAL_LM,
        "num_virtual_tokens": adapter.virtual_tokens,
    }
    if isinstance(adapter, Prompt):
        config = PromptTuningConfig(prompt_tuning_init=_RANDOM[adapter.init], **common)
    else:
        config = PromptEncoderConfig(encoder_hidden_size=adapter.encoder_width, **common)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuned: Any = get_peft_model(model, config)
    return tuned


def has_vectors(model: Any) -> bool:
    """True for a model with learned vectors in front of the text."""
    return hasattr(model, "prompt_encoder")


def num_vectors(model: Any) -> int:
    """How many places of the context the vectors take; 0 without any."""
    return model.active_peft_config.num_virtual_tokens if has_vectors(model) else 0


@contextmanager
def vectors_off(model: Any) -> Generator[None]:
    """The base alone, without what was learned."""
    model.vectors_off = True
    try:
        yield
    finally:
        model.vectors_off = False


def are_on(model: Any) -> bool:
    """Whether texts of this model begin with vectors just now."""
    return has_vectors(model) and not getattr(model, "vectors_off", False)


class InFrontDecoder:
    """A transformers decoder on the flat layout, with something learned in front of documents."""

    def __init__(self, model: Any, decoder: Any, *, is_flat: bool) -> None:
        self._model, self._decoder, self._is_flat = model, decoder, is_flat

    def refresh(self) -> None:
        """Nothing is kept beside the modules."""

    @contextmanager
    def adapters_off(self) -> Generator[None]:
        """Compute as the base model."""
        with vectors_off(self._model):
            yield


class PromptDecoder(InFrontDecoder):
    """With vectors in front of each document."""

    def __call__(self, ids_T: Tensor, positions_T: Tensor, documents: Documents) -> Tensor:
        """Hidden states [T, D] of the tokens, behind the final norm."""
        del positions_T  # they begin behind the vectors, and anew in each document
        tokens_TD = self._decoder.get_input_embeddings()(ids_T)
        front_ND = tokens_TD[:0]
        if are_on(self._model):
            front_ND = self._model.get_prompt(batch_size=1)[0].to(tokens_TD.dtype)
        spans = documents.spans()
        if self._is_flat:
            return self._computed(front_ND, tokens_TD, spans)
        return torch.cat([self._computed(front_ND, tokens_TD, [span]) for span in spans])

    def _computed(
        self, front_ND: Tensor, tokens_TD: Tensor, spans: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Lay out some documents with their vectors, compute, and leave out the vectors again."""
        count, device = len(front_ND), tokens_TD.device
        lengths = [count + end - start for start, end in spans]
        borders = [0]
        for length in lengths:
            borders.append(borders[-1] + length)
        rows = torch.cat([x for start, end in spans for x in (front_ND, tokens_TD[start:end])])
        positions = torch.cat([torch.arange(length, device=device) for length in lengths])
        named: dict[str, Any] = {}
        if self._is_flat:
            cumulative = None
            if device.type == "cuda":
                cumulative = torch.tensor(borders, dtype=torch.int32, device=device)
            named["documents"] = Documents(tuple(borders), cumulative)
            named["attention_mask"] = None
        output = self._decoder(
            inputs_embeds=rows[None], position_ids=positions[None], use_cache=False, **named
        )
        hidden = output.last_hidden_state[0]
        return torch.cat([hidden[start + count : end] for start, end in pairwise(borders)])


@torch.no_grad()
def continued_behind(model: Any, ids_BT: Tensor, mask_BT: Tensor, **how: Any) -> list[list[int]]:
    """Prompts, padded on the left, with what is generated behind vectors and prompts."""
    base = model.get_base_model()
    base.generation_config = model.generation_config
    front_ND = model.get_prompt(batch_size=1)[0]
    embedded = base.get_input_embeddings()(ids_BT)
    rows: list[Tensor] = []
    for row, padding in zip(embedded, (mask_BT == 0).sum(1).tolist(), strict=True):
        rows.append(torch.cat([row[:padding], front_ND.to(row.dtype), row[padding:]]))
    mask = torch.cat([mask_BT, mask_BT.new_ones(len(rows), len(front_ND))], dim=1)
    mask = mask.sort(dim=1, stable=True).values  # padding stays in front
    new = base.generate(inputs_embeds=torch.stack(rows), attention_mask=mask, **how)
    return [[*old, *more] for old, more in zip(ids_BT.tolist(), new.tolist(), strict=True)]


def refuse_merging(what: str) -> ModelError:
    """Vectors in front of the text or beside it are no part of any weight."""
    return ModelError(
        f"{what} holds learned vectors (prompt, prefix, P-tuning or adapter tuning), which cannot "
        "be merged into the weights of a model.",
        hint="Ask it with `tunesmith chat`, or load it with peft beside its base; all but adapter "
        "tuning are also served so (`tunesmith serve-model`). Train with adapter.kind: lora for a "
        "result that can be merged.",
        code="vectors_not_merged",
    )

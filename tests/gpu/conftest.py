"""A tiny llama on the GPU, put together as `train` does it. Everything here needs a CUDA device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.engine.adapter import apply_adapter, trainable_parameters
from tunesmith.engine.arena import Arena
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.dropout import DropoutKeys, key_dropout_by_row, set_training
from tunesmith.engine.head import Head
from tunesmith.engine.offload import Offload
from tunesmith.engine.optimizer import build_optimizer, parameter_groups, set_rate
from tunesmith.engine.stages import LanguageStage, Totals
from tunesmith.recipe import Full, Lora, Optimizer

VOCABULARY = 264
LENGTHS = (70, 33, 128, 5)


def tiny_llama(dtype: torch.dtype, adapter: Full | Lora, device: torch.device, layers: int) -> Any:
    """Layers with grouped heads of 16; equal for equal arguments, B matrices not zero."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=register_flat_attention()
        )
        model = apply_adapter(model.to(dtype).to(device), adapter, seed=1)
        torch.manual_seed(6)
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.data = (0.1 * torch.randn(parameter.shape)).to(parameter)
    return model


@dataclass
class Bench:
    """A model, its flat memory and its optimizer."""

    model: Any
    arena: Arena
    backbone: Any
    head: Head
    dropout: DropoutKeys
    optimizer: torch.optim.Optimizer
    device: torch.device

    @classmethod
    def of(
        cls,
        adapter: Full | Lora,
        *,
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cuda",
        checkpointing: int = 0,
        offload: Offload | None = None,
        layers: int = 2,
    ) -> Bench:
        place = torch.device(device)
        model = tiny_llama(dtype, adapter, place, layers)
        keys = key_dropout_by_row(model, 3)
        groups = parameter_groups(trainable_parameters(model), weight_decay=0.0, loraplus_ratio=1.0)
        arena = Arena(groups)
        backbone = build_backbone(
            model, attention="auto", checkpointing=checkpointing, offload=offload
        )
        optimizer = build_optimizer(arena, Optimizer())
        return cls(model, arena, backbone, Head.of(model), keys, optimizer, place)

    def loss_and_gradients(
        self, table: TokenTable, groups: Sequence[Sequence[int]], step: int = 1
    ) -> tuple[float, Tensor]:
        """Mean loss over all labels, and its gradient in one line; one micro-batch a group."""
        self.arena.zero_grad()
        set_training(self.model, True)
        targets = int(table.label_counts[[row for rows in groups for row in rows]].sum())
        total = torch.zeros((), device=self.device)
        for rows in groups:
            batch = flat_batch(table, rows, self.device)
            self.dropout.set(step, batch)
            totals = Totals(rows=len(rows), targets=targets)
            loss = LanguageStage().loss(self.backbone, self.head, batch, totals).loss
            loss.backward()
            total += loss.detach()
        return float(total), torch.cat([group.grad for group in self.arena.groups]).clone()

    def step(self, table: TokenTable, rate: float, number: int) -> float:
        """One whole optimizer step on all rows; returns its loss."""
        loss, _ = self.loss_and_gradients(table, [range(len(table.lengths))], number)
        assert math.isfinite(float(self.arena.clip(1.0)))
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.arena.publish()
        self.backbone.refresh()
        return loss


@pytest.fixture(scope="session")
def bench() -> Callable[..., Bench]:
    """`bench(Lora(rank=4))` is a tiny llama ready for training, in bfloat16 on the GPU."""
    return Bench.of


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> TokenTable:
    """Four rows of random tokens; the later half of each has labels."""
    generator = np.random.default_rng(0)
    folder: Path = tmp_path_factory.mktemp("table")
    with TableWriter(folder) as writer:
        for number, length in enumerate(LENGTHS):
            ids = generator.integers(3, VOCABULARY, length).astype(np.uint32)
            targets = np.arange(length) >= max(1, length // 2)
            facts = {"full_lengths": length, "lines": number + 1, "records": number}
            writer.add(ids, targets.astype(np.uint8), **facts, sources=0, digests=number)
        writer.finish({"sources": ["rows.jsonl"]})
    return TokenTable.open(folder)

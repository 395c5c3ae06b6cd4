"""Tiny random models of every family and one byte-level tokenizer, built once a session.

The directories are shared and must not be changed: a test that wants a broken one copies it first
(`copy_of`).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tunesmith.data.table import TableWriter, TokenTable
from tunesmith.engine.adapter import apply_adapter, trainable_parameters
from tunesmith.engine.arena import Arena
from tunesmith.engine.attention import register_flat_attention
from tunesmith.engine.backbone import build_backbone
from tunesmith.engine.batch import flat_batch
from tunesmith.engine.dropout import DropoutKeys, key_dropout_by_row, set_training
from tunesmith.engine.head import Head
from tunesmith.engine.methods.vocabulary import grow
from tunesmith.engine.offload import Offload
from tunesmith.engine.optimizer import parameter_groups
from tunesmith.engine.stages import LanguageStage, Totals
from tunesmith.recipe import Full, Lora

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# 256 bytes and three special tokens are 259; models round their tables up, as real ones do.
VOCABULARY_ROWS = 264

CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY_ROWS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

# Class name of the configuration, and what it needs besides the common sizes.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 8, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"head_dim": 8, "sliding_window": None}),
    "gemma3_text": (
        "Gemma3TextConfig",
        {"head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    ),
    "phi3": ("Phi3Config", {"original_max_position_embeddings": 512}),
    "glm4": ("Glm4Config", {"head_dim": 8}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "decoder_sparse_step": 1,
        },
    ),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "olmo2": ("Olmo2Config", {}),
    "gpt2": (
        "GPT2Config",
        {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 512,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
        },
    ),
}


def write_tiny_tokenizer(directory: Path, *, chat_template: str = CHATML) -> Path:
    """One token a byte and three special tokens: any text round-trips."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": chat_template,
        "model_max_length": 512,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory


def tiny_config(family: str, **changes: Any) -> Any:
    """The configuration of a two-layer model of `family`, hidden size 32."""
    import transformers

    class_name, extra = FAMILIES[family]
    return getattr(transformers, class_name)(**{**_COMMON, **extra, **changes})


def write_tiny_model(
    directory: Path, family: str, *, tokenizer: Path, seed: int = 0, **changes: Any
) -> Path:
    """A model directory in the transformers layout with random weights from `seed`."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family, **changes))
    model.save_pretrained(directory)
    for file in tokenizer.iterdir():
        shutil.copy(file, directory / file.name)
    return directory


@pytest.fixture(scope="session")
def tiny_tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def tiny_model_dir(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path
) -> Callable[[str], Path]:
    """`tiny_model_dir("qwen3")` is a model directory; the same one each time."""
    made: dict[str, Path] = {}

    def build(family: str) -> Path:
        if family not in made:
            directory = tmp_path_factory.mktemp(f"tiny-{family}")
            made[family] = write_tiny_model(directory, family, tokenizer=tiny_tokenizer_dir)
        return made[family]

    return build


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """`copy_of(directory)` is a copy that the test may break."""

    def copy(directory: Path) -> Path:
        return Path(shutil.copytree(directory, tmp_path / "copy"))

    return copy


# ---------------------------------------------------------------- numeric laws


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small products run fastest, and in a fixed order, on one thread."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def families() -> tuple[str, ...]:
    return tuple(FAMILIES)


def tiny_model(
    family: str,
    *,
    adapter: Full | Lora | None = None,
    attention: str = "sdpa",
    prepare: Callable[[Any], None] | None = None,
    new_ids: Sequence[int] = (),
    **changes: Any,
) -> Any:
    """A random model, equal for equal arguments; norms, biases and B matrices are not trivial.

    `prepare` may change the base before it gets its adapters, and rows for `new_ids`.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        config = tiny_config(family, **changes)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        for _, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.data += 0.3 * torch.randn(parameter.shape)
        if prepare is not None:
            prepare(model)
        grow(model, new_ids)
        tuned = apply_adapter(model, adapter or Full(), seed=1, new_ids=new_ids)
        for name, parameter in tuned.named_parameters():
            if ".lora_B." in name:
                parameter.data = 0.2 * torch.randn(parameter.shape)
    return tuned


@dataclass
class Bench:
    """A model put together as `train` does it, without a run around it."""

    model: Any
    arena: Arena
    backbone: Any
    head: Head
    dropout: DropoutKeys

    @classmethod
    def of(
        cls,
        family: str,
        adapter: Full | Lora | None = None,
        *,
        attention: str = "auto",
        checkpointing: int = 0,
        offload: Offload | None = None,
        dtype: torch.dtype = torch.float32,
        weight_decay: float = 0.0,
        **changes: Any,
    ) -> Bench:
        kernel = register_flat_attention() if attention == "auto" else attention
        model = tiny_model(family, adapter=adapter, attention=kernel, **changes).to(dtype)
        keys = key_dropout_by_row(model, 3)
        arena = Arena(
            parameter_groups(
                trainable_parameters(model), weight_decay=weight_decay, loraplus_ratio=1.0
            )
        )
        backbone = build_backbone(
            model, attention=attention, checkpointing=checkpointing, offload=offload, keys=keys
        )
        return cls(model, arena, backbone, Head.of(model), keys)

    def loss_and_gradients(
        self, table: TokenTable, groups: Sequence[Sequence[int]], step: int = 1
    ) -> tuple[float, dict[str, Tensor]]:
        """Mean loss over the labels of all groups, and its gradients, one micro-batch a group."""
        self.arena.zero_grad()
        set_training(self.model, True)
        targets = int(table.label_counts[[row for rows in groups for row in rows]].sum())
        total = 0.0
        for rows in groups:
            batch = flat_batch(table, rows, torch.device("cpu"))
            self.dropout.set(step, batch)
            totals = Totals(rows=len(rows), targets=targets)
            loss = LanguageStage().loss(self.backbone, self.head, batch, totals).loss
            loss.backward()
            total += float(loss.detach())
        return total, self.gradients()

    def gradients(self) -> dict[str, Tensor]:
        """What has been summed up in the arena, by parameter."""
        names = [entry for group in self.arena.groups for entry in group.entries]
        flat = torch.cat([group.grad for group in self.arena.groups])
        parts = flat.split([math.prod(shape) for _, shape in names])
        return {n: p.view(s).clone() for (n, s), p in zip(names, parts, strict=True)}

    @torch.no_grad()
    def logits(self, table: TokenTable, rows: Sequence[int]) -> list[Tensor]:
        """Logits of every token, row by row, from one micro-batch of all rows."""
        batch = flat_batch(table, rows, torch.device("cpu"))
        hidden = self.backbone(batch.ids_T, batch.positions_T, batch.documents)
        logits = self.head.logits(hidden)
        return [logits[start:end] for start, end in batch.documents.spans()]


@pytest.fixture(scope="session")
def bench() -> Callable[..., Bench]:
    """`bench("llama", Lora(rank=4))` is a tiny model ready for training."""
    return Bench.of


def plain_loss_and_gradients(
    model: Any, table: TokenTable, rows: Sequence[int]
) -> tuple[float, dict[str, Tensor]]:
    """The same with nothing but transformers and torch: a row at a time, logits of every token."""
    targets = int(table.label_counts[list(rows)].sum())
    total = 0.0
    for row in rows:
        ids, mask = table.row(row)
        ids_T = torch.from_numpy(ids.astype(np.int64))
        logits_TV = model(ids_T[None]).logits[0]
        labels_T = ids_T.masked_fill(~torch.from_numpy(mask.astype(bool)), -100)
        loss = F.cross_entropy(logits_TV[:-1], labels_T[1:], reduction="sum") / targets
        loss.backward()
        total += float(loss.detach())
    return total, {n: p.grad.clone() for n, p in trainable_parameters(model)}


@pytest.fixture(scope="session")
def plain() -> Callable[..., Any]:
    """`plain("llama", Lora(rank=4))` is the model of `bench(...)` as transformers computes it."""

    def build(family: str, adapter: Full | Lora | None = None, **changes: Any) -> nn.Module:
        return tiny_model(family, adapter=adapter, **changes)

    return build


@pytest.fixture(scope="session")
def reference() -> Callable[..., tuple[float, dict[str, Tensor]]]:
    """`plain_loss_and_gradients`."""
    return plain_loss_and_gradients


@pytest.fixture(scope="session")
def table_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TokenTable]:
    """`table_of([5, 3])` has two random rows; the later half of each has labels."""

    def build(lengths: Sequence[int], *, seed: int = 0) -> TokenTable:
        generator = np.random.default_rng(seed)
        folder = tmp_path_factory.mktemp("table")
        with TableWriter(folder) as writer:
            for number, length in enumerate(lengths):
                ids = generator.integers(3, 259, length).astype(np.uint32)
                targets = np.arange(length) >= max(1, length // 2)
                facts = {"full_lengths": length, "lines": number + 1, "records": number}
                writer.add(ids, targets.astype(np.uint8), **facts, sources=0, digests=number)
            writer.finish({"sources": ["rows.jsonl"]})
        return TokenTable.open(folder)

    return build

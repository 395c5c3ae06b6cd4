"""The answers are those of transformers.generate, whoever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from tests.unit.serving.conftest import FAST, order_of, prompts_of, running, write_adapter

from tunesmith.engine.adapter import known_notices
from tunesmith.engine.models import load_model
from tunesmith.serving.order import Sampling
from tunesmith.serving.scheduler import Limits

SharpModel = Callable[..., Path]
LENGTHS = (30, 1, 7, 90, 2, 150, 64)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-untied": ("llama", {"tie_word_embeddings": False}),
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1}),
    "llama-all-heads": ("llama", {"num_key_value_heads": 4}),
    "llama-wide-heads": ("llama", {"head_dim": 16}),
    "llama-yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 128,
            }
        },
    ),
    "qwen2": ("qwen2", {}),
    "qwen2-window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {}),
    "mistral": ("mistral", {}),
    "mistral-window": ("mistral", {"sliding_window": 20}),
}
OTHERS = ("gemma3_text", "phi3", "glm4", "qwen3_moe", "olmo2", "gpt2", "llama")


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_answers_are_those_of_transformers_alone_and_together(
    sharp_model_dir: SharpModel, variant: str
) -> None:
    family, changes = VARIANTS[variant]
    prompts = prompts_of(*LENGTHS)
    with running(sharp_model_dir(family, **changes)) as bench:
        together = bench.ask(*[order_of(prompt, 20) for prompt in prompts])
        alone = bench.ask(order_of(prompts[0], 20))
        for told, prompt in zip([*together, *alone], [*prompts, prompts[0]], strict=True):
            bench.assert_same(bench.ids(told), prompt, 20)
            assert told.finish == "length"


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_answer_through_their_own_modules(
    sharp_model_dir: SharpModel, family: str
) -> None:
    prompts = prompts_of(30, 1, 70)
    with running(sharp_model_dir(family), fast=False) as bench:
        for told, prompt in zip(bench.ask(*map(order_of, prompts)), prompts, strict=True):
            bench.assert_same(bench.ids(told), prompt, 12)


@pytest.mark.parametrize("family", [*FAST, "olmo2"])
def test_rows_with_different_adapters_share_a_batch(
    sharp_model_dir: SharpModel, tmp_path: Path, family: str
) -> None:
    base = sharp_model_dir(family)
    some = {"targets": ["q_proj", "down_proj", "v_proj"]}
    folders = [
        write_adapter(base, tmp_path / "a", seed=1),
        write_adapter(base, tmp_path / "b", seed=2, rank=2, **some),
        write_adapter(base, tmp_path / "c", seed=3, rank=7),
    ]
    prompts = prompts_of(30, 5, 12, 64, 9, 40)
    with running(base, fast=family in FAST) as bench:
        adapters = [bench.engine.load_adapter(folder) for folder in folders]
        chosen = [None, *adapters, adapters[0], None]
        orders = [order_of(p, 15, adapter=a) for p, a in zip(prompts, chosen, strict=True)]
        together = bench.ask(*orders)
        alone = [bench.ask(order)[0] for order in orders[:3]]
        with known_notices():
            tuned = {
                id(adapter): PeftModel.from_pretrained(load_model(base), str(folder)).eval()
                for adapter, folder in zip(adapters, folders, strict=True)
            }
        for told, order in zip([*together, *alone], [*orders, *orders[:3]], strict=True):
            model = tuned.get(id(order.adapter))
            bench.assert_same(bench.ids(told), order.prompt, 15, model)
        assert bench.ids(together[0]) != bench.ids(
            bench.ask(order_of(prompts[0], 15, adapter=adapters[1]))[0]
        )


def test_rows_that_join_and_leave_at_different_steps_disturb_nobody(
    sharp_model_dir: SharpModel,
) -> None:
    prompts = prompts_of(*(5 + 11 * n for n in range(12)))
    limits = Limits(max_rows=3, prompt_tokens=16)  # prompts come in parts, rows wait for slots
    with running(sharp_model_dir("qwen3"), limits=limits) as bench:
        orders = [order_of(p, 3 + 4 * (n % 5)) for n, p in enumerate(prompts)]
        for told, order in zip(bench.ask(*orders), orders, strict=True):
            bench.assert_same(bench.ids(told), order.prompt, order.max_tokens)


@pytest.mark.parametrize("fast", [True, False])
def test_a_prompt_alone_comes_in_parts(sharp_model_dir: SharpModel, fast: bool) -> None:
    """Then some steps have nobody who waits for scores."""
    limits = Limits(prompt_tokens=16)
    with running(sharp_model_dir("qwen3"), fast=fast, limits=limits) as bench:
        order = order_of(prompts_of(100)[0], 5)
        bench.assert_same(bench.ids(bench.ask(order)[0]), order.prompt, order.max_tokens)


def test_rows_that_lack_memory_are_sent_back_and_go_on_as_if_nothing_was(
    sharp_model_dir: SharpModel,
) -> None:
    prompts = prompts_of(40, 50, 60)
    token_bytes = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, width, bytes
    with running(sharp_model_dir("llama"), budget=token_bytes * 300, context=256) as bench:
        orders = [order_of(p, 120) for p in prompts]
        for told, order in zip(bench.ask(*orders), orders, strict=True):
            bench.assert_same(bench.ids(told), order.prompt, 120)
        assert bench.engine.counts.preempted > 0


WARM = Sampling(temperature=1.0, seed=7)
SAMPLINGS = {
    "plain": WARM,
    "top-p": Sampling(temperature=0.9, top_p=0.8, seed=3),
    "top-k": Sampling(temperature=1.5, top_k=5, seed=4),
    "penalties": Sampling(temperature=1.0, presence_penalty=1.0, repetition_penalty=1.2, seed=5),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_seed_gives_the_same_answer_alone_and_in_a_batch(
    sharp_model_dir: SharpModel, name: str
) -> None:
    sampling = SAMPLINGS[name]
    prompts = prompts_of(30, 3, 60, 11)
    with running(sharp_model_dir("llama")) as bench:
        orders = [order_of(p, 20, sampling=sampling) for p in prompts]
        alone = [bench.ids(bench.ask(order)[0]) for order in orders]
        together = [bench.ids(told) for told in bench.ask(*orders, *orders)]
        assert together == alone + alone
        other = Sampling(temperature=sampling.temperature, seed=99)
        assert bench.ids(bench.ask(order_of(prompts[0], 20, sampling=other))[0]) != alone[0]


@pytest.mark.parametrize("fast", [True, False])
def test_scores_of_a_prompt_are_those_of_transformers(
    sharp_model_dir: SharpModel, fast: bool
) -> None:
    import torch

    [prompt] = prompts_of(100)
    limits = Limits(prompt_tokens=33)
    with running(sharp_model_dir("llama"), fast=fast, limits=limits) as bench:
        [told] = bench.ask(order_of(prompt, 0, logprobs=3, prompt_logprobs=True))
        scores = told.deltas[0].prompt
        assert scores is not None
        assert [one.token for one in scores] == prompt
        with torch.no_grad():
            exact = bench.plain(torch.tensor([prompt])).logits[0].log_softmax(-1)
        assert scores[0].logprob is None
        for place, one in enumerate(scores[1:]):
            assert one.logprob == pytest.approx(float(exact[place, one.token]), abs=1e-4)
            assert len(one.top) == 3
            assert one.top[0][1] == pytest.approx(float(exact[place].max()), abs=1e-4)

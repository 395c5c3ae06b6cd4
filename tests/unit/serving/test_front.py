"""Learned vectors in front of the text: answers are those of the engine that trained them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient
from tests.unit.serving.conftest import (
    CONTEXT,
    FAST,
    VECTORS,
    order_of,
    prompts_of,
    running,
    write_adapter,
    write_vectors,
)

from tunesmith.data.conversation import Conversation, Message
from tunesmith.engine.adapter import known_notices
from tunesmith.engine.generate import Settings, continued, load_for_inference
from tunesmith.engine.models import load_model
from tunesmith.serving.app import create_app
from tunesmith.serving.decoder import Piece
from tunesmith.serving.errors import AdapterMismatch, UnknownModel
from tunesmith.serving.loading import load_served
from tunesmith.serving.options import Options
from tunesmith.serving.scheduler import Limits
from tunesmith.serving.state import State

SharpModel = Callable[..., Path]
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{family: (family, {}) for family in (*FAST, "gemma3_text", "olmo2", "qwen3_moe")},
    "llama-one-kv-head": ("llama", {"num_key_value_heads": 1}),
    "llama-wide-heads": ("llama", {"head_dim": 16}),
    # The vectors leave the window while the answer is written.
    "mistral-window": ("mistral", {"sliding_window": 20}),
    "gemma3-window": ("gemma3_text", {"sliding_window": 16}),
}


class Chat:
    """What `tunesmith chat` answers with, for `Bench.assert_same`."""

    def __init__(self, folder: Path) -> None:
        self.model = load_for_inference(str(folder), device="cpu", compare=True).model

    def __call__(self, ids: torch.Tensor) -> Any:
        return self.model(ids)

    def generate(self, input_ids: torch.Tensor, attention_mask: Any, **how: Any) -> torch.Tensor:
        from transformers import GenerationConfig

        del attention_mask
        config = GenerationConfig(**how)
        cpu = torch.device("cpu")
        return torch.tensor(
            continued(self.model, input_ids.tolist(), 0, cpu, generation_config=config)
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_those_of_chat_beside_the_base_and_lora(
    sharp_model_dir: SharpModel, tmp_path: Path, name: str
) -> None:
    family, changes = FAMILIES[name]
    base = sharp_model_dir(family, **changes)
    fast = family in FAST
    folders = {kind: write_vectors(base, tmp_path / kind, kind) for kind in VECTORS}
    lora = write_adapter(base, tmp_path / "lora", seed=2)
    prompts = prompts_of(30, 1, 70, 12, 2, 40, 9)
    kinds = ["prompt", "prefix", None, "p_tuning", "prefix", "lora", "prompt"]
    with running(base, fast=fast) as bench:
        before = bench.ask(order_of(prompts[2], 20))[0]
        adapters = {kind: bench.engine.load_adapter(folder) for kind, folder in folders.items()}
        adapters["lora"] = bench.engine.load_adapter(lora)
        with known_notices():
            told_by: dict[str, Any] = {kind: Chat(folder) for kind, folder in folders.items()}
            told_by["lora"] = PeftModel.from_pretrained(load_model(base), str(lora)).eval()
        orders = [
            order_of(prompt, 20, adapter=adapters.get(kind or ""))
            for prompt, kind in zip(prompts, kinds, strict=True)
        ]
        together = bench.ask(*orders)
        alone = [bench.ask(order)[0] for order in orders]
        for number, (prompt, kind) in enumerate(zip(prompts, kinds, strict=True)):
            for told in (together[number], alone[number]):
                bench.assert_same(bench.ids(told), prompt, 20, told_by.get(kind or ""))
        assert bench.ids(before) == bench.ids(together[2]) == bench.ids(alone[2])
        for kind in VECTORS:  # each of them changes what is said
            told = bench.ask(order_of(prompts[4], 1, adapter=adapters[kind]))[0]
            first, plain = told.scored[0], bench.ask(order_of(prompts[4], 1))[0].scored[0]
            assert abs((first.logprob or 0) - (plain.logprob or 0)) > 1e-2


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", VECTORS)
@torch.no_grad()
def test_log_probabilities_are_those_of_peft(
    sharp_model_dir: SharpModel, tmp_path: Path, kind: str, fast: bool
) -> None:
    base = sharp_model_dir("qwen3")
    folder = write_vectors(base, tmp_path / kind, kind)
    [prompt] = prompts_of(40)
    with running(base, fast=fast, limits=Limits(prompt_tokens=16)) as bench:  # it comes in parts
        adapter = bench.engine.load_adapter(folder)
        order = order_of(prompt, 1, adapter=adapter, logprobs=5, prompt_logprobs=True)
        [told] = bench.ask(order)
        scores = Chat(folder)(torch.tensor([prompt])).logits[0, -len(prompt) :].log_softmax(-1)
        best = scores[-1].topk(5)
        assert [token for token, _ in told.scored[0].top] == best.indices.tolist()
        found = [score for _, score in told.scored[0].top]
        assert found == pytest.approx(best.values.tolist(), abs=1e-4)
        # So are those of the prompt's own tokens, the first of which is scored by none.
        [scored] = [delta.prompt for delta in told.deltas if delta.prompt is not None]
        assert [one.token for one in scored] == prompt
        assert scored[0].logprob is None
        expected = [float(scores[n, token]) for n, token in enumerate(prompt[1:])]
        assert [one.logprob for one in scored[1:]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fast", [True, False])
def test_rows_that_are_sent_back_begin_behind_their_vectors_again(
    sharp_model_dir: SharpModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    base = sharp_model_dir("llama")
    folders = [
        write_vectors(base, tmp_path / kind, kind, places=50) for kind in ("prompt", "prefix")
    ]
    prompts = prompts_of(40, 10, 20)
    token_bytes = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, width, bytes
    with running(base, fast=fast, budget=token_bytes * 400, context=256) as bench:
        forward = bench.decoder.forward

        def within_memory(pieces: Sequence[Piece]) -> torch.Tensor:
            longest = max(piece.end for piece in pieces)
            assert len(pieces) == 1 or bench.decoder.fits(len(pieces), longest)
            return forward(pieces)

        monkeypatch.setattr(bench.decoder, "forward", within_memory)
        adapters = [None, *map(bench.engine.load_adapter, folders)]  # the youngest are sent back
        orders = [order_of(p, 120, adapter=a) for p, a in zip(prompts, adapters, strict=True)]
        told = bench.ask(*orders)
        assert bench.engine.counts.preempted > 0
        models = [None, *map(Chat, folders)]
        for one, order, model in zip(told, orders, models, strict=True):
            bench.assert_same(bench.ids(one), order.prompt, 120, model)


def test_rows_join_and_leave_at_different_steps(
    sharp_model_dir: SharpModel, tmp_path: Path
) -> None:
    """Two adapters of one kind with vectors of different number never meet in a slot."""
    base = sharp_model_dir("qwen3")
    folders = [
        write_vectors(base, tmp_path / "few", "prefix", seed=3, places=2),
        write_vectors(base, tmp_path / "many", "prefix", seed=4, places=90),
        write_vectors(base, tmp_path / "prompt", "prompt", seed=5, places=17),
    ]
    prompts = prompts_of(*(1 + 7 * n for n in range(12)))
    with running(base, limits=Limits(max_rows=3, prompt_tokens=16)) as bench:
        adapters = [*map(bench.engine.load_adapter, folders), None]
        orders = [
            order_of(p, 3 + 4 * (n % 5), adapter=adapters[n % 4]) for n, p in enumerate(prompts)
        ]
        models = [*map(Chat, folders), None]
        for n, (told, order) in enumerate(zip(bench.ask(*orders), orders, strict=True)):
            bench.assert_same(bench.ids(told), order.prompt, order.max_tokens, models[n % 4])
        # Vectors are no tokens of a prompt.
        assert bench.engine.counts.prompt_tokens == sum(map(len, prompts))


@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_ends_where_its_vectors_leave_no_place(
    sharp_model_dir: SharpModel, tmp_path: Path, fast: bool
) -> None:
    base = sharp_model_dir("llama")
    folder = write_vectors(base, tmp_path / "prompt", "prompt", places=30)
    [prompt] = prompts_of(30)
    with running(base, fast=fast, context=64) as bench:
        adapter = bench.engine.load_adapter(folder)
        with_vectors, without = bench.ask(
            order_of(prompt, 100, adapter=adapter), order_of(prompt, 100)
        )
        assert (len(with_vectors.scored), with_vectors.finish) == (4, "length")
        assert len(without.scored) == 34
        bench.engine.retire(adapter)
        with pytest.raises(UnknownModel):
            bench.ask(order_of(prompt, adapter=adapter))
        bench.assert_same(bench.ids(bench.ask(order_of(prompt))[0]), prompt, 12)
        large = write_vectors(base, tmp_path / "large", "prompt", places=64)
        with pytest.raises(AdapterMismatch, match=r"64 vectors .* context here is 64"):
            bench.engine.load_adapter(large)


@pytest.mark.parametrize("fast", [True, False])
def test_vectors_of_another_base_are_refused(
    sharp_model_dir: SharpModel, tmp_path: Path, fast: bool
) -> None:
    wide = sharp_model_dir("llama", hidden_size=64)
    deep = sharp_model_dir("llama", num_hidden_layers=3)
    # Of the same size in all, and of other heads.
    heads = sharp_model_dir("llama", num_key_value_heads=1, head_dim=16)
    with running(sharp_model_dir("llama"), fast=fast) as bench:
        for kind, base, what in (
            ("prompt", wide, "inputs of 64 numbers, and this base takes inputs of 32"),
            ("p_tuning", wide, "inputs of 64 numbers"),
            ("prefix", wide, "2 layers with 2 heads, 128 numbers .* 2 heads, 64 numbers"),
            ("prefix", deep, "3 layers with 2 heads"),
            ("prefix", heads, "2 layers with 1 heads, 64 numbers .* 2 heads, 64 numbers"),
        ):
            folder = write_vectors(base, tmp_path / f"{kind}-{base.name}", kind)
            with pytest.raises(AdapterMismatch, match=f"another base: it has .*{what}"):
                bench.engine.load_adapter(folder)
        folder = write_vectors(bench.directory, tmp_path / "cut", "prompt")
        save_file({"strange": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")
        with pytest.raises(AdapterMismatch, match="holds no vectors"):
            bench.engine.load_adapter(folder)


# ---------------------------------------------------------------- through the address


@pytest.fixture(scope="module")
def folders(
    sharp_model_dir: SharpModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    base, place = sharp_model_dir("llama"), tmp_path_factory.mktemp("vectors")
    return {
        **{kind: write_vectors(base, place / kind, kind) for kind in VECTORS},
        "lora": write_adapter(base, place / "lora", seed=2),
        "base": base,
    }


@pytest.fixture
def client(folders: dict[str, Path]) -> Generator[TestClient]:
    adapters = tuple((name, str(folders[name])) for name in ("prompt", "prefix", "lora"))
    options = Options(str(folders["base"]), name="base", device="cpu", adapters=adapters)
    state = State(options, None)
    served = load_served(options, deliver=state.postman.deliver)
    state.become_ready(served)
    with TestClient(create_app(state), raise_server_exceptions=False) as made:
        yield made
    assert served.engine.close(30)


def ask(client: TestClient, model: str, question: str) -> Any:
    turns = [{"role": "user", "content": question}]
    body = {"model": model, "messages": turns, "max_tokens": 24, "temperature": 0}
    return client.post("/v1/chat/completions", json={**body, "logprobs": True})


def text_of(answer: Any) -> str:
    """By its bytes: random ones make broken characters, of which a stream tells more."""
    tokens = answer["choices"][0]["logprobs"]["content"]
    return bytes(byte for token in tokens for byte in token["bytes"]).decode(errors="replace")


def test_names_are_asked_as_chat_is(client: TestClient, folders: dict[str, Path]) -> None:
    answer = client.post("/adapters", json={"name": "late", "path": str(folders["p_tuning"])})
    assert answer.status_code == 201
    [size] = {t.nbytes for t in load_file(folders["prefix"] / "adapter_model.safetensors").values()}
    listed = {each["name"]: each["bytes"] for each in client.get("/adapters").json()["data"]}
    assert listed["prefix"] == size
    limits = {each["id"]: each["max_model_len"] for each in client.get("/v1/models").json()["data"]}
    assert limits == {
        "base": CONTEXT, "lora": CONTEXT, "prompt": CONTEXT - 5, "prefix": CONTEXT - 4,
        "late": CONTEXT - 3,
    }  # fmt: skip
    questions = ["Hello", "What is the time?", "x"]
    texts: dict[str, list[str]] = {}
    for name, kind in {"prompt": "prompt", "prefix": "prefix", "late": "p_tuning"}.items():
        answerer = load_for_inference(str(folders[kind]), device="cpu")
        asked = [Conversation((Message("user", question),)) for question in questions]
        expected = answerer.answer_all(asked, Settings(max_tokens=24, temperature=0))
        told = [ask(client, name, question).json() for question in questions]
        texts[name] = [text_of(each) for each in told]
        assert texts[name] == [each.text for each in expected]
        # The vectors are no tokens that somebody sent.
        lengths = [len(answerer.prompt_ids(each)) for each in asked]
        assert [each["usage"]["prompt_tokens"] for each in told] == lengths
    assert len({tuple(each) for each in texts.values()}) == 3


def test_a_prompt_that_the_vectors_leave_no_place_for_is_refused(client: TestClient) -> None:
    length = ask(client, "base", "").json()["usage"]["prompt_tokens"]
    fits = "a" * (CONTEXT - 5 - length - 1)
    assert ask(client, "prompt", fits).status_code == 200
    answer = ask(client, "prompt", fits + "a")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["message"].startswith(
        "The prompt has 507 tokens; the context of this model is 507"
    )
    assert ask(client, "base", fits + "a").status_code == 200


def test_a_result_is_served_with_its_base(folders: dict[str, Path]) -> None:
    served = load_served(Options(str(folders["prefix"]), name="mine", device="cpu"))
    try:
        assert [voice.name for voice in served.voices] == [str(folders["base"]), "mine"]
        assert served.voices.get("mine").adapter.num_places == 4
    finally:
        served.engine.close(5)

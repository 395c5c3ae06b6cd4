"""New tokens: one number each in every row, rows of their own in the tables, trained and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.unit.engine.test_methods import trained
from torch import Tensor

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.adapter import known_notices
from tunesmith.engine.exporting.source import find_source, load_tuned, merged
from tunesmith.engine.generate import Settings, load_for_inference
from tunesmith.engine.methods.vocabulary import grow, grown_tokenizer
from tunesmith.engine.models import load_model
from tunesmith.errors import ModelError
from tunesmith.evaluation.adapters import dtype_of_adapter
from tunesmith.recipe import Lora, load_recipe
from tunesmith.runs import RunDir, read_events
from tunesmith.serving.loading import load_served
from tunesmith.serving.options import Options

from .conftest import write_tiny_model

TinyModel = Callable[[str], Path]
CPU = torch.device("cpu")
WORDS = {"new_tokens": ["<calc>", "阿司匹林"], "new_special_tokens": ["<|go|>"]}
NEW = [259, 260, 261]  # 256 bytes and three special tokens come before
ADDED = [*WORDS["new_tokens"], *WORDS["new_special_tokens"]]
ROWS = [
    {"question": f"<calc>{n} * {n}", "answer": f"阿司匹林 <|go|>{n * n} <calc>."} for n in range(6)
]
IDS = torch.tensor([[5, 60, 259, 80, 260, 100, 261, 44]])
# 264 rows are enough for three more tokens, 260 are not.
SIZES = {"spare rows": 264, "a larger table": 260}
METHODS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full"},
    "freeze": {"kind": "freeze", "layers": 1, "extra_modules": ["embed_tokens", "lm_head"]},
    "lora": {"kind": "lora", "rank": 4},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "pissa": {"kind": "lora", "rank": 4, "init": "pissa", "pissa_iterations": 0},
    "dropout": {"kind": "lora", "rank": 4, "dropout": 0.1},  # through the modules
}


@pytest.fixture(autouse=True)
def own_surroundings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path_factory.getbasetemp() / "words-cache"))


@pytest.fixture(scope="module")
def bases(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path
) -> Callable[..., Path]:
    made: dict[tuple[str, int, bool], Path] = {}

    def build(family: str = "llama", rows: int = 260, tied: bool = True) -> Path:
        key = (family, rows, tied)
        if key not in made:
            made[key] = write_tiny_model(
                tmp_path_factory.mktemp("base"),
                family,
                tokenizer=tiny_tokenizer_dir,
                vocab_size=rows,
                tie_word_embeddings=tied,
            )
        return made[key]

    return build


def new_run(
    folder: Path, base: Path, method: dict[str, Any], *, stage: str = "sft", **model: Any
) -> RunDir:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "rows.jsonl"
    rows = ROWS
    if stage != "sft":
        rows = [{"question": r["question"], "chosen": r["answer"], "rejected": "?"} for r in ROWS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = {
        "model": {"base": str(base), **WORDS, **model},
        "adapter": method,
        "stage": {"kind": stage},
        "data": {
            **{"train": [{"dataset": str(data)}], "validation": {"kind": "none"}},
            "allow_small": True,
        },
        "training": {
            **{"max_steps": 3, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"},
            **{"checkpoint": {"every_steps": 2}, "schedule": {"warmup_ratio": 0}},
        },
        "report": {"tensorboard": False, "curves": False},
    }
    return RunDir.create(folder / "run", json.dumps(recipe), recipe_name="test")


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model.eval()(IDS).logits


def by_transformers(run: RunDir) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(run.artifacts_dir / "model", dtype=torch.float32)


def by_peft(run: RunDir) -> Any:
    """The adapter's own way: the tokenizer beside it says how many rows the base must have."""
    from peft import AutoPeftModelForCausalLM

    with known_notices():
        return AutoPeftModelForCausalLM.from_pretrained(
            run.artifacts_dir / "adapter", dtype=torch.float32
        )


# ---------------------------------------------------------------- the tokenizer


def test_a_new_token_is_one_number_for_us_and_for_transformers(
    tmp_path: Path, tiny_tokenizer_dir: Path
) -> None:
    from transformers import AutoTokenizer

    words = {"<calc>": False, "阿司匹林": False, "<|go|>": True}
    folder = grown_tokenizer(tiny_tokenizer_dir, words, tmp_path)
    ours, theirs = TextTokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    text = "a<calc>阿司匹林b<|go|>"
    expected = [*ours.encode("a"), 259, 260, *ours.encode("b"), 261]
    assert ours.encode(text) == expected
    assert theirs.encode(text, add_special_tokens=False) == expected
    assert theirs.decode(expected, skip_special_tokens=True) == "a<calc>阿司匹林b"
    assert ours.special_tokens - TextTokenizer.load(tiny_tokenizer_dir).special_tokens == {"<|go|>"}
    assert grown_tokenizer(tiny_tokenizer_dir, words, tmp_path) == folder


def test_a_list_of_added_tokens_in_the_settings_is_kept_in_step(
    tmp_path: Path, copy_of: Callable[[Path], Path], tiny_tokenizer_dir: Path
) -> None:
    from transformers import AutoTokenizer

    source = copy_of(tiny_tokenizer_dir)
    file = source / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["added_tokens_decoder"] = {
        str(n): {"content": token, "special": True}
        for n, token in enumerate(("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    }
    file.write_text(json.dumps(settings))
    folder = grown_tokenizer(source, {"<|go|>": True}, tmp_path / "cache")
    listed = json.loads((folder / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert (listed["259"]["content"], listed["259"]["special"]) == ("<|go|>", True)
    assert AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|go|>") == 259


def test_known_tokens_are_told_and_change_nothing(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    told: list[str] = []
    words = {"<|im_end|>": True}
    found = grown_tokenizer(
        tiny_tokenizer_dir, words, tmp_path, lambda code, message, _: told.append(code + message)
    )
    assert found == tiny_tokenizer_dir
    assert [text.partition("The tokenizer has ")[::2] for text in told] == [
        ("token_known", "<|im_end|> already; it is left as before.")
    ]


# ---------------------------------------------------------------- the tables


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", SIZES.values(), ids=list(SIZES))
def test_new_rows_begin_as_the_mean_of_the_known_ones(
    bases: Callable[..., Path], rows: int, tied: bool
) -> None:
    model = load_model(bases(rows=rows, tied=tied))
    before = model.get_input_embeddings().weight.detach().clone()
    head_before = model.get_output_embeddings().weight.detach().clone()
    grow(model, NEW)
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert len(table) == len(head) == model.config.vocab_size == max(rows, 262)
    for now, then in ((table, before), (head, head_before)):
        torch.testing.assert_close(now[NEW], then[:259].mean(0).expand(3, -1))
        assert torch.equal(now[:259], then[:259])
    assert (table is head) == tied


# ---------------------------------------------------------------- training


# The two main methods on every table, each of the others once.
EVERY = [
    *((name, rows, tied) for name in ("full", "lora") for rows in (260, 264) for tied in (1, 0)),
    *((name, 260, 0) for name in METHODS if name not in ("full", "lora")),
]


@pytest.mark.parametrize(("name", "rows", "tied"), EVERY)
def test_new_tokens_are_trained_kept_and_gone_on_with(
    tmp_path: Path, bases: Callable[..., Path], name: str, rows: int, tied: int
) -> None:
    base, method = bases(rows=rows, tied=bool(tied)), METHODS[name]
    run = trained(new_run(tmp_path / "whole", base, method))
    made = by_transformers(run)
    assert made.config.vocab_size == max(rows, 262)
    start = load_model(base)
    grow(start, NEW)
    for new, old in zip(_tables(made), _tables(start), strict=True):
        assert all(not torch.equal(new[n], old[n]) for n in NEW), "every new row has learned"
        if method["kind"] == "lora":
            assert torch.equal(new[:259], old[:259]), "and no other row has"
    if method["kind"] == "lora":
        torch.testing.assert_close(logits(by_peft(run)), logits(made), rtol=2e-5, atol=2e-5)

    other = trained(new_run(tmp_path / "parts", base, method))
    newest = sorted(other.checkpoints_dir.iterdir())[-1]
    (newest / "manifest.json").unlink()  # as after a crash: the checkpoint of step 2 is the last
    trained(other, attempt=2)
    for kind in ("model", "adapter"):
        for file in sorted((run.artifacts_dir / kind).glob("*.safetensors")):
            assert file.read_bytes() == (other.artifacts_dir / kind / file.name).read_bytes()


def _tables(model: Any) -> list[Tensor]:
    return [model.get_input_embeddings().weight, model.get_output_embeddings().weight]


def test_rows_of_data_hold_the_new_numbers(tmp_path: Path, bases: Callable[..., Path]) -> None:
    run = trained(new_run(tmp_path, bases(), METHODS["lora"]))
    answerer = load_for_inference(str(run.path))
    ids = answerer.tokenizer.encode(ROWS[0]["question"] + ROWS[0]["answer"])
    assert [n for n in ids if n >= 259] == [259, 260, 261, 259]
    words: dict[str, Any] = {"new_tokens": [], "new_special_tokens": []}
    plain = trained(new_run(tmp_path / "plain", bases(), METHODS["lora"], **words))
    saved = sum(len(word.encode()) - 1 for word in ("<calc>", "阿司匹林", "<|go|>", "<calc>"))
    assert _tokens(plain) - _tokens(run) == len(ROWS) * saved


def _tokens(run: RunDir) -> int:
    events = read_events(run.events_path)[0]
    return next(e["tokens_per_epoch"] for e in events if e["type"] == "plan")


@pytest.mark.parametrize("stage", ["dpo", "kto", "orpo", "rm"])
def test_new_tokens_go_with_judged_answers(
    tmp_path: Path, bases: Callable[..., Path], stage: str
) -> None:
    run = trained(new_run(tmp_path, bases(), METHODS["lora"], stage=stage))
    state = load_file(run.artifacts_dir / "model" / "model.safetensors")
    assert len(state["model.embed_tokens.weight"]) == 262
    if stage == "dpo":
        assert load_recipe(run.resolved_path).stage.reference == "cached"  # pyright: ignore


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["gemma3_text", "qwen2", "gpt2"])
def test_other_families_and_formats_keep_new_tokens(
    tmp_path: Path, bases: Callable[..., Path], family: str, dtype: str
) -> None:
    tied = family != "qwen2"
    run = trained(
        new_run(tmp_path, bases(family, tied=tied), {"kind": "lora", "rank": 4}, dtype=dtype)
    )
    made = by_transformers(run)
    assert bool(torch.isfinite(logits(made)).all())
    close = {"rtol": 2e-5, "atol": 2e-5} if dtype == "float32" else {"rtol": 0.1, "atol": 0.02}
    torch.testing.assert_close(logits(by_peft(run)), logits(made), **close)


def test_packed_weights_get_new_tokens(tmp_path: Path, bases: Callable[..., Path]) -> None:
    run = trained(new_run(tmp_path, bases(tied=False), METHODS["lora"], quantization="nf4"))
    assert (
        len(load_file(run.artifacts_dir / "model" / "model.safetensors")["lm_head.weight"]) == 262
    )
    torch.testing.assert_close(
        logits(by_peft(run)), logits(by_transformers(run)), rtol=2e-5, atol=2e-5
    )


# ---------------------------------------------------------------- the result


@pytest.mark.parametrize("place", ["artifacts/model", "artifacts/adapter", "checkpoints"])
def test_every_kind_of_result_answers_and_exports_alike(
    tmp_path: Path, bases: Callable[..., Path], place: str
) -> None:
    run = trained(new_run(tmp_path, bases(tied=False), METHODS["lora"]))
    folder = run.path / place
    if place == "checkpoints":
        folder = sorted(folder.iterdir())[-1]
    expected = logits(by_transformers(run))
    answerer = load_for_inference(str(folder))
    assert answerer.tokenizer.encode("<calc>") == [259]
    torch.testing.assert_close(logits(answerer.model), expected, rtol=2e-5, atol=2e-5)
    answerer.answer(_asked("<calc>3"), Settings(max_tokens=3))
    source = find_source(str(folder), base=None, on_progress=lambda *_: None)
    tuned = load_tuned(source, dtype=torch.float32)
    torch.testing.assert_close(logits(tuned), expected, rtol=2e-5, atol=2e-5)
    model, state = merged(source)
    assert len(state["model.embed_tokens.weight"]) == model.config.vocab_size == 262
    model.load_state_dict(state, strict=False)
    assert source.renderer.tokenizer.token_id("<|go|>") == 261


def test_a_checkpoint_with_new_tokens_is_served_as_a_whole(
    tmp_path: Path, bases: Callable[..., Path]
) -> None:
    run = trained(new_run(tmp_path, bases(), METHODS["lora"]))
    folder = sorted(run.checkpoints_dir.iterdir())[-1]
    served = load_served(Options(base=str(folder), device="cpu"))
    try:
        assert served.voices.base.tokenizer.encode("<|go|>") == [261]
        assert served.about["decoder"] == "fast"
        decoder: Any = served.engine.decoder
        expected = by_transformers(run).get_input_embeddings().weight
        torch.testing.assert_close(decoder._embedding, expected.detach(), rtol=1e-6, atol=1e-6)
    finally:
        served.engine.close(0)
    assert dtype_of_adapter(str(bases()), str(run.path)) is None


def _asked(text: str) -> Any:
    from tunesmith.data.conversation import Conversation, Message

    return Conversation((Message("user", text),))


def test_a_result_is_a_base_for_the_next_training(
    tmp_path: Path, bases: Callable[..., Path]
) -> None:
    run = trained(new_run(tmp_path / "first", bases(), METHODS["lora"]))
    for base in (run.path, run.artifacts_dir / "adapter"):
        again = new_run(
            tmp_path / base.name, base, METHODS["lora"], new_tokens=["<calc>", "<then>"]
        )
        trained(again)
        warned = [e["code"] for e in read_events(again.events_path)[0] if e["type"] == "warning"]
        assert warned.count("token_known") == 1
        tokenizer = TextTokenizer.load(again.artifacts_dir / "model")
        assert [tokenizer.token_id(w) for w in ("<calc>", "<|go|>", "<then>")] == [259, 261, 262]


def test_an_adapter_with_tokens_is_not_gone_on_with(
    tmp_path: Path, bases: Callable[..., Path]
) -> None:
    run = trained(new_run(tmp_path / "first", bases(), METHODS["lora"]))
    method = {**METHODS["lora"], "continue_from": str(run.artifacts_dir / "adapter")}
    again = new_run(tmp_path / "next", bases(), method, new_tokens=[], new_special_tokens=[])
    with pytest.raises(ModelError) as caught:
        trained(again)
    assert caught.value.code == "continued_tokens"


# ---------------------------------------------------------------- the numeric laws


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize("attention", ["auto", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text", "glm4"])
def test_new_rows_get_the_gradient_of_plain_peft(
    family: str,
    attention: str,
    together: bool,
    bench: Any,
    plain: Any,
    reference: Any,
    table_of: Any,
) -> None:
    """Tied tables and untied ones, through the fused decoder and through the modules."""
    table, words = table_of([90, 40, 70, 20]), list(range(250, 259))
    grown = {"vocab_size": 250, "new_ids": words}
    mine = bench(family, Lora(rank=4), attention=attention, **grown)
    mine.backbone.refresh()
    theirs = plain(family, Lora(rank=4), **grown)
    for part in theirs.modules():
        part.__dict__.pop("forward", None)  # PEFT's own way through trained tokens
    rows = list(range(len(table)))
    expected_loss, expected = reference(theirs, table, rows)
    groups = [rows] if together else [[row] for row in rows]
    loss, found = mine.loss_and_gradients(table, groups)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert sum("trainable_tokens" in name for name in found) == (2 if family in UNTIED else 1)
    for name, gradient in expected.items():
        # Vectors of new words are short at first, and a norm behind them makes rounding large.
        assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


UNTIED = ("qwen2", "glm4")

"""Answers come in the tokens of the training, in whole characters, and end where they should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.data.conversation import Conversation, Message
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine import answer, chat, doctor
from tunesmith.engine.adapter import apply_adapter, trainable_parameters
from tunesmith.engine.export import Result, write_artifacts
from tunesmith.engine.generate import Answerer, Settings, _Writer, find_target, load_for_inference
from tunesmith.engine.models import load_model
from tunesmith.errors import DataError, InputError
from tunesmith.recipe import Full, Lora, parse_recipe
from tunesmith.runs import RunDir

TinyModel = Callable[[str], Path]
FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "gemma3_text",
    "phi3", "glm4", "qwen3_moe", "olmo2", "gpt2",
)  # fmt: skip
GREEDY = Settings(max_tokens=12, temperature=0.0)


def question(text: str) -> Conversation:
    return Conversation((Message("user", text),))


def finished_run(path: Path, base: Path, *, kind: str = "lora", **data: Any) -> RunDir:
    """A run whose result answers otherwise than its base."""
    recipe = parse_recipe(
        {
            "model": {"base": str(base)},
            "adapter": {"kind": kind},
            "data": {"train": ["q.jsonl"], "validation": {"kind": "none"}, **data},
        }
    )
    run = RunDir.create(path, json.dumps(recipe.model_dump(mode="json")), recipe_name="tuned")
    adapter = Lora(rank=4, alpha=8) if kind == "lora" else Full()
    model = apply_adapter(load_model(base), adapter, seed=1)
    generator = torch.Generator().manual_seed(7)
    for _, part in trainable_parameters(model):
        part.data += torch.randn(part.shape, generator=generator) * 0.3
    facts = Result(1, 1, "done", 1.0, "cpu", "f", "0", stop_ids=(0, 2))
    write_artifacts(run, model, recipe=recipe, base_dir=base, tokenizer_dir=base, result=facts)
    return run


@pytest.fixture
def llama(tiny_model_dir: TinyModel) -> Answerer:
    return load_for_inference(str(tiny_model_dir("llama")), device="cpu")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_as_each_question_alone(tiny_model_dir: TinyModel, family: str) -> None:
    model = load_for_inference(str(tiny_model_dir(family)), device="cpu")
    questions = [question("a" * length) for length in (30, 1, 7, 90, 2)]
    alone = [model.answer(one, GREEDY) for one in questions]
    told: list[tuple[int, int]] = []
    together = model.answer_all(
        questions, GREEDY, batch_rows=3, on_progress=lambda *done: told.append(done)
    )
    assert together == alone
    assert told == [(3, 5), (5, 5)]


@torch.no_grad()
def test_the_cache_gives_what_recomputing_everything_gives(llama: Answerer) -> None:
    prompt = llama.prompt_ids(question("Hello"))
    ids = list(prompt)
    while len(ids) < len(prompt) + GREEDY.max_tokens:
        token = int(llama.model(torch.tensor([ids])).logits[0, -1].argmax())
        if token in llama.stop_ids():
            break
        ids.append(token)
    expected = llama.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    assert llama.answer(question("Hello"), GREEDY).text == expected


def test_the_stream_is_the_answer(llama: Answerer) -> None:
    pieces: list[str] = []
    given = llama.answer(question("Hello"), GREEDY, on_text=pieces.append)
    assert "".join(pieces) == given.text
    assert given.num_tokens == 12
    assert given.finish == "length"


def test_characters_of_several_tokens_are_streamed_whole(tiny_tokenizer_dir: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_tokenizer_dir)
    pieces: list[str] = []
    writer = _Writer(tokenizer, frozenset({2}), pieces.append)
    writer.put(torch.tensor([[1, 5]]))  # the prompt
    ids = tokenizer.encode("您好，👍 ok") + tokenizer.encode("好")[:2]
    for token in [*ids, 2]:
        writer.put(torch.tensor([token]))
    writer.finish()
    assert [piece for piece in pieces if piece != "\ufffd"] == list("您好，👍 ok")
    assert "".join(pieces).startswith("您好，👍 ok\ufffd")  # what never became a character


def test_an_answer_ends_at_a_stop_token(llama: Answerer) -> None:
    long = llama.answer(question("Hello"), GREEDY)
    third = llama.tokenizer.encode(long.text)[3]
    llama.renderer.__dict__["stop_ids"] = [third]
    short = llama.answer(question("Hello"), GREEDY)
    assert short.finish == "stop"
    assert short.num_tokens <= 3
    assert long.text.startswith(short.text)


def test_an_interrupted_answer_keeps_what_was_said(llama: Answerer) -> None:
    pieces: list[str] = []
    given = llama.answer(
        question("Hello"),
        replace(GREEDY, max_tokens=200),
        on_text=pieces.append,
        should_stop=lambda: len(pieces) >= 3,
    )
    assert given.finish == "interrupted"
    assert given.text == "".join(pieces)
    assert given.num_tokens < 20


def test_sampling_repeats_with_its_seed(llama: Answerer) -> None:
    warm = Settings(max_tokens=12, temperature=1.0, seed=5)
    first = llama.answer(question("Hello"), warm)
    assert llama.answer(question("Hello"), warm) == first
    assert llama.answer(question("Hello"), replace(warm, seed=6)) != first


def test_the_advice_of_the_authors_is_taken_unless_told_otherwise(
    tiny_model_dir: TinyModel, copy_of: Callable[[Path], Path]
) -> None:
    directory = copy_of(tiny_model_dir("llama"))
    advice = {"do_sample": True, "temperature": 0.6, "top_k": 20}
    (directory / "generation_config.json").write_text(json.dumps(advice))
    model = load_for_inference(str(directory), device="cpu")
    assert model.advised == advice
    assert model._generation_config(Settings()).top_k == 20
    assert model._generation_config(GREEDY).do_sample is False


def test_a_conversation_longer_than_the_context_says_so(llama: Answerer) -> None:
    with pytest.raises(InputError, match="the model's context is 512"):
        llama.answer(question("a" * 600), GREEDY)
    short_of_room = llama.answer(question("a" * 450), replace(GREEDY, max_tokens=500))
    assert short_of_room.num_tokens < 62


def test_a_run_answers_with_its_adapter_and_its_base_without(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    """G3: the base model's answer beside the tuned model's."""
    base = tiny_model_dir("llama")
    run = finished_run(tmp_path / "run", base)
    tuned = load_for_inference(str(run.path), device="cpu", compare=True)
    plain = load_for_inference(str(base), device="cpu").answer(question("Hello"), GREEDY)
    with tuned.as_base() as beside:
        assert beside.answer(question("Hello"), GREEDY) == plain
        assert beside.name == str(base)
    given = tuned.answer(question("Hello"), GREEDY)
    assert given != plain
    merged = load_for_inference(str(run.path), device="cpu")
    assert merged.answer(question("Hello"), GREEDY) == given
    named = load_for_inference(str(base), adapter=str(run.path), device="cpu")
    assert named.answer(question("Hello"), GREEDY) == given


def test_a_fully_tuned_run_is_compared_with_the_base_of_its_recipe(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    run = finished_run(tmp_path / "run", base, kind="full")
    tuned = load_for_inference(str(run.path), device="cpu", compare=True)
    plain = load_for_inference(str(base), device="cpu").answer(question("Hello"), GREEDY)
    with tuned.as_base() as beside:
        assert beside.answer(question("Hello"), GREEDY) == plain
    assert tuned.answer(question("Hello"), GREEDY) != plain


def test_a_model_without_a_base_cannot_be_compared(llama: Answerer) -> None:
    with pytest.raises(InputError, match="has no base to compare with"), llama.as_base():
        pass


def test_the_texts_around_questions_are_those_of_the_training(
    tiny_model_dir: TinyModel, tmp_path: Path
) -> None:
    base = tiny_model_dir("llama")
    run = finished_run(tmp_path / "run", base, prefix="Shop: ")
    model = load_for_inference(str(run.path), device="cpu")
    assert "user\nShop: Hello<|im_end|>" in model.tokenizer.decode(
        model.prompt_ids(question("Hello"))
    )
    assert find_target(str(run.path)).recipe is not None


# ---------------------------------------------------------------- commands


def test_one_prompt_is_answered_as_json(
    tiny_model_dir: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "run", tiny_model_dir("llama"))
    options = ["--prompt=Hello", "--json", "--compare", "--temperature=0", "--max-tokens=5"]
    assert chat.main([*options, "--device=cpu", "--", str(run.path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == str(run.path)
    assert document["tokens"] == document["base"]["tokens"] == 5
    assert document["answer"] != document["base"]["answer"]


def test_a_conversation_remembers_its_turns_until_it_is_told_to_forget(llama: Answerer) -> None:
    talk = chat.Talk(llama, GREEDY, system="Be kind.")
    first = talk.ask("Hello", on_text=None, should_stop=lambda: False)
    talk.ask("And you?", on_text=None, should_stop=lambda: False)
    assert [turn.role for turn in talk.turns] == ["user", "assistant", "user", "assistant"]
    assert talk.turns[1].content == first.text
    talk.forget()
    assert talk.ask("Hello", on_text=None, should_stop=lambda: False) == first


def test_control_characters_never_reach_the_terminal() -> None:
    """FAULTS 22: ANSI sequences in what a model says are shown, not obeyed."""
    assert chat.printable("a\x1b[2Jb\x07\u202ec\n\t好\u200d") == "a[2Jbc\n\t好\u200d"


def test_answers_are_written_in_the_order_of_the_questions(
    tiny_model_dir: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    rows: list[dict[str, Any]] = [
        {"id": 1, "question": "a longer question than the other ones"},
        {"id": 2, "prompt": "short", "system": "Be kind."},
        {"id": 3, "messages": [{"role": "user", "content": "您好"}]},
    ]
    questions.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    out = tmp_path / "answers.jsonl"
    arguments = ["--questions", str(questions), "--out", str(out), "--max-tokens", "4"]
    assert answer.main([str(tiny_model_dir("llama")), *arguments, "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in answers] == [1, 2, 3]
    assert all(row["tokens"] == 4 and row["finish"] == "length" for row in answers)
    assert "3 of 3 answered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"question": "a"}\n{oops\n', "line 2: not valid JSON"),
        ("[1]\n", "line 1: not a JSON object"),
        ("\n", "has no questions"),
        ('{"text": "a"}\n', "Question 1 has neither"),
        ('{"messages": [{"role": "judge", "content": "a"}]}\n', "Question 1: each message"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}\n', "asks nothing"),
    ],
)
def test_wrong_questions_are_named(tmp_path: Path, content: str, reason: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=reason):
        answer.main(["starter", "--questions", str(file), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_doctor_tells_devices_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["devices"][0]["id"] == "cpu"
    assert document["versions"]["torch"] == torch.__version__
    assert {check["name"] for check in document["checks"]} >= {"devices", "threads"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_control_c_ends_the_answer_and_then_the_chat(
    tiny_model_dir: TinyModel, copy_of: Callable[[Path], Path]
) -> None:
    model = copy_of(tiny_model_dir("olmo2"))
    config = json.loads((model / "config.json").read_text())
    config["max_position_embeddings"] = 200_000  # so that no answer ends by itself meanwhile
    (model / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "tunesmith.engine", "chat", "--max-tokens=100000"]
    process = subprocess.Popen(
        [*command, "--temperature=0", "--device=cpu", "--", str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    killer = threading.Timer(120, process.kill)
    killer.start()
    process.stdin.write(b"Hello\n")
    process.stdin.flush()
    assert process.stdout.read(20)  # the answer has begun
    process.send_signal(signal.SIGINT)
    process.stdin.write(b"/help\n")
    process.stdin.flush()
    said = b""
    while chat.HELP.encode() not in said:  # the answer has ended, the chat has not
        line = process.stdout.readline()
        assert line, "the chat has ended"
        said += line
    while process.poll() is None:  # an impatient user: at the prompt, and while leaving
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate()
    killer.cancel()
    assert process.returncode == 0
    assert b"Traceback" not in errors

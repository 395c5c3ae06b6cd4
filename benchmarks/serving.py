"""Tokens a second of a served model beside transformers and LLaMA-Factory, in turn, in one run.

    python benchmarks/serving.py [--models llama-8m,qwen3-60m] [--rounds 3] [--peers llamafactory]

Eight clients chat at once: prompts of 64 tokens, greedy answers of 128. Beside it the same prompts
go through transformers.generate one at a time, in a process of its own with as many threads, and
through `llamafactory-cli api` where its environment lies in --env-dir. Further: the first token of
a stream beside a bare forward pass, and sixteen adapters in one batch beside one. Asserted: the
texts are those of transformers but for places whose two best scores are equal to 1e-4.

Prints ratios; the exit code is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from harness.environments import PEERS, python_of
from harness.jobs import Places
from harness.machine import describe_machine
from harness.measurement import BenchmarkError
from harness.processes import environment, run
from harness.report import table
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.generate import find_target, renderer_of

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
CLIENTS, PROMPT, LENGTH = 8, 64, 128
ADAPTERS, RANK = 16, 8
GOALS = {"generate": 4.0, "llamafactory": 3.0, "first token": 2.0, "16 adapters": 0.8}
TIE = 1e-4
READY_SECONDS = 180.0
PASSES = 15


@dataclass
class Figures:
    """What was seen with one model, round by round."""

    ours: list[float] = field(default_factory=list[float])  # tokens/s
    generate: list[float] = field(default_factory=list[float])
    llamafactory: list[float] = field(default_factory=list[float])
    first_token: list[float] = field(default_factory=list[float])  # seconds
    forward: list[float] = field(default_factory=list[float])
    one_adapter: list[float] = field(default_factory=list[float])  # tokens/s
    adapters: list[float] = field(default_factory=list[float])
    same: int = 0
    ties: int = 0

    def ratios(self) -> dict[str, float]:
        """The figures that have goals; each is the median of ratios of neighbours in time."""
        found = {
            "generate": _ratio(self.ours, self.generate),
            "first token": _ratio(self.first_token, self.forward),
            "16 adapters": _ratio(self.adapters, self.one_adapter),
        }
        if self.llamafactory:
            found["llamafactory"] = _ratio(self.ours, self.llamafactory)
        return found


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def is_met(name: str, value: float) -> bool:
    """The first token has a ceiling, all others have a floor."""
    return value < GOALS[name] if name == "first token" else value >= GOALS[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a goal is missed or the answers are not the same."""
    options = parse(arguments)
    places = Places(options.shared.resolve(), options.env_dir.resolve(), options.scratch.resolve())
    machine = describe_machine()
    results: dict[str, Figures] = {}
    try:
        for name in options.models.split(","):
            results[name] = measure(places, name, options)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    missed = [
        f"{name}: {what} {value:.2f} (goal {GOALS[what]})"
        for name, figures in results.items()
        for what, value in figures.ratios().items()
        if not is_met(what, value)
    ]
    if options.json:
        shown = {name: vars(f) | {"ratios": f.ratios()} for name, f in results.items()}
        print(json.dumps({"machine": vars(machine), "models": shown, "missed": missed}))
    else:
        print(machine)
        print(render(results))
        print("\n".join(["missed:", *missed] if missed else ["all goals are met"]))
    return 1 if missed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="llama-8m,qwen3-60m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peers", default="llamafactory", help="llamafactory or none")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--env-dir", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--scratch", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def render(results: dict[str, Figures]) -> str:
    """One row a model and figure."""
    rows = []
    for name, figures in results.items():
        speeds = f"{median(figures.ours):.0f} and {median(figures.generate):.0f} tokens/s"
        about = {
            "generate": f"{CLIENTS} at once, and generate one at a time: {speeds}",
            "llamafactory": f"{CLIENTS} at once, and llamafactory-cli api",
            "first token": f"{median(figures.first_token) * 1000:.1f} ms, and a bare pass "
            f"{median(figures.forward) * 1000:.1f} ms",
            "16 adapters": f"{median(figures.adapters):.0f} and {median(figures.one_adapter):.0f} "
            "tokens/s with one",
        }
        for what, value in figures.ratios().items():
            met = "met" if is_met(what, value) else "MISSED"
            rows.append([name, what, f"{value:.2f}", f"{GOALS[what]:g}", met, about[what]])
        rows.append(
            [name, "same texts", f"{figures.same}/{CLIENTS}", "", "", f"{figures.ties} with ties"]
        )
        if not figures.llamafactory:
            rows.append([name, "llamafactory", "-", "3", "", "no environment in --env-dir"])
    return "\n".join(table(["model", "figure", "ratio", "goal", "", "what"], rows))


# ---------------------------------------------------------------- one model


def measure(places: Places, name: str, options: argparse.Namespace) -> Figures:
    """All figures of one model; contenders take turns within each round."""
    tokenizer = places.tokenizer(name)
    if tokenizer is None:
        raise BenchmarkError(f"{name} needs the tokenizers of --shared.")
    model = places.model(name)
    run([sys.executable, HERE / "build_models.py", name, tokenizer, model], _log(places, name))
    adapters = build_adapters(model)
    questions = Questions(model)
    figures = Figures()
    env = environment(options.threads)
    with ExitStack() as stack:
        ours = stack.enter_context(serving(model, adapters, env, places.scratch))
        plain = stack.enter_context(transformers(model, env))
        peer = None
        if "llamafactory" in options.peers:
            peer = stack.enter_context(llamafactory(places, model, env))
        check_texts(ours, plain, questions, figures)
        for _ in range(options.rounds):
            one_round(ours, plain, peer, questions, figures)
    return figures


def one_round(
    ours: Chat, plain: Plain, peer: Chat | None, questions: Questions, figures: Figures
) -> None:
    """Every contender once."""
    texts = questions.texts[:CLIENTS]
    figures.ours.append(ours.together([(ours.model, text) for text in texts]))
    told = plain.ask({"generate": questions.ids[:CLIENTS], "length": LENGTH})
    figures.generate.append(CLIENTS * LENGTH / told["seconds"])
    if peer is not None:
        figures.llamafactory.append(peer.together([(peer.model, text) for text in texts]))
    firsts = [ours.first_token(questions.texts[number % ADAPTERS]) for number in range(PASSES)]
    passes = plain.ask({"forward": questions.ids[0], "times": PASSES})["seconds"]
    figures.first_token.append(median(firsts))
    figures.forward.append(median(passes))
    many = questions.texts[:ADAPTERS]
    one = [("tuned-0", text) for text in many]
    each = [(f"tuned-{number}", text) for number, text in enumerate(many)]
    # One, all, all, one: a machine that grows slower meanwhile is unfair to neither.
    speeds = [ours.together(asked) for asked in (one, each, each, one)]
    figures.one_adapter.append((speeds[0] + speeds[3]) / 2)
    figures.adapters.append((speeds[1] + speeds[2]) / 2)


def check_texts(ours: Chat, plain: Plain, questions: Questions, figures: Figures) -> None:
    """The texts of a batch are those of transformers; this warms both up, too."""
    texts = questions.texts[:CLIENTS]
    answers = ours.answers([(ours.model, text) for text in texts])
    ours.together([(f"tuned-{n}", text) for n, text in enumerate(questions.texts[:ADAPTERS])])
    order = {"generate": questions.ids[:CLIENTS], "length": LENGTH, "gaps": True}
    told = plain.ask(order)
    for answer, ids, gaps in zip(answers, told["answers"], told["gaps"], strict=True):
        if answer == questions.tokenizer.decode(ids, skip_special_tokens=True):
            figures.same += 1
        elif _agrees_to_a_tie(questions.tokenizer, answer, ids, gaps):
            figures.ties += 1
        else:
            raise BenchmarkError("an answer is not that of transformers.generate")


def _agrees_to_a_tie(
    tokenizer: TextTokenizer, answer: str, ids: Sequence[int], gaps: Sequence[float]
) -> bool:
    """Whether the text is the same up to a place where the two best scores are equal."""
    ties = [place for place, gap in enumerate(gaps) if gap < TIE]
    for place in ties:
        common = tokenizer.decode(ids[:place], skip_special_tokens=True).rstrip("\ufffd")
        if answer.startswith(common):
            return True
    return False


class Questions:
    """Chats whose prompts have the wanted number of tokens, as text and as tokens."""

    def __init__(self, model: Path) -> None:
        self._renderer, _ = renderer_of(find_target(str(model)))
        self.tokenizer = self._renderer.tokenizer
        self.texts = [self._text(number) for number in range(ADAPTERS)]
        self.ids = [self._ids(text) for text in self.texts]

    def _ids(self, text: str) -> list[int]:
        from tunesmith.data.conversation import Conversation, Message

        return self._renderer.prompt_ids(Conversation((Message("user", text),)))

    def _text(self, number: int) -> str:
        words = f"Question {number}: how do I send back a parcel of kind {number} that broke?"
        text = words
        while len(self._ids(text)) < PROMPT:
            text += f" {words[len(text) % len(words)]}"
        return text


# ---------------------------------------------------------------- contenders


@dataclass
class Chat:
    """An OpenAI-compatible address."""

    url: str
    model: str
    extra: dict[str, Any]

    def together(self, asked: Sequence[tuple[str, str]]) -> float:
        """Tokens a second over all of them, asked at once."""
        started = time.perf_counter()
        told = asyncio.run(self._all(asked))
        seconds = time.perf_counter() - started
        counts = [answer["usage"]["completion_tokens"] for answer in told]
        if min(counts) < LENGTH - 1:
            raise BenchmarkError(f"{self.url} answered with {min(counts)} tokens, not {LENGTH}")
        return sum(counts) / seconds

    def answers(self, asked: Sequence[tuple[str, str]]) -> list[str]:
        """The texts."""
        return [a["choices"][0]["message"]["content"] for a in asyncio.run(self._all(asked))]

    async def _all(self, asked: Sequence[tuple[str, str]]) -> list[Any]:
        async with httpx.AsyncClient(timeout=600) as client:
            return await asyncio.gather(*[self._one(client, *one) for one in asked])

    async def _one(self, client: httpx.AsyncClient, model: str, text: str) -> Any:
        answer = await client.post(f"{self.url}/v1/chat/completions", json=self._body(model, text))
        if answer.status_code != 200:
            raise BenchmarkError(f"{self.url} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    def _body(self, model: str, text: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"model": model, "messages": messages, "max_tokens": LENGTH, **self.extra}

    def first_token(self, text: str) -> float:
        """Seconds until the first piece of text of a stream on an open connection."""
        with httpx.Client(timeout=600) as client:
            client.get(f"{self.url}/health")
            body = self._body(self.model, text) | {"stream": True, "max_tokens": 2}
            started = time.perf_counter()
            with client.stream("POST", f"{self.url}/v1/chat/completions", json=body) as stream:
                for line in stream.iter_lines():
                    if line.startswith("data: {"):
                        return time.perf_counter() - started
        raise BenchmarkError("a stream without a piece")


@contextmanager
def serving(
    model: Path, adapters: Sequence[Path], env: dict[str, str], scratch: Path
) -> Generator[Chat]:
    """Ours."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        words = ["-m", "tunesmith.serving", model, "--name", "base", "--port", "0"]
        for number, adapter in enumerate(adapters):
            words += ["--adapter", f"tuned-{number}={adapter}"]
        command = [sys.executable, *words, "--ready-file", ready]
        with process(command, env, scratch / "serving.log") as server:
            wait_for(ready.is_file, server)
            told = json.loads(ready.read_text(encoding="utf-8"))
            if told["status"] != "ready":
                raise BenchmarkError(f"the server failed: {told}")
            yield Chat(told["url"], "base", {"temperature": 0, "ignore_eos": True})


@dataclass
class Plain:
    """transformers in a process of its own."""

    process: subprocess.Popen[str]

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or "{}")


@contextmanager
def transformers(model: Path, env: dict[str, str]) -> Generator[Plain]:
    """transformers.generate, one at a time."""
    command = [sys.executable, HERE / "peers" / "transformers_answers.py", model]
    with subprocess.Popen(
        [str(word) for word in command],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as peer:
        assert peer.stdout is not None
        if not peer.stdout.readline():
            raise BenchmarkError("transformers did not load the model")
        try:
            yield Plain(peer)
        finally:
            peer.kill()


@contextmanager
def llamafactory(places: Places, model: Path, env: dict[str, str]) -> Generator[Chat | None]:
    """`llamafactory-cli api`, where its environment is; None where it is not."""
    python = python_of(places.environments / PEERS["llamafactory"].name)
    if not python.exists():
        yield None
        return
    port = free_port()
    words = ["--model_name_or_path", str(model), "--template", "qwen", "--infer_dtype", "float32"]
    command = [python.with_name("llamafactory-cli"), "api", *words]
    more = {"API_PORT": str(port), "API_HOST": "127.0.0.1", "CUDA_VISIBLE_DEVICES": ""}
    url = f"http://127.0.0.1:{port}"
    with process(command, env | more, places.scratch / "llamafactory-api.log") as server:
        wait_for(lambda: answers(url), server)
        # It always samples by its own settings and ends at a stop token; a temperature near 0 is
        # greedy, and random weights hardly ever say a stop token.
        yield Chat(url, "gpt-3.5-turbo", {"temperature": 0.01, "do_sample": False})


@contextmanager
def process(
    command: Sequence[str | Path], env: dict[str, str], log: Path
) -> Generator[subprocess.Popen[bytes]]:
    """A server that ends with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(word) for word in command], env=env, stdout=output, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_for(is_ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Until a server answers; BenchmarkError where it ended or takes too long."""
    until = time.monotonic() + READY_SECONDS
    while not is_ready():
        if server.poll() is not None or time.monotonic() > until:
            raise BenchmarkError(f"{server.args} did not become ready; see its log")
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether an address lists its models."""
    try:
        return httpx.get(f"{url}/v1/models", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def build_adapters(model: Path) -> list[Path]:
    """Adapters of random numbers on all linear layers, made once."""
    folders = [model.with_name(f"{model.name}-served-{number}") for number in range(ADAPTERS)]
    if all((folder / "adapter_config.json").is_file() for folder in folders):
        return folders
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    lora = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    tuned: Any = get_peft_model(base, lora)
    for number, folder in enumerate(folders):
        torch.manual_seed(number)
        for name, part in tuned.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(part, std=0.02)
        tuned.save_pretrained(folder)
    return folders


def _log(places: Places, name: str) -> Path:
    return places.scratch / "logs" / f"build-{name}.log"


if __name__ == "__main__":
    sys.exit(main())

"""`tunesmith chat`: talk to a run or a model in the terminal. Read `main` first."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from tunesmith.data.conversation import Conversation, Message

if TYPE_CHECKING:
    from tunesmith.engine.generate import Answer, Answerer, Settings

HELP = "/new starts a new conversation, /exit ends; Ctrl-C ends an answer, a second one the chat."
INTERRUPTED = 1
# Overrides of the direction of text, which can make a terminal show something else than was said.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def main(arguments: list[str]) -> int:
    """Load, then answer one prompt or hold a conversation; returns the exit code."""
    options = _parse(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        return _chat(options)
    sys.stderr.write("\n")
    return 0 if options.prompt is None else INTERRUPTED  # leaving a conversation is no failure


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunesmith chat")
    parser.add_argument("target", help="a run, a model folder, `starter` or a hub id")
    parser.add_argument("--adapter", help="an adapter to put on the model")
    parser.add_argument("--prompt", help="answer this one question and end")
    parser.add_argument("--compare", action="store_true", help="base and tuned side by side")
    parser.add_argument("--system", help="a system message before everything")
    parser.add_argument("--max-tokens", type=int, default=512, help="most tokens in an answer")
    parser.add_argument("--temperature", type=float, help="0 takes the likeliest token always")
    parser.add_argument("--seed", type=int, help="the same answer again where it is sampled")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", action="store_true", help="one JSON document, with --prompt")
    options = parser.parse_args(arguments)
    if options.json and options.prompt is None:
        parser.error("--json needs --prompt")
    return options


def _chat(options: argparse.Namespace) -> int:
    from tunesmith.engine.generate import Settings, load_for_inference

    answerer = load_for_inference(
        options.target,
        adapter=options.adapter,
        device=options.device,
        compare=options.compare,
        on_progress=_show_download if sys.stderr.isatty() else None,
    )
    settings = Settings(options.max_tokens, options.temperature, options.seed)
    talk = Talk(answerer, settings, system=options.system, compare=options.compare)
    if options.prompt is None:
        return converse(talk)
    return _answer_once(talk, options.prompt, as_json=options.json)


def _show_download(done: int, total: int, unit: str) -> None:
    share = f"{done / total:4.0%} of {total / 1e6:,.0f} MB" if total else f"{done:,} {unit}"
    sys.stderr.write(f"\rDownloading: {share} ")
    if total and done >= total:
        sys.stderr.write("\n")
    sys.stderr.flush()


# ---------------------------------------------------------------- what was said


@dataclass
class Talk:
    """A model, how it answers, and the turns so far; of the base as well where both are asked."""

    answerer: Answerer
    settings: Settings
    system: str | None = None
    compare: bool = False
    turns: list[Message] = field(default_factory=list)
    base_turns: list[Message] = field(default_factory=list)

    def forget(self) -> None:
        """A new conversation."""
        self.turns.clear()
        self.base_turns.clear()

    def ask(
        self,
        question: str,
        *,
        on_text: Callable[[str], None] | None,
        should_stop: Callable[[], bool],
    ) -> Answer:
        """The answer of the (tuned) model, remembered unless it fails."""
        return self._ask(self.answerer, self.turns, question, on_text, should_stop)

    def ask_base(self, question: str, *, should_stop: Callable[[], bool]) -> Answer:
        """The answer of the base to the same question, in a conversation of its own."""
        with self.answerer.as_base() as base:
            return self._ask(base, self.base_turns, question, None, should_stop)

    def _ask(
        self,
        answerer: Answerer,
        turns: list[Message],
        question: str,
        on_text: Callable[[str], None] | None,
        should_stop: Callable[[], bool],
    ) -> Answer:
        asked = Message("user", question)
        system = [Message("system", self.system)] if self.system else []
        answer = answerer.answer(
            Conversation((*system, *turns, asked)),
            self.settings,
            on_text=on_text,
            should_stop=should_stop,
        )
        turns += [asked, Message("assistant", answer.text)]
        return answer


class Interrupts:
    """The first Ctrl-C asks the answer to end, the second one ends the program."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    @contextlib.contextmanager
    def watched(self) -> Generator[Interrupts]:
        """Listen while an answer is written."""
        before = signal.signal(signal.SIGINT, self._hear)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


# ---------------------------------------------------------------- one question


def _answer_once(talk: Talk, prompt: str, *, as_json: bool) -> int:
    with Interrupts().watched() as interrupts:
        if as_json:
            _write(json.dumps(_document(talk, prompt, interrupts), ensure_ascii=False, indent=2))
            _write("\n")
        elif talk.compare:
            _show_both(talk, prompt, interrupts)
        else:
            talk.ask(prompt, on_text=_write, should_stop=interrupts)
            _write("\n")
    return INTERRUPTED if interrupts.asked else 0


def _document(talk: Talk, prompt: str, interrupts: Interrupts) -> dict[str, Any]:
    """The answer for a script; with --compare the base's beside it."""

    def timed(ask: Callable[[], Answer]) -> dict[str, Any]:
        started = time.perf_counter()
        answer = ask()
        seconds = round(time.perf_counter() - started, 3)
        return {
            "answer": answer.text,
            "tokens": answer.num_tokens,
            "finish": answer.finish,
            "seconds": seconds,
        }

    document: dict[str, Any] = {"model": talk.answerer.name, "prompt": prompt}
    if talk.compare:
        document["base_model"] = talk.answerer.base_name
        document["base"] = timed(lambda: talk.ask_base(prompt, should_stop=interrupts))
    return document | timed(lambda: talk.ask(prompt, on_text=None, should_stop=interrupts))


# ---------------------------------------------------------------- a conversation


def converse(talk: Talk) -> int:
    """Question and answer until the user ends it."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # arrow keys and history in `input`
        _write(f"{talk.answerer.name}\n{HELP}\n")
    interrupted = not is_terminal
    while True:
        try:
            question = input("\n> " if is_terminal else "").strip()
            if question in ("/exit", "/quit"):
                return 0
            interrupted = _obey(talk, question) or not is_terminal
        except EOFError:
            break
        except KeyboardInterrupt:
            # An answer may have ended just before the user wanted to end it: ask twice.
            if interrupted:
                break
            interrupted = True
            _write("\nCtrl-C again ends the chat.\n")
    _write("\n" if is_terminal else "")
    return 0


def _obey(talk: Talk, line: str) -> bool:
    """One line of the user; True when its answer was interrupted, a second Ctrl-C raises."""
    if line == "/new":
        talk.forget()
    elif line == "/help":
        _write(f"{HELP}\n")
    elif line:
        return _exchange(talk, line)
    return False


def _exchange(talk: Talk, question: str) -> bool:
    from tunesmith.errors import InputError

    with Interrupts().watched() as interrupts:
        try:
            if talk.compare:
                _show_both(talk, question, interrupts)
            else:
                talk.ask(question, on_text=_write, should_stop=interrupts)
                _write("\n")
        except InputError as error:
            _write(f"{error}\n")
        except KeyboardInterrupt:
            _write("\n")
            raise SystemExit(0) from None
    return interrupts.asked


def _show_both(talk: Talk, question: str, interrupts: Interrupts) -> None:
    """Two columns, or one below the other where the terminal is narrow or there is none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    with console.status("The base model answers ..."):
        base = talk.ask_base(question, should_stop=interrupts)
    with console.status("The tuned model answers ..."):
        tuned = talk.ask(question, on_text=None, should_stop=interrupts)
    names = (f"Base: {talk.answerer.base_name}", f"Tuned: {talk.answerer.name}")
    texts = (printable(base.text), printable(tuned.text))
    if not console.is_terminal or console.width < 60:
        for name, text in zip(names, texts, strict=True):
            _write(f"{name}\n{text}\n\n")
        return
    table = Table(expand=True, show_lines=False)
    for name in names:
        table.add_column(Text(name), ratio=1, overflow="fold")
    table.add_row(*(Text(text) for text in texts))
    console.print(table)


def printable(text: str) -> str:
    """A text without control characters, which could command a terminal."""
    return "".join(
        character
        for character in text
        if character in "\n\t"
        or not (ord(character) < 32 or 127 <= ord(character) < 160 or character in _DIRECTIONS)
    )


def _write(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()

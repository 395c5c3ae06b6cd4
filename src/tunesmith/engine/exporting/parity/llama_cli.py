"""The same prompts through llama.cpp's own program, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.certificate import LlamaCli
from tunesmith.engine.exporting.parity.prompts import ANSWER_TOKENS, Prompt
from tunesmith.engine.exporting.source import Source

# Since the end of 2025 llama-cli only chats, and llama-completion goes on with a text.
PROGRAMS = ("llama-completion", "llama-cli")
ASKED = 4  # the program loads the model for each prompt
SECONDS = 300
END = "[end of text]"  # what the program says when the model stopped


def ask_llama_cli(
    source: Source, file: Path, prompts: list[Prompt], answers: list[str], narrator: Narrator
) -> LlamaCli | str | None:
    """How many greedy answers are equal; a text when it failed, None where it is not installed."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        return None
    name = Path(program).name
    chosen = prompts[:ASKED]
    equal = 0
    with narrator.step(f"Asking {name}"):
        for number, prompt in enumerate(chosen):
            try:
                said = _answer(program, file, _prompt_text(source, prompt))
            except (OSError, subprocess.SubprocessError) as error:
                return f"{name} was found, but failed: {_first_line(error)}"
            equal += said == answers[number].strip()
            narrator.tell(number + 1, len(chosen), "prompts")
    return LlamaCli(program, _version(program), len(chosen), equal)


def _prompt_text(source: Source, prompt: Prompt) -> str:
    """The text of a prompt; the program puts the token that begins texts in front by itself."""
    tokenizer = source.renderer.tokenizer
    ids = prompt.ids[1:] if prompt.ids[:1] == [tokenizer.bos_id] else prompt.ids
    return tokenizer.decode(ids)


def _answer(program: str, file: Path, prompt: str) -> str:
    words = [
        *(program, "-m", str(file), "-p", prompt, "-n", str(ANSWER_TOKENS), "--temp", "0"),
        *("--seed", "1", "-no-cnv", "--no-display-prompt", "--no-warmup"),
    ]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=SECONDS,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    return done.stdout.replace(END, "").strip()


def _version(program: str) -> str:
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    return _first_line(done.stdout + done.stderr)


def _first_line(said: object) -> str:
    if isinstance(said, subprocess.CalledProcessError) and said.stderr:
        said = str(said.stderr).strip().splitlines()[-1]
    return next(iter(str(said).strip().splitlines()), "unknown")

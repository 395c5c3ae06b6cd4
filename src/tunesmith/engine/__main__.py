"""`python -m tunesmith.engine COMMAND`: the engine as a process of its own.

The command line starts these; the words after the command are those of `tunesmith COMMAND`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tunesmith.errors import TunesmithError

# Threads that wait spin for a moment and then sleep. Spinning on makes training several
# times slower beside other work on the machine; sleeping at once costs a fifth of the speed, as the
# next product comes before a thread is awake again. OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _train(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tunesmith.engine train")
    parser.add_argument("run", type=Path, help="run directory with a recipe.yaml")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--attempt", type=int, help="number of this start; counted when not given")
    parser.add_argument("--ranks", type=int, default=1, help="processes that train together")
    options = parser.parse_args(arguments)

    def train() -> int:
        from tunesmith.runs.last_word import leaves_last_word

        with leaves_last_word(options.run, options.attempt):
            from tunesmith.engine.session import main

            return main(options.run, options.resume, options.attempt)

    if options.ranks == 1:
        return train()
    from tunesmith.engine.group import train_together

    return train_together(options.ranks, lambda: _in_words(train))


def _standby(_: list[str]) -> int:
    """Import everything, then wait for the order on standard input."""
    import importlib

    from tunesmith.runs.launch import await_order

    importlib.import_module("tunesmith.engine.session")
    order = await_order()
    return 0 if order is None else run(order)


def _nursery(_: list[str]) -> int:
    from tunesmith.engine.nursery import main

    return main(run)


def _plan(arguments: list[str]) -> int:
    from tunesmith.engine.plan import main

    return main(arguments)


def _doctor(arguments: list[str]) -> int:
    from tunesmith.engine.doctor import main

    return main(arguments)


def _chat(arguments: list[str]) -> int:
    from tunesmith.engine.chat import main

    return main(arguments)


def _answer(arguments: list[str]) -> int:
    from tunesmith.engine.answer import main

    return main(arguments)


def _score(arguments: list[str]) -> int:
    from tunesmith.engine.score import main

    return main(arguments)


def _pairs(arguments: list[str]) -> int:
    from tunesmith.engine.pairs import main

    return main(arguments)


def _embed(arguments: list[str]) -> int:
    from tunesmith.engine.embed import main

    return main(arguments)


def _export(arguments: list[str]) -> int:
    from tunesmith.engine.exporting.command import main

    return main(arguments)


def _tokenizer(arguments: list[str]) -> int:
    from tunesmith.engine.tokenizer_files import main

    return main(arguments)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "standby": _standby,
    "nursery": _nursery,
    "plan": _plan,
    "doctor": _doctor,
    "chat": _chat,
    "answer": _answer,
    "score": _score,
    "pairs": _pairs,
    "embed": _embed,
    "export": _export,
    "tokenizer": _tokenizer,
}


def run(arguments: list[str]) -> int:
    """One command; returns its exit code. Errors are one screen on standard error."""
    if not arguments or arguments[0] not in COMMANDS:
        sys.stderr.write(f"usage: python -m tunesmith.engine {{{'|'.join(COMMANDS)}}} ...\n")
        return 2
    return _in_words(lambda: COMMANDS[arguments[0]](arguments[1:]))


def _in_words(command: Callable[[], int]) -> int:
    try:
        return command()
    except TunesmithError as error:
        if os.environ.get("TUNESMITH_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"Error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        return error.exit_code


if __name__ == "__main__":
    code = run(sys.argv[1:])
    # Only leaving remains: a Ctrl-C that comes a moment too late must not make it a failure.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)

"""The command line of a served model."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import InputError

PORT = 8500


@dataclass(frozen=True)
class Options:
    """What to serve, where, and how much at once."""

    base: str
    adapters: tuple[tuple[str, str], ...] = ()
    host: str = "127.0.0.1"
    port: int = PORT
    name: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_concurrent: int = 32
    queue: int = 256
    engine: str = "tunesmith"
    key_file: Path | None = None
    ready_file: Path | None = None
    context: int | None = None
    cache_gb: float | None = None
    grace: float = 30.0
    parent: int | None = None
    verbose: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_options(arguments: Sequence[str]) -> Options:
    """Read and check the words behind `python -m tunesmith.serving`."""
    given = vars(_parser().parse_args(arguments))
    adapters = tuple(_adapter(word) for word in given.pop("adapter") or ())
    options = Options(adapters=adapters, **given)
    names = [name for name, _ in adapters]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"--adapter names {', '.join(sorted(twice))} twice.")
    if not options.is_local and options.key_file is None:
        raise InputError(
            f"On {options.host} anybody could use the model and load adapters.",
            hint="Put a key into a file and add --key-file FILE, or leave out --host.",
            code="key_needed",
        )
    return options


def _adapter(word: str) -> tuple[str, str]:
    name, sign, path = word.partition("=")
    if not sign or not name or not path:
        raise InputError(
            f"--adapter {word!r} is not NAME=DIR.", hint="Such as --adapter support=runs/first."
        )
    return name, path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tunesmith serve-model")
    parser.add_argument("base")
    parser.add_argument("--adapter", action="append", metavar="NAME=DIR")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_whole(0, 65535), default=PORT)
    parser.add_argument("--name")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--max-concurrent", type=_whole(1, 1024), default=32)
    parser.add_argument("--queue", type=_whole(0, 100_000), default=256)
    parser.add_argument("--engine", choices=("tunesmith", "vllm"), default="tunesmith")
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--context", type=_whole(1, 1 << 30))
    parser.add_argument("--cache-gb", type=float)
    parser.add_argument("--grace", type=float, default=30.0)
    parser.add_argument("--parent", type=int)  # ends with this process, which has started it
    parser.add_argument("--verbose", action="store_true")
    return parser


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not from {low} to {high}")
        return value

    read.__name__ = "whole number"
    return read

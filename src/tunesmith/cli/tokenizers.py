"""The renderer of a model for commands that run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from tunesmith.errors import ModelError

if TYPE_CHECKING:
    from tunesmith.data.renderer import Renderer


def renderer_of(base: str) -> Renderer:
    """A renderer with a base model's tokenizer and chat template."""
    from tunesmith.data.renderer import Renderer
    from tunesmith.data.tokenizer import TextTokenizer

    return Renderer(TextTokenizer.load(_tokenizer_folder(base)))


def _tokenizer_folder(base: str) -> Path:
    if base == "starter":
        from tunesmith.starter import starter_directory

        return starter_directory()
    local = Path(base).expanduser()
    if (local / "tokenizer.json").is_file():
        return local
    from tunesmith.cli.engine import run_engine

    done = run_engine("tokenizer", base, capture=True)
    if done.returncode:
        message, _, hint = done.stderr.strip().removeprefix("Error: ").partition("\n")
        raise ModelError(message, hint=hint)
    return Path(orjson.loads(done.stdout.strip().splitlines()[-1])["directory"])

"""Models for previews, statistics and scores. Tokenizers are read here, weights by the engine."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

import orjson

from tunesmith.data.renderer import Renderer
from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.errors import ModelError
from tunesmith.models.presets import STARTER
from tunesmith.runs.launch import engine_command, engine_environment
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.services.models.finding import find, folder_of, is_hub_id, no_model
from tunesmith.starter import starter_directory

_SECONDS: Final = 120  # to fetch a tokenizer from a hub
_TOKENIZER: Final = "tokenizer.json"


def renderer_of(
    database: Database, place: DataDir, caller: Caller, name: str, *, hub: bool
) -> Renderer:
    """The renderer of a model by id or name. `hub`: other names may be ids of a hub."""
    folder = _folder(database, place, caller, name, hub=hub)
    return _loaded(folder, (folder / _TOKENIZER).stat().st_mtime_ns)


@lru_cache(4)
def _loaded(folder: Path, changed: int) -> Renderer:
    _ = changed  # a tokenizer that was replaced is another one
    return Renderer(TextTokenizer.load(folder))


def _folder(database: Database, place: DataDir, caller: Caller, name: str, *, hub: bool) -> Path:
    """Where the tokenizer lies; an adapter has that of its base."""
    for _ in range(8):
        if name == STARTER:
            return starter_directory()
        with database.read() as session:
            model = find(session, caller, name)
            folder = folder_of(session, place, model) if model is not None else None
        if model is None or folder is None:
            break
        if (folder / _TOKENIZER).is_file():
            return folder
        name = model.base
    if not hub or not is_hub_id(name):
        raise no_model(name)
    return _from_hub(name)


def engine_target(
    database: Database, place: DataDir, caller: Caller, name: str, project_id: str, *, hub: bool
) -> str:
    """What the engine is given for a model by id or name: a folder, `starter`, an id of a hub."""
    if name == STARTER:
        return name
    with database.read() as session:
        model = find(session, caller, name, project_id)
        folder = folder_of(session, place, model) if model is not None else None
    if model is not None:
        if folder is not None and folder.is_dir():
            return str(folder)
        name = model.base
    if not hub or not is_hub_id(name):
        raise no_model(name)
    return name


def _from_hub(name: str) -> Path:
    """The engine downloads tokenizers, and remembers them."""
    try:
        done = subprocess.run(
            engine_command("tokenizer", name),
            env=engine_environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"The tokenizer of {name} did not come within {_SECONDS} seconds.",
            hint="Import the model first, or try again when the hub is reachable.",
            code="tokenizer_not_found",
            form="late",
            name=name,
            seconds=_SECONDS,
        ) from None
    if done.returncode:
        message, _, hint = done.stderr.strip().removeprefix("Error: ").partition("\n")
        raise ModelError(message[-2000:], hint=hint[-2000:], code="tokenizer_not_found", name=name)
    return Path(orjson.loads(done.stdout.strip().splitlines()[-1])["directory"])

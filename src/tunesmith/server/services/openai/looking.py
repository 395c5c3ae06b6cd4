"""What can be known of a request before a job is made of it. Read `look_up` first.

Its fields, its model and its files are looked up; `sized` then counts the rows of its file and
decides every "auto", as the validation will.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.recipe.load import Loaded
from tunesmith.schemas.openai.jobs import JobCreate
from tunesmith.server import clock
from tunesmith.server.access import Caller, Role
from tunesmith.server.errors import NotFound
from tunesmith.server.flavours import Flavour
from tunesmith.server.platform import Platform
from tunesmith.server.services import recipes
from tunesmith.server.services.files import present_file
from tunesmith.server.services.models.grounds import advised
from tunesmith.server.services.openai.auto import Numbers, Recommended, decide
from tunesmith.server.services.openai.draft import asked_numbers, recipe_of
from tunesmith.server.services.openai.named import Start, start_of
from tunesmith.server.services.recipes import ComesTo
from tunesmith.server.services.submission import Source, trackers_missing
from tunesmith.server.tables import File

_LARGEST_SEED: Final = 2**31 - 1
_LOOKED_AT: Final = 32 << 20  # bytes; the rest of a larger file is taken to be like them


@dataclass(frozen=True)
class Looked:
    """A request with everything looked up that does not need the rows."""

    project_id: str
    start: Start
    loaded: Loaded
    seed: int
    flavour: Flavour | None
    num_devices: int


@dataclass(frozen=True)
class Sized:
    """What the request comes to with the rows of its file."""

    loaded: Loaded
    source: Source
    numbers: Numbers
    comes_to: ComesTo


def look_up(platform: Platform, caller: Caller, body: JobCreate) -> Looked:
    """Everything about a request that can be wrong before its files are read."""
    _refuse_numbers_twice(body)
    seed = secrets.randbelow(_LARGEST_SEED + 1) if body.seed is None else body.seed
    with platform.database.read() as session:
        moment = clock.read(session)
        project_id = _file(session, caller, body.training_file, "training_file").project_id
        caller.require(project_id, Role.MEMBER)
        if body.validation_file is not None:
            held = _file(session, caller, body.validation_file, "validation_file")
            _refuse_other_project(held, project_id)
        start = start_of(session, caller, body.model, project_id, platform.settings)
        loaded = recipe_of(
            body,
            base=start.name,
            seed=seed,
            train=body.training_file,
            validation=body.validation_file,
            advised=advised(session, caller, project_id),
        )
        recipes.refuse(
            [
                *recipes.refusals(loaded.recipe, platform.settings),
                *trackers_missing(session, loaded.recipe, platform.settings),
            ]
        )
        flavour = platform.jobs.flavours.choose(session, moment, body.flavour, body.num_devices)
    num_devices = flavour.num_devices if flavour is not None else body.num_devices or 1
    return Looked(project_id, start, loaded, seed, flavour, num_devices)


def sized(platform: Platform, caller: Caller, body: JobCreate, found: Looked) -> Sized:
    """The rows of the training file are counted; nothing is imported."""
    file, path = platform.files.content(caller, body.training_file)
    rows = count_rows(path, file.bytes)
    advice = platform.advice.defaults(
        caller,
        found.start.name,
        rows=rows,
        profile=found.loaded.recipe.profile,
        project_id=found.project_id,
    )
    recommended = Recommended.of(advice.values, body.kind)
    numbers = decide(asked_numbers(body), rows, recommended)
    with platform.database.read() as session:
        loaded = recipe_of(
            body,
            base=found.start.name,
            seed=found.seed,
            train=body.training_file,
            validation=body.validation_file,
            numbers=numbers,
            recommended_rate=recommended.learning_rate,
            rows=rows,
            advised=advised(session, caller, found.project_id),
        )
    source = Source("data.train.0.dataset", "train", file.id, rows=rows, bytes=file.bytes)
    return Sized(loaded, source, numbers, recipes.comes_to(loaded.recipe, rows, found.num_devices))


def count_rows(path: Path, size: int) -> int:
    """Lines with something in them; of a large file from its beginning."""
    rows = seen = 0
    with path.open("rb") as file:
        for line in file:
            rows += bool(line.strip())
            seen += len(line)
            if seen >= _LOOKED_AT:
                return round(rows * size / seen)
    return rows


def _refuse_numbers_twice(body: JobCreate) -> None:
    if body.method is not None and body.hyperparameters is not None:
        raise InputError(
            "hyperparameters stands beside method; nothing was submitted.",
            hint=f"Write them in method.{body.kind}.hyperparameters alone.",
            method=body.kind,
            code="hyperparameters_given_twice",
            param="hyperparameters",
        )


def _file(session: Session, caller: Caller, file_id: str, field: str) -> File:
    """A file that the caller may read and that was sent for this."""
    try:
        file = present_file(session, caller, file_id)
    except NotFound as error:
        raise InputError(
            error.message, hint="Upload it first.", code="file_not_found", param=field, id=file_id
        ) from error
    if file.purpose != "fine-tune":
        raise InputError(
            f"File {file_id} was sent for {file.purpose}, not for fine-tune.",
            hint="Send it again with the purpose fine-tune.",
            code="wrong_purpose",
            param=field,
            id=file_id,
            purpose=file.purpose,
        )
    return file


def _refuse_other_project(file: File, project_id: str) -> None:
    if file.project_id != project_id:
        raise InputError(
            "The two files belong to different projects; nothing was submitted.",
            hint="Send the validation file again, to the project of the training file.",
            code="file_of_other_project",
            param="validation_file",
            id=file.id,
        )

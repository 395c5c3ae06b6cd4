"""The run directory of a claimed job: its recipe with every name resolved to what lies on the disk.

    data          NAME@N of the data directory, builtin:NAME
    model.base    starter, a hub id, or model-... of the registry
    continue_from model-... of the registry, and so each of merge_first

A recipe in the database never holds a path of a client; one that does is refused here as well.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sqlalchemy.orm import Session

from tunesmith.data.names import is_builtin
from tunesmith.data.store import Catalog
from tunesmith.errors import DataError, ModelError
from tunesmith.recipe import (
    Grpo,
    NamedTest,
    NamedValidation,
    Recipe,
    Stage,
    dump_recipe,
    parse_recipe,
)
from tunesmith.recipe.adapters import names_in
from tunesmith.recipe.rewards import ModelReward
from tunesmith.runs import RunDir
from tunesmith.server import ids
from tunesmith.server.claims import Claim
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.tables import Checkpoint, Job, Model

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def prepare(database: Database, place: DataDir, claimed: Claim) -> RunDir:
    """The run of a job, made at its first attempt; errors say what is missing of what it needs."""
    run = RunDir(place.run(claimed.job_id))
    recipe = resolve_names(database, place, claimed)
    if run.recipe_path.is_file():
        return run
    if run.path.exists():  # the first attempt died while it made the folders
        shutil.rmtree(run.path)
    return RunDir.create(run.path, dump_recipe(recipe), recipe_name=recipe.name)


def resolve_names(database: Database, place: DataDir, claimed: Claim) -> Recipe:
    """The recipe of a job with models as folders; ModelError or DataError where one is gone."""
    with database.read() as session:
        recipe = with_folders(session, place, parse_recipe(claimed.recipe))
        branched = _branched_from(session, place, claimed.job_id)
    if branched is None:
        return recipe
    model, adapter = recipe.model, recipe.adapter
    # An adapter with tokens of its own is not gone on with: its whole model is the next base.
    goes_on = adapter.kind == "lora" and not model.new_words
    if goes_on and (branched / "adapter").is_dir():
        # Its checkpoint holds those that were merged first, too.
        changes = {"continue_from": str(branched), "merge_first": []}
        adapter = adapter.model_copy(update=changes)
    else:
        model = model.model_copy(update={"base": str(branched)})
    return recipe.model_copy(update={"model": model, "adapter": adapter})


def with_folders(session: Session, place: DataDir, recipe: Recipe) -> Recipe:
    """A recipe with the folders of its models; ModelError or DataError where one is gone."""
    _refuse_missing_data(place, recipe)
    model, adapter = recipe.model, recipe.adapter
    model = model.model_copy(update={"base": _model(session, place, model.base)})
    if adapter.kind == "lora" and adapter.continue_from:
        found = _model(session, place, adapter.continue_from)
        adapter = adapter.model_copy(update={"continue_from": found})
    if adapter.kind == "lora" and adapter.merge_first:
        below = [_model(session, place, name) for name in names_in(adapter.merge_first)]
        adapter = adapter.model_copy(update={"merge_first": below})
    stage = _with_reward_models(session, place, recipe)
    return recipe.model_copy(update={"model": model, "adapter": adapter, "stage": stage})


def _with_reward_models(session: Session, place: DataDir, recipe: Recipe) -> Stage:
    """The stage with the folders of its reward models."""
    stage = recipe.stage
    if not isinstance(stage, Grpo):
        return stage
    rewards = [
        reward.model_copy(update={"model": _model(session, place, reward.model)})
        if isinstance(reward, ModelReward)
        else reward
        for reward in stage.rewards
    ]
    return stage.model_copy(update={"rewards": rewards})


def model_folder(session: Session, place: DataDir, model: Model) -> Path | None:
    """Where a model of the registry lies; None for one that only its hub has."""
    if model.checkpoint_id is not None:
        checkpoint = session.get_one(Checkpoint, model.checkpoint_id)
        return place.checkpoint(checkpoint.job_id, checkpoint.step)
    if model.job_id is not None:
        return place.run(model.job_id) / "artifacts"
    imported = place.model(model.id)
    return imported if model.source == "folder" or imported.is_dir() else None


def _branched_from(session: Session, place: DataDir, job_id: str) -> Path | None:
    """The checkpoint that a job goes on from, if it does."""
    job = session.get_one(Job, job_id)
    if job.checkpoint_id is None:
        return None
    found = session.get(Checkpoint, job.checkpoint_id)
    if found is None or found.deleted_at is not None:
        raise _gone(f"Checkpoint {job.checkpoint_id}, which this job goes on from,")
    return existing(place.checkpoint(found.job_id, found.step), f"Checkpoint {found.id}")


def existing(path: Path, what: str) -> Path:
    """The folder, unless it is gone."""
    if not path.is_dir():
        raise _gone(what)
    return path


def _model(session: Session, place: DataDir, name: str) -> str:
    """A name of the recipe as the engine takes it."""
    if not name.startswith(ids.MODEL):
        if not _HUB_ID.fullmatch(name) or ".." in name:
            raise ModelError(
                f"{name!r} is no model of this installation and no model id of a hub.",
                hint="Import the folder as a model, then use its id.",
                code="model_not_found",
            )
        return name
    model = session.get(Model, name)
    if model is None or model.deleted_at is not None:
        raise _gone(f"Model {name}")
    folder = model_folder(session, place, model)
    return model.base if folder is None else str(existing(folder, f"Model {model.name}"))


def _refuse_missing_data(place: DataDir, recipe: Recipe) -> None:
    catalog = Catalog(place.root)
    for name in dataset_names(recipe):
        if is_builtin(name):
            continue
        try:
            catalog.open(name)
        except DataError as error:
            raise DataError(
                f"The dataset {name} that this job needs is gone: {error.message}",
                hint="Submit the job again with a dataset that is there.",
                code="dataset_not_found",
                dataset=name,
            ) from error


def dataset_names(recipe: Recipe) -> list[str]:
    """All datasets that a recipe names."""
    held_out = (recipe.data.validation, recipe.data.test)
    return [
        *(source.dataset for source in recipe.data.train),
        *(part.dataset for part in held_out if isinstance(part, NamedTest | NamedValidation)),
    ]


def _gone(what: str) -> ModelError:
    return ModelError(
        f"{what} is gone; the job did not start.",
        hint="Submit the job again with a model that is there.",
        code="model_not_found",
    )

"""From a draft of a client to a job: names become ids; all that is wrong is told at once.

names    data.*.dataset   ds-..., dsv-..., NAME, NAME@2   -> FOLDER@N, as the worker reads it
         model.base       model-..., name of a model      -> model-..., else an id of a hub
         continue_from    model-..., name of a result     -> model-...
rows     fewer than the setting least_rows are refused, unless data.allow_small says so
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

import orjson
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from tunesmith.data.names import (
    BUILTIN,
    BUILTIN_DATASETS,
    VERSION_MANIFEST,
    is_builtin,
    parse_reference,
)
from tunesmith.errors import DataError, RecipeError, TunesmithError
from tunesmith.models.presets import STARTER
from tunesmith.recipe import Notice, Problem, Recipe, data_notices, parse_recipe
from tunesmith.recipe.adapters import names_in
from tunesmith.recipe.load import Loaded
from tunesmith.recipe.problems import problem
from tunesmith.recipe.rewards import ModelReward
from tunesmith.recipe.stages import Grpo
from tunesmith.recipe.trackers import missing_trackers
from tunesmith.recipe.words import Words, guess, listed
from tunesmith.server import ids
from tunesmith.server.access import Caller
from tunesmith.server.datadir import DataDir
from tunesmith.server.services import recipes
from tunesmith.server.services.models import resolve_base
from tunesmith.server.services.models.finding import find as find_model
from tunesmith.server.services.models.grounds import (
    attends_beside,
    folders,
    ground,
    ground_of,
    holds_vectors,
)
from tunesmith.server.services.of_base import notices_of_base, problems_of_base
from tunesmith.server.services.overruled import as_told_here, overruled
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Dataset, DatasetVersion, Job, Model, Worker

_KNOWN_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """A dataset of a job, found."""

    path: str
    role: str  # train, validation, test
    reference: str  # as the worker reads it: FOLDER@N, builtin:NAME
    version_id: str | None = None
    rows: int | None = None
    bytes: int = 0
    times: float = 1.0  # sampling rate

    @property
    def is_stored(self) -> bool:
        """Whether its rows can be read by its reference, as a version or from the package."""
        return self.version_id is not None or is_builtin(self.reference)


@dataclass
class Resolved:
    """A recipe whose names are looked up. `problems` lists every name that was not found."""

    recipe: Recipe
    sources: list[Source] = field(default_factory=list[Source])
    base: Model | None = None
    base_reference: str = ""  # as the worker reads it: starter, an id of a hub, model-...
    problems: list[Problem] = field(default_factory=list[Problem])
    notices: list[Notice] = field(default_factory=list[Notice])

    @property
    def rows(self) -> int | None:
        """Rows to train on before anything is held out; None where they are not known."""
        if any(each.path.startswith("data.train.") for each in self.problems):
            return None
        found = [each.rows for each in self.sources if each.role == "train"]
        return sum(rows for rows in found if rows is not None) if None not in found else None

    @property
    def versions(self) -> list[tuple[str, str]]:
        """(id of a version, role) of each, once."""
        pairs = ((each.version_id, each.role) for each in self.sources)
        return list(dict.fromkeys((version, role) for version, role in pairs if version))

    @property
    def base_name(self) -> str:
        return self.base.name if self.base is not None else self.recipe.model.base

    def refuse(self) -> None:
        """RecipeError with everything that was not found."""
        recipes.refuse(self.problems)


def overrides(changes: Mapping[str, Any]) -> list[str]:
    """Fields of a draft beside its recipe, as what wins over it: {"name": "x"} -> name="x"."""
    return [f"{path}={orjson.dumps(value).decode()}" for path, value in changes.items()]


def resolve(
    session: Session,
    caller: Caller,
    project_id: str,
    loaded: Loaded,
    settings: Settings,
) -> Resolved:
    """Look every name up, in the project and among what everybody may use.

    The problems of a recipe that was only examined come first; what they name is not looked up.
    """
    recipe = loaded.recipe
    found = Resolved(recipe, notices=as_told_here(loaded.notices))
    refusals = [
        *recipes.refusals(recipe, settings), *trackers_missing(session, recipe, settings)
    ]  # fmt: skip
    refusals = [each for each in refusals if not loaded.refused(each.path)]
    found.problems += [*loaded.problems, *refusals]
    refused = {each.path for each in found.problems}
    for path, name in recipes.dataset_names(recipe):
        if path not in refused and not loaded.refused(path):
            _take_dataset(session, project_id, found, path, name, DataDir(settings.data_dir))
    _check_general(session, project_id, found)
    if "model.base" not in refused and _take_base(session, caller, project_id, found, settings):
        _check_base(session, found, loaded, settings)
    adapters = {
        **_continued(session, caller, found, refused),
        **_merged_first(session, caller, found, refused),
    }
    rewards = _reward_models(session, caller, found)
    if loaded.problems:
        return found
    is_here = found.base is not None or found.base_reference == STARTER
    changes, told = overruled(recipe, knows_base=is_here)
    found.notices += told
    found.recipe = _with_names(found, {**changes, **rewards, **adapters})
    _check_rows(found, settings.least_rows)
    if recipe.training.learning_rate <= loaded.suited.get("training.learning_rate", 0.0):
        found.notices = [each for each in found.notices if each.code != "high_rate_small_data"]
    return found


def trackers_missing(session: Session, recipe: Recipe, settings: Settings) -> list[Problem]:
    """Trackers that no worker can have, as all share the Python of this server.

    What workers on other machines have is not known here: there the engine says it at its start.
    """
    missing = list(missing_trackers(recipe))
    if not missing or settings.engine_command:
        return []
    hosts = set(session.scalars(select(Worker.host)))
    return missing if hosts == {os.uname().nodename} else []


def _check_general(session: Session, project_id: str, found: Resolved) -> None:
    """General questions of one's own have to be a dataset here; an evaluation reads them later."""
    name = found.recipe.gate.own_general
    if name and find_version(session, project_id, name) is None:
        found.problems.append(_not_here(session, project_id, "gate.general", name))


def _take_dataset(
    session: Session, project_id: str, found: Resolved, path: str, name: str, place: DataDir
) -> None:
    role = path.split(".")[1]
    times = 1.0
    if role == "train":
        times = found.recipe.data.train[int(path.split(".")[2])].sampling_rate
    if is_builtin(name):
        rows = _builtin_rows(name)
        if rows is None:
            known = listed(f"{BUILTIN}{each}" for each in BUILTIN_DATASETS)
            found.problems.append(problem("no_such_builtin", path, name=name, known=known))
        else:
            found.sources.append(Source(path, role, name, None, rows, times=times))
        return
    row = find_version(session, project_id, name)
    if row is None:
        found.problems.append(_not_here(session, project_id, path, name))
        return
    dataset, version = row
    reference = f"{dataset.folder}@{version.number}"
    if not (place.dataset_version(dataset.folder, version.number) / VERSION_MANIFEST).is_file():
        told = problem("dataset_files_gone", path, name=name, version=version.number)
        found.problems.append(told)
        return
    found.sources.append(
        Source(path, role, reference, version.id, version.rows, version.bytes, times)
    )


def find_version(
    session: Session, project_id: str, name: str
) -> tuple[Dataset, DatasetVersion] | None:
    """The version that a name or an id means: the newest one where none is named."""
    query = (
        select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(
            Dataset.project_id == project_id,
            Dataset.deleted_at.is_(None),
            DatasetVersion.deleted_at.is_(None),
        )
        .order_by(DatasetVersion.number.desc())
        .limit(1)
    )
    if name.startswith(ids.DATASET_VERSION):
        query = query.where(DatasetVersion.id == name)
    elif name.startswith(ids.DATASET) and "@" not in name:
        query = query.where(or_(Dataset.id == name, Dataset.name == name))
    else:
        reference = parse_reference(name)
        if reference is None:
            return None
        query = query.where(or_(Dataset.name == reference.name, Dataset.id == reference.name))
        if reference.version is not None:
            query = query.where(DatasetVersion.number == reference.version)
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def _not_here(session: Session, project_id: str, path: str, name: str) -> Problem:
    hint = _near(session, project_id, name)
    return problem("dataset_not_here", path, name=name, hint=hint)


def _near(session: Session, project_id: str, name: str) -> Words:
    names = session.scalars(
        select(Dataset.name)
        .where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
        .limit(1000)
    ).all()
    near = get_close_matches(name.partition("@")[0], names, n=1, cutoff=0.6)
    if near:
        return guess(near)
    some = listed(sorted(names)[:_KNOWN_SHOWN])
    if names:
        return {"en": f"Datasets here: {some['en']}.", "zh": f"项目中的数据集：{some['zh']}。"}
    return {"en": "Upload the data as a dataset first.", "zh": "请先上传数据，建立数据集。"}


@cache
def _builtin_rows(name: str) -> int | None:
    """Rows of a dataset that ships with the package; None where there is no such one."""
    # It opens versions too, with pyarrow, which a server loads only when somebody needs it.
    from tunesmith.data.resolve import resolve_dataset

    try:
        path = resolve_dataset(name, base_dir=_nowhere())
    except DataError:
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _nowhere() -> Any:
    from pathlib import Path

    return Path()


def _take_base(
    session: Session, caller: Caller, project_id: str, found: Resolved, settings: Settings
) -> bool:
    """Whether there is such a base."""
    name = found.recipe.model.base
    try:
        base = resolve_base(session, caller, name, project_id, hub_downloads=settings.hub_downloads)
    except TunesmithError as error:
        found.problems.append(_of_error("model.base", error))
        return False
    found.base, found.base_reference = base.model, base.name
    return True


def _check_base(session: Session, found: Resolved, loaded: Loaded, settings: Settings) -> None:
    """What the weights of the base cannot be asked for, where the recipe is right in itself."""
    if found.base is not None and (holds_vectors(found.base) or attends_beside(found.base)):
        found.problems.append(problem("base_of_vectors", "model.base", below=found.base.base))
    place, name = DataDir(settings.data_dir), found.base_reference
    rests_on = ground_of(name) if found.base is None else ground(session, found.base)
    below = folders(session, place, found.base, name)
    found.problems += [
        each
        for each in problems_of_base(found.recipe, rests_on, below)
        if not loaded.refused(each.path)
    ]
    found.notices += notices_of_base(found.recipe, rests_on)


def _of_error(path: str, error: TunesmithError) -> Problem:
    """An error as a problem; a sentence behind a colon begins small: "there is no ..."."""
    message = error.message
    if message.startswith("There"):
        message = message[:1].lower() + message[1:]
    return Problem(path, message, error.hint, code=error.code, values=error.details)


def _continued(
    session: Session, caller: Caller, found: Resolved, refused: set[str]
) -> dict[str, Any]:
    """adapter.continue_from with the id of the model that it names."""
    adapter, path = found.recipe.adapter, "adapter.continue_from"
    if adapter.kind != "lora" or not adapter.continue_from or path in refused:
        return {}
    known = _adapter_id(session, caller, found, path, adapter.continue_from)
    return {} if known is None else {path: known}


def _merged_first(
    session: Session, caller: Caller, found: Resolved, refused: set[str]
) -> dict[str, Any]:
    """adapter.merge_first with the ids of the models that it names."""
    adapter, path = found.recipe.adapter, "adapter.merge_first"
    if adapter.kind != "lora" or not adapter.merge_first or path in refused:
        return {}
    names = names_in(adapter.merge_first)
    known = [_adapter_id(session, caller, found, path, name) for name in names]
    return {} if None in known else {path: known}


def _adapter_id(
    session: Session, caller: Caller, found: Resolved, path: str, name: str
) -> str | None:
    model = find_model(session, caller, name)
    if model is None or model.kind != "adapter":
        found.problems.append(problem("no_such_adapter", path, name=name))
        return None
    return model.id


def _reward_models(session: Session, caller: Caller, found: Resolved) -> dict[str, Any]:
    """The rewards with the ids of their models, by the path of the field; empty without models."""
    stage = found.recipe.stage
    rewards = stage.rewards if isinstance(stage, Grpo) else []
    if not any(isinstance(reward, ModelReward) for reward in rewards):
        return {}
    told = [reward.model_dump(mode="json") for reward in rewards]
    for reward in told:
        if reward["kind"] != "model":
            continue
        model = find_model(session, caller, reward["model"])
        if model is None:
            name = reward["model"]
            found.problems.append(problem("no_such_reward_model", "stage.rewards", name=name))
            continue
        reward["model"] = model.id
    return {"stage.rewards": told}


def _with_names(found: Resolved, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with what was found in place of what was written; the rest stays as it is."""
    tree = found.recipe.model_dump(mode="json")
    values = {source.path: source.reference for source in found.sources} | dict(changes)
    if found.base_reference:
        values["model.base"] = found.base_reference
    for path, value in values.items():
        *parents, leaf = path.split(".")
        place: Any = tree
        for part in parents:
            place = place[int(part)] if part.isdigit() else place[part]
        place[leaf] = value
    try:
        return parse_recipe(tree)
    except RecipeError as error:  # two names that mean one dataset
        found.problems += recipes.problems_of(error)
        return found.recipe


def _check_rows(found: Resolved, least_rows: int) -> None:
    rows = found.rows
    if rows is None:
        return
    if rows < least_rows and not found.recipe.data.allow_small and not found.problems:
        found.problems.append(problem("too_few_rows", "data.train", rows=rows, least=least_rows))
    found.notices += data_notices(found.recipe, rows=rows)


def with_ids(session: Session, job: Job) -> dict[str, Any]:
    """The recipe of a job with ids of dataset versions in place of the worker's references."""
    tree: dict[str, Any] = parse_recipe(job.recipe).model_dump(mode="json")
    data = tree["data"]
    for place in (*data["train"], data["validation"], data["test"]):
        if "dataset" in place:
            place["dataset"] = _version_id(session, place["dataset"]) or place["dataset"]
    return tree


def _version_id(session: Session, name: str) -> str | None:
    reference = parse_reference(name)
    if reference is None or reference.version is None:
        return None
    return session.scalar(
        select(DatasetVersion.id)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(Dataset.folder == reference.name, DatasetVersion.number == reference.version)
    )


def notices_once(notices: Sequence[Notice]) -> list[Notice]:
    """The first of each code and field."""
    once = {(each.code, each.path): each for each in reversed(notices)}
    return list(reversed(once.values()))

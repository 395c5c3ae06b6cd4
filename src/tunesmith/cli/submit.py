"""From a recipe file and overrides to a run directory that stands on its own.

The recipe of a run names absolute paths, so the run means the same from any directory.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from tunesmith.cli.terminal import command_line, short_path
from tunesmith.data.resolve import find_version, is_builtin, resolve_dataset
from tunesmith.data.store import parse_reference
from tunesmith.errors import DataError, ModelError, RunDirError, TunesmithError
from tunesmith.models.presets import own_defaults
from tunesmith.recipe import Loaded, Notice, Problem, Recipe, load_recipe, parse_recipe
from tunesmith.recipe.adapters import as_list, names_in
from tunesmith.recipe.document import dump_yaml
from tunesmith.recipe.load import examine
from tunesmith.recipe.problems import refuse
from tunesmith.runs import RunDir, checkpoints, living_holder, write_atomically

Missing = dict[str, TunesmithError]  # by the field of the recipe that names it
_FROM, _WITH = "# Submitted from ", "# with "  # at the head of a run's recipe


@dataclass(frozen=True)
class Submission:
    """A recipe as asked for, the YAML text that alone asks for the same, and what to know of it."""

    recipe: Recipe
    text: str
    notices: tuple[Notice, ...]


def read_submission(path: Path, overrides: Sequence[str]) -> Submission:
    """Load a recipe with its overrides, and make its paths absolute.

    What is wrong in it and what it names in vain are told together.
    """
    loaded = examine(path, overrides, advised=own_defaults)
    origin = path.expanduser().absolute()
    # What was set by file, override, profile, model or preset; the rest are defaults.
    asked = loaded.recipe.model_dump(mode="json", exclude_unset=True)
    refuse_all(str(path), loaded, _resolve_paths(asked, origin.parent))
    header = [f"{_FROM}{origin}", *(f"{_WITH}{override}" for override in overrides)]
    text = "\n".join([*header, dump_yaml(asked)])
    return Submission(parse_recipe(asked), text, loaded.notices)


def refuse_all(source: str, loaded: Loaded, missing: Missing) -> None:
    """An error for what is wrong in a recipe and for the names in it that mean nothing here."""
    missing = {place: error for place, error in missing.items() if not loaded.refused(place)}
    if not loaded.problems and len(missing) == 1:
        raise next(iter(missing.values()))
    found = [_as_problem(place, error) for place, error in missing.items()]
    if loaded.problems or found:
        raise refuse(source, [*loaded.problems, *found])


def _as_problem(place: str, error: TunesmithError) -> Problem:
    message = error.message.removeprefix(f"{place}: ")
    return Problem(place, message, error.hint, code=error.code, values=error.details)


def create_run(directory: Path | None, submission: Submission) -> RunDir:
    """A new run directory; without a name it is called after the recipe and the time."""
    name = submission.recipe.name
    return RunDir.create(directory or default_directory(name), submission.text, recipe_name=name)


def default_directory(name: str) -> Path:
    """`runs/<name>-<time>`, with a number behind it when two start in the same second."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "run"
    stem = f"{safe[:60]}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())


def submitted_as(run: RunDir) -> list[str]:
    """The recipe file and the overrides that a run was made of; empty where it does not say."""
    lines = run.recipe_path.read_text(encoding="utf-8").splitlines()
    head = list(takewhile(lambda line: line.startswith("#"), lines))
    files = [line.removeprefix(_FROM) for line in head if line.startswith(_FROM)]
    words = [line.removeprefix(_WITH) for line in head if line.startswith(_WITH)]
    return [str(short_path(Path(file))) for file in files[:1]] + (words if files else [])


def reopen_run(directory: Path, submission: Submission | None) -> RunDir:
    """An existing run to go on with. It keeps its recipe; one that never began may get another."""
    run = RunDir.open(directory)
    holder = living_holder(run)
    if holder is not None:
        raise RunDirError(
            f"{run.path} is being trained by process {holder.pid} (attempt {holder.attempt}).",
            hint="Wait for it to end, or end that process; SIGTERM makes it save a checkpoint.",
            code="run_in_use",
        )
    if submission is None:
        return run
    recipe = submission.recipe
    before = load_recipe(run.recipe_path)
    if before == recipe:
        return run
    if checkpoints(run):
        raise RunDirError(
            f"{run.path} was started with another recipe: {_difference(before, recipe)}.",
            hint="A run ends with the recipe it began with. Go on with\n"
            f"  {command_line('train', '--run', short_path(run.path), '--resume')}\n"
            "or start a new run with another --run.",
            code="recipe_changed",
        )
    write_atomically(run.recipe_path, submission.text)
    run.resolved_path.unlink(missing_ok=True)
    return run


def _resolve_paths(asked: dict[str, Any], base: Path) -> Missing:
    """Make paths absolute; what is not there, by the field that names it."""
    data = asked.get("data") or {}
    missing = _resolve_datasets(data, base)
    adapter, gate = asked.get("adapter") or {}, asked.get("gate") or {}
    files = ((data, "chat_template"), (adapter, "continue_from"), (gate, "general"))
    for section, key in files:
        if isinstance(section.get(key), str):
            section[key] = str(_existing(section[key], base) or section[key])
    below: Any = adapter.get("merge_first")
    if below:
        names = names_in(as_list(below))
        adapter["merge_first"] = [str(_existing(name, base) or name) for name in names]
    _resolve_rewards(asked.get("stage") or {}, base)
    model = asked.get("model") or {}
    if isinstance(model.get("base"), str) and model.get("source", "auto") in ("auto", "local"):
        try:
            model["base"] = _resolve_model(model["base"], base)
        except ModelError as error:
            missing["model.base"] = error
    return missing


def _resolve_rewards(stage: dict[str, Any], base: Path) -> None:
    """Files and folders that rewards read; what is not there the engine tells."""
    rewards: Any = stage.get("rewards")
    for reward in rewards if isinstance(rewards, list) else ():
        for key in ("file", "fixtures", "model"):
            if isinstance(reward, dict) and isinstance(reward.get(key), str):
                reward[key] = str(_existing(reward[key], base) or reward[key])


def _resolve_datasets(data: dict[str, Any], base: Path) -> Missing:
    train = enumerate(cast("list[dict[str, Any]]", data.get("train") or []))
    sources = [(f"data.train.{number}.dataset", source) for number, source in train]
    for held_out in ("validation", "test"):
        if isinstance(data.get(held_out), dict) and "dataset" in data[held_out]:
            sources.append((f"data.{held_out}.dataset", data[held_out]))
    missing: Missing = {}
    for place, source in sources:
        try:
            _resolve_dataset(source, place, base)
        except DataError as error:
            missing[place] = error
    return missing


def _resolve_dataset(source: dict[str, Any], place: str, base: Path) -> None:
    name = str(source["dataset"])
    if is_builtin(name):
        resolve_dataset(name, base)  # refuses an unknown one
        return
    found = _existing(name, base)
    version = find_version(name) if found is None else None
    if version is not None:
        source["dataset"] = version.label  # the newest one today, whatever is published later
    elif found is not None:
        source["dataset"] = str(found)
    else:
        raise _missing_dataset(name, place, base)


def _existing(name: str, base: Path) -> Path | None:
    """A path beside the recipe, else below the current directory; None when there is neither."""
    path = Path(name).expanduser()
    candidates = (base / path, Path.cwd() / path)  # an absolute path stays as it is
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _resolve_model(name: str, base: Path) -> str:
    found = _existing(name, base)
    if found is not None and found.is_dir():
        return str(found)
    if name.startswith(("/", "./", "../", "~")):
        raise ModelError(
            f"model.base: there is no folder {name}.",
            hint="Write the folder of the model, a hub id such as Qwen/Qwen3-0.6B, or `starter`.",
            code="model_folder_not_found",
            name=name,
        )
    return name


def _missing_dataset(name: str, field: str, base: Path) -> DataError:
    places = dict.fromkeys((base / name, Path.cwd() / name))
    looked = " nor ".join(str(place) for place in places)
    folder = (base / name).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(Path(name).name, names, n=3, cutoff=0.6)
    guess = f"Files with such a name there: {', '.join(near)}. " if near else ""
    return DataError(
        f"{field}: there is no file {looked}{_nor_dataset(name)}.",
        hint=f"{guess}A relative path starts at the recipe's folder, or at the current one.",
        code="dataset_not_found",
        name=name,
        looked={"zh": "，也没有 ".join(str(place) for place in places)},
        near={"zh": f"那里有名称相近的文件：{'、'.join(near)}。" if near else ""},
    )


def _nor_dataset(name: str) -> str:
    return f", and no dataset {name}" if parse_reference(name) else ""


def _difference(before: Recipe, after: Recipe) -> str:
    old, new = _flatten(before.model_dump()), _flatten(after.model_dump())
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    shown = [f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in changed[:3]]
    return "; ".join(shown) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
    elif isinstance(value, list | tuple):
        items = ((str(i), item) for i, item in enumerate(cast("list[Any]", value)))
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat

"""From edited rows to the next training, in one action. Read `retrain` first.

`edits.jsonl` has one line a training row: its place and its record. A record that was changed
replaces the row, null removes it, a line that was deleted or left alone changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from tunesmith.data.check.inspect import Wanted
from tunesmith.data.editing import rewrite
from tunesmith.data.importing import import_files
from tunesmith.data.records import from_json, to_json
from tunesmith.data.resolve import resolve_dataset
from tunesmith.data.store import Catalog, Version
from tunesmith.data.store.rows import StoredRow
from tunesmith.data.store.version import MANIFEST
from tunesmith.data.subject import files_subject
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError, InputError
from tunesmith.evaluation.tracing.training_rows import Place
from tunesmith.recipe import Dataset, Recipe, dump_recipe, load_recipe
from tunesmith.runs import RunDir, write_atomically

DIFFERENCE = "difference"


@dataclass(frozen=True)
class NextTraining:
    """What was made: versions with the edits, and the recipe that goes on from the result."""

    recipe: Path
    versions: list[str]
    changed: int
    removed: int
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**vars(self), "recipe": str(self.recipe)}


Edits = dict[Place, dict[str, Any] | None]


def retrain(
    edits: Path,
    run: RunDir,
    out: Path,
    *,
    name: str,
    only_changed: bool,
    catalog: Catalog,
    processes: int,
    on_progress: Progress,
) -> NextTraining:
    """Publish the datasets with the edits, then write a recipe whose base is the run's result.

    Args:
        name: Of the dataset that a file becomes; published versions keep their own names.
        only_changed: The next training learns from the changed rows alone.
    """
    if out.exists():
        raise InputError(f"{out} exists.", hint="Choose another --out.", code="file_exists")
    recipe = load_recipe(run.resolved_path)
    by_dataset = _by_dataset(read_edits(edits), recipe, edits)
    done = _Edited(catalog, name, processes, on_progress)
    versions = {dataset: done.version(dataset, each) for dataset, each in by_dataset.items()}
    if not done.changed + done.removed:
        raise DataError(
            f"{edits} changes nothing: every record is as the training had it.",
            hint="Edit a record, or write null in its place to remove the row.",
            code="nothing_changed",
        )
    following = _following(recipe, run, versions)
    if only_changed:
        following = _only(following, done.changed_rows(versions))
    write_atomically(out, dump_recipe(following))
    labels = [version.label for version in versions.values()]
    return NextTraining(out, labels, done.changed, done.removed, _notes(recipe, done))


def read_edits(file: Path) -> Edits:
    """The lines of a file of edits; a wrong one is named with its number."""
    found: Edits = {}
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told = orjson.loads(line)
            record = told["record"]
            if record is not None:
                record = to_json(from_json(record))
            found[Place(str(told["dataset"]), str(told["file"]), int(told["line"]))] = record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{file}, line {number}: not an edited row ({error}).",
                hint="A line has dataset, file, line and record, as `tunesmith trace rows --edits` "
                "writes it; null as record removes the row.",
                code="edit_invalid",
                line=number,
            ) from error
    return found


def _by_dataset(edits: Edits, recipe: Recipe, file: Path) -> dict[str, Edits]:
    known = {wanted.dataset for wanted in recipe.data.train}
    found: dict[str, Edits] = {}
    for place, record in edits.items():
        if place.dataset not in known:
            raise DataError(
                f"{file} names the dataset {place.dataset}, which the run did not learn from.",
                hint=f"It learned from: {', '.join(sorted(known))}.",
                code="edit_invalid",
            )
        found.setdefault(place.dataset, {})[place] = record
    return found


class _Edited:
    """Publishes versions with edits, and counts what they did."""

    def __init__(self, catalog: Catalog, name: str, processes: int, on_progress: Progress) -> None:
        self._catalog, self._name = catalog, name
        self._processes, self._on_progress = processes, on_progress
        self._ids: dict[str, list[int]] = {}
        self.changed = self.removed = 0

    def version(self, dataset: str, edits: Edits) -> Version:
        """The next version of a dataset; a file is imported under the new name first."""
        path = resolve_dataset(dataset, Path())
        if (path / MANIFEST).is_file():
            version = Version.open(path)
            by_id = {place.line: record for place, record in edits.items()}
            return self._rewritten(version, lambda row: by_id.get(row.id, row))
        version = self._imported(path, dataset)
        by_line = {(place.file, place.line): record for place, record in edits.items()}
        return self._rewritten(version, lambda row: by_line.get((row.file, row.line), row))

    def changed_rows(self, versions: dict[str, Version]) -> Version:
        """The changed rows alone, as a dataset of their own."""
        name = f"{self._name}-{DIFFERENCE}"
        known = self._catalog.versions(name)
        parent = self._catalog.open(name).manifest if known else None
        first = parent.next_id if parent else 1
        with self._catalog.draft(name, next_id=first) as draft:
            for version in versions.values():
                wanted = np.array(self._ids[version.label], np.int64)
                for batch in version.batches():
                    is_changed = np.isin(batch["id"].to_numpy(), wanted)
                    draft.append_new(batch.filter(pa.array(is_changed)).drop_columns(["id"]))
            if not draft.rows:
                raise DataError(
                    "No row was changed, only removed: there is nothing to learn from alone.",
                    hint="Leave out --only-changed.",
                    code="nothing_left",
                )
            return self._catalog.publish(
                draft,
                name,
                parent=parent.version if parent else None,
                operations=[{"operation": "changed_rows"}],
            )

    def _imported(self, path: Path, dataset: str) -> Version:
        files = files_subject([path], Dataset(dataset=dataset), "auto")
        found = import_files(
            self._catalog,
            self._name,
            files,
            wanted=Wanted(near=False),
            processes=self._processes,
            on_progress=self._on_progress,
            note=f"{path.name} as a training had it",
        )
        return found.version

    def _rewritten(self, version: Version, edit: Any) -> Version:
        ids: list[int] = []

        def change(row: StoredRow) -> StoredRow | None:
            wanted = edit(row)
            if wanted is row:
                return row
            if wanted is None:
                self.removed += 1
                return None
            if wanted == to_json(row.record):
                return row
            self.changed += 1
            ids.append(row.id)
            return row.with_record(from_json(wanted))

        operation = {"operation": "trace", "rows": len(ids)}
        made = rewrite(
            self._catalog, version, change, operation=operation, on_progress=self._on_progress
        )
        version = made or version
        self._ids[version.label] = ids
        return version


def _following(recipe: Recipe, run: RunDir, versions: dict[str, Version]) -> Recipe:
    """The same training on the new rows, from the result of the run."""
    train = [
        wanted.model_copy(update={"dataset": versions[wanted.dataset].label})
        if wanted.dataset in versions
        else wanted
        for wanted in recipe.data.train
    ]
    model = recipe.model.model_copy(update={"base": str(run.path), "source": "local"})
    adapter = recipe.adapter
    if adapter.kind == "lora":
        adapter = adapter.model_copy(update={"continue_from": None, "merge_first": []})
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-next",
            "model": model.model_copy(update={"revision": "main"}),
            "adapter": adapter,
            "data": recipe.data.model_copy(update={"train": train}),
        }
    )


def _only(recipe: Recipe, version: Version) -> Recipe:
    """The changed rows alone, few as they are."""
    first = recipe.data.train[0].model_copy(
        update={"dataset": version.label, "format": "auto", "role": "user"}
    )
    data = recipe.data.model_copy(update={"train": [first], "allow_small": True})
    return recipe.model_copy(update={"data": data})


def _notes(recipe: Recipe, done: _Edited) -> list[str]:
    splits = {part.kind for part in (recipe.data.validation, recipe.data.test)}
    if done.removed and "split" in splits:
        return [
            "Rows were removed, and the recipe splits rows off for validation or test: the split "
            "is drawn anew, so earlier test rows may be trained on."
        ]
    return []

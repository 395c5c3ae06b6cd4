"""Jobs made from jobs: a clone with changes, a branch from a checkpoint; and a job's own recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tunesmith.errors import InputError
from tunesmith.recipe import dump_recipe, parse_recipe
from tunesmith.server.access import Caller, Role
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.queue import Submitted
from tunesmith.server.services.checkpoints import checkpoint_of
from tunesmith.server.services.jobs import Draft, Jobs, Receipt, visible
from tunesmith.server.services.submission import with_ids
from tunesmith.server.tables import Checkpoint, Job

# A branch goes on with weights that exist: what decides their shape is theirs.
_FIXED: Final = ("model.", "adapter.kind", "adapter.rank", "adapter.targets", "adapter.continue")


_NAME_KEPT: Final = 50


@dataclass(frozen=True)
class Changes:
    """What a copy does otherwise; None is as it was."""

    fields: Mapping[str, Any]
    name: str | None = None
    description: str | None = None
    flavour: str | None = None
    num_devices: int | None = None
    priority: int = 0
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Following:
    """What goes on from a result: `versions` has the next version of each that was learned from."""

    model_id: str
    versions: Mapping[str, str]
    name: str = ""


@dataclass(frozen=True)
class JobRecipes:
    """The recipe of a job as it was sent, looked up, and decided by the engine."""

    submitted: Mapping[str, Any] | str
    recipe: Mapping[str, Any]
    yaml: str
    resolved_yaml: str | None


class Copies:
    """Each copy is a new job of the caller, checked like any other."""

    def __init__(self, database: Database, jobs: Jobs, place: DataDir) -> None:
        self._database, self._jobs, self._place = database, jobs, place

    def draft(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """The body that would submit the same job again, for a form to change."""
        with self._database.read() as session:
            job = visible(session, caller, job_id)
            recipe = with_ids(session, job)
        return {
            "project_id": job.project_id,
            "name": job.name,
            "description": job.description,
            "recipe": recipe,
            "flavour": job.flavour_name or job.flavour,
            "num_devices": job.num_devices,
            "priority": job.priority,
            "labels": job.labels,
        }

    def clone(self, caller: Caller, job_id: str, changes: Changes, submitted: Submitted) -> Receipt:
        """A job like another one."""
        with self._database.read() as session:
            job = visible(session, caller, job_id, Role.MEMBER)
            recipe = with_ids(session, job)
        return self._jobs.submit(caller, _draft(job, recipe, changes), submitted)

    def branch(
        self, caller: Caller, checkpoint_id: str, changes: Changes, submitted: Submitted
    ) -> Receipt:
        """A job that goes on from a checkpoint of another, with other numbers or other data."""
        _refuse_fixed(changes)
        with self._database.read() as session:
            checkpoint, job = checkpoint_of(session, caller, checkpoint_id)
            recipe = with_ids(session, job)
        draft = _draft(job, recipe, changes, checkpoint)
        return self._jobs.submit(caller, draft, submitted)

    def follow(
        self, caller: Caller, job_id: str, following: Following, submitted: Submitted
    ) -> Receipt:
        """A job that learns on from the result of another, from the newest of the same data."""
        with self._database.read() as session:
            job = visible(session, caller, job_id, Role.MEMBER)
            recipe = with_ids(session, job)
        for place in recipe["data"]["train"]:
            place["dataset"] = following.versions.get(place["dataset"], place["dataset"])
        recipe["model"] |= {"base": following.model_id, "source": "auto", "revision": "main"}
        nothing: dict[str, Any] = {"continue_from": None, "merge_first": []}
        recipe["adapter"] |= {key: nothing[key] for key in nothing if recipe["adapter"].get(key)}
        changes = Changes({}, name=following.name or f"{job.name[:_NAME_KEPT]}-next")
        draft = replace(_draft(job, recipe, changes), checkpoint_id=None)
        return self._jobs.submit(caller, draft, submitted)

    def recipe(self, caller: Caller, job_id: str) -> JobRecipes:
        """The recipe of a job; `resolved_yaml` once the run has decided every `auto`."""
        with self._database.read() as session:
            job = visible(session, caller, job_id)
        sent = (job.request or {}).get("recipe")
        return JobRecipes(
            submitted=sent if isinstance(sent, dict | str) and sent else job.recipe,
            recipe=job.recipe,
            yaml=dump_recipe(parse_recipe(job.recipe)),
            resolved_yaml=self._resolved(job.id),
        )

    def _resolved(self, job_id: str) -> str | None:
        """What the engine decided; places on the disk of the server are told from its root on."""
        try:
            text = (self._place.run(job_id) / "resolved.yaml").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return text.replace(f"{self._place.root}/", "")


def _draft(
    job: Job, recipe: dict[str, Any], changes: Changes, checkpoint: Checkpoint | None = None
) -> Draft:
    """The draft of a copy; `request` keeps what was asked for, to be shown."""
    kept = changes.flavour is None
    is_resized = changes.num_devices not in (None, job.num_devices)
    own = job.flavour if is_resized else job.flavour_name or job.flavour
    return Draft(
        recipe=recipe,
        project_id=job.project_id,
        name=changes.name or job.name,
        description=job.description if changes.description is None else changes.description,
        overrides=changes.fields,
        flavour=own if kept else changes.flavour or "",
        num_devices=changes.num_devices or (job.num_devices if kept else None),
        priority=changes.priority,
        labels=job.labels if changes.labels is None else changes.labels,
        request={"changes": dict(changes.fields), "copy_of": job.id},
        parent_id=job.id,
        checkpoint_id=checkpoint.id if checkpoint is not None else job.checkpoint_id,
    )


def _refuse_fixed(changes: Changes) -> None:
    for path in changes.fields:
        if path.startswith(_FIXED):
            raise InputError(
                f"{path} cannot change in a branch: its weights are those of the checkpoint.",
                hint="Clone the job to start anew with other weights.",
                code="fixed_in_branch",
                param=f"changes.{path}",
                field=path,
            )

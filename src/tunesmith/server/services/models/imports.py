"""Bringing a model in: what is asked for, and the registration of what was checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.errors import InputError, ModelError
from tunesmith.models.facts import Facts
from tunesmith.models.hubs import prefers_modelscope
from tunesmith.models.presets import STARTER, find_preset
from tunesmith.runs.manifest import Manifest
from tunesmith.server.access import Caller, audit
from tunesmith.server.clock import Moment
from tunesmith.server.errors import Conflict
from tunesmith.server.github import is_github_name
from tunesmith.server.services.models.finding import Base, find, is_hub_id
from tunesmith.server.tables import Model

Source = Literal["hub", "modelscope", "github", "folder"]


@dataclass(frozen=True)
class ImportOrder:
    """What to bring in. `name` is an id of a hub, or a folder below a root of the administrator."""

    source: Source
    name: str
    revision: str = "main"
    shown_name: str = ""
    base: str = ""  # of an adapter, where its own settings name nothing that is known here
    task: str = ""
    description: str = ""
    shared: bool = False

    @property
    def model_name(self) -> str:
        return self.shown_name or self.name

    def document(self) -> dict[str, Any]:
        return asdict(self)


def usual_hub() -> Source:
    """Where a model comes from that is asked for without a source."""
    return "modelscope" if prefers_modelscope() else "hub"


def refuse_odd_order(order: ImportOrder) -> None:
    """InputError for what can never be found, before anybody waits for it."""
    if order.source == "github":
        if not is_github_name(order.name):
            raise InputError(
                f"{order.name[:200]!r} is no repository on GitHub.",
                hint="Write OWNER/REPOSITORY, or OWNER/REPOSITORY/FOLDER.",
                code="not_a_github_name",
                name=order.name[:200],
                param="name",
            )
    elif order.source != "folder" and not is_hub_id(order.name):
        raise InputError(
            f"{order.name[:200]!r} is no id of a model on a hub.",
            hint="An id looks like Qwen/Qwen3-0.6B.",
            code="not_a_hub_id",
            name=order.name[:200],
            param="name",
        )


def refuse_taken_name(session: Session, name: str, project_id: str | None) -> None:
    """Names are looked up in jobs and chats, so each means one model in its project."""
    of_project = Model.project_id == project_id if project_id else Model.project_id.is_(None)
    taken = session.scalar(
        select(Model.id).where(Model.name == name, of_project, Model.deleted_at.is_(None))
    )
    if taken or name == STARTER:
        raise Conflict(
            f"There is a model {name} already.",
            hint="Choose another name for the new one, or delete the old one.",
            code="name_taken",
            name=name,
        )


def find_adapter_base(
    session: Session, caller: Caller, order: ImportOrder, facts: Facts, project_id: str | None
) -> Base:
    """The known model that an adapter was trained on; ModelError where there is none."""
    for name in (order.base, facts.base or ""):
        if name == STARTER:
            return Base(STARTER)
        found = find(session, caller, name, project_id) if name else None
        if found is not None:
            return Base(found.name, found)
        preset = find_preset(name) if name else None
        if preset is not None:
            return Base(preset.name)
    raise ModelError(
        f"This adapter was trained on {(facts.base or 'a model that it does not name')[:200]}, "
        "which is not known here.",
        hint="Import that model first, or name it as `base`.",
        code="adapter_base_unknown",
        base=(facts.base or "?")[:200],
    )


def register(
    session: Session,
    caller: Caller,
    order: ImportOrder,
    moment: Moment,
    *,
    model_id: str,
    project_id: str | None,
    manifest: Manifest,
    manifest_sha256: str,
) -> Model:
    """The row of a model whose files are in place; their manifest says what was found in them."""
    refuse_taken_name(session, order.model_name, project_id)
    facts, origin = manifest.extra["facts"], manifest.extra["origin"]
    base, base_id = manifest.extra["base"] or order.name, manifest.extra["base_id"]
    parent = _held_base(session, base_id)
    model = Model(
        id=model_id,
        name=order.model_name,
        project_id=project_id,
        user_id=caller.user_id,
        kind="adapter" if facts["kind"] == "adapter" else "base",
        source=order.source,
        base=base,
        parent_id=base_id,
        task=order.task or (parent.task if parent else _task_of(order)),
        description=order.description,
        details={**facts, **origin},
        bytes=manifest.total_bytes,
        manifest_sha256=manifest_sha256,
        created_at=moment.wall,
    )
    session.add(model)
    session.flush()
    audit(
        session,
        moment,
        caller,
        "model.import",
        model_id,
        project_id=project_id,
        source=order.source,
        name=order.name,
    )
    return model


def _held_base(session: Session, model_id: str | None) -> Model | None:
    """The base of an adapter, which may not be deleted before the adapter is there."""
    if model_id is None:
        return None
    base = session.get(Model, model_id, with_for_update={"read": True})
    if base is None or base.deleted_at is not None:
        raise ModelError("The base of this adapter was deleted meanwhile.", code="model_not_found")
    return base


def _task_of(order: ImportOrder) -> str:
    preset = find_preset(order.name)
    return preset.task if preset else "text generation"

"""Where a model comes from and what became of it: models, jobs, recipes and data as a graph.

    base or parent --base--> job     data --train--> job     recipe --recipe--> job
    job --result--> model            checkpoint --checkpoint--> model

A model without a job, an import say, stands in the place of the job itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.data.names import builtin_datasets
from tunesmith.server.access import Caller
from tunesmith.server.tables import Checkpoint, Dataset, DatasetVersion, Job, Model, ModelDataset

MOST_ANCESTORS: Final = 50
MOST_DESCENDANTS: Final = 100


@dataclass(frozen=True)
class Node:
    """A thing in the graph. What belongs to a project of others has no name."""

    id: str
    kind: str  # model, base, job, recipe, dataset_version, checkpoint
    name: str = ""
    details: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Edge:
    """`source` led to `target`: as base, recipe, checkpoint, result, or data by its role."""

    source: str
    target: str
    relation: str


@dataclass
class Lineage:
    """Nodes once each, edges in the order in which they were found."""

    model_id: str
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: list[Edge] = field(default_factory=list[Edge])

    def add(self, node: Node) -> None:
        self.nodes.setdefault(node.id, node)

    def link(self, source: str, target: str, relation: str) -> None:
        edge = Edge(source, target, relation)
        if edge not in self.edges:
            self.edges.append(edge)


def lineage(session: Session, caller: Caller, model: Model) -> Lineage:
    """A model with all its ancestors and all that came of it, each with what made it."""
    graph = Lineage(model.id)
    here: Model | None = model
    for _ in range(MOST_ANCESTORS):
        if here is None:
            break
        _add_model(session, caller, graph, here)
        here = session.get(Model, here.parent_id) if here.parent_id else None
    for child in _descendants(session, model):
        _add_model(session, caller, graph, child)
    return graph


def _descendants(session: Session, model: Model) -> list[Model]:
    """Children before grandchildren, each once, so many at most."""
    found: dict[str, Model] = {}
    parents = [model.id]
    while parents and len(found) < MOST_DESCENDANTS:
        children = session.scalars(
            select(Model)
            .where(Model.parent_id.in_(parents))
            .order_by(Model.id)
            .limit(MOST_DESCENDANTS - len(found))
        ).all()
        new = [child for child in children if child.id not in found and child.id != model.id]
        found |= {child.id: child for child in new}
        parents = [child.id for child in new]
    return list(found.values())


def _add_model(session: Session, caller: Caller, graph: Lineage, model: Model) -> None:
    graph.add(_model_node(caller, model))
    if not _is_visible(caller, model.project_id):
        if model.parent_id in graph.nodes:
            graph.link(model.parent_id, model.id, "base")
        return
    made_by = _add_job(session, graph, model)
    if model.checkpoint_id:
        step = session.get_one(Checkpoint, model.checkpoint_id).step
        graph.add(Node(model.checkpoint_id, "checkpoint", f"step {step}", {"step": step}))
        graph.link(model.checkpoint_id, model.id, "checkpoint")
    for version, dataset, role in _data_of(session, model):
        graph.add(_dataset_node(caller, version, dataset))
        graph.link(version.id, made_by, role)
    _add_recipe(graph, model, made_by)
    if model.parent_id:
        graph.link(model.parent_id, made_by, "base")
    elif model.base and model.base != model.name:
        graph.add(Node(model.base, "base", model.base))
        graph.link(model.base, made_by, "base")


def _add_job(session: Session, graph: Lineage, model: Model) -> str:
    """The job of a model; the id of what base, data and recipe led to."""
    job = session.get(Job, model.job_id) if model.job_id else None
    if job is None:
        return model.id
    graph.add(Node(job.id, "job", job.name, {"status": job.status}))
    graph.link(job.id, model.id, "result")
    return job.id


def _add_recipe(graph: Lineage, model: Model, made_by: str) -> None:
    """How it was trained, and the data in the recipe that ships with us and has no versions."""
    if not model.recipe:
        return
    for name, role in builtin_datasets(model.recipe):
        graph.add(Node(name, "dataset_version", name, {"builtin": True}))
        graph.link(name, made_by, role)
    node = f"recipe-{made_by}"
    graph.add(Node(node, "recipe", str(model.recipe.get("name", "")), _told(model.recipe)))
    graph.link(node, made_by, "recipe")


def _told(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What people compare recipes by; the whole one is at the job."""
    training: Mapping[str, Any] = recipe.get("training") or {}
    told = {
        "stage": (recipe.get("stage") or {}).get("kind"),
        "method": (recipe.get("adapter") or {}).get("kind"),
        **{name: training.get(name) for name in ("epochs", "batch_size", "learning_rate")},
    }
    return {name: value for name, value in told.items() if value is not None}


def _data_of(session: Session, model: Model) -> list[tuple[DatasetVersion, Dataset, str]]:
    rows = session.execute(
        select(DatasetVersion, Dataset, ModelDataset.role)
        .join(ModelDataset, ModelDataset.dataset_version_id == DatasetVersion.id)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(ModelDataset.model_id == model.id)
        .order_by(ModelDataset.role, DatasetVersion.id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _model_node(caller: Caller, model: Model) -> Node:
    if not _is_visible(caller, model.project_id):
        return Node(model.id, "model")
    details = {"model_kind": model.kind, "source": model.source, "task": model.task}
    if model.deleted_at is not None:
        details["deleted_at"] = model.deleted_at.isoformat()
    return Node(model.id, "model", model.name, details)


def _dataset_node(caller: Caller, version: DatasetVersion, dataset: Dataset) -> Node:
    if not _is_visible(caller, dataset.project_id):
        return Node(version.id, "dataset_version")
    details = {"dataset_id": dataset.id, "number": version.number, "rows": version.rows}
    return Node(version.id, "dataset_version", f"{dataset.name}@{version.number}", details)


def _is_visible(caller: Caller, project_id: str | None) -> bool:
    return project_id is None or project_id in caller.roles

"""Verdicts and what they let through; orders of evaluations that name something wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.unit.server.conftest import World

from tunesmith.errors import InputError, RecipeError
from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict, NotFound, PermissionDenied
from tunesmith.server.services.deployments import DeploymentOrder, Deployments
from tunesmith.server.services.evaluations import EvaluationOrder, Evaluations
from tunesmith.server.services.tasks import Tasks
from tunesmith.server.settings import Settings
from tunesmith.server.tables import AuditEntry, Evaluation, Model


def caller(world: World, role: Role = Role.MEMBER) -> Caller:
    return Caller(world.user, world.user, roles={world.project: role}, project_id=world.project)


def result(world: World, name: str = "ft:starter:default:shop:7q8wz2c7") -> str:
    with world.database.write() as session:
        moment = clock.read(session)
        row = Model(
            id=ids.new(ids.MODEL, moment.wall), name=name, project_id=world.project,
            user_id=world.user, kind="adapter", source="job", base="starter",
            created_at=moment.wall,
        )  # fmt: skip
        session.add(row)
    return row.id


def services(world: World, folder: Path, **settings: Any) -> tuple[Deployments, Evaluations]:
    chosen = Settings.load(data_dir=folder, **settings)
    tasks = Tasks(world.database)
    return Deployments(world.database, chosen), Evaluations(
        world.database, DataDir(folder), tasks, chosen
    )


def judged(world: World, evaluations: Evaluations, model_id: str, verdict: str) -> None:
    order = EvaluationOrder(model_id, dataset="builtin:probe")
    row, _ = evaluations.create(caller(world), order, None)
    with world.database.write() as session:
        found = session.get_one(Evaluation, row.id)
        found.verdict, found.summary = verdict, {"because": "It forgot too much."}


@pytest.mark.parametrize(
    ("gate", "verdict", "passes"),
    [
        ("promote", "promote", True),
        ("promote", "hold", False),
        ("promote", "reject", False),
        ("reject", "hold", True),
        ("reject", "reject", False),
        ("off", "reject", True),
    ],
)
def test_the_gate_lets_through_what_passed(
    world: World, tmp_path: Path, gate: str, verdict: str, passes: bool
) -> None:
    deployments, evaluations = services(world, tmp_path, deployment_gate=gate)
    model_id = result(world)
    judged(world, evaluations, model_id, verdict)
    if passes:
        assert deployments.create(caller(world), DeploymentOrder(model_id), None).name
        return
    for ask in (
        lambda: deployments.create(caller(world), DeploymentOrder(model_id), None),
        lambda: deployments.target(caller(world), model_id),
    ):
        with pytest.raises(Conflict, match="It forgot too much") as found:
            ask()
        assert found.value.code == "gate_closed"
    assert deployments.list(caller(world)).items == []


def test_an_admin_of_the_project_may_override_the_gate_and_it_is_written_down(
    world: World, tmp_path: Path
) -> None:
    deployments, evaluations = services(world, tmp_path)
    model_id = result(world)
    judged(world, evaluations, model_id, "reject")
    order = DeploymentOrder(model_id, overrides_gate=True, override_reason="For a demo.")
    with pytest.raises(PermissionDenied):
        deployments.create(caller(world), order, None)
    made = deployments.create(caller(world, Role.ADMIN), order, None)
    deployments.stop(caller(world), made.id)
    assert deployments.start(caller(world), made.id).status == "starting"
    with world.database.read() as session:
        written = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "deployment.create")
        ).one()
    assert written.details["override_reason"] == "For a demo."


def test_the_newest_verdict_counts(world: World, tmp_path: Path) -> None:
    from datetime import timedelta

    deployments, evaluations = services(world, tmp_path)
    model_id = result(world)
    judged(world, evaluations, model_id, "reject")
    world.clock.now += timedelta(seconds=1)
    judged(world, evaluations, model_id, "promote")
    assert deployments.create(caller(world), DeploymentOrder(model_id), None).base == "starter"


def test_an_order_that_names_something_wrongly_begins_nothing(world: World, tmp_path: Path) -> None:
    _, evaluations = services(world, tmp_path)
    model_id, member = result(world), caller(world)
    for order, error, code in (
        (EvaluationOrder(model_id), InputError, "rows_unclear"),
        (
            EvaluationOrder(model_id, dataset="builtin:probe", job_id="x"),
            InputError,
            "rows_unclear",
        ),
        (EvaluationOrder(model_id, dataset="nowhere"), NotFound, "dataset_not_found"),
        (EvaluationOrder(model_id, job_id="ftjob-x"), NotFound, "job_not_found"),
        (EvaluationOrder("starter", dataset="builtin:probe"), InputError, "no_base_to_compare"),
        (EvaluationOrder("none-such", dataset="builtin:probe"), NotFound, "model_not_found"),
    ):
        with pytest.raises(error) as found:
            evaluations.create(member, order, None)
        assert found.value.code == code
    order = EvaluationOrder(model_id, dataset="builtin:probe", gate={"min_gian": 1})
    with pytest.raises(RecipeError, match="min_gian"):
        evaluations.create(member, order, None)
    path = EvaluationOrder(model_id, dataset="builtin:probe", gate={"general": "/etc/passwd"})
    with pytest.raises(InputError, match="no dataset /etc/passwd"):
        evaluations.create(member, path, None)
    assert evaluations.list(member).items == []


def test_the_base_of_a_result_is_what_it_rests_on(world: World, tmp_path: Path) -> None:
    _, evaluations = services(world, tmp_path)
    order = EvaluationOrder(result(world), dataset="builtin:probe")
    row, task = evaluations.create(caller(world), order, None)
    assert (row.base, row.model, task.state) == (
        "starter", "ft:starter:default:shop:7q8wz2c7", "queued",
    )  # fmt: skip
    with pytest.raises(Conflict, match="at work"):
        evaluations.delete(caller(world), row.id)


def test_programs_of_models_are_scored_where_an_administrator_allowed_it(
    world: World, tmp_path: Path
) -> None:
    order = EvaluationOrder("starter", compares=False, dataset="builtin:probe", scores=["code"])
    _, closed = services(world, tmp_path)
    with pytest.raises(InputError, match="an administrator has not allowed") as error:
        closed.create(caller(world), order, None)
    assert error.value.code == "model_programs_not_allowed"
    _, opened = services(world, tmp_path, model_programs=True)
    row, _ = opened.create(caller(world), order, None)
    assert row.model == "starter"

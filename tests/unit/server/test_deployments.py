"""The life of a deployment in the database, and where a question to a model goes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.unit.server.conftest import World

from tunesmith.server import clock, ids
from tunesmith.server.access import Caller, Role
from tunesmith.server.datadir import DataDir
from tunesmith.server.deployments.evaluated import evaluating_name, forget, left_behind
from tunesmith.server.deployments.sources import (
    Source,
    base_argument,
    base_under,
    memory_bytes,
    source_of,
)
from tunesmith.server.deployments.states import (
    MAX_FAILURES,
    Status,
    failed_once,
    transition,
)
from tunesmith.server.errors import (
    Conflict,
    DeploymentNotReady,
    IllegalTransition,
    NotFound,
    PermissionDenied,
)
from tunesmith.server.services.deployments import Asked, DeploymentOrder, Deployments
from tunesmith.server.settings import Settings
from tunesmith.server.tables import (
    Checkpoint,
    Deployment,
    Evaluation,
    Model,
    Notice,
    Serving,
    Subscription,
    Task,
)

ERROR = {"code": "serving_process_ended", "message": "It said last: no memory", "param": None}


@pytest.fixture
def deployments(world: World, tmp_path: Path) -> Deployments:
    return Deployments(world.database, Settings.load(data_dir=tmp_path))


def caller(world: World, role: Role = Role.MEMBER, project: str = "") -> Caller:
    project = project or world.project
    return Caller(world.user, world.user, roles={project: role}, project_id=project)


def change(world: World, row: Deployment, to: Status, **changes: Any) -> Deployment:
    with world.database.write() as session:
        found = session.get_one(Deployment, row.id)
        return transition(session, found, to, clock.read(session), **changes)


def make_ready(world: World, row: Deployment) -> None:
    """As a worker does once its process answers."""
    worker = world.worker()
    with world.database.write() as session:
        moment = clock.read(session)
        session.add(
            Serving(
                id=f"srv-{row.id}", worker_id=worker, base=row.base, address="http://127.0.0.1:1",
                secret="key", memory_bytes=1, started_at=moment.wall,
            )
        )  # fmt: skip
        session.flush()
        found = session.get_one(Deployment, row.id)
        transition(session, found, Status.READY, moment, serving_id=f"srv-{row.id}")


def test_the_first_question_deploys_a_model_and_the_next_finds_it(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    assert deployments.target(member, "starter") is None
    [row] = deployments.list(member).items
    assert (row.name, row.status, row.base, row.adapter_id) == (
        "starter", "starting", "starter", None,
    )  # fmt: skip
    assert deployments.target(member, "starter") is None  # still on its way, and not a second one
    make_ready(world, row)
    found = deployments.target(member, "starter")
    assert found is not None
    assert (found.address, found.served_as, found.name) == (
        "http://127.0.0.1:1", "base", "starter",
    )  # fmt: skip
    assert found == deployments.target(member, row.id)
    assert len(deployments.list(member).items) == 1


def test_a_viewer_asks_what_is_deployed_and_deploys_nothing(
    world: World, deployments: Deployments
) -> None:
    viewer = caller(world, Role.VIEWER)
    with pytest.raises(PermissionDenied):
        deployments.target(viewer, "starter")
    make_ready(world, deployments.create(caller(world), DeploymentOrder("starter"), None))
    assert deployments.target(viewer, "starter") is not None


def test_a_deployment_of_another_project_does_not_exist(
    world: World, deployments: Deployments
) -> None:
    row = deployments.create(caller(world), DeploymentOrder("starter"), None)
    stranger = caller(world, project=world.add_project("proj-b"))
    for look in (deployments.get, deployments.stop, deployments.start, deployments.delete):
        with pytest.raises(NotFound):
            look(stranger, row.id)
    with pytest.raises(NotFound):
        deployments.requests(stranger, row.id)
    assert deployments.list(stranger).items == []


def test_a_name_means_one_deployment_and_is_free_again_after_a_deletion(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    row = deployments.create(member, DeploymentOrder("starter", name="chat"), None)
    with pytest.raises(Conflict):
        deployments.create(member, DeploymentOrder("starter", name="chat"), None)
    deployments.delete(member, row.id)
    deployments.create(member, DeploymentOrder("starter", name="chat"), None)
    assert [each.name for each in deployments.list(member).items] == ["chat"]


def test_a_stopped_one_starts_with_the_next_question_unless_it_may_not(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    row = deployments.create(member, DeploymentOrder("starter"), None)
    make_ready(world, row)
    assert deployments.stop(member, row.id).serving_id is None
    assert deployments.target(member, "starter") is None
    assert deployments.get(member, row.id).status == "starting"
    deployments.stop(member, row.id)
    deployments.update(member, row.id, autostart=False)
    with pytest.raises(DeploymentNotReady) as found:
        deployments.target(member, "starter")
    assert found.value.code == "deployment_stopped"
    assert deployments.start(member, row.id).status == "starting"


def test_what_fails_several_times_in_a_row_stays_failed_and_says_why(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    row = deployments.create(member, DeploymentOrder("starter"), None)
    with world.database.write() as session:
        session.add(
            Subscription(
                id="sub-a", user_id=world.user, project_id=world.project, channel="webhook",
                address="https://x.example/", events=["deployment.started", "deployment.failed"],
                created_at=clock.read(session).wall,
            )
        )  # fmt: skip
        session.flush()
    _join_project(world)
    make_ready(world, row)
    world.clock.now += timedelta(seconds=1)
    for _ in range(MAX_FAILURES):
        with world.database.write() as session:
            failed_once(session, session.get_one(Deployment, row.id), ERROR, clock.read(session))
    found = deployments.get(member, row.id)
    assert (found.status, found.error) == ("failed", ERROR)
    with pytest.raises(DeploymentNotReady, match="no memory"):
        deployments.target(member, "starter")
    assert deployments.start(member, row.id).num_failures == 0
    with world.database.read() as session:
        told = [notice.event for notice in session.scalars(select(Notice).order_by(Notice.id))]
    assert told == ["deployment.started", "deployment.failed"]


def _join_project(world: World) -> None:
    from tunesmith.server.tables import Membership

    with world.database.write() as session:
        session.add(
            Membership(
                user_id=world.user, project_id=world.project, role="member",
                created_at=clock.read(session).wall,
            )
        )  # fmt: skip


def test_no_other_ways_through_the_states(world: World, deployments: Deployments) -> None:
    row = deployments.create(caller(world), DeploymentOrder("starter", starts=False), None)
    for to in (Status.READY, Status.FAILED, Status.STOPPED):
        with pytest.raises(IllegalTransition):
            change(world, row, to)
    change(world, row, Status.STARTING)
    assert change(world, row, Status.STOPPED).status == "stopped"


def test_questions_are_written_down_bounded_and_forgotten_in_time(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    row = deployments.create(member, DeploymentOrder("starter"), None)
    make_ready(world, row)
    target = deployments.target(member, "starter")
    assert target is not None
    said = [{"role": "user", "content": "Where is my order?"}]
    asked = Asked("chat", prompt_tokens=9, completion_tokens=3, question=said, answer="Here.")
    deployments.record(member, target, asked)
    world.clock.now += timedelta(seconds=1)
    long = [{"role": "user", "content": "x" * 100_000}]
    deployments.record(member, target, Asked("chat", question=long, answer="y" * 100_000))
    newest, first = deployments.requests(member, row.id).items
    assert (first.question, first.answer, first.completion_tokens) == (said, "Here.", 3)
    assert newest.question is None
    assert len(newest.answer or "") == 65_536
    assert deployments.get(member, row.id).num_requests == 2
    world.clock.now += timedelta(days=31)
    assert deployments.forget_old(30) == 2
    assert deployments.requests(member, row.id).items == []


def test_a_checkpoint_is_asked_by_its_id_as_by_its_name(
    world: World, deployments: Deployments
) -> None:
    job = world.submit()
    with world.database.write() as session:
        moment = clock.read(session)
        saved = Checkpoint(
            id=ids.new(ids.CHECKPOINT, moment.wall), job_id=job.id, step=2, attempt=1,
            created_at=moment.wall,
        )  # fmt: skip
        session.add(saved)
    assert deployments.target(caller(world), saved.id) is None
    assert deployments.target(caller(world), saved.id) is None
    [made] = deployments.list(caller(world)).items
    assert made.name.endswith(":ckpt-step-2")


@pytest.mark.parametrize(("kind", "is_merged"), [("lora", False), ("oft", True)])
def test_lora_goes_on_top_of_a_base_and_other_weights_into_it(
    world: World, tmp_path: Path, kind: str, is_merged: bool
) -> None:
    tuned = _adapter(world, kind, None)
    above = _adapter(world, "lora", tuned)
    with world.database.read() as session:
        model, upper = session.get_one(Model, tuned), session.get_one(Model, above)
        found = source_of(session, model)
        assert found == (Source(tuned) if is_merged else Source("starter", tuned))
        assert base_under(session, model) == "starter"
        assert source_of(session, upper) == Source(tuned if is_merged else "starter", above)
        place = DataDir(tmp_path)
        if is_merged:
            needed = memory_bytes(session, place, tuned)
            assert needed == memory_bytes(session, place, "starter")
            assert base_argument(session, place, tuned).endswith(tuned)


@pytest.mark.parametrize("kind", ["prompt", "p_tuning", "prefix", "PREFIX_TUNING"])
def test_vectors_in_front_of_the_text_are_deployed_on_their_base(
    world: World, deployments: Deployments, kind: str
) -> None:
    """By the recipe of their training; by the settings of PEFT where they were imported."""
    tuned = _adapter(world, kind.lower(), None)
    row = deployments.create(caller(world), DeploymentOrder(tuned, "vectors"), None)
    assert (row.base, row.adapter_id, row.model_id) == ("starter", tuned, tuned)
    assert row.status == "starting"


@pytest.mark.parametrize("kind", ["adapter", "adaption_prompt"])  # of a recipe, and of PEFT's files
def test_vectors_beside_the_text_are_not_deployed(
    world: World, deployments: Deployments, kind: str
) -> None:
    tuned = _adapter(world, kind, None)
    with pytest.raises(Conflict) as caught:
        deployments.create(caller(world), DeploymentOrder(tuned, "never"), None)
    assert caught.value.code == "attention_not_served"
    assert deployments.list(caller(world)).items == []


def _adapter(world: World, kind: str, parent: str | None) -> str:
    with world.database.write() as session:
        moment = clock.read(session)
        model = Model(
            id=ids.new(ids.MODEL, moment.wall), name=f"{kind}-{parent}", kind="adapter",
            project_id=world.project, source="folder", base="starter", parent_id=parent,
            recipe={"adapter": {"kind": kind}}, created_at=moment.wall,
        )  # fmt: skip
        session.add(model)
        return model.id


def _evaluation(world: World, state: str) -> str:
    with world.database.write() as session:
        moment = clock.read(session)
        task = Task(
            id=ids.new("task-", moment.wall), project_id=world.project, user_id=world.user,
            kind="evaluation", params={}, state=state, created_at=moment.wall,
        )  # fmt: skip
        session.add(task)
        session.flush()
        row = Evaluation(
            id=ids.new("eval-", moment.wall), project_id=world.project, user_id=world.user,
            task_id=task.id, model="starter", data="rows", created_at=moment.wall,
        )  # fmt: skip
        session.add(row)
        return row.id


def _evaluating(evaluation_id: str) -> DeploymentOrder:
    return DeploymentOrder(
        "starter", evaluating_name(evaluation_id, "base"), autostart=False, idle_seconds=0,
        keeps_requests=False,
    )  # fmt: skip


def test_what_an_evaluation_that_was_killed_had_deployed_goes_and_what_is_asked_stays(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    killed, under_way = _evaluation(world, "failed"), _evaluation(world, "running")
    left = deployments.create_unchecked(member, _evaluating(killed), None)
    kept = deployments.create_unchecked(member, _evaluating(under_way), None)
    own = deployments.create(member, DeploymentOrder("starter", autostart=False), None)
    with world.database.write() as session:
        for row in left_behind(session, lock=True):
            forget(session, row, clock.read(session))
    assert {row.id for row in deployments.list(member).items} == {kept.id, own.id}
    with pytest.raises(NotFound):
        deployments.get(member, left.id)


def test_the_second_try_of_an_evaluation_takes_the_place_of_the_first(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    order = _evaluating(_evaluation(world, "running"))
    first = deployments.create_unchecked(member, order, None)
    second = deployments.create_unchecked(member, order, None)
    [row] = deployments.list(member).items
    assert (row.id, row.status) == (second.id, "starting")
    assert row.id != first.id


def test_a_model_that_answers_for_long_counts_as_asked(
    world: World, deployments: Deployments
) -> None:
    member = caller(world)
    deployments.target(member, "starter")
    [row] = deployments.list(member).items
    make_ready(world, row)
    target = deployments.target(member, "starter")
    assert target is not None
    before = deployments.get(member, row.id).used_lease
    world.wait(40)
    deployments.in_use(target)
    assert deployments.get(member, row.id).used_lease == before + 40

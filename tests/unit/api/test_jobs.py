"""Jobs over HTTP: submit, look, steer; who may, and what is refused. E1, E5 to E7, F1, F2, F12."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.unit.api.conftest import Server, serving
from tests.unit.api.training import (
    JOB,
    add_dataset,
    started,
    step,
    steps,
    submit,
    succeeded,
    worker,
)

from tunesmith.schemas.jobs import JobRead
from tunesmith.server import claims
from tunesmith.server.settings import FlavourSetting, Settings
from tunesmith.server.tables import Attempt, AuditEntry, Job, User, Worker

JOBS = "/api/v1/jobs"


def test_a_job_is_queued_with_its_names_looked_up(server_on_both: Server, data_dir: Path) -> None:
    version = add_dataset(server_on_both, data_dir, "shop", 120)
    job = submit(server_on_both, datasets=["shop"], labels={"team": "a"}, description="first")
    assert (job["status"], job["base"], job["labels"]) == ("queued", "starter", {"team": "a"})
    client = server_on_both.viewer
    found = client.get(f"{JOBS}/{job['id']}").json()
    (used,) = found["datasets"]
    assert used == {"dataset_version_id": version, "role": "train", "name": "shop", "version": 1}
    assert found["attempts"] == []
    recipe = client.get(f"{JOBS}/{job['id']}/recipe").json()
    assert recipe["recipe"]["data"]["train"][0]["dataset"] == "shop-120@1"
    assert recipe["recipe"]["name"] == "bot"
    assert "shop-120@1" in recipe["yaml"]
    assert recipe["resolved_yaml"] is None


def test_a_dataset_is_named_by_name_by_version_or_by_id(server: Server, data_dir: Path) -> None:
    version = add_dataset(server, data_dir, "shop", 120)
    for name in ("shop", "shop@1", version):
        job = submit(server, datasets=[name])
        got = server.viewer.get(f"{JOBS}/{job['id']}").json()["datasets"]
        assert [each["dataset_version_id"] for each in got] == [version]


def test_a_recipe_may_be_yaml_and_what_is_beside_it_wins(server: Server) -> None:
    text = "name: other\nmodel: starter\ndata: [builtin:general]\n学习率: 5e-5\nepochs: 2\n"
    job = submit(server, recipe=text)
    recipe = server.viewer.get(f"{JOBS}/{job['id']}/recipe").json()
    assert recipe["submitted"] == text
    assert recipe["recipe"]["training"]["learning_rate"] == 5e-5
    assert [s["dataset"] for s in recipe["recipe"]["data"]["train"]] == ["builtin:shop"]
    assert recipe["recipe"]["name"] == "bot"


def test_everything_that_is_wrong_is_told_at_once(server: Server) -> None:
    body = {"base": "/etc/passwd", "datasets": ["../x", "shpo"], "recipe": {"chat_template": "/t"}}
    answer = server.member.post(JOBS, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_recipe"
    fields = [problem["field"] for problem in error["details"]["problems"]]
    assert sorted(fields) == [
        "data.chat_template",
        "data.train.0.dataset",
        "data.train.1.dataset",
        "model.base",
    ]
    assert server.member.get(JOBS).json()["data"] == []


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../x", "C:\\x", "file:///etc", "-rf", "--output_dir=x", "a/b.jsonl", "~/x"],
)
def test_a_path_or_an_option_is_no_dataset(server: Server, path: str) -> None:
    answer = server.member.post(JOBS, json={**JOB, "datasets": [path]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "data.train.0.dataset"


@pytest.mark.parametrize(
    "base", ["/m", "./m", "../m", "--trust", "http://169.254.169.254/x", "a/../b", "\u202e", "a b"]
)
def test_a_path_or_an_address_is_no_model(server: Server, base: str) -> None:
    answer = server.member.post(JOBS, json={**JOB, "base": base})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model.base"


def test_continuing_from_a_folder_is_refused(server: Server) -> None:
    recipe = {"adapter": {"kind": "lora", "continue_from": "/data/runs/x"}}
    error = server.member.post(JOBS, json={**JOB, "recipe": recipe}).json()["error"]
    assert error["param"] == "adapter.continue_from"
    below = {"adapter": {"kind": "lora", "merge_first": ["model-unknown", "/data/runs/x"]}}
    error = server.member.post(JOBS, json={**JOB, "recipe": below}).json()["error"]
    assert error["param"] == "adapter.merge_first"


def test_code_of_others_runs_only_where_an_administrator_allowed_the_commit(
    settings: Settings,
) -> None:
    recipe = {"model": {"trust_remote_code": True, "revision": "abc"}}
    body = {**JOB, "base": "org/name", "recipe": recipe}
    allowed = settings.model_copy(update={"remote_code_repositories": ["org/name@abc"]})
    with serving(allowed) as server:
        assert server.member.post(JOBS, json=body).status_code == 201
        body["recipe"] = {"model": {"trust_remote_code": True, "revision": "main"}}
        error = server.member.post(JOBS, json=body).json()["error"]
        assert error["param"] == "model.trust_remote_code"


def test_fewer_than_a_hundred_rows_are_refused_with_the_count(
    server: Server, data_dir: Path
) -> None:
    """C6."""
    add_dataset(server, data_dir, "few", 99)
    answer = server.member.post(JOBS, json={**JOB, "datasets": ["few"]})
    assert answer.status_code == 400
    assert "99 rows" in answer.json()["error"]["message"]
    submit(server, datasets=["few"], recipe={"data": {"allow_small": True}})


def test_few_rows_and_many_epochs_are_warned_of(server: Server) -> None:
    """H4, H5."""
    job = submit(server, recipe={"training": {"epochs": 20, "learning_rate": 1e-2}})
    assert {"high_rate_small_data", "many_epochs"} <= {each["code"] for each in job["notices"]}


def test_a_dataset_of_another_project_does_not_exist(server: Server, data_dir: Path) -> None:
    version = add_dataset(server, data_dir, "secret", 120, server.their_project)
    for name in ("secret", version):
        answer = server.member.post(JOBS, json={**JOB, "datasets": [name]})
        assert answer.json()["error"]["param"] == "data.train.0.dataset"


def test_a_dataset_whose_files_are_gone_is_told(server: Server, data_dir: Path) -> None:
    add_dataset(server, data_dir, "shop", 120)
    next((data_dir / "datasets" / "shop-120" / "0001").glob("manifest.json")).unlink()
    answer = server.member.post(JOBS, json={**JOB, "datasets": ["shop"]})
    assert "are gone" in answer.json()["error"]["message"]


def test_the_same_key_is_one_job_however_often_and_at_once_it_is_sent(
    server_on_both: Server,
) -> None:
    """Row 12 of the faults."""
    barrier, made = threading.Barrier(20), list[tuple[str, bool]]()

    def click() -> None:
        client = server_on_both.member
        barrier.wait()
        answer = client.post(JOBS, json=JOB, headers={"Idempotency-Key": "double click"})
        assert answer.status_code == 201, answer.text
        made.append((answer.json()["id"], answer.json()["is_new"]))

    threads = [threading.Thread(target=click) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    assert len({job for job, _ in made}) == 1
    assert [is_new for _, is_new in made].count(True) == 1
    assert len(server_on_both.member.get(JOBS).json()["data"]) == 1


def test_the_same_key_with_another_body_is_a_conflict(server: Server) -> None:
    header = {"Idempotency-Key": "k"}
    first = server.member.post(JOBS, json=JOB, headers=header).json()["id"]
    answer = server.member.post(JOBS, json={**JOB, "name": "other"}, headers=header)
    assert answer.status_code == 409
    assert answer.json()["error"]["details"]["job_id"] == first


def test_a_list_is_filtered_and_read_in_parts(server_on_both: Server) -> None:
    server = server_on_both
    made = [submit(server, name=f"job {n}", labels={"n": str(n % 2)})["id"] for n in range(5)]
    client = server.member
    client.post(f"{JOBS}/{made[0]}/cancel")
    page = client.get(JOBS, params={"limit": 2}).json()
    seen = [each["id"] for each in page["data"]]
    while page["has_more"]:
        page = client.get(JOBS, params={"limit": 2, "after": page["last_id"]}).json()
        seen += [each["id"] for each in page["data"]]
    assert seen == made[::-1]

    def ids(**params: Any) -> list[str]:
        return [each["id"] for each in client.get(JOBS, params=params).json()["data"]]

    assert ids(status="cancelled") == [made[0]]
    assert ids(status=["cancelled", "queued"]) == made[::-1]
    assert ids(text="JOB 3") == [made[3]]
    assert ids(text="job%") == []
    assert ids(label="n=1") == [made[3], made[1]]
    assert ids(user_id="me") == made[::-1]
    assert ids(user_id="user-none") == []
    assert ids(base="starter") == made[::-1]
    assert ids(base="other") == []
    assert client.get(JOBS, params={"status": "odd"}).status_code == 422


def test_a_list_shows_a_job_as_it_is_shown_alone(server_on_both: Server) -> None:
    job = submit(server_on_both, labels={"team": "a"})
    listed = server_on_both.viewer.get(JOBS).json()["data"][0]
    alone = server_on_both.viewer.get(f"{JOBS}/{job['id']}").json()
    assert listed == {name: alone[name] for name in listed}
    assert set(listed) == set(JobRead.model_fields)


def test_only_members_change_jobs_and_strangers_see_none(server: Server) -> None:
    job = submit(server)["id"]
    for action in ("cancel", "pause", "stop", "resume", "retry"):
        assert server.viewer.post(f"{JOBS}/{job}/{action}").status_code == 403
        assert server.foreigner.post(f"{JOBS}/{job}/{action}").status_code == 404
    assert server.viewer.post(JOBS, json=JOB).status_code == 403
    assert server.viewer.delete(f"{JOBS}/{job}").status_code == 403
    reads = ("", "/recipe", "/events", "/metrics", "/metrics.csv", "/log", "/checkpoints", "/draft")
    for place in reads:
        assert server.viewer.get(f"{JOBS}/{job}{place}").status_code == 200, place
        answer = server.foreigner.get(f"{JOBS}/{job}{place}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
    assert server.foreigner.get(JOBS).json()["data"] == []
    assert server.foreigner.get(JOBS, params={"project_id": server.project}).status_code == 404
    elsewhere = {**JOB, "project_id": server.project}
    assert server.foreigner.post(JOBS, json=elsewhere).status_code == 404


def test_a_job_is_paused_resumed_and_stopped(server_on_both: Server) -> None:
    server = server_on_both
    job = submit(server)["id"]
    client = server.member
    assert client.post(f"{JOBS}/{job}/pause").status_code == 409
    claimed = started(server, job)
    early = client.post(f"{JOBS}/{job}/pause")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "no_step_yet")
    steps(server, claimed, [1, 2])
    assert client.post(f"{JOBS}/{job}/pause").json()["status"] == "pausing"
    claims.paused(server.platform.database, claimed)
    refused = client.post(f"{JOBS}/{job}/resume", json={"num_devices": 2})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_devices")
    worker(server, num_devices=2)
    resumed = client.post(f"{JOBS}/{job}/resume", json={"num_devices": 2}).json()
    assert (resumed["status"], resumed["num_devices"], resumed["step"]) == ("queued", 2, 2)
    claimed = started(server, job, num_devices=2)
    assert client.post(f"{JOBS}/{job}/stop").json()["intent"] == "stop"
    model = claims.succeed(
        server.platform.database, claimed, claims.Result("ft:x", "adapter"), reason="stopped"
    )
    done = client.get(f"{JOBS}/{job}").json()
    assert (done["status"], done["reason"], done["model_id"]) == ("succeeded", "stopped", model)
    assert [each["outcome"] for each in done["attempts"]] == ["paused", "succeeded"]
    finished = client.post(f"{JOBS}/{job}/cancel")
    assert (finished.status_code, finished.json()["error"]["code"]) == (409, "job_finished")


def test_data_that_ships_with_the_package_stands_in_the_record(server_on_both: Server) -> None:
    server = server_on_both
    validation = {"kind": "dataset", "dataset": "builtin:probe"}
    job = submit(server, recipe={"data": {"validation": validation}})["id"]
    used = server.member.get(f"{JOBS}/{job}").json()["datasets"]
    assert used == [
        {"dataset_version_id": name, "role": role, "name": name, "version": None}
        for name, role in (("builtin:shop", "train"), ("builtin:probe", "validation"))
    ]


def test_who_did_what_is_written_down(server: Server) -> None:
    job = submit(server)["id"]
    server.client("manager").post(f"{JOBS}/{job}/cancel")
    server.member.post(f"{JOBS}/{job}/pause")  # refused: leaves nothing
    with server.platform.database.read() as session:
        rows = session.scalars(
            select(AuditEntry).where(AuditEntry.target == job).order_by(AuditEntry.id)
        ).all()
    assert [(row.action, row.user_id) for row in rows] == [
        ("job.create", server.users["member"]),
        ("job.cancel", server.users["manager"]),
    ]


def test_a_waiting_job_is_moved_before_another(server: Server) -> None:
    first, second = submit(server)["id"], submit(server)["id"]
    moved = server.member.post(f"{JOBS}/{second}/reorder", json={"before": first})
    assert moved.status_code == 200
    claimed = claims.claim(server.platform.database, worker(server))
    assert claimed is not None
    assert claimed.job_id == second


def test_name_labels_and_priority_are_changed(server: Server) -> None:
    job = submit(server, labels={"a": "b"})["id"]
    changes = {"name": "new", "priority": 5, "labels": None}
    changed = server.member.patch(f"{JOBS}/{job}", json=changes).json()
    assert (changed["name"], changed["priority"], changed["labels"]) == ("new", 5, None)
    server.member.post(f"{JOBS}/{job}/cancel")
    assert server.member.patch(f"{JOBS}/{job}", json={"priority": 1}).status_code == 409
    assert server.member.patch(f"{JOBS}/{job}", json={"name": "x"}).status_code == 200


def test_bulk_actions_have_an_outcome_each(server: Server) -> None:
    jobs = [submit(server)["id"] for _ in range(2)]
    body = {"action": "cancel", "job_ids": [*jobs, "ftjob-none"]}
    done = server.member.post(f"{JOBS}/bulk", json=body).json()["data"]
    assert [each["ok"] for each in done] == [True, True, False]
    assert done[0]["job"]["status"] == "cancelled"
    assert done[2]["error"]["code"] == "job_not_found"
    body = {"action": "delete", "job_ids": jobs}
    assert all(each["ok"] for each in server.member.post(f"{JOBS}/bulk", json=body).json()["data"])
    assert server.member.get(JOBS).json()["data"] == []


def test_a_deleted_job_leaves_its_model_and_what_others_rest_on(server_on_both: Server) -> None:
    """F2."""
    server = server_on_both
    job = submit(server)["id"]
    claimed = started(server, job)
    database = server.platform.database
    kept, lost = (claims.add_checkpoint(database, claimed, step) for step in (10, 20))
    active = server.member.delete(f"{JOBS}/{job}")
    assert (active.status_code, active.json()["error"]["code"]) == (409, "job_active")
    succeeded(server, claimed)
    made = server.member.post(f"/api/v1/checkpoints/{kept}/model").json()
    assert server.member.delete(f"{JOBS}/{job}").status_code == 204
    assert server.member.get(f"{JOBS}/{job}").status_code == 404
    models = server.member.get("/api/v1/models", params={"limit": 100}).json()["data"]
    assert {"ft:starter:bot::1", made["name"]} <= {each["name"] for each in models}
    client = server.member
    assert client.get(f"/api/v1/checkpoints/{kept}").json()["deleted_at"] is None
    assert client.get(f"/api/v1/checkpoints/{lost}").json()["deleted_at"] is not None


def test_a_clone_has_changed_fields_and_its_parent(server: Server, data_dir: Path) -> None:
    add_dataset(server, data_dir, "shop", 120)
    job = submit(server, datasets=["shop"])["id"]
    body = {"changes": {"training.epochs": 7}, "name": "second"}
    clone = server.member.post(f"{JOBS}/{job}/clone", json=body).json()
    assert (clone["parent_id"], clone["name"]) == (job, "second")
    recipe = server.member.get(f"{JOBS}/{clone['id']}/recipe").json()["recipe"]
    assert recipe["training"]["epochs"] == 7
    assert recipe["data"]["train"][0]["dataset"] == "shop-120@1"
    wrong = server.member.post(f"{JOBS}/{job}/clone", json={"changes": {"training.epochz": 7}})
    assert wrong.status_code == 400
    draft = server.member.get(f"{JOBS}/{job}/draft").json()
    assert server.member.post(JOBS, json=draft).status_code == 201


def test_a_retry_is_a_new_job(server: Server) -> None:
    job = submit(server)["id"]
    assert server.member.post(f"{JOBS}/{job}/retry").status_code == 409
    server.member.post(f"{JOBS}/{job}/cancel")
    again = server.member.post(f"{JOBS}/{job}/retry").json()
    assert (again["status"], again["parent_id"]) == ("queued", job)


def test_somebody_is_told_of_what_happens_to_a_job(server: Server) -> None:
    """E2."""
    wanted = {
        "channel": "webhook",
        "address": "https://93.184.216.34/hook",
        "events": ["job.failed"],
    }
    job = submit(server, subscriptions=[wanted])
    assert job["subscriptions"][0]["secret"]
    wanted["events"] = ["job.odd"]
    answer = server.member.post(JOBS, json={**JOB, "subscriptions": [wanted]})
    assert answer.status_code == 400
    assert len(server.member.get(JOBS).json()["data"]) == 1


def priced(settings: Settings) -> Settings:
    flavour = FlavourSetting(name="one-h200", device="h200", devices=1, region="north", price=36000)
    return settings.model_copy(update={"flavours": [flavour], "billing_url": "https://b.example"})


def test_flavours_are_listed_by_region_with_the_reason_of_the_greyed_ones(
    settings: Settings,
) -> None:
    """E5."""
    with serving(priced(settings)) as server:
        worker(server, flavour="local")
        found = server.viewer.get("/api/v1/flavours").json()
        assert found["regions"] == ["local", "north"]
        by_name = {each["name"]: each for each in found["data"]}
        assert not by_name["one-h200"]["is_available"]
        assert "No worker" in by_name["one-h200"]["reason"]
        assert by_name["local"]["is_available"]
        north = server.viewer.get("/api/v1/flavours", params={"region": "north"}).json()
        assert [each["name"] for each in north["data"]] == ["one-h200"]
        refused = server.member.post(JOBS, json={**JOB, "flavour": "one-h200"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            409,
            "flavour_unavailable",
        )
        odd = server.member.post(JOBS, json={**JOB, "flavour": "one-h20"}).json()["error"]
        assert (odd["code"], odd["hint"]) == ("unknown_flavour", "Did you mean one-h200?")


def set_credit(server: Server, cents: int) -> None:
    with server.platform.database.write() as session:
        session.execute(
            update(User).where(User.id == server.users["member"]).values(credit_cents=cents)
        )


@pytest.mark.parametrize("cents", [-5, 0, 10])
def test_an_account_that_cannot_pay_is_refused_with_the_figures(
    settings: Settings, cents: int
) -> None:
    """E6."""
    with serving(priced(settings)) as server:
        worker(server)
        set_credit(server, cents)
        answer = server.member.post(JOBS, json={**JOB, "flavour": "one-h200"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (403, "insufficient_credit")
        assert error["details"]["credit_cents"] == cents
        assert error["details"]["price_cents"] > 10
        assert "https://b.example" in error["hint"]
        body = {**JOB, "flavour": "one-h200"}
        told = server.member.post(f"{JOBS}/estimate", json=body).json()
        assert not told["affordable"]
        assert told["estimate"]["price_cents"] == error["details"]["price_cents"]
        assert server.member.get(JOBS).json()["data"] == []


def test_a_number_of_devices_without_a_price_is_refused_once_the_device_has_one(
    settings: Settings,
) -> None:
    with serving(priced(settings)) as server:
        worker(server, num_devices=4)
        for wanted in ({"num_devices": 2}, {"num_devices": 2, "flavour": "h200"}):
            refused = server.member.post(JOBS, json={**JOB, **wanted})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (400, "no_such_size")
            assert error["details"]["sizes"] == [1]
        shown = server.member.get("/api/v1/flavours").json()["data"]
        assert [each["name"] for each in shown] == ["one-h200"]
        assert server.member.get(JOBS).json()["data"] == []


def test_another_number_of_devices_at_a_resume_has_its_price(settings: Settings) -> None:
    with serving(priced(settings)) as server:
        worker(server, num_devices=4)
        set_credit(server, 1_000_000)
        job = submit(server)["id"]
        claimed = started(server, job, num_devices=4)
        steps(server, claimed, [1])
        server.member.post(f"{JOBS}/{job}/pause")
        claims.paused(server.platform.database, claimed)
        refused = server.member.post(f"{JOBS}/{job}/resume", json={"num_devices": 4})
        assert refused.json()["error"]["code"] == "no_such_size"
        resumed = server.member.post(f"{JOBS}/{job}/resume", json={"num_devices": 1}).json()
        assert (resumed["flavour"], resumed["price_cents_per_hour"]) == ("one-h200", 36000)


def test_a_number_of_devices_that_no_worker_has_is_refused(server: Server) -> None:
    worker(server, num_devices=2)
    refused = server.member.post(JOBS, json={**JOB, "num_devices": 64})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (409, "too_many_devices")
    assert error["details"]["most"] == 2
    assert submit(server, num_devices=2)["num_devices"] == 2


def test_a_job_whose_worker_does_not_run_is_queued_with_a_notice(server: Server) -> None:
    def noticed() -> set[str]:
        answer = server.member.post(JOBS, json={**JOB, "num_devices": 2})
        assert answer.status_code == 201, answer.text
        return {each["code"] for each in answer.json()["notices"]}

    assert "no_worker_running" in noticed()  # none has ever been there
    worker(server, num_devices=2)
    assert "no_worker_running" not in noticed()
    with server.platform.database.write() as session:
        session.execute(update(Worker).values(lease_until=0.0))
    assert "no_worker_running" in noticed()


def test_a_job_says_what_keeps_it_back_beside_its_turn(server_on_both: Server) -> None:
    server = server_on_both
    me = server.member.get("/api/v1/me").json()["user"]["id"]
    server.admin.patch(f"/api/v1/users/{me}", json={"quota_running_jobs": 0})
    worker(server)
    made = submit(server)
    assert [each["code"] for each in made["notices"]] == ["running_jobs_limit"]
    place = f"{JOBS}/{made['id']}"
    waits = server.viewer.get(place).json()["waits_for"]
    assert waits["code"] == "running_jobs_limit"
    assert "0 jobs run, and 0 may at a time" in waits["message"]
    spoken = server.viewer.get(place, headers={"Accept-Language": "zh"}).json()["waits_for"]
    assert "正在运行 0 个任务，同时最多 0 个" in spoken["message"]
    server.admin.patch(f"/api/v1/users/{me}", json={"quota_device_hours": 0})
    server.admin.patch(f"/api/v1/users/{me}", json={"quota_running_jobs": 1})
    assert server.viewer.get(place).json()["waits_for"]["code"] == "device_hours_limit"
    server.admin.patch(f"/api/v1/users/{me}", json={"quota_device_hours": 9})
    assert server.viewer.get(place).json()["waits_for"] is None
    server.member.post(f"{place}/cancel")
    assert server.viewer.get(place).json()["waits_for"] is None


def test_two_flavours_of_one_device_keep_their_names_and_prices(settings: Settings) -> None:
    both = [
        FlavourSetting(name="south", device="h200", region="south", price=100),
        FlavourSetting(name="h200", device="h200", region="north", price=200),
    ]
    with serving(settings.model_copy(update={"flavours": both})) as server:
        worker(server)
        set_credit(server, 1_000_000)
        for name, price in (("south", 100), ("h200", 200)):
            job = submit(server, flavour=name, num_devices=1)
            again = server.member.post(f"{JOBS}/{job['id']}/clone", json={}).json()
            listed = server.member.get(JOBS, params={"limit": 1}).json()["data"][0]
            draft = server.member.get(f"{JOBS}/{job['id']}/draft").json()
            found = server.member.get(f"{JOBS}/{job['id']}").json()
            for each in (job, again, listed, found):
                assert (each["flavour"], each["price_cents_per_hour"]) == (name, price)
            assert draft["flavour"] == name


def test_what_an_attempt_took_is_charged_when_it_ends(settings: Settings) -> None:
    """E6: 36000 cents an hour are 10 a second."""
    with serving(priced(settings)) as server:
        worker(server)
        set_credit(server, 1_000_000)
        job = submit(server)  # no flavour named: the cheapest with a price
        assert job["price_cents_per_hour"] == 36000
        claimed = started(server, job["id"])
        with server.platform.database.write() as session:
            attempt = session.get_one(Attempt, (job["id"], 1))
            attempt.claimed_lease -= 50
        succeeded(server, claimed)
        with server.platform.database.read() as session:
            attempt = session.get_one(Attempt, (job["id"], 1))
            left = session.get_one(User, server.users["member"]).credit_cents
        assert 500 <= attempt.charged_cents <= 600
        assert left == 1_000_000 - attempt.charged_cents


def test_an_estimate_learns_from_the_steps_of_runs_that_ended(server: Server) -> None:
    """A long run with a start of 30 s, then tiny ones that are nearly all start."""
    told = server.member.post(f"{JOBS}/estimate", json=JOB).json()["estimate"]
    assert (told["basis"], told["rows"], told["price_cents"]) == ("size", 840, 0)
    for num_steps in (40, 1, 1, 1):
        _ran(server, num_steps, held=30.0 + num_steps / 2)
    told = server.member.post(f"{JOBS}/estimate", json=JOB).json()["estimate"]
    assert (told["basis"], told["num_past_runs"]) == ("past_runs", 4)
    assert told["seconds"] == pytest.approx(30 + told["tokens"] / 1000, rel=0.02)


def test_a_job_keeps_what_it_was_ordered_by_beside_what_it_took(server: Server) -> None:
    told = server.member.post(f"{JOBS}/estimate", json=JOB).json()["estimate"]
    claimed = started(server, submit(server)["id"])
    memory = [3_000_000, 7_000_000, 5_000_000]
    events = [step(claimed.attempt, n, n, memory_bytes=m) for n, m in enumerate(memory, 1)]
    claims.record(server.platform.database, claimed, events)
    succeeded(server, claimed)
    job = server.member.get(f"{JOBS}/{claimed.job_id}").json()
    assert job["expected"] == told
    assert job["peak_memory_bytes"] == 7_000_000
    assert job["attempts"][0]["device_seconds"] >= 0


def _ran(server: Server, num_steps: int, held: float) -> None:
    """A job of so many steps of half a second with 500 tokens each."""
    claimed = started(server, submit(server)["id"])
    events = [
        step(claimed.attempt, number, number, tokens=500, seconds=0.5, time=_at(number / 2))
        for number in range(1, num_steps + 1)
    ]
    claims.record(server.platform.database, claimed, events)
    with server.platform.database.write() as session:
        attempt = session.get_one(Attempt, (claimed.job_id, 1))
        attempt.claimed_lease -= held
    succeeded(server, claimed, f"ft:starter:{claimed.job_id}")


def _at(seconds: float) -> str:
    return (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()


def test_the_tokens_of_rows_that_are_here_are_counted(server: Server, data_dir: Path) -> None:
    """840 rows of the shop have 75,277 tokens; a tenth of them is held out."""
    whole = {**JOB, "recipe": {"data": {"validation": {"kind": "none"}}}}
    for body, share in ((whole, 1.0), (JOB, 756 / 840)):
        told = server.member.post(f"{JOBS}/estimate", json=body).json()["estimate"]
        epochs = told["steps"] / math.ceil(840 * share / 4)
        assert told["tokens"] == pytest.approx(75_277 * epochs * share, rel=0.001)
    add_dataset(server, data_dir, "mine", 200)
    body = {**whole, "datasets": ["mine"]}
    told = server.member.post(f"{JOBS}/estimate", json=body).json()["estimate"]
    each = told["tokens"] / 200 / (told["steps"] / math.ceil(200 / 4))
    assert 5 < each < 40  # "q7" and "a7" with the marks of the template


def test_a_plan_is_a_task(server: Server) -> None:
    answer = server.member.post(f"{JOBS}/plan", json=JOB)
    assert answer.status_code == 202
    task = server.member.get(f"/api/v1/tasks/{answer.json()['id']}").json()
    assert (task["kind"], task["state"]) == ("job.plan", "queued")


def test_answers_are_in_chinese_where_that_is_asked_for(server: Server) -> None:
    chinese = {"Accept-Language": "zh-CN"}
    gone = server.member.get(f"{JOBS}/ftjob-none", headers=chinese)
    assert gone.json()["error"]["message"] == "没有任务 ftjob-none。"
    wrong = server.member.post(JOBS, json={**JOB, "base": "/x"}, headers=chinese)
    assert wrong.json()["error"]["message"].startswith("配方有误")
    job = submit(server)["id"]
    busy = server.member.delete(f"{JOBS}/{job}", headers=chinese)
    assert "只能删除" in busy.json()["error"]["message"]


def test_odd_bodies_are_refused(server: Server) -> None:
    for change in (
        {"name": ""},
        {"name": "a\x00b"},
        {"labels": {"k": "v" * 513}},
        {"labels": {str(n): "" for n in range(17)}},
        {"num_devices": 0},
        {"priority": 10**30},
        {"datasets": []},
        {"odd": 1},
        {"recipe": [1]},
        {"datasets": [{"dataset": "shop", "sampling_rate": 11}]},
    ):
        assert server.member.post(JOBS, json={**JOB, **change}).status_code == 422, change
    deep: Any = {}
    for _ in range(60):
        deep = {"a": deep}
    assert server.member.post(JOBS, json={**JOB, "recipe": deep}).status_code == 400
    assert server.member.get(f"{JOBS}/%00").status_code == 422


def test_the_job_row_holds_no_path_of_a_client(server: Server) -> None:
    job = submit(server)["id"]
    with server.platform.database.read() as session:
        row = session.get_one(Job, job)
    assert row.recipe["model"]["base"] == "starter"
    assert row.recipe["data"]["chat_template"] is None

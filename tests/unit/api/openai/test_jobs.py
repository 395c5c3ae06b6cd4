"""Jobs under /v1, from the body of a request to the end, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.openai.making import chats, create, get, refused, upload
from tests.unit.api.training import started, step, steps, submit, succeeded

from tunesmith.server import claims, result_files
from tunesmith.server.claims import Result


def queued(server: Server, **body: Any) -> dict[str, Any]:
    job = create(server, **body)
    assert server.finish_tasks() >= 1
    return get(server, f"/fine_tuning/jobs/{job['id']}")


def test_a_job_is_validated_trained_and_told_of(server_on_both: Server) -> None:
    server = server_on_both
    job = create(server, suffix="shop", seed=5, metadata={"team": "a"})
    assert job["status"] == "validating_files"
    assert job["hyperparameters"]["n_epochs"] == "auto"
    server.finish_tasks()
    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert job["status"] == "queued"
    numbers = {"n_epochs": 5, "batch_size": 2, "learning_rate_multiplier": 1.0}
    assert job["hyperparameters"] == numbers
    assert job["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": numbers},
    }

    claimed = started(server, job["id"])
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "running"
    seq = steps(server, claimed, range(1, 4))
    database, place = server.platform.database, server.platform.place
    evaluation = {"type": "evaluation", "step": 3, "loss": 0.5, "token_accuracy": 0.75}
    claims.record(database, claimed, [{**step(1, seq, 3), **evaluation}])
    claims.add_checkpoint(database, claimed, 3, metrics={"train_loss": 0.6})
    curves = result_files.write(database, place, job["id"])
    result = Result("ft:starter:default:shop:" + job["id"][-8:], "adapter")
    for _ in range(2):  # a worker that lost the reply asks again
        claims.succeed(database, claimed, result, trained_tokens=99, curves=curves)

    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert (job["status"], job["trained_tokens"], job["seed"]) == ("succeeded", 99, 5)
    assert job["fine_tuned_model"] == result.name
    assert job["metadata"] == {"team": "a"}
    (file_id,) = job["result_files"]
    assert get(server, f"/files/{file_id}")["purpose"] == "fine-tune-results"
    content = server.member.get(f"/v1/files/{file_id}/content").text
    assert content.splitlines()[1:] == [
        "1,2.0,,,,,",
        "2,1.0,,,,,",
        f"3,{2 / 3},,0.5,0.75,0.5,0.75",
    ]
    _check_events(server, job)
    _check_checkpoints(server, job)


def _check_events(server: Server, job: dict[str, Any]) -> None:
    path = f"/fine_tuning/jobs/{job['id']}/events"
    whole = get(server, path, limit=1000)["data"]
    texts = [event["message"] for event in whole]
    assert texts[:2] == [
        "The job has successfully completed",
        f"New fine-tuned model created: {job['fine_tuned_model']}",
    ]
    assert texts[-1] == "Created fine-tuning job"
    assert "Step 2/100: training loss=1" in texts
    loss = "validation loss=0.5, full validation loss=0.5"
    assert f"Step 3/100: training loss=0.6667, {loss}" in texts
    measured = next(event for event in whole if "validation" in event["message"])
    assert measured["type"] == "metrics"
    assert measured["data"]["full_valid_mean_token_accuracy"] == 0.75
    seen: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        after = {"after": seen[-1]["id"]} if seen else {}
        page = get(server, path, limit=4, **after)
        seen += page["data"]
    assert seen == whole


def _check_checkpoints(server: Server, job: dict[str, Any]) -> None:
    page = get(server, f"/fine_tuning/jobs/{job['id']}/checkpoints")
    (saved,) = page["data"]
    assert page["first_id"] == page["last_id"] == saved["id"]
    name = saved["fine_tuned_model_checkpoint"]
    assert name == f"{job['fine_tuned_model']}:ckpt-step-3"
    assert saved["metrics"]["train_loss"] == 0.6
    assert get(server, f"/models/{name}")["id"] == name
    copy = f"/fine_tuning/jobs/{job['id']}/checkpoints/{name}/copy"
    assert get(server, copy)["status"] == "not_started"
    made = server.member.post(f"/v1{copy}").json()
    assert (made["status"], made["model"]) == ("completed", name)
    assert get(server, copy) == made


def test_steps_that_were_done_again_stand_in_the_result_file_once(server_on_both: Server) -> None:
    server = server_on_both
    database, place = server.platform.database, server.platform.place
    job = queued(server)
    first = started(server, job["id"])
    steps(server, first, [1, 2, 3])
    claims.interrupted(database, first, checkpoint_step=1)
    second = started(server, job["id"])
    claims.record(database, second, [step(2, 1, 2, loss=0.25), step(2, 2, 3, loss=0.125)])
    claims.succeed(
        database,
        second,
        Result("ft:x", "adapter"),
        curves=result_files.write(database, place, job["id"]),
    )
    (file_id,) = get(server, f"/fine_tuning/jobs/{job['id']}")["result_files"]
    content = server.member.get(f"/v1/files/{file_id}/content").text
    assert content.splitlines()[1:] == ["1,2.0,,,,,", "2,0.25,,,,,", "3,0.125,,,,,"]
    server.member.delete(f"/v1/files/{file_id}")
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["result_files"] == []


def test_the_rows_become_a_dataset_version_that_other_jobs_share(server_on_both: Server) -> None:
    server = server_on_both
    file = upload(server, chats(20))["id"]
    first, second = (queued(server, training_file=file) for _ in range(2))
    used = [
        server.member.get(f"/api/v1/jobs/{job['id']}").json()["datasets"] for job in (first, second)
    ]
    assert used[0] == used[1]
    assert [each["role"] for each in used[0]] == ["train"]


def test_validation_may_be_done_again_after_a_crash(server: Server) -> None:
    """The task died behind the files, then behind the queue."""
    job = create(server)
    from tunesmith.server.services.openai import validation
    from tunesmith.server.task_context import TaskContext
    from tunesmith.server.tasks import claim

    claimed = claim(server.platform.database)
    assert claimed is not None
    people = server.platform.people
    caller = people.as_user(server.users["member"], server.project)
    context = TaskContext(server.platform, claimed, caller, server.project, {"job_id": job["id"]})
    validation.version_of_file(context, job["training_file"], "training_file", "supervised")
    assert validation.validate(context)["status"] == "queued"
    events = get(server, f"/fine_tuning/jobs/{job['id']}/events")["data"]
    assert validation.validate(context)["status"] == "queued"
    assert get(server, f"/fine_tuning/jobs/{job['id']}/events")["data"] == events


def test_a_job_that_is_cancelled_while_its_files_are_checked_stays_so(server: Server) -> None:
    job = create(server)
    answer = server.member.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
    assert answer.json()["status"] == "cancelled"
    server.finish_tasks()
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "cancelled"


def test_the_check_of_the_files_ends_with_its_job_only(server: Server) -> None:
    job = create(server)
    (task,) = server.member.get("/api/v1/tasks", params={"target": job["id"]}).json()["data"]
    refusal = server.member.post(f"/api/v1/tasks/{task['id']}/cancel")
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (409, "task_of_job")
    server.finish_tasks()
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "queued"


def test_steering_asks_for_the_right_state(server: Server) -> None:
    """State conflicts are 400: a 409 would be sent again."""
    job = queued(server)
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    refused(server.member.post(f"{path}/pause"), 400, "illegal_transition")
    refused(server.member.post(f"{path}/resume"), 400, "illegal_transition")
    claimed = started(server, job["id"])
    refused(server.member.post(f"{path}/pause"), 400, "no_step_yet")
    steps(server, claimed, [1])
    assert server.member.post(f"{path}/pause").json()["status"] == "pausing"
    claims.paused(server.platform.database, claimed)
    assert server.member.post(f"{path}/resume").json()["status"] == "queued"
    claimed = claims.claim(server.platform.database, claimed.worker_id)
    assert claimed is not None
    assert get(server, f"/fine_tuning/jobs/{job['id']}")["status"] == "queued"  # starting
    claims.started(server.platform.database, claimed)
    succeeded(server, claimed)
    refused(server.member.post(f"{path}/cancel"), 400, "job_finished")


def test_a_failed_job_has_code_message_and_param(server: Server) -> None:
    job = queued(server, training_file=upload(server, chats(3))["id"])
    text = "Training file has 3 example(s), but must have at least 10 examples"
    assert job["status"] == "failed"
    assert {name: job["error"][name] for name in ("code", "message", "param")} == {
        "code": "invalid_n_examples",
        "message": text,
        "param": "training_file",
    }
    (last, *_) = get(server, f"/fine_tuning/jobs/{job['id']}/events")["data"]
    assert (last["level"], last["message"]) == ("error", text)
    retried = server.member.post(f"/api/v1/jobs/{job['id']}/retry")
    assert retried.json()["error"]["code"] == "files_not_accepted"


def test_a_job_that_failed_later_can_be_tried_again(server: Server) -> None:
    job = queued(server, suffix="shop")
    error = {"code": "server_error", "message": "no luck"}
    claims.fail(server.platform.database, started(server, job["id"]), error)
    again = server.member.post(f"/api/v1/jobs/{job['id']}/retry")
    assert again.status_code == 201, again.text
    shown = get(server, f"/fine_tuning/jobs/{again.json()['id']}")
    assert shown["status"] == "queued"
    assert shown["hyperparameters"] == job["hyperparameters"]
    assert shown["training_file"] == job["training_file"]


def test_a_file_that_is_deleted_meanwhile_ends_the_job(server: Server) -> None:
    job = create(server)
    assert server.member.delete(f"/v1/files/{job['training_file']}").json()["deleted"] is True
    server.finish_tasks()
    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert (job["status"], job["error"]["code"]) == ("failed", "invalid_training_file")


def test_rows_beyond_the_quota_end_the_job(server: Server) -> None:
    job = create(server)
    used = len(chats(20))
    path = f"/api/v1/users/{server.users['member']}"
    assert server.admin.patch(path, json={"quota_storage_bytes": used}).status_code == 200
    server.finish_tasks()
    job = get(server, f"/fine_tuning/jobs/{job['id']}")
    assert (job["status"], job["error"]["code"]) == ("failed", "exceeded_quota")
    assert not list((server.platform.place.datasets).glob("file-*/0001"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (b"{", "Example 21: The line is no valid JSON (invalid_json)"),
        (b'{"messages": []}', "Example 21, messages: The line has no list of messages"),
        (
            b'{"messages": [{"role": "user", "content": "q"}, {"role": "x", "content": "y"}]}',
            "Example 21, messages[1].role: A role that OpenAI does not know",
        ),
        (
            b'{"messages": [{"role": "user", "content": "q"}, '
            b'{"role": "assistant", "content": "y", "mood": 1}]}',
            "Example 21, messages[1].mood: A message has a key that OpenAI does not know",
        ),
    ],
)
def test_a_bad_row_is_named_by_its_number_and_key(server: Server, row: bytes, told: str) -> None:
    file = upload(server, chats(20) + row + b"\n")
    job = queued(server, training_file=file["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_training_file"
    assert told in job["error"]["message"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"hello\n" * 12, "Example 1: The line is no valid JSON (invalid_json; 12 examples)"),
        (
            b'{"messages": [{"role": "x", "content": "q"}, {"role": "user", "content": "y"}]}\n'
            * 12,
            "Example 1, messages[0].role: A role that OpenAI does not know",
        ),
    ],
)
def test_a_file_without_any_good_row_is_told_like_one_with_a_bad_row(
    server: Server, content: bytes, told: str
) -> None:
    job = queued(server, training_file=upload(server, content)["id"])
    assert job["error"]["code"] == "invalid_training_file"
    assert f"Invalid file format. {told}" in job["error"]["message"]
    assert "Correct the file" in job["error"]["hint"]


def test_the_error_of_a_file_is_in_chinese_where_that_is_asked_for(server: Server) -> None:
    for content, told in ((chats(3), "至少需要 10 条"), (b"x\n" * 12, "训练文件不能使用")):
        job = queued(server, training_file=upload(server, content)["id"])
        place, zh = f"/api/v1/jobs/{job['id']}", {"Accept-Language": "zh"}
        error = server.member.get(place, headers=zh).json()["error"]
        assert told in error["message"]
        assert "重新上传" in error["hint"]


def test_prompts_and_completions_are_rows_too(server: Server) -> None:
    rows = b"".join(b'{"prompt": "q%d", "completion": "a%d"}\n' % (n, n) for n in range(12))
    assert queued(server, training_file=upload(server, rows)["id"])["status"] == "queued"


def test_the_same_request_again_is_the_same_job(server_on_both: Server) -> None:
    server = server_on_both
    file = upload(server, chats(20))["id"]
    again = {"x-stainless-retry-count": "1"}
    first = create(server, training_file=file)
    assert create(server, training_file=file, headers=again)["id"] == first["id"]
    assert create(server, training_file=file)["id"] != first["id"]
    assert create(server, training_file=file, headers=again, seed=1)["id"] != first["id"]

    key = {"Idempotency-Key": "k"}
    keyed = create(server, training_file=file, headers=key)
    assert create(server, training_file=file, headers=key)["id"] == keyed["id"]
    answer = server.member.post(
        "/v1/fine_tuning/jobs",
        json={"model": "starter", "training_file": file, "seed": 3},
        headers=key,
    )
    refused(answer, 409, "idempotency_key_reused")
    assert answer.headers["x-should-retry"] == "false"


def test_a_request_and_its_retries_at_once_are_one_job(server_on_both: Server) -> None:
    """The client gave the connection up while the first one was still being handled."""
    server = server_on_both
    file = upload(server, chats(20))["id"]
    barrier = threading.Barrier(4)

    def send(count: int) -> str:
        barrier.wait()
        headers = {"x-stainless-retry-count": str(count)}
        return create(server, training_file=file, headers=headers)["id"]

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(send, (2, 1, 0, 1)))
    assert len(set(made)) == 1
    assert len(get(server, "/fine_tuning/jobs")["data"]) == 1


def test_jobs_of_both_apis_are_in_both_lists(server: Server) -> None:
    ours, theirs = create(server), submit(server)
    listed = get(server, "/fine_tuning/jobs")
    assert [job["id"] for job in listed["data"]] == [theirs["id"], ours["id"]]
    assert listed["has_more"] is False
    native = server.member.get("/api/v1/jobs").json()["data"]
    assert [job["id"] for job in native] == [theirs["id"], ours["id"]]
    shown = listed["data"][0]
    assert shown["training_file"] == "builtin:shop"
    assert shown["hyperparameters"]["batch_size"] == 4
    assert shown["metadata"] is None


def test_jobs_are_filtered_by_metadata(server_on_both: Server) -> None:
    server = server_on_both
    file = upload(server, chats(20))["id"]
    one, two, none = (
        create(server, training_file=file, metadata=metadata)["id"]
        for metadata in ({"a": "1", "b": "x"}, {"a": "1"}, None)
    )

    def listed(**query: str) -> list[str]:
        return [job["id"] for job in get(server, "/fine_tuning/jobs", **query)["data"]]

    assert listed(**{"metadata[a]": "1"}) == [two, one]
    assert listed(**{"metadata[a]": "1", "metadata[b]": "x"}) == [one]
    assert listed(metadata="null") == [none]
    answer = server.member.get("/v1/fine_tuning/jobs", params={"metadata": "x"})
    refused(answer, 400, "invalid_query", "metadata")


def test_jobs_go_on_from_results_and_checkpoints(server: Server) -> None:
    job = queued(server)
    claimed = started(server, job["id"])
    steps(server, claimed, [1])
    claims.add_checkpoint(server.platform.database, claimed, 1)
    name = f"ft:starter:default::{job['id'][-8:]}"
    onward = create(server, model=f"{name}:ckpt-step-1")
    assert onward["model"] == f"{name}:ckpt-step-1"
    native = server.member.get(f"/api/v1/jobs/{onward['id']}").json()
    assert native["checkpoint_id"].startswith("ftckpt_")
    assert native["parent_id"] == job["id"]
    succeeded(server, claimed, name)
    onward = queued(server, model=name)
    assert onward["status"] == "queued"
    recipe = server.member.get(f"/api/v1/jobs/{onward['id']}/recipe").json()["recipe"]
    assert recipe["model"]["base"].startswith("model-")


def test_an_estimate_counts_the_rows_and_starts_nothing(server: Server) -> None:
    file = upload(server, chats(20))["id"]
    body = {"model": "starter", "training_file": file}
    told = server.member.post("/v1/fine_tuning/jobs/estimate", json=body).json()
    assert (told["n_epochs"], told["batch_size"], told["rows"]) == (5, 2, 20)
    assert told["steps"] == 50
    assert told["seconds"] > 0
    assert get(server, "/fine_tuning/jobs")["data"] == []


def test_an_estimate_is_that_of_the_job_that_would_be_made(server: Server) -> None:
    file = upload(server, chats(200))["id"]
    told = server.member.post(
        "/v1/fine_tuning/jobs/estimate", json={"model": "starter", "training_file": file}
    ).json()
    job = queued(server, training_file=file)
    assert {name: told[name] for name in ("n_epochs", "batch_size")} == {
        name: job["hyperparameters"][name] for name in ("n_epochs", "batch_size")
    }

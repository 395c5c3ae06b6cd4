"""Jobs by the stock openai client, sync and async: bodies, filters, files, ends."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from tests.integration.openai_client.live import (
    BASE,
    GRADER,
    QUICK,
    Driver,
    Live,
    cancel,
    cancelled,
    chats,
    create,
    preferences,
    questions,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BOM = b"\xef\xbb\xbf"


def test_auto_becomes_numbers_before_the_training(live: Live, driver: Driver) -> None:
    """T9: 20 rows: 3 epochs would show fewer than 100 examples, so 100 // 20."""
    auto = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}
    method = {"type": "supervised", "supervised": {"hyperparameters": auto}}
    job = create(driver, live, method=method)
    job = driver.finished(job.id, "queued", "running", "succeeded")
    numbers = job.method.supervised.hyperparameters
    assert (numbers.n_epochs, numbers.batch_size, numbers.learning_rate_multiplier) == (5, 2, 1.0)
    assert job.hyperparameters.n_epochs == 5
    cancel(driver, job.id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}},
         "hyperparameters.learning_rate_multiplier"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}},
         "method.dpo.hyperparameters.beta"),
        ({"method": {"type": "reinforcement"}}, "method"),
        ({"method": {"type": "reinforcement", "reinforcement": {
            "grader": GRADER, "hyperparameters": {"eval_samples": 0}}}},
         "method.reinforcement.hyperparameters.eval_samples"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": 2**31}, "seed"),
        ({"metadata": {"k" * 65: "v"}}, f"metadata.{'k' * 65}.[key]"),
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ({"model": "no-such/model:at all"}, "model"),
        ({"model": "ft:starter:default::01234567:ckpt-step-3"}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"extra_body": {"rank": -1}}, "adapter.rank"),
        ({"extra_body": {"lora_rnak": 4}}, "lora_rnak"),
    ],
)  # fmt: skip
def test_values_outside_their_limits_name_their_field(
    live: Live, driver: Driver, body: dict[str, Any], param: str
) -> None:
    """T8, T10, T11."""
    with pytest.raises(openai.BadRequestError) as refused:
        create(driver, live, **body)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_preferences_and_rewards_are_trained_to_the_end(live: Live, driver: Driver) -> None:
    """T8, T29: dpo from lines of both spellings, reinforcement with a grader."""
    spelling = {"sync": "output", "async": "completion"}[driver.kind]
    pairs = driver.upload(BOM + preferences(12, spelling))
    asked = driver.upload(questions(10))
    one = {"n_epochs": 1, "batch_size": 5}
    dpo = {"type": "dpo", "dpo": {"hyperparameters": {**one, "beta": 0.2}}}
    reinforcement = {
        "type": "reinforcement",
        "reinforcement": {
            "grader": GRADER,
            "hyperparameters": {**one, "compute_multiplier": 0.25},
        },
    }
    made = [
        create(driver, live, training_file=file.id, method=method, extra_body=extra)
        for file, method, extra in (
            (pairs, dpo, QUICK),
            (asked, reinforcement, {**QUICK, "stage.max_answer_tokens": 8}),
        )
    ]
    ended = [driver.finished(job.id) for job in made]
    assert [job.method.type for job in ended] == ["dpo", "reinforcement"]
    assert ended[0].method.dpo.hyperparameters.beta == 0.2
    assert ended[1].method.reinforcement.grader.name == GRADER["name"]
    for job in ended:
        assert job.fine_tuned_model.startswith("ft:starter:")
        assert job.trained_tokens > 0
        events = driver.all(driver.c.fine_tuning.jobs.list_events(job.id, limit=100))
        assert {2} <= {event.data.get("step") for event in events if event.data}


def test_fields_of_a_recipe_come_in_the_extra_body(live: Live, driver: Driver) -> None:
    """T11: they are applied."""
    extra = {"rank": 4, "training.optimizer.weight_decay": 0.02, "general_ratio": 0.25}
    mixed = [{"dataset": "builtin:general", "role": "general"}]
    job = create(driver, live, extra_body={**extra, "datasets": mixed})
    driver.finished(job.id, "queued", "running", "succeeded")
    with live.native() as native:
        recipe = native.get(f"/jobs/{job.id}/recipe").json()["recipe"]
    cancel(driver, job.id)
    assert recipe["adapter"]["rank"] == 4
    assert recipe["training"]["optimizer"]["weight_decay"] == 0.02
    assert recipe["data"]["general_ratio"] == 0.25
    assert [each["role"] for each in recipe["data"]["train"]] == ["user", "general"]


def test_jobs_are_filtered_by_metadata_and_paged(live: Live, driver: Driver) -> None:
    """T12, T13."""
    jobs, kind = driver.c.fine_tuning.jobs, driver.kind
    wanted = [{"team": kind, "n": "1"}, {"team": kind, "n": "2"}, None]
    made = [cancelled(driver, live, metadata) for metadata in wanted]
    both = [job.id for job in driver.all(jobs.list(metadata={"team": kind}, limit=1))]
    assert both == [made[1], made[0]]
    one = driver.all(jobs.list(metadata={"team": kind, "n": "1"}))
    assert [job.id for job in one] == [made[0]]
    without = [job.id for job in driver.all(jobs.list(extra_query={"metadata": "null"}))]
    assert made[2] in without
    assert not {made[0], made[1]} & {*without}
    every = [job.id for job in driver.all(jobs.list(limit=2))]
    assert len(every) == len({*every})
    assert {*made} <= {*every}


def test_a_running_job_is_cancelled_and_a_finished_one_is_not(live: Live, driver: Driver) -> None:
    """T15: the refusal is sent once only."""
    job = create(driver, live, hyperparameters={"n_epochs": 50, "batch_size": 1})
    driver.finished(job.id, "running")
    driver(driver.c.fine_tuning.jobs.cancel(job.id))
    ended = driver.finished(job.id, "cancelled")
    assert ended.fine_tuned_model is None
    assert ended.result_files == []
    driver.sent.clear()
    with pytest.raises(openai.BadRequestError):
        driver(driver.c.fine_tuning.jobs.cancel(job.id))
    assert driver.sent == [f"POST /v1/fine_tuning/jobs/{job.id}/cancel"]


def test_three_rows_are_too_few(live: Live, driver: Driver) -> None:
    """T28."""
    few = driver.upload(chats(3))
    job = driver.finished(create(driver, live, training_file=few.id).id, "failed")
    assert job.error.code == "invalid_n_examples"
    assert job.error.param == "training_file"
    text = "Training file has 3 example(s), but must have at least 10 examples"
    assert job.error.message == text
    events = driver(driver.c.fine_tuning.jobs.list_events(job.id)).data
    assert (events[0].level, events[0].message) == ("error", text)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (chats(11) + b'{"messages": [{"role": "robot", "content": "x"}]}\n', "Example 12"),
        (b"\xff\xfegarbage\n" * 20, "invalid training file"),
    ],
)
def test_bad_rows_end_the_job_with_their_number(
    live: Live, driver: Driver, content: bytes, told: str
) -> None:
    file = driver.upload(content)
    job = driver.finished(create(driver, live, training_file=file.id).id, "failed")
    assert told in job.error.message
    assert job.error.param == "training_file"


def test_rows_of_training_and_validation_must_not_be_the_same(live: Live, driver: Driver) -> None:
    overlapping = driver.upload(chats(10, start=300) + chats(1, start=4))
    job = create(driver, live, validation_file=overlapping.id)
    job = driver.finished(job.id, "failed")
    assert job.error.code == "invalid_validation_file"
    assert "example 11" in job.error.message


def test_a_byte_order_mark_is_no_part_of_the_first_row(live: Live, driver: Driver) -> None:
    """T29."""
    file = driver.upload(b"\xef\xbb\xbf" + chats(12))
    job = create(driver, live, training_file=file.id)
    job = driver.finished(job.id, "queued", "running", "succeeded")
    texts = [e.message for e in driver.all(driver.c.fine_tuning.jobs.list_events(job.id))]
    assert "Validated the files: 12 examples" in texts
    cancel(driver, job.id)


def test_an_estimate_starts_nothing(live: Live, driver: Driver) -> None:
    before = len(driver.all(driver.c.fine_tuning.jobs.list()))
    body = {"model": BASE, "training_file": live.made["training"]}
    told = driver(driver.c.post("/fine_tuning/jobs/estimate", body=body, cast_to=dict[str, Any]))
    assert told["n_epochs"] == 5
    assert told["seconds"] > 0
    assert told["steps"] == 50
    assert len(driver.all(driver.c.fine_tuning.jobs.list())) == before

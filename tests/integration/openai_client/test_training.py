"""A whole training by the stock openai client, sync and async, and what is left of it.

T1 to T30 are the conformance list of the OpenAI surface.
"""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.integration.openai_client.live import (
    ADMIN_TOKEN,
    BASE,
    LAST,
    LONG,
    Driver,
    Live,
    chats,
    create,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COLUMNS = [
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
]


def test_a_job_is_paused_resumed_and_succeeds(paused_run: tuple[Any, list[str]]) -> None:
    """T14: in this order."""
    _, seen = paused_run
    assert seen[0] in ("pausing", "paused")
    assert seen[1:] == ["paused", "queued", "succeeded"]


def test_a_finished_job_has_all_required_keys(
    live: Live, driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    """T7, T8: legacy hyperparameters show in `method` too."""
    job, _ = paused_run
    assert job.object == "fine_tuning.job"
    assert job.model == BASE
    end = job.id[-8:]
    assert job.fine_tuned_model == f"ft:starter:default:paused-{driver.kind}:{end}"
    assert job.user_provided_suffix == f"paused {driver.kind}"
    assert job.training_file == live.made["training"]
    assert job.validation_file == live.made["validation"]
    assert job.organization_id == live.project
    assert job.seed == 7
    assert job.metadata == {"run": driver.kind}
    assert job.error is None
    assert job.finished_at >= job.created_at > 1_600_000_000
    assert job.trained_tokens > 0
    numbers = job.hyperparameters.model_dump()
    assert numbers == {**LONG, "learning_rate_multiplier": 1.0}
    assert job.method.supervised.hyperparameters.model_dump() == numbers


def test_the_result_file_has_a_row_a_step_as_without_the_pause(
    driver: Driver, paused_run: tuple[Any, list[str]], plain_run: str
) -> None:
    """T14, T30."""
    job, _ = paused_run
    plain = driver.finished(plain_run)
    (rows, other) = (_curves(driver, each) for each in (job, plain))
    assert [int(row["step"]) for row in rows] == list(range(1, LAST + 1))
    assert [float(r["train_loss"]) for r in rows] == pytest.approx(
        [float(r["train_loss"]) for r in other], rel=1e-5
    )
    measured = [row for row in rows if row["valid_loss"]]
    assert measured
    assert measured[-1]["full_valid_loss"] == measured[-1]["valid_loss"]


def _curves(driver: Driver, job: Any) -> list[dict[str, str]]:
    assert len(job.result_files) == 1
    file = driver(driver.c.files.retrieve(job.result_files[0]))
    assert file.purpose == "fine-tune-results"
    content = driver(driver.c.files.content(file.id)).read()
    content = driver(content) if not isinstance(content, bytes) else content
    assert len(content) == file.bytes
    table = csv.DictReader(io.StringIO(content.decode()))
    rows = list(table)
    assert table.fieldnames == COLUMNS
    return rows


def test_events_say_what_programs_read_in_them(
    driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    """T13 for events: all of them, each once, newest first."""
    job, _ = paused_run
    events = driver.all(driver.c.fine_tuning.jobs.list_events(job.id, limit=50))
    assert len({event.id for event in events}) == len(events)
    times = [event.created_at for event in events]
    assert times == sorted(times, reverse=True)
    texts = [event.message for event in events]
    assert texts[0] == "The job has successfully completed"
    assert texts[1] == f"New fine-tuned model created: {job.fine_tuned_model}"
    assert texts[-1] == "Created fine-tuning job"
    assert any(t.startswith("Hyperparameters: n_epochs=15, batch_size=2") for t in texts)
    step = re.compile(rf"Step \d+/{LAST}: training loss=[\d.e+-]+")
    steps = [event for event in events if step.fullmatch(event.message)]
    assert {event.data["step"] for event in steps} == set(range(1, LAST + 1))
    assert all(event.type == "metrics" and event.data["train_loss"] > 0 for event in steps)
    measured = [event for event in events if "validation loss=" in event.message]
    assert measured
    assert all({"train_loss", "valid_loss", "full_valid_loss"} <= set(e.data) for e in measured)


def test_checkpoints_are_listed_and_can_be_used(
    live: Live, driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    """T13 for checkpoints; T20: their names in retrieve, and as the base of a new job."""
    job, _ = paused_run
    pages = driver.c.fine_tuning.jobs.checkpoints.list(job.id, limit=1)
    found = driver.all(pages)
    assert len({each.id for each in found}) == len(found) >= 3
    assert [each.step_number for each in found] == sorted(
        (each.step_number for each in found), reverse=True
    )
    newest = found[0]
    assert newest.fine_tuned_model_checkpoint == f"{job.fine_tuned_model}:ckpt-step-{LAST}"
    assert newest.fine_tuning_job_id == job.id
    assert newest.metrics.train_loss > 0
    name = newest.fine_tuned_model_checkpoint
    assert driver(driver.c.models.retrieve(name)).id == name
    onward = create(driver, live, model=name)
    assert onward.model == name
    assert driver(driver.c.fine_tuning.jobs.cancel(onward.id)).status == "cancelled"


def test_a_job_of_one_api_is_seen_in_the_other(
    live: Live, driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    job, _ = paused_run
    with live.native() as native:
        shown = native.get(f"/jobs/{job.id}").json()
        assert shown["status"] == "succeeded"
        assert {each["role"] for each in shown["datasets"]} == {"train", "validation"}
        draft = {"name": "native", "base": BASE, "datasets": ["builtin:shop"], "priority": -100}
        made = native.post("/jobs", json=draft)
        assert made.status_code == 201, made.text
        native.post(f"/jobs/{made.json()['id']}/cancel")
    twin = driver(driver.c.fine_tuning.jobs.retrieve(made.json()["id"]))
    assert twin.hyperparameters.n_epochs == 6
    assert twin.training_file == "builtin:shop"


def test_a_result_and_its_checkpoint_answer_plain_and_streamed(
    live: Live, driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    """T21, T22, T23."""
    job, _ = paused_run
    saved = driver(driver.c.fine_tuning.jobs.checkpoints.list(job.id)).data[0]
    question: list[Any] = [{"role": "user", "content": "Hello! Who are you?"}]
    for model in (job.fine_tuned_model, saved.fine_tuned_model_checkpoint):
        asked = {"model": model, "messages": question, "max_tokens": 12, "temperature": 0}
        plain = driver(driver.c.chat.completions.create(**asked))
        assert plain.model == model
        assert plain.usage.completion_tokens > 0
        parts = driver.all(driver(driver.c.chat.completions.create(**asked, stream=True)))
        text = "".join(part.choices[0].delta.content or "" for part in parts)
        assert text == plain.choices[0].message.content
        assert parts[-1].choices[0].finish_reason in ("stop", "length")
    told = driver(driver.c.completions.create(model=BASE, prompt="Hello", max_tokens=4))
    assert told.choices[0].finish_reason in ("stop", "length")
    with pytest.raises(openai.BadRequestError, match="is deployed as"):
        driver(driver.c.models.delete(job.fine_tuned_model))
    with live.native() as native:
        for row in native.get("/deployments").json()["data"]:
            native.post(f"/deployments/{row['id']}/stop")


def test_models_with_colons_and_slashes_are_found_and_deleted(
    driver: Driver, paused_run: tuple[Any, list[str]], plain_run: str
) -> None:
    """T20, T16."""
    assert driver(driver.c.models.retrieve("Qwen/Qwen3-0.6B")).owned_by == "tunesmith"
    job, _ = paused_run
    name = job.fine_tuned_model
    assert name in [model.id for model in driver.all(driver.c.models.list())]
    assert driver(driver.c.models.retrieve(name)).shutdown_date is None
    assert plain_run != job.id
    deleted = driver(driver.c.models.delete(name))
    assert (deleted.deleted, deleted.id, deleted.object) == (True, name, "model")
    with pytest.raises(openai.NotFoundError):
        driver(driver.c.models.retrieve(name))


def test_permissions_need_the_admin_key(
    live: Live, driver: Driver, paused_run: tuple[Any, list[str]]
) -> None:
    """T24, T20."""
    job, _ = paused_run
    saved = driver(driver.c.fine_tuning.jobs.checkpoints.list(job.id)).data[0]
    name = saved.fine_tuned_model_checkpoint
    with pytest.raises(openai.PermissionDeniedError):
        driver(
            driver.c.fine_tuning.checkpoints.permissions.create(
                name, project_ids=[live.other_project]
            )
        )
    permissions = driver.client(ADMIN_TOKEN).fine_tuning.checkpoints.permissions
    pages = permissions.create(name, project_ids=[live.other_project, live.project])
    made = driver.all(pages)
    assert [each.project_id for each in made] == [live.other_project, live.project]
    listed = driver.all(permissions.list(name, limit=1))
    assert {each.id for each in listed} == {each.id for each in made}
    with pytest.warns(DeprecationWarning, match="list"):
        one = driver(permissions.retrieve(name, project_id=live.project))
    assert [each.id for each in one.data] == [made[1].id]
    gone = driver(permissions.delete(made[0].id, fine_tuned_model_checkpoint=name))
    assert (gone.deleted, gone.id) == (True, made[0].id)
    assert len(driver.all(permissions.list(name))) == 1
    driver(permissions.delete(made[1].id, fine_tuned_model_checkpoint=name))


@pytest.mark.parametrize("guide", ["docs/openai", "README"])
def test_the_example_of_the_guide_runs(live: Live, tmp_path: Path, guide: str) -> None:
    """As it stands there, but for address, key and fewer rows; in both languages one code."""
    root = Path(__file__).parents[3]
    block = re.compile(r"```python\n((?:(?!```).)*?\bOpenAI\(.*?)```", re.DOTALL)
    examples = [block.findall((root / f"{guide}{end}").read_text())[0] for end in (".md", ".zh.md")]
    english, chinese = (re.sub(r" *# .*", "", example) for example in examples)
    assert english == chinese
    code = examples[0].replace("http://127.0.0.1:8400", live.url)
    code = code.replace("tsk-...", live.member_token)
    (tmp_path / "train.jsonl").write_bytes(chats(12))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "Created fine-tuning job"
    assert any(re.match(r"Step \d+/\d+: training loss=", line) for line in lines)
    named = re.compile(r"ft:starter:default:shop:[0-9a-z]{8}")
    assert any(named.fullmatch(line) for line in lines)
    assert guide != "README" or not named.fullmatch(lines[-1]), "the answer of the result"

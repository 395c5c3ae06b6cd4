"""Models that answer on a real server: its worker, serving processes, the stock client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.unit.sdk.living import ADMIN_TOKEN, Live, live_server, wait_for

from tunesmith.sdk import ApiError, Client

pytestmark = pytest.mark.slow
QUESTION: list[Any] = [{"role": "user", "content": "Hello! Who are you?"}]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server(tmp_path_factory.mktemp("live"), worker=True) as running:
        yield running


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(live.url, ADMIN_TOKEN) as connected:
        yield connected


@pytest.fixture
def stock(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=ADMIN_TOKEN, max_retries=0) as made:
        yield made


def answer(stock: openai.OpenAI, model: str, **options: Any) -> str:
    told = stock.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=12, temperature=0, **options
    )
    assert told.model == model
    return told.choices[0].message.content or ""


def processes(live: Live) -> list[int]:
    """The numbers of the serving processes of this server."""
    noted = (live.log.parent / "data" / "servings").glob("*/process.json")
    return [json.loads(file.read_bytes())["pid"] for file in noted]


def test_a_model_is_started_by_the_first_question_and_streams_the_same_answer(
    live: Live, client: Client, stock: openai.OpenAI
) -> None:
    whole = answer(stock, "starter")
    stream = stock.chat.completions.create(
        model="starter", messages=QUESTION, max_tokens=12, temperature=0, stream=True
    )
    chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {"starter"}
    assert all(chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    with_usage = stock.chat.completions.create(
        model="starter", messages=QUESTION, max_tokens=12, temperature=0, stream=True,
        stream_options={"include_usage": True}, store=False,
    )  # fmt: skip
    usage = [chunk.usage for chunk in with_usage if chunk.usage]
    assert usage[-1].completion_tokens > 0
    [row] = [each for each in client.deployments.list() if each.name == "starter"]
    forgotten, streamed, first = wait_for(
        lambda: (found := list(client.deployments.requests(row.id)))[2:] and found
    )
    assert (first.question, first.answer) == (QUESTION, whole)
    assert streamed.answer == whole
    assert streamed.completion_tokens == first.completion_tokens > 0
    assert (forgotten.question, forgotten.answer) == (None, None)
    assert len(processes(live)) == 1


@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_results_and_checkpoints_answer_from_the_process_of_their_base(
    live: Live, client: Client, stock: openai.OpenAI, tmp_path: Path, kind: str
) -> None:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."}
            for n in range(120)]  # fmt: skip
    file = tmp_path / f"{kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = client.datasets.upload(f"{kind}-sums", file)
    job = client.jobs.create(
        base="starter",
        datasets=[data.name],
        recipe={"name": f"{kind}-sums", "adapter": {"kind": kind},
                "training": {"max_steps": 2, "checkpoint": {"every_steps": 1}}},
    )  # fmt: skip
    wait_for(lambda: client.jobs.get(job.id).status == "succeeded")
    result = client.models.get(str(client.jobs.get(job.id).model_id)).name
    [saved, *_] = stock.fine_tuning.jobs.checkpoints.list(job.id).data
    before = processes(live)
    for model in (result, saved.fine_tuned_model_checkpoint):
        assert answer(stock, model)
    assert processes(live) == before or not before
    with pytest.raises(openai.BadRequestError, match="is deployed as"):
        stock.models.delete(result)
    [row] = [each for each in client.deployments.list() if each.name == result]
    client.deployments.delete(row.id)
    assert stock.models.delete(result).deleted
    with pytest.raises(openai.NotFoundError):
        answer(stock, result)


def test_a_process_that_is_killed_comes_back_and_answers(
    live: Live, client: Client, stock: openai.OpenAI
) -> None:
    said = answer(stock, "starter")
    [row] = [each for each in client.deployments.list() if each.name == "starter"]
    [victim] = processes(live)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: processes(live) not in ([], [victim]))
    assert client.deployments.wait(row.id).status == "ready"
    assert answer(stock, "starter") == said


def test_a_model_that_nobody_asks_stops_and_its_process_ends(
    live: Live, client: Client, stock: openai.OpenAI
) -> None:
    said = answer(stock, "starter")
    for row in client.deployments.list():
        client.deployments.update(row.id, idle_seconds=1)
    wait_for(lambda: not processes(live))
    [row] = [each for each in client.deployments.list() if each.name == "starter"]
    assert (row.status, row.reason) == ("stopped", "idle")
    client.deployments.update(row.id, idle_seconds=900)
    assert answer(stock, "starter") == said


def test_wrong_questions_are_told_in_the_shape_of_the_api(stock: openai.OpenAI) -> None:
    long = [{"role": "user", "content": "far too long " * 2000}]
    with pytest.raises(openai.BadRequestError, match=r"context of this model is 1,024"):
        stock.chat.completions.create(model="starter", messages=long)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="There is no model nowhere"):
        answer(stock, "nowhere")
    with pytest.raises(openai.BadRequestError):
        stock.chat.completions.create(model="starter", messages=QUESTION, temperature=-1)


def test_a_model_that_is_too_large_for_the_memory_says_so(tmp_path: Path) -> None:
    with (
        live_server(tmp_path, worker=True, deployment_memory_gib=0.1) as small,
        Client(small.url, ADMIN_TOKEN) as client,
    ):
        made = client.deployments.create("starter")
        assert client.deployments.wait(made.id).error is not None
        told = client.deployments.get(made.id).error
        assert told is not None
        assert told["code"] == "no_memory_for_model"
        assert "102 MiB" in told["message"]
        with pytest.raises(ApiError):
            client.deployments.create("starter")


def test_a_file_of_this_machine_is_evaluated_there(live: Live, tmp_path: Path) -> None:
    """The command line sends the rows, waits, and fetches report and scores."""
    rows = [{"prompt": f"Say {n}", "completion": f"{n}"} for n in range(3)]
    file, out = tmp_path / "said.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = os.environ | {"TUNESMITH_URL": live.url, "TUNESMITH_TOKEN": ADMIN_TOKEN}
    command = [sys.executable, "-m", "tunesmith", "evaluate", "starter", "--remote"]
    words = ["--data", str(file), "--out", str(out), "--lang", "zh", "--json"]
    done = subprocess.run(
        [*command, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["summary"]["rows"], told["base"]) == ("succeeded", 3, "")
    assert 'lang="zh-CN"' in (out / "report.html").read_text(encoding="utf-8")
    assert len(json.loads((out / "evaluation.json").read_bytes())["by_row"]) == 3
    refused = subprocess.run(
        [*command, "--data", str(file), "--out", str(tmp_path / "o"), "--allow-code"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "--allow-code cannot be had with --remote" in refused.stderr


def test_a_folder_beside_the_server_is_no_model(live: Live, client: Client) -> None:
    """Serving processes run in a folder of their own, so no name of a user leads into others."""
    if not processes(live):
        client.deployments.wait(client.deployments.create("starter").id)
    folders = {Path(f"/proc/{pid}/cwd").resolve().parent.name for pid in processes(live)}
    assert folders == {"servings"}


def _evaluating(live: Live) -> list[str]:
    """The ids of all deployments that evaluations have made."""
    audit = httpx.get(
        f"{live.url}/api/v1/audit?action=deployment.create&limit=1000",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    rows = audit.raise_for_status().json()["data"]
    return [row["target"] for row in rows if row["details"]["name"].startswith("evaluation-")]


def test_a_reward_model_is_compared_with_its_base_on_pairs_without_being_deployed(
    live: Live, client: Client, tmp_path: Path
) -> None:
    rows = [{"prompt": f"What is {n} plus {n}?", "chosen": f"It is {n + n}.",
             "rejected": f"qx {n} zzv"} for n in range(120)]  # fmt: skip
    file = tmp_path / "preferred.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = client.datasets.upload("preferred", file)
    before = _evaluating(live)
    held_out = {"kind": "split", "fraction": 0.1}
    job = client.jobs.create(
        base="starter",
        datasets=[data.name],
        recipe={"name": "preferred", "stage": {"kind": "rm"}, "adapter": {"kind": "lora"},
                "training": {"max_steps": 12, "learning_rate": 0.001},
                "data": {"test": held_out}, "gate": {"min_rows": 5}},
    )  # fmt: skip
    [found] = wait_for(lambda: list(client.evaluations.list(job_id=job.id)))
    ended = client.evaluations.wait(found.id)
    assert (ended.state, ended.base) == ("succeeded", "starter"), ended.error
    assert ended.summary["primary"] == "preference_accuracy"
    assert list(ended.summary["scores"]) == ["preference_accuracy"]
    assert _evaluating(live) == before
    shown = httpx.get(
        f"{live.url}/api/v1/evaluations/{ended.id}/rows",
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    ).raise_for_status()
    answers = [row["tuned"]["finish_reason"] for row in shown.json()["data"]]
    assert answers == ["preferred"] * 12


def test_a_result_that_is_not_served_is_compared_by_what_can_be_measured(
    client: Client, tmp_path: Path
) -> None:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."}
            for n in range(120)]  # fmt: skip
    file = tmp_path / "beside.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = client.datasets.upload("beside", file)
    job = client.jobs.create(
        base="starter",
        datasets=[data.name],
        recipe={"name": "beside", "adapter": {"kind": "adapter", "virtual_tokens": 4},
                "training": {"max_steps": 2, "learning_rate": 0.02},
                "data": {"test": {"kind": "split", "fraction": 0.1}}},
    )  # fmt: skip
    [found] = wait_for(lambda: list(client.evaluations.list(job_id=job.id)))
    ended = client.evaluations.wait(found.id)
    assert ended.state == "succeeded", ended.error
    assert list(ended.summary["scores"]) == ["perplexity"]
    result = client.models.get(str(client.jobs.get(job.id).model_id)).name
    with pytest.raises(ApiError, match="are not served"):
        client.deployments.create(result)


def test_perplexity_of_a_model_of_the_platform_is_measured_where_its_files_lie(
    client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": f"Row {n} of a text."}) + "\n" for n in range(5)))
    data = client.datasets.upload("texts", file)
    made = client.evaluations.create("starter", dataset=data.name, compares=False, split="all")
    ended = client.evaluations.wait(made.id)
    assert ended.state == "succeeded", ended.error
    assert ended.summary["scores"]["perplexity"]["value"] > 1


def test_a_result_is_compared_with_its_base_and_kept_out_until_an_admin_says_otherwise(
    live: Live, client: Client, stock: openai.OpenAI, tmp_path: Path
) -> None:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"It is {n + n}."}
            for n in range(120)]  # fmt: skip
    file = tmp_path / "judged.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = client.datasets.upload("judged", file)
    few = tmp_path / "few.jsonl"
    few.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))
    general = client.datasets.upload("few", few).name
    before = _evaluating(live)
    held_out = {"kind": "split", "fraction": 0.1}
    job = client.jobs.create(
        base="starter",
        datasets=[data.name],
        recipe={"name": "judged", "adapter": {"kind": "lora"}, "training": {"max_steps": 2},
                "data": {"test": held_out}, "gate": {"general": general}},
    )  # fmt: skip
    [found] = wait_for(lambda: list(client.evaluations.list(job_id=job.id)))
    ended = client.evaluations.wait(found.id)
    made = [row for row in _evaluating(live) if row not in before]
    assert len(made) == 2  # one of each model, for test rows and general questions alike
    assert (ended.base, ended.verdict) == ("starter", "hold"), ended.error
    assert ended.summary["rows"] == 12
    page = client.evaluations.report(found.id, tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    result = client.models.get(str(client.jobs.get(job.id).model_id))
    with pytest.raises(openai.BadRequestError, match="did not pass"):
        answer(stock, result.name)
    made = client.deployments.create(result.name, overrides_gate=True)
    assert client.deployments.wait(made.id).status == "ready"
    assert answer(stock, result.name)
    assert all(not row.name.startswith("evaluation-") for row in client.deployments.list())

"""Curves, logs and checkpoints of jobs over HTTP. F3, F4, F8, G5, X7; row 33 of the faults."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, update
from tests.unit.api.conftest import Server
from tests.unit.api.training import started, step, steps, submit, succeeded

from tunesmith.server import claims, clock
from tunesmith.server.quotas import storage_bytes
from tunesmith.server.services.thinning import thinned
from tunesmith.server.tables import Attempt, Device, Job, MetricPoint

JOBS = "/api/v1/jobs"


def test_curves_show_a_step_as_it_was_done_at_last(server_on_both: Server) -> None:
    server = server_on_both
    database = server.platform.database
    job = submit(server)["id"]
    claimed = started(server, job)
    steps(server, claimed, range(1, 6))
    claims.interrupted(database, claimed, checkpoint_step=3)
    claimed = started(server, job)
    events = [step(claimed.attempt, n, 3 + n, loss=9.0, throughout=5.0) for n in (1, 2, 3)]
    evaluation = {"attempt": claimed.attempt, "seq": 4, "type": "evaluation", "step": 6}
    claims.record(database, claimed, [*events, evaluation | {"loss": 0.5, "token_accuracy": 0.9}])
    found = server.viewer.get(f"{JOBS}/{job}/metrics", params={"smoothing": 1}).json()
    loss = found["series"]["loss"]
    assert loss["steps"] == [1, 2, 3, 4, 5, 6]
    assert loss["values"] == pytest.approx([2, 1, 2 / 3, 9, 9, 9])
    assert len(loss["smoothed"]) == 6
    assert loss["times"][0] == 1772366400.0  # as the engine says: 2026-03-01 12:00 UTC
    assert found["restarts"] == [3]
    assert found["last_step"] == 6
    assert found["series"]["validation_loss"]["values"] == [0.5]
    assert found["series"]["throughput"]["values"][-1] == 5.0  # F5: under its other spelling
    assert "utilisation" not in found["series"]  # nobody measured it
    one = server.viewer.get(f"{JOBS}/{job}/metrics", params={"series": "loss", "from_step": 5})
    assert one.json()["series"].keys() == {"loss"}
    assert one.json()["series"]["loss"]["steps"] == [5, 6]


def test_a_curve_that_no_job_has_is_refused_and_one_without_a_point_is_not(server: Server) -> None:
    job = submit(server)["id"]
    path = f"{JOBS}/{job}/metrics"
    for name in ("loss", "validation_loss", "memory_utilisation"):
        early = server.viewer.get(path, params={"series": name})
        assert (early.status_code, early.json()["series"]) == (200, {})
    for wrong in ("nosuch", "validation_nosuch", "step"):
        answer = server.viewer.get(path, params={"series": ["loss", wrong]})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            400, "unknown_series", "series",
        )  # fmt: skip
        assert "loss, token_accuracy, learning_rate" in error["hint"]
    told = server.viewer.get(path, params={"series": "nosuch"}, headers={"accept-language": "zh"})
    assert "nosuch" in told.json()["error"]["message"]
    recipe = {"stage": {"kind": "dpo"}, "data": {"validation": {"kind": "none"}}}
    pairs = submit(server, recipe=recipe)["id"]  # nothing is measured yet: its names may come
    answer = server.viewer.get(f"{JOBS}/{pairs}/metrics", params={"series": "reward_margin"})
    assert (answer.status_code, answer.json()["series"]) == (200, {})


def test_what_a_stage_measures_besides_has_curves_and_columns_too(server: Server) -> None:
    job = submit(server)["id"]
    claimed = started(server, job)
    events = [step(claimed.attempt, n, n, reward_margin=n / 10, kl=None) for n in (1, 2)]
    evaluation = {"attempt": claimed.attempt, "seq": 3, "type": "evaluation", "step": 2}
    told = {"loss": 0.5, "reward_accuracy": 0.75, "rows": 8, "tokens": 90, "best": True}
    claims.record(server.platform.database, claimed, [*events, evaluation | told])
    series = server.viewer.get(f"{JOBS}/{job}/metrics").json()["series"]
    assert series["reward_margin"]["values"] == pytest.approx([0.1, 0.2])
    assert series["validation_reward_accuracy"]["values"] == [0.75]
    assert not series.keys() & {"kl", "step", "tokens", "validation_rows", "validation_best"}
    one = server.viewer.get(f"{JOBS}/{job}/metrics", params={"series": "reward_margin"}).json()
    assert one["series"].keys() == {"reward_margin"}
    table = server.viewer.get(f"{JOBS}/{job}/metrics.csv").text.splitlines()
    assert table[0].endswith(",reward_margin")
    assert table[2].endswith(",0.2")


def test_a_long_run_is_thinned_out_and_keeps_its_spikes(server: Server) -> None:
    job = submit(server)["id"]
    spikes = {777: 50.0, 8123: -3.0}
    add_points(server, job, [spikes.get(n, math.sin(n / 500)) for n in range(10_000)])
    loss = server.viewer.get(f"{JOBS}/{job}/metrics").json()["series"]["loss"]
    assert len(loss["steps"]) <= 2000
    assert loss["num_points"] == 10_000
    assert loss["steps"] == sorted(loss["steps"])
    assert {50.0, -3.0} <= set(loss["values"])
    assert (loss["steps"][0], loss["steps"][-1]) == (1, 10_000)
    few = server.viewer.get(f"{JOBS}/{job}/metrics", params={"points": 10}).json()
    assert len(few["series"]["loss"]["steps"]) <= 10
    assert server.viewer.get(f"{JOBS}/{job}/metrics", params={"points": 9999}).status_code == 422


def test_thinning_keeps_extremes_ends_and_gaps() -> None:
    values = np.full(1000, math.nan)
    values[:300] = 1.0
    values[123] = 7.0
    kept = thinned(values, 50)
    assert len(kept) <= 50
    assert {0, 123, 999} <= set(kept)
    assert any(math.isnan(values[index]) for index in kept)
    assert thinned(values[:40], 50) == list(range(40))


def test_all_points_come_as_csv(server: Server) -> None:
    job = submit(server)["id"]
    add_points(server, job, [float(n) for n in range(6000)])
    answer = server.viewer.get(f"{JOBS}/{job}/metrics.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 6000
    assert (rows[-1]["step"], float(rows[-1]["loss"])) == ("6000", 5999.0)


def add_points(server: Server, job_id: str, losses: list[float]) -> None:
    """As an engine would have reported them, all at once."""
    with server.platform.database.write() as session:
        now = clock.read(session).wall
        job = session.get_one(Job, job_id)
        first = job.event_count + 1
        rows: list[dict[str, Any]] = [
            {
                "job_id": job_id,
                "number": first + n,
                "attempt": 1,
                "seq": n + 1,
                "step": n + 1,
                "data": {"step": n + 1, "loss": loss, "time": "=1+1"},
                "created_at": now,
            }
            for n, loss in enumerate(losses)
        ]
        session.execute(insert(MetricPoint), rows)
        job.event_count += len(rows)


def test_a_spreadsheet_takes_nothing_in_the_csv_for_a_formula(server: Server) -> None:
    """Row 21 of the faults."""
    job = submit(server)["id"]
    add_points(server, job, [1.0])
    text = server.viewer.get(f"{JOBS}/{job}/metrics.csv").text
    assert ",'=1+1," in text


def write_log(data_dir: Path, job_id: str, content: bytes) -> None:
    path = data_dir / "runs" / job_id / "logs" / "train.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_the_end_of_a_log_comes_at_once_and_older_parts_on_request(
    server: Server, data_dir: Path
) -> None:
    job = submit(server)["id"]
    assert server.viewer.get(f"{JOBS}/{job}/log").json()["size"] == 0
    assert server.viewer.get(f"{JOBS}/{job}/log/download").status_code == 404
    content = b"".join(b"line %05d \xe4\xb8\xad\n" % n for n in range(20_000))
    write_log(data_dir, job, content)
    tail = server.viewer.get(f"{JOBS}/{job}/log", params={"num_bytes": 1000}).json()
    assert tail["end"] == tail["size"] == len(content)
    assert tail["text"].startswith("line 199")
    assert tail["text"].endswith("line 19999 中\n")
    text, start = "", 0
    while start < len(content):
        part = server.viewer.get(
            f"{JOBS}/{job}/log", params={"start": start, "num_bytes": 1 << 17}
        ).json()
        assert part["start"] == start
        text, start = text + part["text"], part["end"]
    assert text == content.decode()
    whole = server.viewer.get(f"{JOBS}/{job}/log/download")
    assert whole.content == content
    assert "attachment" in whole.headers["content-disposition"]


def test_a_log_is_text_without_orders_to_a_terminal(server: Server, data_dir: Path) -> None:
    """Row 22 of the faults."""
    job = submit(server)["id"]
    write_log(
        data_dir,
        job,
        b"\x1b[31mred\x1b[0m \x1b]0;title\x07<b>x</b>\x00\x9b\r 10%\r 20%\r\nend \xff\n",
    )
    text = server.viewer.get(f"{JOBS}/{job}/log").json()["text"]
    assert text.startswith("red <b>x</b>")
    assert "\n 10%\n 20%\nend" in text
    assert not any(ord(each) < 32 and each not in "\n\t" for each in text)
    assert "title" not in text


def test_a_checkpoint_becomes_one_model(server_on_both: Server) -> None:
    """A2, G5."""
    server = server_on_both
    job = submit(server, recipe={"adapter": {"kind": "lora"}})["id"]
    claimed = started(server, job)
    checkpoint = claims.add_checkpoint(
        server.platform.database, claimed, 10, num_bytes=5, metrics={"loss": 1.5}
    )
    succeeded(server, claimed)
    listed = server.viewer.get(f"{JOBS}/{job}/checkpoints").json()["data"]
    assert [(each["id"], each["step"], each["metrics"]) for each in listed] == [
        (checkpoint, 10, {"loss": 1.5})
    ]
    path = f"/api/v1/checkpoints/{checkpoint}/model"
    assert server.viewer.post(path).status_code == 403
    assert server.foreigner.post(path).status_code == 404
    first, again = server.member.post(path), server.member.post(path)
    assert (first.status_code, again.status_code) == (201, 200)
    made = first.json()
    assert made["model_id"] == again.json()["model_id"]
    assert (made["name"], made["kind"]) == ("ft:starter:bot::1:ckpt-step-10", "adapter")
    next_job = submit(server, recipe={"adapter": {"continue_from": made["name"]}})
    recipe = server.viewer.get(f"{JOBS}/{next_job['id']}/recipe").json()["recipe"]
    assert recipe["adapter"]["continue_from"] == made["model_id"]
    on_top = submit(server, recipe={"adapter": {"merge_first": [made["name"]]}})
    recipe = server.viewer.get(f"{JOBS}/{on_top['id']}/recipe").json()["recipe"]
    assert recipe["adapter"]["merge_first"] == [made["model_id"]]


def checkpoint_of(server: Server, flavour: str = "h200") -> str:
    claimed = started(server, submit(server)["id"], flavour=flavour)
    return claims.add_checkpoint(server.platform.database, claimed, 10, num_bytes=4321)


def test_the_model_of_a_checkpoint_has_its_size_and_counts_once(server: Server) -> None:
    checkpoint = checkpoint_of(server)
    made = server.member.post(f"/api/v1/checkpoints/{checkpoint}/model").json()
    assert made["name"].startswith("ft:starter:default:bot:")
    assert made["name"].endswith(":ckpt-step-10")
    assert server.member.get(f"/api/v1/models/{made['model_id']}").json()["bytes"] == 4321
    with server.platform.database.read() as session:
        assert storage_bytes(session, server.users["member"]) == 4321


def test_a_second_name_for_a_checkpoint_is_refused_with_the_first(server_on_both: Server) -> None:
    client = server_on_both.member
    path = f"/api/v1/checkpoints/{checkpoint_of(server_on_both)}/model"
    first = client.post(path, json={"name": "halfway"}).json()
    for body in (None, {"name": "halfway"}, {"name": None}):
        again = client.post(path, json=body)
        assert (again.status_code, again.json()["is_new"]) == (200, False)
        assert again.json()["name"] == "halfway"
    chinese = {"Accept-Language": "zh"}
    for headers in ({}, chinese):
        refused = client.post(path, json={"name": "other"}, headers=headers)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (409, "checkpoint_is_model")
        assert "halfway" in error["message"]
        assert first["model_id"] in error["message"]
    assert error["message"].startswith("第 10 步")
    assert client.delete(f"/api/v1/models/{first['model_id']}").status_code == 204
    renamed = client.post(path, json={"name": "other"})
    assert (renamed.status_code, renamed.json()["name"]) == (201, "other")


def test_a_name_that_was_taken_meanwhile_is_told(server: Server) -> None:
    client = server.member
    path = f"/api/v1/checkpoints/{checkpoint_of(server)}/model"
    first = client.post(path, json={"name": "halfway"}).json()
    client.delete(f"/api/v1/models/{first['model_id']}")
    second = f"/api/v1/checkpoints/{checkpoint_of(server, 'b200')}/model"
    assert client.post(second, json={"name": "halfway"}).status_code == 201
    refused = client.post(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "name_taken")


def test_a_branch_goes_on_from_a_checkpoint_with_changed_fields(server: Server) -> None:
    """X7."""
    job = submit(server)["id"]
    claimed = started(server, job)
    database = server.platform.database
    first = claims.add_checkpoint(database, claimed, 10)
    claims.add_checkpoint(database, claimed, 20, kept=[20])
    gone = server.member.post(f"/api/v1/checkpoints/{first}/branch", json={})
    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "checkpoint_deleted")
    checkpoint = server.member.get(f"{JOBS}/{job}/checkpoints").json()["data"][0]["id"]
    path = f"/api/v1/checkpoints/{checkpoint}/branch"
    made = server.member.post(path, json={"changes": {"training.learning_rate": 1e-5}}).json()
    assert (made["parent_id"], made["checkpoint_id"]) == (job, checkpoint)
    recipe = server.viewer.get(f"{JOBS}/{made['id']}/recipe").json()["recipe"]
    assert recipe["training"]["learning_rate"] == 1e-5
    fixed = server.member.post(path, json={"changes": {"adapter.rank": 4}})
    assert (fixed.status_code, fixed.json()["error"]["code"]) == (400, "fixed_in_branch")
    both = server.member.get(f"{JOBS}/{job}/checkpoints", params={"with_deleted": True}).json()
    assert [each["step"] for each in both["data"]] == [20, 10]


def test_the_share_of_memory_and_values_to_compare_with_stand_beside_the_curves(
    server: Server,
) -> None:
    """F4, F5."""
    job = submit(server)["id"]
    claimed = started(server, job)
    with server.platform.database.write() as session:
        attempt = session.get_one(Attempt, (job, claimed.attempt))
        session.execute(
            update(Device)
            .where(Device.worker_id == attempt.worker_id)
            .values(memory_bytes=24 * 10**9)
        )
    told = step(claimed.attempt, 1, 1, memory_bytes=6 * 10**9, throughput=1700.0, utilisation=88.0)
    claims.record(server.platform.database, claimed, [told])
    found = server.viewer.get(f"{JOBS}/{job}/metrics").json()
    assert found["series"]["memory_utilisation"]["values"] == [25.0]
    assert found["series"]["utilisation"]["values"] == [88.0]
    references = found["references"]["throughput"]
    assert [(each["value"], each["num_devices"]) for each in references] == [
        (1650.0, 8),
        (1625.0, 16),
    ]


def test_curves_are_explained_in_both_languages(server: Server) -> None:
    """F9."""
    job = submit(server)["id"]
    add_points(server, job, [2.0])
    [early] = server.viewer.get(f"{JOBS}/{job}/advice").json()["findings"]
    assert early["code"] == "early"
    other = submit(server)["id"]
    add_points(server, other, [2.5 + 0.01 * (n % 3) for n in range(400)])
    path = f"{JOBS}/{other}/advice"
    english = server.viewer.get(path).json()["findings"]
    chinese = server.viewer.get(path, headers={"Accept-Language": "zh"}).json()["findings"]
    assert english[0]["code"] == chinese[0]["code"] == "not_falling"
    assert english[0]["message"].startswith("The loss does not fall")
    assert chinese[0]["message"].startswith("loss 没有下降")
    assert server.foreigner.get(path).status_code == 404

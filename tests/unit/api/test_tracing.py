"""From wrong answers to the training rows behind them, and on to the next job, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.training import add_dataset, started, steps, submit, succeeded

from tunesmith.runs import RunDir
from tunesmith.server import clock, ids
from tunesmith.server.tables import Dataset, DatasetVersion, Evaluation, Model, Task

ROWS = 120


class Judged:
    """A job that learned from a dataset, its result, and an evaluation with one wrong answer."""

    def __init__(self, server: Server) -> None:
        self.server, self.place = server, server.platform.place
        version_id = add_dataset(server, self.place.root, "sums", ROWS)
        with server.platform.database.read() as session:
            self.dataset_id = session.get_one(DatasetVersion, version_id).dataset_id
            self.folder = session.get_one(Dataset, self.dataset_id).folder
        self.job_id = submit(server, datasets=["sums"])["id"]
        claimed = started(server, self.job_id)
        steps(server, claimed, [1, 2])
        self.model_id = succeeded(server, claimed)
        self._run()
        self.id = self._evaluation()
        self.path = f"/api/v1/evaluations/{self.id}"

    def _run(self) -> None:
        """As the engine leaves it: the recipe that it decided, and the loss of each row."""
        recipe = self.server.member.get(f"/api/v1/jobs/{self.job_id}/recipe").json()["yaml"]
        run = RunDir.create(self.place.run(self.job_id), recipe, recipe_name="bot")
        run.resolved_path.write_text(recipe)
        met = [
            {"epoch": 1, "row": n, "source": f"{self.folder}@1", "line": n, "labels": 4, "loss": n}
            for n in range(1, ROWS + 1)
        ]
        pq.write_table(pa.Table.from_pylist(met), run.data_dir / "row_losses.parquet")

    def _evaluation(self) -> str:
        server = self.server
        of_it = {"project_id": server.project, "user_id": server.users["member"]}
        with server.platform.database.write() as session:
            now = clock.read(session).wall
            task = Task(
                id=ids.new(ids.TASK, now), kind="evaluation", state="succeeded", params={},
                created_at=now, **of_it,
            )  # fmt: skip
            session.add(task)
            session.flush()
            row = Evaluation(
                id=ids.new(ids.EVALUATION, now), task_id=task.id, model_id=self.model_id,
                model=session.get_one(Model, self.model_id).name, base="", data="sums",
                created_at=now, finished_at=now, **of_it,
            )  # fmt: skip
            session.add(row)
        _write_answers(self.place.evaluations / row.id)
        return row.id

    def asked(self, place: str, body: dict[str, Any]) -> dict[str, Any]:
        """The task of a request, done."""
        answer = self.server.member.post(f"{self.path}/{place}", json=body)
        assert answer.status_code == 202, answer.text
        self.server.finish_tasks()
        return self.server.member.get(f"/api/v1/tasks/{answer.json()['id']}").json()


def _write_answers(folder: Path) -> None:
    folder.mkdir(parents=True)
    by_row = [{"id": "0", "exact_match": 0.0}, {"id": "1", "exact_match": 1.0}]
    scores = {"exact_match": {"better": "higher"}}
    told = {"primary": "exact_match", "scores": scores, "by_row": by_row}
    (folder / "scores.json").write_bytes(orjson.dumps(told))
    said = [("0", "q7", "a7", "a8"), ("1", "q1", "a1", "a1")]
    lines = [
        {"id": number, "reference": reference, "prediction": prediction,
         "messages": [{"role": "user", "content": question}]}
        for number, question, reference, prediction in said
    ]  # fmt: skip
    (folder / "predictions.jsonl").write_bytes(b"".join(orjson.dumps(e) + b"\n" for e in lines))


@pytest.fixture
def judged(server: Server, monkeypatch: pytest.MonkeyPatch) -> Judged:
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(server.platform.place.root))
    return Judged(server)


def test_a_wrong_answer_leads_to_the_rows_of_the_dataset(judged: Judged) -> None:
    member = judged.server.member
    none_yet = member.get(f"{judged.path}/trace")
    assert (none_yet.status_code, none_yet.json()) == (200, None)
    ended = judged.asked("trace", {"neighbours": 2})
    assert ended["state"] == "succeeded", ended["error"]
    found = member.get(f"{judged.path}/trace").json()
    assert (found["rows"], found["failed"], found["training_rows"]) == (2, 1, ROWS)
    [traced] = found["traced"]
    assert traced["failure"]["prediction"] == "a8"
    nearest = traced["neighbours"][0]
    assert nearest["question"] == "q7"
    assert nearest["place"]["dataset_id"] == judged.dataset_id
    assert (nearest["place"]["version"], nearest["place"]["row"]) == (1, 8)
    assert nearest["loss_before"] == 8.0
    assert str(judged.place.root) not in orjson.dumps(found).decode()
    row = member.get(f"/api/v1/datasets/{judged.dataset_id}/versions/1/rows?after=7&limit=1")
    assert row.json()["data"][0]["id"] == nearest["place"]["row"]


def test_changed_rows_become_a_version_and_a_job_goes_on_from_the_result(judged: Judged) -> None:
    of_it = {"dataset_id": judged.dataset_id}
    changes = [{**of_it, "row": 8, "fields": {"answer": "seven"}}]
    ended = judged.asked("retrain", {"changes": changes, "removals": [{**of_it, "row": 3}]})
    assert ended["state"] == "succeeded", ended["error"]
    assert ended["result"]["versions"] == ["sums@2"]
    member = judged.server.member
    job = member.get(f"/api/v1/jobs/{ended['result']['job_id']}").json()
    assert job["name"] == "bot-next"
    assert job["parent_id"] == judged.job_id
    assert [(each["name"], each["version"]) for each in job["datasets"]] == [("sums", 2)]
    recipe = member.get(f"/api/v1/jobs/{job['id']}/recipe").json()["recipe"]
    assert recipe["model"]["base"] == judged.model_id
    rows = member.get(f"/api/v1/datasets/{judged.dataset_id}/versions/2/rows?limit=500").json()[
        "data"
    ]
    by_id = {row["id"]: row["record"]["messages"][-1]["content"] for row in rows}
    assert len(by_id) == ROWS - 1
    assert by_id[8] == "seven"


def test_what_was_edited_by_hand_is_learned_without_further_changes(judged: Judged) -> None:
    nothing = judged.asked("retrain", {})
    assert nothing["error"]["code"] == "nothing_newer"
    operation = {"operation": "remove", "rows": [3]}
    edited = judged.server.member.post(
        f"/api/v1/datasets/{judged.dataset_id}/edit", json={"operation": operation}
    )
    assert edited.status_code == 200, edited.text
    ended = judged.asked("retrain", {"name": "once more"})
    job = judged.server.member.get(f"/api/v1/jobs/{ended['result']['job_id']}").json()
    assert (job["name"], job["datasets"][0]["version"]) == ("once more", 2)


def test_a_retrain_that_is_done_twice_makes_one_version_and_one_job(judged: Judged) -> None:
    from tunesmith.server.task_context import TaskContext
    from tunesmith.server.task_kinds.tracing import retrain
    from tunesmith.server.tasks import TaskClaim

    server = judged.server
    removals = [{"dataset_id": judged.dataset_id, "row": 3}]
    ended = judged.asked("retrain", {"removals": removals})
    with server.platform.database.read() as session:
        task = session.get_one(Task, ended["id"])
    caller = server.platform.people.as_user(task.user_id, task.project_id)
    context = TaskContext(
        server.platform, TaskClaim(task.id, 2), caller, task.project_id, task.params
    )
    assert retrain(context) == ended["result"]
    versions = server.member.get(f"/api/v1/datasets/{judged.dataset_id}/versions").json()["data"]
    assert len(versions) == 2


def test_rows_of_data_that_was_not_learned_from_are_refused(judged: Judged) -> None:
    server = judged.server
    version_id = add_dataset(server, judged.place.root, "others", 11)
    with server.platform.database.read() as session:
        other = session.get_one(DatasetVersion, version_id).dataset_id
    answer = server.member.post(
        f"{judged.path}/retrain", json={"removals": [{"dataset_id": other, "row": 1}]}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_learned_from")
    unknown = judged.asked("retrain", {"removals": [{"dataset_id": judged.dataset_id, "row": 999}]})
    assert unknown["error"]["code"] == "unknown_row"


def test_a_row_that_is_changed_and_removed_at_once_is_refused(judged: Judged) -> None:
    row = {"dataset_id": judged.dataset_id, "row": 3}
    body = {"changes": [row | {"fields": {"answer": "x"}}], "removals": [row]}
    for language, words in (("en", "Row 3 is changed and removed"), ("zh", "同时被修改和删除")):
        answer = judged.server.member.post(
            f"{judged.path}/retrain", json=body, headers={"Accept-Language": language}
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "changed_and_removed")
        assert words in error["message"]
        assert error["param"] == "removals"


def test_a_viewer_reads_a_trace_and_begins_none(judged: Judged) -> None:
    judged.asked("trace", {})
    viewer = judged.server.viewer
    assert viewer.get(f"{judged.path}/trace").status_code == 200
    assert viewer.post(f"{judged.path}/trace", json={}).status_code == 403
    assert judged.server.client("foreigner").get(f"{judged.path}/trace").status_code == 404

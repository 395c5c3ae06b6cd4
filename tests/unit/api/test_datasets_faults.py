"""Datasets when something dies, races or is full: never half a version, never two of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select
from tests.unit.api.conftest import Server
from tests.unit.api.datasets import begin, code, done, edit, finished, imported, lines, rows, send

from tunesmith.data import editing
from tunesmith.data.check.inspect import Wanted
from tunesmith.data.importing import import_files
from tunesmith.data.store import Catalog
from tunesmith.server import clock
from tunesmith.server.errors import NotFound
from tunesmith.server.queue import NewJob, Submitted, body_hash
from tunesmith.server.services.datasets import sources
from tunesmith.server.services.datasets.index import resolve_for_job
from tunesmith.server.services.datasets.publishing import Bench
from tunesmith.server.tables import Dataset, DatasetVersion, Model, ModelDataset


def numbers(server: Server, dataset: str) -> list[int]:
    told = server.viewer.get(f"/api/v1/datasets/{dataset}/versions").json()["data"]
    return [each["number"] for each in told]


def version_id(server: Server, dataset: str, number: int = 1) -> str:
    return server.viewer.get(f"/api/v1/datasets/{dataset}/versions/{number}").json()["id"]


def submit(server: Server, version: str, name: str = "job") -> str:
    """A job that waits and needs a version; NotFound where it is gone."""
    new = NewJob(
        project_id=server.project,
        user_id=server.users["member"],
        name=name,
        recipe={"name": name},
        base="starter",
        datasets=[(version, "train")],
    )
    job, _ = server.platform.jobs.queue.create(new, Submitted(body_hash(name)))
    return job.id


# ---------------------------------------------------------------- crashes


def test_a_version_without_a_row_has_one_at_the_next_look(server_on_both: Server) -> None:
    server = server_on_both
    dataset = imported(server)
    catalog = Catalog(server.platform.place.root)  # as the command line, or a process that died
    editing.remove(catalog, catalog.open("support"), [1, 2], on_progress=lambda *_: None)
    assert numbers(server, dataset) == [2, 1]
    assert numbers(server, dataset) == [2, 1]
    assert rows(server, dataset, 2)["total"] == 28
    path = f"/api/v1/datasets/{dataset}/versions/2"
    assert server.viewer.get(path).json()["user_id"] == server.users["member"]
    assert edit(server, dataset, base=2, operation="remove", rows=[3]).status_code == 200


def test_a_task_that_died_behind_its_version_makes_no_second_one(server_on_both: Server) -> None:
    server = server_on_both
    answer = begin(server, "support", lines()).json()
    platform, task = server.platform, answer["task"]
    caller = platform.people.as_user(server.users["member"], server.project)
    bench = Bench(
        platform.database,
        platform.place,
        platform.datasets.limits,
        caller,
        lambda *_: None,
        task["id"],
    )
    with platform.database.read() as session:
        params = platform.tasks.get(caller, task["id"]).params
        folder = session.scalars(select(Dataset.folder)).one()
    files = params["order"]["file_ids"]
    with sources.opened(platform.database, platform.place, caller, files, {}, None) as found:
        import_files(  # the first try, up to the moment of its death
            bench.catalog(),
            folder,
            found,
            wanted=Wanted(near=False),
            processes=1,
            on_progress=lambda *_: None,
        )
    result = done(server, task)
    assert (result["version"], result["rows"]) == (1, 30)
    assert Catalog(platform.place.root).versions(folder) == [1]


def test_a_cancelled_import_leaves_nothing(server: Server) -> None:
    answer = begin(server, "support", lines()).json()
    path = f"/api/v1/tasks/{answer['task']['id']}"
    assert server.member.post(f"{path}/cancel").json()["state"] == "cancelled"
    server.finish_tasks()
    assert Catalog(server.platform.place.root).names() == []
    told = server.member.get(f"/api/v1/datasets/{answer['dataset']['id']}").json()
    assert told["state"] == "empty"
    assert server.member.delete(f"/api/v1/datasets/{told['id']}").status_code == 204


def test_a_dataset_beyond_the_quota_is_not_kept(server_on_both: Server) -> None:
    server = server_on_both
    answer = begin(server, "support", lines()).json()
    path = f"/api/v1/users/{server.users['member']}"
    server.admin.patch(path, json={"quota_storage_bytes": 100})
    task = finished(server, answer["task"])
    assert task["error"]["code"] == "exceeded_storage_quota"
    assert Catalog(server.platform.place.root).names() == []
    assert server.member.get("/api/v1/datasets").json()["data"] == []
    files = server.member.get("/api/v1/files").json()["data"]
    body = {"name": "again", "file_ids": [files[0]["id"]]}
    assert code(server.member.post("/api/v1/datasets", json=body)) == "exceeded_storage_quota"


def test_a_damaged_version_is_said_and_others_are_as_they_were(server: Server) -> None:
    dataset = imported(server)
    edit(server, dataset, operation="remove", rows=[1])
    part = next((server.platform.place.datasets / "support" / "0002").glob("*.parquet"))
    part.write_bytes(b"damaged")
    answer = server.viewer.get(f"/api/v1/datasets/{dataset}/versions/2/rows")
    assert (answer.status_code, code(answer)) == (400, "version_broken")
    assert rows(server, dataset, 1)["total"] == 30


# ---------------------------------------------------------------- deletion


def test_a_version_that_a_job_needs_is_not_deleted(server_on_both: Server) -> None:
    server = server_on_both
    dataset = imported(server)
    job = submit(server, version_id(server, dataset))
    for path in (f"/api/v1/datasets/{dataset}", f"/api/v1/datasets/{dataset}/versions/1"):
        answer = server.member.delete(path)
        assert (answer.status_code, code(answer)) == (409, "dataset_in_use")
        assert f"job {job} uses version 1" in answer.text
    server.platform.jobs.queue.cancel(job, "member")
    assert server.member.delete(f"/api/v1/datasets/{dataset}").status_code == 204


def test_a_version_that_a_model_was_made_of_is_not_deleted(server_on_both: Server) -> None:
    server = server_on_both
    dataset = imported(server)
    version = version_id(server, dataset)
    with server.platform.database.write() as session:
        moment = clock.read(session)
        model = Model(
            id="model-x",
            name="ft:starter:x",
            project_id=server.project,
            user_id=server.users["member"],
            kind="adapter",
            source="job",
            base="starter",
            created_at=moment.wall,
        )
        session.add(model)
        session.flush()
        session.add(ModelDataset(model_id="model-x", dataset_version_id=version, role="train"))
    answer = server.member.delete(f"/api/v1/datasets/{dataset}")
    assert (answer.status_code, code(answer)) == (409, "dataset_in_use")
    with server.platform.database.write() as session:
        session.get_one(Model, "model-x").deleted_at = clock.read(session).wall
    assert server.member.delete(f"/api/v1/datasets/{dataset}").status_code == 204


def test_a_deletion_and_a_job_at_once_never_both_succeed(server_on_both: Server) -> None:
    server = server_on_both
    for attempt in range(6):
        dataset = imported(server, f"race-{attempt}", lines(5), near=False)
        version, together = version_id(server, dataset), Barrier(2)

        def delete(dataset: str = dataset, together: Barrier = together) -> int:
            together.wait()
            return server.member.delete(f"/api/v1/datasets/{dataset}").status_code

        def use(
            version: str = version, together: Barrier = together, name: str = f"{attempt}"
        ) -> bool:
            together.wait()
            try:
                submit(server, version, name)
            except NotFound:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            deleted, used = pool.submit(delete), pool.submit(use)
            assert (deleted.result(), used.result()) in ((204, False), (409, True))


def test_a_number_never_comes_again(server: Server) -> None:
    dataset = imported(server)
    edit(server, dataset, operation="remove", rows=[1])
    path = f"/api/v1/datasets/{dataset}/versions/2"
    assert server.member.delete(path).status_code == 204
    assert code(server.viewer.get(path)) == "version_not_found"
    assert numbers(server, dataset) == [1]
    assert edit(server, dataset, operation="remove", rows=[2]).json()["version"]["number"] == 3
    assert rows(server, dataset, 3)["data"][0]["id"] == 1  # made of version 1
    folder = server.platform.place.datasets / "support"
    assert (folder / "0002").is_dir()  # until the clean-up


def test_a_deleted_dataset_takes_no_more_versions(server: Server) -> None:
    dataset = imported(server)
    body = {"file_ids": [send(server, lines(5))]}
    task = server.member.post(f"/api/v1/datasets/{dataset}/import", json=body).json()
    assert server.member.delete(f"/api/v1/datasets/{dataset}").status_code == 204
    assert finished(server, task)["error"]["code"] == "dataset_not_found"
    assert Catalog(server.platform.place.root).versions("support") == [1]


# ---------------------------------------------------------------- at once


def test_of_edits_at_once_on_one_version_one_wins(server_on_both: Server) -> None:
    server = server_on_both
    dataset, together = imported(server), Barrier(4)

    def remove(row: int) -> Any:
        together.wait()
        return edit(server, dataset, base=1, operation="remove", rows=[row])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(remove, range(1, 5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert numbers(server, dataset) == [2, 1]


def test_edits_at_once_without_a_base_all_count(server: Server) -> None:
    dataset, together = imported(server), Barrier(4)

    def remove(row: int) -> Any:
        together.wait()
        return edit(server, dataset, operation="remove", rows=[row])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(remove, range(1, 5)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert numbers(server, dataset) == [5, 4, 3, 2, 1]
    assert rows(server, dataset, 5)["total"] == 26


# ---------------------------------------------------------------- names for jobs


def test_a_job_names_datasets_of_its_own_project(server: Server) -> None:
    ours = imported(server, "support")
    imported(server, "support", lines(5), who="foreigner")
    edit(server, ours, operation="remove", rows=[1])
    member = server.platform.people.as_user(server.users["member"], server.project)
    foreigner = server.platform.people.as_user(server.users["foreigner"], server.their_project)

    def resolved(caller: Any, project: str, name: str) -> str:
        with server.platform.database.read() as session:
            version, reference = resolve_for_job(session, caller, project, name)
            assert session.get_one(DatasetVersion, version).number == int(reference[-1])
        opened = Catalog(server.platform.place.root).open(reference)
        return f"{opened.manifest.rows} rows of version {opened.manifest.version}"

    assert resolved(member, server.project, "support") == "29 rows of version 2"
    assert resolved(member, server.project, "support@1") == "30 rows of version 1"
    assert resolved(foreigner, server.their_project, "support") == "5 rows of version 1"
    for caller, project, name in (
        (member, server.project, "nothing"),
        (member, server.project, "support@9"),
        (member, server.their_project, "support"),
    ):
        with pytest.raises(NotFound):
            resolved(caller, project, name)


def test_folders_on_the_disk_are_never_shared(server: Server) -> None:
    """A folder that the command line made belongs to no project of the server."""
    catalog = Catalog(server.platform.place.root)
    place = server.platform.place.root / "cli.jsonl"
    place.write_bytes(lines(3))
    import_files(
        catalog,
        "support",
        sources.files_subject([place], sources.reading("cli", {}), None),
        wanted=Wanted(near=False),
        processes=1,
        on_progress=lambda *_: None,
    )
    dataset = imported(server, "support")
    assert rows(server, dataset)["total"] == 30
    assert catalog.open("support").manifest.rows == 3

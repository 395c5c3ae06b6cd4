"""What an installation says of itself: workers, disk, checks, limits, who did what."""

from __future__ import annotations

from typing import Any

from tests.unit.api.conftest import Server, serving

from tunesmith.server import clock, workers
from tunesmith.server.settings import FlavourSetting, Settings
from tunesmith.server.tables import Job, MetricPoint
from tunesmith.server.workers import DeviceInfo


def _job(server: Server) -> str:
    body = {"name": "busy", "base": "starter", "datasets": ["builtin:shop"]}
    answer = server.member.post("/api/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def _worker_with_a_job(server: Server) -> str:
    """A worker whose first device computes a job that has told of one step."""
    database = server.platform.database
    devices = [DeviceInfo(0, "H200", 141 * 10**9, "h200"), DeviceInfo(1, "H200", None, "h200")]
    worker = workers.register(database, "big", devices, host="rack-1")
    job_id = _job(server)
    with database.write() as session:
        job = session.get_one(Job, job_id)
        job.attempt, job.worker_id = 1, worker
        told = {"memory_bytes": 9 * 10**9, "utilisation": 87.5}
        now = clock.read(session).wall
        for number, data in ((1, {"loss": 2.0}), (2, told)):
            point: dict[str, Any] = {"attempt": 1, "seq": number, "step": number, "data": data}
            session.add(MetricPoint(job_id=job_id, number=number, created_at=now, **point))
        session.get_one(workers.Device, (worker, 0)).job_id = job_id
    return job_id


def test_workers_are_told_with_what_their_jobs_take(server_on_both: Server) -> None:
    job_id = _worker_with_a_job(server_on_both)
    (worker,) = server_on_both.member.get("/api/v1/workers").json()["data"]
    assert (worker["name"], worker["host"], worker["is_running"]) == ("big", "rack-1", True)
    busy, free = worker["devices"]
    assert (busy["job_id"], busy["job_name"]) == (job_id, "busy")
    assert (busy["used_bytes"], busy["utilisation"]) == (9 * 10**9, 87.5)
    assert not free["is_busy"]
    assert free["used_bytes"] is None


def test_a_job_of_others_only_makes_a_device_busy(server: Server) -> None:
    _worker_with_a_job(server)
    (worker,) = server.foreigner.get("/api/v1/workers").json()["data"]
    busy = worker["devices"][0]
    assert busy["is_busy"]
    assert (busy["job_id"], busy["job_name"]) == (None, None)


def test_the_disk_is_told_to_all_and_what_takes_it_to_administrators(server: Server) -> None:
    sent = {"file": ("a.txt", b"0123456789")}
    assert server.member.post("/api/v1/files", files=sent).status_code == 201
    told = server.member.get("/api/v1/storage").json()
    assert 0 < told["free_bytes"] < told["total_bytes"]
    assert told["parts"] == []
    parts = server.admin.get("/api/v1/storage").json()["parts"]
    assert {"name": "files", "count": 1, "bytes": 10} in parts


def test_the_doctor_looks_at_this_server_for_administrators(server: Server) -> None:
    checks = server.admin.get("/api/v1/doctor").json()["checks"]
    names = {check["name"] for check in checks}
    assert {"settings", "data", "database", "workers"} <= names
    data = next(check for check in checks if check["name"] == "data")
    assert str(server.platform.settings.data_dir) in data["detail"]
    assert server.member.get("/api/v1/doctor").status_code == 403


def test_oneself_sees_what_is_left_and_chooses_a_language(server: Server) -> None:
    path = f"/api/v1/users/{server.users['member']}"
    limits = {"quota_storage_bytes": 1000, "credit_cents": 250}
    assert server.admin.patch(path, json=limits).status_code == 200
    server.member.post("/api/v1/files", files={"file": ("a.txt", b"0123456789")})
    usage = server.member.get("/api/v1/me/usage").json()
    assert (usage["storage_bytes"], usage["limit_storage_bytes"]) == (10, 1000)
    assert (usage["credit_cents"], usage["limit_running_jobs"]) == (250, None)
    assert server.member.patch("/api/v1/me", json={"language": "zh"}).json()["language"] == "zh"
    assert server.member.get("/api/v1/me").json()["user"]["language"] == "zh"
    assert server.member.patch("/api/v1/me", json={"is_admin": True}).status_code in (400, 422)


def test_the_audit_is_searched_by_person_action_and_time(server: Server) -> None:
    made = server.admin.post("/api/v1/users", json={"name": "li"}).json()
    server.member.post("/api/v1/tokens", json={"name": "laptop"})

    def actions(**query: str) -> list[str]:
        found = server.admin.get("/api/v1/audit", params=query).json()["data"]
        return [entry["action"] for entry in found]

    assert actions(user_id=server.users["member"], action="token") == ["token.create"]
    assert set(actions(action="user")) == {"user.create"}
    assert actions(action="use") == []
    assert actions(action="token.create", until=made["created_at"]) == []
    assert "token.create" in actions(since=made["created_at"])


def test_health_says_that_flavours_and_devices_do_not_fit(settings: Settings) -> None:
    wrong = FlavourSetting(name="cpu", device="locl-cpu", price=100)
    with serving(settings.model_copy(update={"flavours": [wrong]})) as server:
        workers.register(server.platform.database, "w", [DeviceInfo(0, flavour="local-cpu")])
        found = (
            server.client("nobody").get("/api/v1/health", headers={"Accept-Language": "zh"}).json()
        )
        told = {each["code"]: each["message"] for each in found["warnings"]}
        assert set(told) == {"flavour_without_device", "device_without_flavour"}
        assert "flavours" in told["flavour_without_device"]
        assert "locl-cpu" not in str(told)  # names are for those who are signed in

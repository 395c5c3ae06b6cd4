"""Every route of both APIs with every kind of caller, and with ids of others. FAULTS 25.

The routes are those of the OpenAPI documents. What a route needs is derived: a GET a viewer of the
project, everything else a member; `NEEDS` lists the exceptions. A new route is tried without more;
one with a new kind of id in its path fails until `things` has such a thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import Any, Final

import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.testclient import TestClient
from tests.unit.api.conftest import Server

from tunesmith.api.rates import Rates
from tunesmith.recipe import parse_recipe
from tunesmith.server import clock, ids
from tunesmith.server.tables import (
    Checkpoint,
    CheckpointPermission,
    Dataset,
    DatasetVersion,
    Deployment,
    File,
    Job,
    Model,
    Subscription,
    Task,
    Token,
    Upload,
)

pytestmark = pytest.mark.slow
CANARY: Final = "canary-of-ours"  # in every name and text of the project `ours`


class Need(IntEnum):
    """What a route asks of a caller; each has all before it."""

    NOTHING = 0
    TOKEN = 1
    VIEWER = 2
    MEMBER = 3
    MANAGER = 4
    ADMIN = 5


ROLES: Final = {
    "viewer": Need.VIEWER,
    "member": Need.MEMBER,
    "manager": Need.MANAGER,
    "admin": Need.ADMIN,
}
_POSTS_THAT_ONLY_READ: Final = (
    "/api/v1/recipes/validate",
    "/api/v1/recipes/explain",
    "/api/v1/recipes/convert/llamafactory",
    "/api/v1/recipes/render",
    "/api/v1/datasets/detect",
    "/api/v1/datasets/mixing-plan",
    "/v1/fine_tuning/alpha/graders/run",
    "/v1/fine_tuning/alpha/graders/validate",
)
_PERMISSIONS: Final = "/v1/fine_tuning/checkpoints/{checkpoint}/permissions"
NEEDS: Final[dict[tuple[str, str], Need]] = {
    ("GET", "/api/v1/health"): Need.NOTHING,
    ("POST", "/api/v1/session"): Need.NOTHING,
    ("GET", "/api/v1/oidc"): Need.NOTHING,
    ("GET", "/api/v1/oidc/login"): Need.NOTHING,
    ("GET", "/api/v1/oidc/callback"): Need.NOTHING,
    ("OPTIONS", "/api/v1/uploads"): Need.NOTHING,
    ("DELETE", "/api/v1/session"): Need.TOKEN,
    ("POST", "/api/v1/session/token"): Need.TOKEN,
    ("PUT", "/api/v1/me/password"): Need.TOKEN,
    ("POST", "/api/v1/tokens"): Need.TOKEN,
    ("DELETE", "/api/v1/tokens/{token_id}"): Need.TOKEN,
    ("GET", "/api/v1/models/folders"): Need.MEMBER,
    ("PATCH", "/api/v1/projects/{project_id}"): Need.MANAGER,
    ("PUT", "/api/v1/projects/{project_id}/members/{user_id}"): Need.MANAGER,
    ("DELETE", "/api/v1/projects/{project_id}/members/{user_id}"): Need.MANAGER,
    ("GET", "/api/v1/users"): Need.ADMIN,
    ("POST", "/api/v1/users"): Need.ADMIN,
    ("PATCH", "/api/v1/users/{user_id}"): Need.ADMIN,
    ("POST", "/api/v1/projects"): Need.ADMIN,
    ("GET", "/api/v1/projects/{project_id}/candidates"): Need.MANAGER,
    ("GET", "/api/v1/audit"): Need.MANAGER,  # of one project; without one, only administrators
    ("GET", f"{_PERMISSIONS}"): Need.ADMIN,
    ("POST", f"{_PERMISSIONS}"): Need.ADMIN,
    ("DELETE", f"{_PERMISSIONS}/{{permission_id}}"): Need.ADMIN,
    ("GET", "/metrics"): Need.ADMIN,
    ("GET", "/api/v1/doctor"): Need.ADMIN,
    ("PATCH", "/api/v1/me"): Need.TOKEN,
    ("GET", "/api/v1/deployments/{deployment_id}/requests"): Need.MEMBER,  # texts of users
    **{("POST", path): Need.VIEWER for path in _POSTS_THAT_ONLY_READ},
}
NOT_OFFERED: Final = 501  # what /v1 has no code for, said in the shape of its errors
# What takes several things answers for each of them, so the refusal stands in the answer.
BY_ITEM: Final = frozenset({"/api/v1/jobs/bulk"})
# Streams never end by themselves: those who may read them are tested where streams are.
STREAMS: Final = ("/events/stream",)


@dataclass(frozen=True)
class Route:
    """One operation of a document, with what a request of it is made of."""

    method: str
    path: str
    operation: dict[str, Any]
    schemas: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)(?::path)?}", self.path)

    @property
    def need(self) -> Need:
        derived = Need.VIEWER if self.method in ("GET", "HEAD", "OPTIONS") else Need.MEMBER
        return NEEDS.get((self.method, self.path), derived)

    @property
    def queries(self) -> set[str]:
        rows = self.operation.get("parameters", [])
        return {row["name"] for row in rows if row["in"] == "query"}

    @property
    def is_stream(self) -> bool:
        return self.path.endswith(STREAMS)

    def request(self, things: dict[str, str], project: str | None = None) -> dict[str, Any]:
        """The arguments of a request that names these things, and a project where it can."""
        path = re.sub(r"{(\w+)(?::path)?}", lambda found: things[found[1]], self.path)
        request: dict[str, Any] = {"method": self.method, "url": path}
        rows = self.operation.get("parameters", [])
        wanted = {
            row["name"]: things.get(row["name"]) or example_of(row["schema"], self.schemas)
            for row in rows
            if row["in"] == "query" and row.get("required")
        }
        if project and "project_id" in self.queries:
            wanted["project_id"] = project
        request["params"] = wanted
        return request | self._body(things, project) | {"headers": self._headers()}

    def _body(self, things: dict[str, str], project: str | None) -> dict[str, Any]:
        content = self.operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            media = content["application/json"]
            body = example_of(media["schema"], self.schemas, media)
            properties = _resolved(media["schema"], self.schemas).get("properties", {})
            if project and "project_id" in properties:
                body["project_id"] = project
            return {"json": _with_things(body, things)}
        if "multipart/form-data" in content:
            schema = _resolved(content["multipart/form-data"]["schema"], self.schemas)
            fields = schema["properties"]
            data = {"purpose": "fine-tune", "project_id": project}
            files = {"file": ("x.jsonl", b"{}\n"), "data": ("x", b"x")}
            return {
                "data": {name: text for name, text in data.items() if text and name in fields},
                "files": {name: file for name, file in files.items() if name in fields},
            }
        return {"content": b"x"} if content else {}

    def _headers(self) -> dict[str, str]:
        """What uploads by offset say in headers."""
        if not self.path.startswith("/api/v1/uploads"):
            return {}
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
        if self.method == "POST":
            headers |= {"Upload-Length": "1", "Upload-Metadata": "filename eC5qc29ubA=="}
        return headers | {"Content-Type": "application/offset+octet-stream"}


def _with_things(value: Any, things: dict[str, str]) -> Any:
    """Ids in an example as ids of our things of the same kind."""
    if isinstance(value, dict):
        return {name: _with_things(part, things) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_things(part, things) for part in value]
    kinds = {re.match(r"[a-z]+[-_]", thing): thing for thing in things.values()}
    found = {kind[0]: thing for kind, thing in kinds.items() if kind}
    kind = re.match(r"[a-z]+[-_](?=[0-9a-z]{26}$)", value) if isinstance(value, str) else None
    return found.get(kind[0], value) if kind else value


def example_of(schema: dict[str, Any], schemas: dict[str, Any], media: Any = None) -> Any:
    """A value that a schema takes: its own example, else one made of its parts."""
    schema = _resolved(schema, schemas)
    for place in (media or {}, schema):
        if place.get("examples"):
            found = place["examples"]
            first = next(iter(found.values()))["value"] if isinstance(found, dict) else found[0]
            return dict(first) if isinstance(first, dict) else first
        if "example" in place:
            return place["example"]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(schema[key][0], schemas)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        wanted = [
            name
            for name, part in properties.items()
            if name in schema.get("required", ()) or part.get("examples")
        ]
        return {name: example_of(properties[name], schemas) for name in wanted}
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas)] if schema.get("minItems") else []
    return {"integer": 1, "number": 1.0, "boolean": False, "null": None}.get(
        schema.get("type", ""), "text"
    )


DOCUMENTS: dict[str, dict[str, Any]] = {}


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def applications(app: FastAPI) -> dict[FastAPI, str]:
    """The application and those mounted in it, with their prefixes."""
    mounts = [route for route in app.routes if isinstance(route, Mount)]
    return {app: ""} | {m.app: m.path for m in mounts if isinstance(m.app, FastAPI)}


def document_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, which takes seconds and is the same in each test."""
    if app.title not in DOCUMENTS:
        DOCUMENTS[app.title] = app.openapi()
    return DOCUMENTS[app.title]


def routes_of(server: Server) -> list[Route]:
    return [
        Route(method.upper(), f"{prefix}{path}", operation, document["components"]["schemas"])
        for app, prefix in applications(server.app).items()
        for document in (document_of(app),)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _recipe() -> dict[str, Any]:
    """A recipe as a submission stores it."""
    train = {"train": [{"dataset": "builtin:demo"}]}
    written = {"name": CANARY, "model": {"base": "starter"}, "data": train}
    return parse_recipe(written).model_dump(mode="json")


def things_of(server: Server) -> dict[str, str]:
    """One of each kind in the project `ours`, by the name of the parameter that means it."""
    member, project = server.users["member"], server.project
    with server.platform.database.write() as session:
        moment = clock.read(session)
        now, later = moment.wall, moment.wall + timedelta(days=1)
        own: dict[str, Any] = {"project_id": project, "user_id": member, "created_at": now}
        made = {
            prefix: ids.new(prefix, now)
            for prefix in (
                ids.FILE, ids.UPLOAD, ids.DATASET, ids.DATASET_VERSION, ids.JOB, ids.CHECKPOINT,
                ids.MODEL, ids.TASK, ids.TOKEN, ids.SUBSCRIPTION, ids.PERMISSION, ids.DEPLOYMENT,
                ids.EVALUATION,
            )
        }  # fmt: skip
        content = {"filename": CANARY, "purpose": "fine-tune", "bytes": 1}
        session.add(File(id=made[ids.FILE], sha256="0" * 64, **content, **own))
        session.add(Upload(id=made[ids.UPLOAD], kind="tus", expires_at=later, **content, **own))
        session.add(Dataset(id=made[ids.DATASET], name=CANARY, folder=CANARY, **own))
        session.add(
            Job(
                id=made[ids.JOB], name=CANARY, recipe=_recipe(), base="starter",
                status="succeeded", changed_at=now, finished_at=now, **own,
            )
        )  # fmt: skip
        session.add(
            Task(id=made[ids.TASK], kind="dataset.import", params={}, state="failed", **own)
        )
        session.add(
            Token(
                id=made[ids.TOKEN], user_id=member, name=CANARY, prefix="tsk", token_hash="x",
                scopes=["read"], created_at=now,
            )
        )  # fmt: skip
        session.add(
            Subscription(
                id=made[ids.SUBSCRIPTION], events=[], channel="webhook",
                address=f"https://{CANARY}.example/", **own,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            DatasetVersion(
                id=made[ids.DATASET_VERSION], dataset_id=made[ids.DATASET], number=1, rows=1,
                bytes=1, content=CANARY, user_id=member, created_at=now,
            )
        )  # fmt: skip
        session.add(
            Checkpoint(
                id=made[ids.CHECKPOINT], job_id=made[ids.JOB], attempt=1, step=1, created_at=now
            )
        )
        session.add(
            Model(
                id=made[ids.MODEL], name=f"ft:starter:{CANARY}", kind="adapter", source="job",
                base="starter", job_id=made[ids.JOB], **own,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Deployment(
                id=made[ids.DEPLOYMENT], name=CANARY, model_id=made[ids.MODEL],
                adapter_id=made[ids.MODEL], base="starter", idle_seconds=900, used_lease=0.0,
                heard_lease=0.0, changed_at=now, **own,
            )
        )  # fmt: skip
        session.add(
            CheckpointPermission(
                id=made[ids.PERMISSION], checkpoint_id=made[ids.CHECKPOINT], project_id=project,
                created_at=now,
            )
        )  # fmt: skip
    return {
        "file_id": made[ids.FILE], "upload_id": made[ids.UPLOAD], "dataset_id": made[ids.DATASET],
        "version_id": made[ids.DATASET_VERSION], "number": "1", "row": "1",
        "job_id": made[ids.JOB], "fine_tuning_job_id": made[ids.JOB],
        "checkpoint_id": made[ids.CHECKPOINT], "checkpoint": made[ids.CHECKPOINT],
        "fine_tuned_model_checkpoint": made[ids.CHECKPOINT],
        "permission_id": made[ids.PERMISSION], "model_id": made[ids.MODEL],
        "model": f"ft:starter:{CANARY}", "task_id": made[ids.TASK], "token_id": made[ids.TOKEN],
        "subscription_id": made[ids.SUBSCRIPTION], "user_id": member, "project_id": project,
        "deployment_id": made[ids.DEPLOYMENT], "evaluation_id": made[ids.EVALUATION],
        "name": "demo", "path": "config.json",
    }  # fmt: skip


# Parameters that name no thing of a project: what ships, places within a thing.
FREE: Final = frozenset({"name", "number", "row", "path"})


def send(client: TestClient, request: dict[str, Any]) -> Any:
    return client.request(**request, follow_redirects=False)


def fresh_client(server: Server, who: str) -> TestClient:
    """A session of its own: some routes end the one that asks."""
    _, secret, _ = server.platform.people.open_session(server.users[who])
    client = server.client("nobody")
    client.headers["authorization"] = f"Bearer {secret}"
    return client


def with_token(server: Server, secret: str) -> TestClient:
    client = server.client("nobody")
    client.headers["authorization"] = f"Bearer {secret}"
    return client


def test_every_id_in_a_path_is_known_here(server: Server) -> None:
    known = things_of(server)
    unknown = {
        str(route): missing
        for route in routes_of(server)
        if (missing := [name for name in route.parameters if name not in known])
    }
    assert not unknown, "add such a thing to things_of"


def test_the_exceptions_are_routes_that_exist(server: Server) -> None:
    there = {(route.method, route.path) for route in routes_of(server)}
    assert NEEDS.keys() <= there
    assert len(there) > 80


def test_nobody_gets_further_than_the_door(server: Server) -> None:
    """No token, an unknown one, an expired one, a revoked one."""
    things = things_of(server)
    expired, revoked = server.token("member"), server.token("member")
    with server.platform.database.write() as session:
        moment = clock.read(session)
        for token in session.query(Token).filter(Token.name == "extra"):
            if expired.startswith(token.prefix):
                token.expires_at = moment.wall - timedelta(seconds=1)
            if revoked.startswith(token.prefix):
                token.revoked_at = moment.wall
    for app in applications(server.app):  # how many wrong tokens one may send has its own tests
        app.state.failures = Rates(0)
    clients = {
        "none": server.client("nobody"),
        "unknown": with_token(server, "tsk-unknown"),
        "expired": with_token(server, expired),
        "revoked": with_token(server, revoked),
    }
    wrong: list[str] = []
    for route in routes_of(server):
        if route.need is Need.NOTHING:
            continue
        for who, client in clients.items():
            status = send(client, route.request(things)).status_code
            if status != 401:
                wrong.append(f"{route} {who}: {status}")
    assert not wrong


def test_nobody_learns_what_a_route_takes(server: Server) -> None:
    """Without a token: a body, parameters and a path that no route takes are not even looked at."""
    client = server.client("nobody")
    bodies = {
        "no JSON": {"content": b"{nonsense", "headers": {"content-type": "application/json"}},
        "wrong JSON": {"json": {"nonsense": [1]}},
        "no form": {"content": b"--", "headers": {"content-type": "multipart/form-data"}},
        "nothing": {},
    }
    wrong: list[str] = []
    for route in routes_of(server):
        if route.need is Need.NOTHING:
            continue
        path = re.sub(r"{(\w+)(?::path)?}", "%01", route.path)
        for what, body in bodies.items():
            asked = {"method": route.method, "url": path, "params": {"limit": "x", "no": "1"}}
            answer = send(client, asked | body)
            if answer.status_code != 401:
                wrong.append(f"{route}, {what}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


def _is_refused(route: Route, answer: Any) -> bool:
    """Other ways to say no: there is no such thing in this version, or no for each item."""
    if route.path in BY_ITEM and answer.status_code == 200:
        return not any(row["ok"] for row in answer.json()["data"])
    return answer.status_code == NOT_OFFERED and route.path.startswith("/v1/")


@pytest.mark.parametrize("who", ROLES)
def test_a_role_may_what_it_may_and_no_more(server: Server, who: str) -> None:
    things = things_of(server)
    wrong: list[str] = []
    # What removes things comes last, so that the others meet what they ask for.
    for route in sorted(routes_of(server), key=lambda route: route.method == "DELETE"):
        allowed = ROLES[who] >= route.need
        if allowed and route.is_stream:
            continue
        answer = send(fresh_client(server, who), route.request(things, server.project))
        status = answer.status_code
        is_offered = status != NOT_OFFERED or not route.path.startswith("/v1/")
        if (status >= 500 and is_offered) or (status == 401 and route.need is not Need.NOTHING):
            wrong.append(f"{route}: {status} {answer.text[:300]}")
        elif allowed and status == 403:
            wrong.append(f"{route}: refused, {answer.text[:200]}")
        elif not allowed and status not in (403, 404) and not _is_refused(route, answer):
            wrong.append(f"{route}: let through with {status} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


def test_a_token_that_may_only_read_changes_nothing(server: Server) -> None:
    things = things_of(server)
    client = with_token(server, server.token("manager", scopes=["read"]))
    wrong: list[str] = []
    for route in routes_of(server):
        if route.need is not Need.NOTHING and route.need >= Need.MEMBER and not route.is_stream:
            answer = send(client, route.request(things, server.project))
            status = answer.status_code
            if status not in (403, 404) and not _is_refused(route, answer):
                wrong.append(f"{route}: {status} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


def test_things_of_others_do_not_exist(server: Server) -> None:
    """Ids in the path, a project in the query, a project in the body."""
    things = things_of(server)
    ours = {value for name, value in things.items() if name not in FREE} | {CANARY}
    wrong: list[str] = []
    for route in routes_of(server):
        names_thing = any(name not in FREE for name in route.parameters)
        request = route.request(things, server.project)
        body = request.get("json")
        names_project = "project_id" in request["params"] or (
            isinstance(body, dict) and "project_id" in body
        )
        if route.need in (Need.NOTHING, Need.TOKEN) and not names_thing:
            continue
        if route.is_stream and not (names_thing or names_project):
            continue
        answer = send(fresh_client(server, "foreigner"), request)
        refused = {404, 403} if route.need is Need.ADMIN else {404}
        is_wrong = (
            answer.status_code not in refused
            if names_thing or names_project
            else (answer.status_code >= 500)
        )
        if _is_refused(route, answer):
            continue
        if is_wrong:
            wrong.append(f"{route}: {answer.status_code} {answer.text[:300]}")
        elif answer.status_code < 400 and any(word in answer.text for word in ours):
            wrong.append(f"{route}: shows what is not theirs: {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)


def test_nothing_of_others_was_changed_by_them(server: Server) -> None:
    """Whatever a foreigner sends, a member finds the same as before."""
    things = things_of(server)
    looks = [
        route
        for route in routes_of(server)
        if route.method == "GET" and route.parameters and route.need is Need.VIEWER
        and not route.is_stream
    ]  # fmt: skip
    member = fresh_client(server, "member")

    def seen() -> dict[str, tuple[int, str]]:
        return {
            str(route): (answer.status_code, re.sub(r'"request_id":"\w+"', "", answer.text))
            for route in looks
            for answer in (send(member, route.request(things)),)
        }

    before = seen()
    for route in routes_of(server):
        if route.method != "GET" and route.need > Need.TOKEN:
            send(fresh_client(server, "foreigner"), route.request(things, server.project))
    assert seen() == before

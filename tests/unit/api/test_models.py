"""Models over HTTP: presets, imports, files, lineage, deletion. A2 to A5, A7 to A10."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.unit.api.conftest import Server
from tests.unit.api.training import add_model

from tunesmith.models.presets import capabilities, presets
from tunesmith.recipe.adapters import ADAPTERS
from tunesmith.recipe.capabilities import Choice, refusal, refusal_of_family
from tunesmith.recipe.catalog import variants
from tunesmith.runs.manifest import write_manifest
from tunesmith.server import clock, ids
from tunesmith.server.errors import Conflict, NotFound
from tunesmith.server.services.models import resolve_base
from tunesmith.server.services.people import Asked
from tunesmith.server.tables import Dataset, DatasetVersion, Job, Model, ModelDataset, Task, User
from tunesmith.starter import starter_directory

MODELS = "/api/v1/models"


@pytest.fixture
def imports(data_dir: Path) -> Path:
    """Where an administrator has put a model."""
    shutil.copytree(starter_directory(), data_dir / "import" / "mine")
    return data_dir / "import"


def import_model(server: Server, who: str = "member", **changes: Any) -> dict[str, Any]:
    """The finished task of an import."""
    body = {"source": "folder", "name": "mine"} | changes
    answer = server.client(who).post(f"{MODELS}/import", json=body)
    assert answer.status_code == 202, answer.text
    server.finish_tasks()
    return server.client(who).get(f"/api/v1/tasks/{answer.json()['id']}").json()


@pytest.fixture
def model(server: Server, imports: Path) -> dict[str, Any]:
    """An imported model of the project."""
    assert imports.is_dir()
    task = import_model(server, description="Ours")
    assert task["state"] == "succeeded", task["error"]
    return server.member.get(f"{MODELS}/{task['result']['model_id']}").json()


def add_job(server: Server, **columns: Any) -> str:
    """A job as another part of the platform would have made it."""
    with server.platform.database.write() as session:
        moment = clock.read(session)
        fields: dict[str, Any] = {
            "id": ids.new(ids.JOB, moment.wall), "project_id": server.project,
            "user_id": server.users["member"], "name": "job", "recipe": {}, "base": "starter",
            "status": "queued", "created_at": moment.wall, "changed_at": moment.wall,
        }  # fmt: skip
        job = Job(**fields | columns)
        session.add(job)
        return job.id


def test_packed_bases_take_adapters_and_nothing_that_would_train_them() -> None:
    able = {
        (row.stage, row.method) for row in capabilities("qwen3", quantised="awq") if row.available
    }
    assert ("sft", "lora") in able
    assert {method for _, method in able} <= ADAPTERS
    assert "rm" not in {stage for stage, _ in able}
    assert not [row for row in capabilities("qwen3", quantised="fp8") if row.available]


def test_presets_say_what_is_needed_to_choose(server: Server) -> None:
    """A3, A5, A7, A9, A10"""
    answer = server.viewer.get(f"{MODELS}/presets").json()
    by_name = {row["name"]: row for row in answer["data"]}
    assert by_name["starter"]["context"] == 1024
    small = by_name["Qwen/Qwen3-0.6B"]
    assert (small["size"], small["context_label"], small["task"]) == ("0.6B", "40k", "text QA")
    assert small["hubs"]["modelscope"] == "Qwen/Qwen3-0.6B"
    assert small["memory_bytes"]["full"] > small["memory_bytes"]["lora"] > 1e9
    assert {row["family"] for row in answer["data"]} >= {"llama", "glm4", "qwen3", "baichuan"}
    assert "biggest model is not always the best" in " ".join(answer["guide"])
    kinds = variants()
    refused = {(row["stage"], row["method"]) for row in small["capabilities"] if row["reason"]}
    assert refused == {
        (stage, method)
        for stage, method in product(kinds["stage"], kinds["adapter"])
        if refusal(Choice(stage, method)) or refusal_of_family(method, "qwen3")
    }
    assert ("rm", "prompt") in refused
    assert ("sft", "prompt") not in refused
    refused = by_name["baichuan-inc/Baichuan2-7B-Chat"]["capabilities"]
    assert not any(row["available"] for row in refused)
    assert "Python code of their own" in refused[0]["reason"]


def test_presets_speak_the_language_of_the_caller(server: Server) -> None:
    answer = server.viewer.get(f"{MODELS}/presets", headers={"accept-language": "zh"}).json()
    assert "最大的模型不一定最合适" in " ".join(answer["guide"])
    assert "中英文" in next(r for r in answer["data"] if r["name"] == "Qwen/Qwen3-4B")["about"]


def test_every_preset_has_texts_and_a_plausible_size() -> None:
    for preset in presets().values():
        assert preset.en.isascii()
        assert not preset.zh.isascii()
        assert preset.context >= 1024
        assert preset.name == "starter" or set(preset.hubs) == {"huggingface", "modelscope"}


def test_a_folder_is_imported_in_the_background_and_described(
    server: Server, model: dict[str, Any]
) -> None:
    """A2, A4, A7, A8"""
    assert (model["name"], model["kind"], model["source"]) == ("mine", "base", "folder")
    assert (model["size"], model["context"], model["task"]) == ("1.9M", 1024, "text generation")
    assert model["details"]["family"] == "llama"
    assert model["details"]["chat_template"]
    assert model["description"] == "Ours"
    assert model["project_id"] == server.project
    listed = server.viewer.get(MODELS, params={"source": "folder", "text": "OUR"}).json()
    assert [row["id"] for row in listed["data"]] == [model["id"]]
    assert server.viewer.get(MODELS, params={"kind": "full"}).json()["data"] == []


def test_an_import_that_is_run_again_registers_once(server: Server, model: dict[str, Any]) -> None:
    from tunesmith.server.tables import Task
    from tunesmith.server.task_context import TaskContext
    from tunesmith.server.task_kinds.models import import_model as run
    from tunesmith.server.tasks import TaskClaim

    with server.platform.database.read() as session:
        task = session.scalars(select(Task)).one()
    caller = server.platform.people.as_user(task.user_id, task.project_id)
    context = TaskContext(
        server.platform, TaskClaim(task.id, 1), caller, task.project_id, task.params
    )
    assert run(context)["model_id"] == model["id"]
    with server.platform.database.write() as session:
        session.delete(session.get_one(Model, model["id"]))
    assert run(context)["model_id"] == model["id"]  # died between the files and the row
    assert len(server.member.get(MODELS).json()["data"]) == 1


def test_a_bad_folder_is_refused_and_nothing_of_it_stays(
    server: Server, imports: Path, data_dir: Path
) -> None:
    (imports / "mine" / "pytorch_model.bin").write_bytes(b"x")
    task = import_model(server)
    assert (task["state"], task["error"]["code"]) == ("failed", "model_is_pickle")
    assert "remove pytorch_model.bin" in task["error"]["hint"]
    assert not list((data_dir / "models").iterdir())
    assert server.member.get(MODELS).json()["data"] == []


def test_a_client_cannot_name_a_folder_elsewhere(server: Server, imports: Path) -> None:
    assert imports.is_dir()
    for name in ("../secret", "/etc", "nothing", "..", "mine/../../x"):
        answer = server.member.post(f"{MODELS}/import", json={"source": "folder", "name": name})
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "import_folder_not_found"


def test_what_is_no_id_of_a_hub_is_refused_at_once(server: Server) -> None:
    for name in ("http://169.254.169.254/x", "a/b/c", "--help", "a/..", "/a/b"):
        answer = server.member.post(f"{MODELS}/import", json={"source": "hub", "name": name})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_a_hub_id"), name


def test_folders_for_import_are_listed_for_members(server: Server, imports: Path) -> None:
    assert imports.is_dir()
    assert server.member.get(f"{MODELS}/folders").json()["data"] == ["mine"]
    assert server.viewer.get(f"{MODELS}/folders").status_code == 403


def test_a_name_is_taken_in_its_project_only(server: Server, model: dict[str, Any]) -> None:
    again = server.member.post(f"{MODELS}/import", json={"source": "folder", "name": "mine"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")
    task = import_model(server, "foreigner")
    assert task["state"] == "succeeded"
    assert task["result"]["model_id"] != model["id"]
    assert len(server.foreigner.get(MODELS).json()["data"]) == 1


def test_only_administrators_share_with_every_project(server: Server, imports: Path) -> None:
    assert imports.is_dir()
    body = {"source": "folder", "name": "mine", "shared": True}
    assert server.member.post(f"{MODELS}/import", json=body).status_code == 403
    task = import_model(server, "admin", shared=True)
    assert task["state"] == "succeeded"
    shared = server.foreigner.get(f"{MODELS}/mine").json()
    assert (shared["id"], shared["project_id"]) == (task["result"]["model_id"], None)
    assert server.foreigner.delete(f"{MODELS}/mine").status_code == 403
    assert server.admin.delete(f"{MODELS}/mine").status_code == 204


def test_a_storage_quota_counts_models(server: Server, imports: Path, data_dir: Path) -> None:
    assert imports.is_dir()
    with server.platform.database.write() as session:
        session.get_one(User, server.users["member"]).quota_storage_bytes = 1000
    task = import_model(server)
    assert (task["state"], task["error"]["code"]) == ("failed", "exceeded_storage_quota")
    assert not list((data_dir / "models").iterdir())


def test_files_are_listed_previewed_and_sent(server: Server, model: dict[str, Any]) -> None:
    """A8"""
    path = f"{MODELS}/{model['id']}/files"
    files = {row["path"]: row for row in server.viewer.get(path).json()["data"]}
    assert files["model.safetensors"]["bytes"] > 3_000_000
    assert not files["model.safetensors"]["is_text"]
    text = server.viewer.get(f"{path}/text", params={"path": "config.json"}).json()
    assert json.loads(text["text"])["model_type"] == "llama"
    assert text["is_whole"]
    short = server.viewer.get(
        f"{path}/text", params={"path": "tokenizer.json", "most_bytes": 10}
    ).json()
    assert (len(short["text"]), short["is_whole"]) == (10, False)
    sent = server.viewer.get(f"{path}/content", params={"path": "config.json"})
    assert sent.headers["content-disposition"].startswith("attachment")
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.content == (starter_directory() / "config.json").read_bytes()
    refused = server.viewer.get(f"{path}/text", params={"path": "model.safetensors"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "model_file_not_text")


def test_no_file_outside_the_model_is_sent(server: Server, model: dict[str, Any]) -> None:
    names = ("../../tunesmith.db", "/etc/passwd", "manifest.json", "no", "a\0", "./config.json")
    for name in names:
        for kind in ("content", "text"):
            path = f"{MODELS}/{model['id']}/files/{kind}"
            answer = server.member.get(path, params={"path": name})
            assert answer.status_code == 404, answer.text


def test_a_file_that_became_a_link_is_not_sent(
    server: Server, model: dict[str, Any], data_dir: Path
) -> None:
    file = data_dir / "models" / model["id"] / "config.json"
    file.unlink()
    file.symlink_to("/etc/passwd")
    path = f"{MODELS}/{model['id']}/files/content"
    assert server.member.get(path, params={"path": "config.json"}).status_code == 404


def test_models_of_others_do_not_exist(server: Server, model: dict[str, Any]) -> None:
    foreign, path = server.foreigner, f"{MODELS}/{model['id']}"
    for address in (path, f"{path}/files", f"{path}/lineage", f"{MODELS}/{model['name']}"):
        assert foreign.get(address).status_code == 404
    assert foreign.delete(path).status_code == 404
    assert foreign.patch(path, json={"description": "x"}).status_code == 404
    assert foreign.get(MODELS).json()["data"] == []
    assert foreign.get(MODELS, params={"project_id": server.project}).status_code == 404


def test_members_change_models_and_viewers_do_not(server: Server, model: dict[str, Any]) -> None:
    path = f"{MODELS}/{model['id']}"
    assert server.viewer.patch(path, json={"description": "x"}).status_code == 403
    changed = server.member.patch(path, json={"task": "custom", "description": "二"}).json()
    assert (changed["task"], changed["description"]) == ("custom", "二")
    assert server.member.patch(path, json={"task": "odd"}).status_code == 422
    assert server.member.patch(path, json={"name": "x"}).status_code == 422


def test_a_name_with_slashes_and_colons_finds_its_model(server: Server) -> None:
    name = "ft:Qwen/Qwen3-0.6B:default:help desk:01234567"
    made = add_model(server, name)
    assert server.viewer.get(f"{MODELS}/{name}").json()["id"] == made
    assert server.viewer.get(f"{MODELS}/{name}/lineage").json()["model_id"] == made


def test_lineage_shows_base_data_job_and_children(server: Server, model: dict[str, Any]) -> None:
    job = add_job(server, status="succeeded", base_model_id=model["id"])
    tuned = add_model(server, "ft:tuned", job_id=job, parent_id=model["id"], kind="full")
    with server.platform.database.write() as session:
        moment = clock.read(session)
        who = {"user_id": server.users["member"], "created_at": moment.wall}
        session.add(
            Dataset(id="ds-1", project_id=server.project, name="rows", folder="rows", **who)
        )
        session.flush()
        session.add(
            DatasetVersion(
                id="dsv-1", dataset_id="ds-1", number=3, rows=10, bytes=1, content="c", **who
            )
        )
        session.flush()
        session.add(ModelDataset(model_id=tuned, dataset_version_id="dsv-1", role="train"))
    grandchild = add_model(server, "ft:again", parent_id=tuned)
    graph = server.viewer.get(f"{MODELS}/{tuned}/lineage").json()
    assert {node["id"]: node["name"] for node in graph["nodes"]} == {
        tuned: "ft:tuned", model["id"]: "mine", job: "job", "dsv-1": "rows@3",
        grandchild: "ft:again",
    }  # fmt: skip
    edges = {(edge["source"], edge["target"], edge["relation"]) for edge in graph["edges"]}
    assert edges == {
        (model["id"], job, "base"), ("dsv-1", job, "train"), (job, tuned, "result"),
        (tuned, grandchild, "base"),
    }  # fmt: skip


def test_lineage_goes_through_recipes_jobs_and_data_to_every_descendant(server: Server) -> None:
    """From the base over rows that ship with us to a result, its result, and that one's."""
    recipe = {
        "name": "shop",
        "stage": {"kind": "sft"},
        "adapter": {"kind": "full"},
        "data": {
            "train": [{"dataset": "builtin:shop"}],
            "validation": {"kind": "dataset", "dataset": "builtin:probe"},
        },
        "training": {"epochs": 8, "batch_size": 4, "learning_rate": 1e-3},
    }
    names, jobs, parent = ("ft:1", "ft:2", "ft:3"), list[str](), None
    for name in names:
        jobs.append(add_job(server, status="succeeded", recipe=recipe, base="starter"))
        job = {"job_id": jobs[-1], "recipe": recipe, "base": "starter"}
        parent = add_model(server, name, parent_id=parent, kind="full", **job)
    graph = server.viewer.get(f"{MODELS}/ft:1/lineage").json()
    ids = {node["name"]: node["id"] for node in graph["nodes"] if node["kind"] == "model"}
    edges = {(edge["source"], edge["target"], edge["relation"]) for edge in graph["edges"]}
    for name, job in zip(names, jobs, strict=True):
        assert edges >= {
            ("builtin:shop", job, "train"), ("builtin:probe", job, "validation"),
            (f"recipe-{job}", job, "recipe"), (job, ids[name], "result"),
        }  # fmt: skip
    assert ("starter", jobs[0], "base") in edges
    assert edges >= {(ids["ft:1"], jobs[1], "base"), (ids["ft:2"], jobs[2], "base")}
    told = next(node for node in graph["nodes"] if node["kind"] == "recipe")
    assert told["name"] == "shop"
    assert told["details"] == {
        "stage": "sft", "method": "full", "epochs": 8, "batch_size": 4, "learning_rate": 1e-3,
    }  # fmt: skip


def test_lineage_names_nothing_of_other_projects(server: Server, model: dict[str, Any]) -> None:
    secret = add_model(server, "ft:secret", project_id=server.their_project, parent_id=model["id"])
    nodes = server.member.get(f"{MODELS}/{model['id']}/lineage").json()["nodes"]
    hidden = next(node for node in nodes if node["id"] == secret)
    assert (hidden["name"], hidden["details"]) == ("", {})


def test_a_model_in_use_is_not_deleted(server: Server, model: dict[str, Any]) -> None:
    path = f"{MODELS}/{model['id']}"
    job = add_job(server, base_model_id=model["id"])
    answer = server.member.delete(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_in_use")
    assert job in answer.json()["error"]["message"]
    with server.platform.database.write() as session:
        session.get_one(Job, job).status = "succeeded"
    child = add_model(server, "ft:child", parent_id=model["id"])
    assert "ft:child" in server.member.delete(path).json()["error"]["message"]
    assert server.member.delete(f"{MODELS}/{child}").status_code == 204
    assert server.member.delete(path).status_code == 204
    assert server.member.get(path).status_code == 404
    assert server.member.delete(path).status_code == 404


def test_an_adapter_that_a_waiting_job_goes_on_from_is_not_deleted(server: Server) -> None:
    adapter = add_model(server, "ft:before")
    add_job(server, recipe={"adapter": {"kind": "lora", "continue_from": adapter}})
    assert server.member.delete(f"{MODELS}/{adapter}").status_code == 409


def test_lineage_outlives_a_deleted_model(server: Server, model: dict[str, Any]) -> None:
    tuned = add_model(server, "ft:full", parent_id=model["id"], kind="full")
    assert server.member.delete(f"{MODELS}/{model['id']}").status_code == 204
    nodes = server.member.get(f"{MODELS}/{tuned}/lineage").json()["nodes"]
    gone = next(node for node in nodes if node["id"] == model["id"])
    assert gone["name"] == "mine"
    assert gone["details"]["deleted_at"]


def test_an_adapter_rests_on_the_model_that_was_checked_here(
    server: Server, imports: Path, data_dir: Path
) -> None:
    adapter = imports / "adapter"
    adapter.mkdir()
    settings = {
        "peft_type": "LORA", "r": 4, "base_model_name_or_path": "/etc/secrets",
        "auto_mapping": {"base_model_class": "X", "parent_library": "evil"},
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    task = import_model(server, name="adapter")
    assert task["error"]["code"] == "adapter_base_unknown"
    base = import_model(server)["result"]["model_id"]
    task = import_model(server, name="adapter", base="mine")
    assert task["state"] == "succeeded", task["error"]
    model_id = task["result"]["model_id"]
    kept = json.loads((data_dir / "models" / model_id / "adapter_config.json").read_bytes())
    assert kept["base_model_name_or_path"] == str(data_dir / "models" / base)
    assert "auto_mapping" not in kept
    read = server.member.get(f"{MODELS}/{model_id}").json()
    assert (read["kind"], read["parent_id"], read["base"]) == ("adapter", base, "mine")
    assert server.member.delete(f"{MODELS}/mine").status_code == 409


def test_results_of_jobs_have_their_files(server: Server, data_dir: Path) -> None:
    job = add_job(server, status="succeeded")
    made = add_model(server, "ft:result", job_id=job)
    gone = server.member.get(f"{MODELS}/{made}/files")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_files_gone")
    artifacts = data_dir / "runs" / job / "artifacts"
    (artifacts / "adapter").mkdir(parents=True)
    (artifacts / "README.md").write_text("# Card")
    (artifacts / "adapter" / "adapter_config.json").write_text("{}")
    write_manifest(artifacts, kinds=["adapter"])
    files = server.member.get(f"{MODELS}/{made}/files").json()["data"]
    assert [row["path"] for row in files] == ["README.md", "adapter/adapter_config.json"]


def test_the_base_of_a_job_is_found_by_any_of_its_names(
    server_on_both: Server, data_dir: Path
) -> None:
    server = server_on_both
    shutil.copytree(starter_directory(), data_dir / "import" / "mine")
    made = import_model(server)["result"]["model_id"]
    caller = server.platform.people.caller(server.tokens["member"], Asked())
    with server.platform.database.write() as session:

        def base(name: str, *, hub_downloads: bool = True) -> str:
            return resolve_base(
                session, caller, name, server.project, hub_downloads=hub_downloads
            ).name

        assert base("starter") == "starter"
        assert base("mine") == base(made) == made
        assert base("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
        with pytest.raises(Conflict, match="not imported"):
            base("Qwen/Qwen3-0.6B", hub_downloads=False)
        with pytest.raises(Conflict, match="cannot be trained"):
            base("baichuan-inc/Baichuan2-7B-Chat")
        for odd in ("/etc", "ft:none", "model-none", "../x", "https://hub/x"):
            with pytest.raises(NotFound):
                base(odd)


def test_a_result_shows_the_size_and_the_context_of_what_it_rests_on(
    server: Server, model: dict[str, Any]
) -> None:
    """A3, A7."""
    of_starter = server.viewer.get(f"{MODELS}/{add_model(server, 'ft:a')}").json()
    assert (of_starter["size"], of_starter["context_label"]) == ("1.9M", "1k")
    first = add_model(server, "ft:b", base="mine", parent_id=model["id"])
    second = server.viewer.get(f"{MODELS}/{add_model(server, 'ft:c', parent_id=first)}").json()
    assert second["context"] == model["context"]
    assert second["size"] == model["size"]
    assert second["memory_bytes"]["full"] > second["memory_bytes"]["lora"] > 0
    with_code = add_model(server, "ft:d", base="zai-org/chatglm3-6b")
    refused = server.viewer.get(f"{MODELS}/{with_code}").json()["capabilities"]
    assert {each["available"] for each in refused} == {False}


def test_values_that_a_model_recommends_are_kept_with_it(
    server: Server, model: dict[str, Any]
) -> None:
    """A6, D14: also for what is made of it."""
    path = f"{MODELS}/{model['id']}"
    own = {"training.learning_rate": 3e-6, "training.epochs": 6, "adapter.kind": "full"}
    assert server.viewer.patch(path, json={"defaults": own}).status_code == 403
    assert server.member.patch(path, json={"defaults": own}).status_code == 200
    assert server.viewer.get(path).json()["defaults"] == own
    child = add_model(server, "ft:child", parent_id=model["id"], base="mine")
    for base in (model["id"], child):
        found = server.viewer.get("/api/v1/recipes/defaults", params={"base": base}).json()
        assert found["values"]["training.learning_rate"] == 3e-6
        assert found["values"]["adapter.kind"] == "full"
        assert found["reasons"]["training.epochs"] == "The model's own default."
        assert found["context_length"] == model["context"]
        assert found["parameters"] == model["details"]["parameters"]
    assert server.member.patch(path, json={"defaults": {}}).status_code == 200
    assert server.viewer.get(path).json()["defaults"] == {}


@pytest.mark.parametrize(
    ("defaults", "code"),
    [
        ({"training.learning_rate": -1}, "invalid_recipe"),
        ({"training.nothing": 1}, "invalid_recipe"),
        ({"model.base": "/etc"}, "not_a_default"),
        ({"data.train": []}, "not_a_default"),
        ({"nothing": 1}, "invalid_body"),
    ],
)
def test_odd_recommendations_change_nothing(
    server: Server, model: dict[str, Any], defaults: dict[str, Any], code: str
) -> None:
    path = f"{MODELS}/{model['id']}"
    answer = server.member.patch(path, json={"defaults": defaults})
    assert answer.json()["error"]["code"] == code, answer.text
    assert server.viewer.get(path).json()["defaults"] == {}


def test_methods_that_a_model_does_not_take_are_not_recommended(server: Server) -> None:
    """A5."""
    params = {"base": "Qwen/Qwen3-0.6B"}
    found = server.viewer.get("/api/v1/recipes/defaults", params=params).json()
    expected = ["full", "freeze", "expand", "lora", "oft", "prompt", "p_tuning", "prefix"]
    assert found["methods"] == expected
    assert (found["context_length"], found["parameters"]) == (40960, 600_000_000)


@pytest.mark.parametrize(("wish", "hub"), [("1", "modelscope"), ("", "hub")])
def test_a_setting_chooses_the_hub_where_none_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, wish: str, hub: str
) -> None:
    """A4."""
    monkeypatch.setenv("USE_MODELSCOPE_HUB", wish)
    task = server.member.post(f"{MODELS}/import", json={"name": "Qwen/Qwen3-0.6B"}).json()
    with server.platform.database.read() as session:
        params = session.get_one(Task, task["id"]).params
    assert params["order"]["source"] == hub

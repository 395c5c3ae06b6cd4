"""What a server does not take from a recipe is told in its answer, in the caller's language."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from tests.unit.api.conftest import Server
from tests.unit.api.training import JOB, submit

from tunesmith.api.notices_zh import NOTICES, in_language
from tunesmith.recipe import Notice, parse
from tunesmith.recipe.notice_texts import TEXTS
from tunesmith.server.clock import read
from tunesmith.server.tables import Model

SOURCE = Path(__file__).parents[3] / "src" / "tunesmith"
CHINESE = {"Accept-Language": "zh-CN"}
IGNORED: dict[str, Any] = {
    "output_dir": "/srv/runs/mine",
    "train_url": "/srv/results",
    "device": "cuda",
    "report": {"wandb": True, "swanlab": True},
}
TOLD = {
    ("output_place", "output_dir"),
    ("output_place", "train_url"),
    ("device_not_used", "training.device"),
    ("tracker_of_worker", "report.wandb"),
    ("tracker_of_worker", "report.swanlab"),
}


def told(notices: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(each["code"], each["field"]) for each in notices}


def test_whatever_a_server_ignores_is_told_by_every_answer(server: Server) -> None:
    recipe = {"model": "starter", "data": ["builtin:shop"], **IGNORED}
    client = server.member
    for path in ("validate", "explain"):
        answer = client.post(f"/api/v1/recipes/{path}", json={"recipe": recipe})
        assert answer.status_code == 200, answer.text
        assert told(answer.json()["notices"]) >= TOLD, path
    estimate = client.post("/api/v1/jobs/estimate", json={**JOB, "recipe": IGNORED}).json()
    assert told(estimate["notices"]) >= TOLD
    job = submit(server, recipe=IGNORED)
    assert told(job["notices"]) >= TOLD
    hints = " ".join(each["hint"] for each in job["notices"])
    assert "--run" not in hints  # what helps at a command line only


def test_a_copy_of_a_job_tells_the_same(server: Server) -> None:
    job = submit(server)["id"]
    body = {"changes": {"training.device": "mps", "report.mlflow": True}}
    made = server.member.post(f"/api/v1/jobs/{job}/clone", json=body)
    assert made.status_code == 201, made.text
    assert told(made.json()["notices"]) >= {
        ("device_not_used", "training.device"),
        ("tracker_of_worker", "report.mlflow"),
    }


def test_the_flavour_says_where_a_job_is_computed(server: Server) -> None:
    job = submit(server, recipe={"training": {"device": "cuda"}})["id"]
    recipe = server.member.get(f"/api/v1/jobs/{job}/recipe").json()
    assert recipe["recipe"]["training"]["device"] == "auto"
    assert recipe["submitted"]["training"]["device"] == "cuda"


def test_a_model_that_is_here_is_not_fetched_from_a_hub(server: Server) -> None:
    with server.platform.database.write() as session:
        session.add(
            Model(
                id="model-here",
                name="here",
                project_id=server.project,
                user_id=server.users["member"],
                kind="full",
                source="folder",
                base="here",
                recipe=None,
                details={},
                created_at=read(session).wall,
            )
        )
    model = {"source": "modelscope", "revision": "abc"}
    job = submit(server, base="here", recipe={"model": model})
    assert told(job["notices"]) >= {
        ("base_is_here", "model.source"),
        ("base_is_here", "model.revision"),
    }
    recipe = server.member.get(f"/api/v1/jobs/{job['id']}/recipe").json()["recipe"]
    assert (recipe["model"]["base"], recipe["model"]["source"]) == ("model-here", "auto")
    elsewhere = submit(server, base="org/name", recipe={"model": model})
    assert not {each["code"] for each in elsewhere["notices"]} & {"base_is_here"}


def test_notices_are_in_chinese_where_that_is_asked_for(server: Server) -> None:
    body = {**JOB, "recipe": IGNORED}
    answer = server.member.post("/api/v1/jobs", json=body, headers=CHINESE).json()
    by_code = {each["code"]: each for each in answer["notices"]}
    assert by_code["no_worker_running"]["message"].startswith("没有正在运行的工作节点")
    assert by_code["output_place"]["message"].startswith("train_url 不会生效")
    recipe = {"model": "starter", "data": ["builtin:shop"], "epochs": 20}
    looked = {"recipe": recipe}
    found = server.viewer.post("/api/v1/recipes/validate", json=looked, headers=CHINESE).json()
    assert {each["code"] for each in found["notices"]} >= {"many_epochs"}
    for each in found["notices"]:
        assert any("\u4e00" <= char <= "\u9fff" for char in each["message"]), each


def codes(function: str) -> set[str]:
    """The codes of all notices that a recipe or a service makes by a function."""
    found: set[str] = set()
    for package in ("recipe", "server/services", "api/routes"):
        for file in sorted((SOURCE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function:
                    first = node.args[0] if node.args else None
                    if isinstance(first, ast.Constant):
                        found.add(str(first.value))
    return found


def test_every_notice_has_a_chinese_text() -> None:
    told = {"unknown_name"}  # which is told as the problem that it holds
    assert {"no_worker_running", "device_not_used"} <= codes("Notice")
    assert codes("Notice") - NOTICES.keys() == told
    assert codes("notice") == TEXTS.keys()


@pytest.mark.parametrize("code", sorted(NOTICES))
def test_the_chinese_texts_of_notices_can_be_filled(code: str) -> None:
    values = {"running_jobs_limit": {"running": 3, "most": 2}}.get(code, {})
    assert placeholders(NOTICES[code]) <= {"field", *values}
    notice = in_language(Notice(code, "English.", "Do.", "data.train", values=values), "zh")
    assert any("\u4e00" <= char <= "\u9fff" for char in notice.message)
    assert "{{" not in notice.message + notice.hint


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_both_languages_of_a_notice_name_the_same_values(code: str) -> None:
    text = TEXTS[code]
    assert placeholders(text[:2]) == placeholders(text[2:])
    assert bool(text.en_hint) == bool(text.zh_hint)
    assert any("\u4e00" <= char <= "\u9fff" for char in text.zh)


def placeholders(texts: Sequence[str]) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse("".join(texts)) if name}


def test_notices_of_a_recipe_are_told_anew_in_chinese_with_their_values() -> None:
    recipe = {
        "model": "starter", "data": ["builtin:shop"], "epochs": 20, "packing": True,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3,
        "learning_rate_multiplier": 2, "data.general_ratio": 0.5, "export.merge": True,
        "adapter.kind": "full", "data.validation.kind": "none", "task_type": "x",
    }  # fmt: skip
    loaded = parse(recipe)
    told = {each.path + each.code: in_language(each, "zh").message for each in loaded.notices}
    assert told["training.epochsmany_epochs"].startswith("training.epochs 为 20：超过 10 轮")
    assert "每卡 2 条 × 累积 3 步" in told["training.batch_sizebatch_size_recorded"]
    assert told["export.mergevalue_not_used"] == (
        "export.merge 不会生效：adapter.kind 为 full，没有可合并的内容。"
    )
    for message in told.values():
        assert not re.search(" (is|are|rows) ", message), message

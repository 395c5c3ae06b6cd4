"""The console in a real browser, on a real server with a real worker. FAULTS 10, 22."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect
from tests.e2e.console_browser import TOKEN, Server, watched
from tests.e2e.trained import submit

pytestmark = pytest.mark.slow

# What FAULTS 22 names: handlers, scripts, addresses, templates, terminal codes, quotes.
HOSTILE = (
    "<script>window.hostile = 1</script>",
    "<img src=x onerror='window.hostile = 2'>",
    "\"><svg onload='window.hostile = 3'>",
    "<iframe srcdoc='<script>parent.hostile = 4</script>'></iframe>",
    "[click](javascript:window.hostile=5)",
    "{{constructor.constructor('window.hostile = 6')()}}",
    "<math><mtext></p><img src=x onerror=window.hostile=7>",
    "</textarea><script>window.hostile = 8</script>",
)


@dataclass(frozen=True)
class Words:
    """What the first run meets, in one language."""

    token: str
    sign_in: str
    new_password: str
    set_password: str
    start: str
    running: str
    keep: str
    view_model: str
    files: str
    results: str
    beside: str
    question: str


ENGLISH = Words(
    token="Token", sign_in="Sign in", new_password="New password", set_password="Set password",
    start="Start training", running="Running", keep="Stop and keep", view_model="View model",
    files="Model files", results="Results", beside="Ask it beside its base",
    question="Question to all models",
)  # fmt: skip
CHINESE = Words(
    token="令牌", sign_in="登录", new_password="新密码", set_password="设置密码",
    start="开始训练", running="运行中", keep="停止并保留", view_model="查看模型",
    files="模型文件", results="结果", beside="与基座模型对比提问", question="向所有模型提问",
)  # fmt: skip


@pytest.mark.parametrize(("language", "words"), [("en", ENGLISH), ("zh", CHINESE)])
def test_a_first_run_comes_in_three_clicks_to_a_training_then_to_its_model_and_to_an_answer(
    chromium: Browser, tmp_path: Path, language: str, words: Words
) -> None:
    server = Server(tmp_path)
    with watched(chromium, server, language=language, signed_in=False) as found:
        page = found.page
        page.goto(server.url)
        page.get_by_label(words.token).fill(TOKEN)
        page.get_by_role("button", name=words.sign_in).click()
        page.get_by_label(words.new_password).fill("a good long password")
        page.get_by_role("button", name=words.set_password).click()
        page.get_by_role("button", name=words.start).click()
        page.get_by_text(words.running, exact=True).first.wait_for()
        page.locator(".uplot canvas").first.wait_for()
        page.get_by_role("button", name=words.keep).click()
        page.get_by_role("dialog").get_by_role("button", name=words.keep).click()
        page.get_by_role("button", name=words.view_model).wait_for()
        page.get_by_role("tab", name=words.results).click()
        page.get_by_role("button", name=words.beside).click()
        question = page.get_by_role("textbox", name=words.question)
        question.fill("Where is my order?")
        question.press("Enter")
        expect(page.locator(".told")).to_have_count(2)  # of the base and of the result
        page.go_back()
        page.get_by_role("button", name=words.view_model).click()
        page.get_by_role("tab", name=words.files).click()
        page.get_by_text("passport.json").wait_for()
        assert found.faults == []
    server.end()


def test_two_users_at_once_see_each_other_s_jobs_and_keep_their_own_language(
    chromium: Browser, server: Server
) -> None:
    with server.api() as client:
        user = {"name": "wang.fang", "password": "a good long password", "language": "zh"}
        user_id = client.post("/users", json=user).json()["id"]
        project = client.get("/projects").json()["data"][0]["id"]
        client.put(
            f"/projects/{project}/members/{user_id}", json={"role": "member"}
        ).raise_for_status()
        with (
            watched(chromium, server) as mine,
            watched(chromium, server, language="zh", signed_in=False) as hers,
        ):
            hers.page.goto(server.url)
            hers.page.get_by_label("用户名").fill(user["name"])
            hers.page.get_by_label("密码", exact=True).last.fill(user["password"])
            hers.page.get_by_role("button", name="登录").click()
            hers.page.get_by_role("link", name="训练任务").click()
            mine.open("/jobs")
            submit(client, "of-the-admin", max_steps=1)
            for one, details in ((mine, "Details"), (hers, "详情")):  # without a reload
                row = one.page.get_by_role("row", name="of-the-admin")
                expect(row.get_by_role("link", name=details)).to_be_visible()
            assert mine.faults == hers.faults == []


def test_a_password_signs_in_and_a_wrong_one_is_told_in_chinese(
    chromium: Browser, server: Server
) -> None:
    with server.api() as client:
        body = {"name": "li.na", "password": "a good long password", "language": "zh"}
        assert client.post("/users", json=body).status_code == 201
        client.put("/me/password", json={"password": "another long password"})
    with watched(chromium, server, language="zh", signed_in=False) as found:
        page = found.page
        page.goto(server.url)
        page.get_by_label("用户名").fill("li.na")
        page.get_by_label("密码", exact=True).last.fill("wrong")
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_role("alert")).to_contain_text("请求编号")
        page.get_by_label("密码", exact=True).last.fill("a good long password")
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("总览")
        expect(page.get_by_role("link", name="训练任务")).to_be_visible()


@pytest.fixture(scope="module")
def hostile(server: Server) -> dict[str, str]:
    """A job and a dataset whose every text is hostile."""
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}
        for text in HOSTILE
    ]
    lines = "\n".join(json.dumps(row) for row in rows * 20).encode()
    with server.api() as client:
        dataset = server.dataset(client, "hostile", lines)
        body = {
            "name": HOSTILE[1],
            "description": " ".join(HOSTILE),
            "base": "starter",
            "datasets": ["hostile@1"],
            "labels": {"<b>": HOSTILE[0]},
            "recipe": {"training": {"max_steps": 1}},
        }
        answer = client.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
    return {"dataset": dataset, "job": answer.json()["id"]}


def test_hostile_texts_show_as_texts(
    chromium: Browser, server: Server, hostile: dict[str, str]
) -> None:
    with watched(chromium, server) as found:
        places = {
            "/": HOSTILE[1],
            "/jobs": HOSTILE[1],
            f"/jobs/{hostile['job']}": HOSTILE[1],
            f"/jobs/{hostile['job']}/events": HOSTILE[1],
            f"/jobs/{hostile['job']}/log": HOSTILE[1],
            f"/jobs/{hostile['job']}/recipe": HOSTILE[1],
            f"/datasets/{hostile['dataset']}": HOSTILE[0],
            f"/datasets/{hostile['dataset']}/rows?row=1": HOSTILE[0],
            f"/datasets/{hostile['dataset']}/report": "",
        }
        for path, text in places.items():
            found.open(path)
            if path in ("/jobs", f"/jobs/{hostile['job']}", f"/datasets/{hostile['dataset']}"):
                found.page.get_by_text(text).first.wait_for()
        assert found.page.evaluate("window.hostile") == 0
        assert found.faults == []


@pytest.mark.parametrize(
    ("language", "look", "width"), [("en", "light", 1440), ("zh", "dark", 390)]
)
def test_every_page_opens_without_a_fault_and_fits(
    chromium: Browser,
    server: Server,
    hostile: dict[str, str],
    language: str,
    look: str,
    width: int,
) -> None:
    job, dataset = f"/jobs/{hostile['job']}", f"/datasets/{hostile['dataset']}"
    paths = [
        *("/", "/jobs", "/datasets", "/models", "/models?tab=presets", "/welcome", "/nowhere"),
        *(job, *(f"{job}/{tab}" for tab in ("metrics", "log", "events", "checkpoints", "recipe"))),
        *(dataset, *(f"{dataset}/{tab}" for tab in ("report", "stats", "versions"))),
        *(f"/train?page={page}" for page in ("model", "data", "parameters", "basics")),
    ]
    with watched(chromium, server, language=language, look=look, width=width) as found:
        wide = []
        for path in paths:
            found.open(path)
            if found.overflow > 0:
                wide.append((path, found.overflow))
        assert wide == []
        assert found.faults == []


def test_a_draft_survives_a_refresh_and_its_errors_stand_beside_their_fields(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter")
        page.get_by_role("combobox", name="Add a dataset").click()
        page.locator(".ant-select-item-option", has_text="builtin:shop").click()
        found.next("Parameters")
        page.get_by_role("textbox", name="Epochs", exact=True).fill("-1")
        page.get_by_role("textbox", name="Learning rate", exact=True).fill("2e-4")
        page.get_by_role("textbox", name="Batch size", exact=True).fill("0")
        page.get_by_role("textbox", name="Batch size", exact=True).press("Tab")
        expect(page.get_by_role("alert").filter(has_text="-1 is not")).to_be_visible()
        expect(page.get_by_role("alert").filter(has_text="0 is not")).to_be_visible()
        page.reload()
        expect(page.get_by_role("textbox", name="Epochs", exact=True)).to_have_value("-1")
        expect(page.get_by_role("textbox", name="Learning rate", exact=True)).to_have_value("2e-4")
        _fill(page, "Epochs", "1")
        _fill(page, "Batch size", "64")
        page.get_by_text("YAML", exact=True).click()
        expect(page.get_by_role("textbox", name="YAML")).to_have_value(re.compile("batch_size: 64"))
        found.next("Name and compute")
        page.locator("#name").fill("from-the-form")
        found.next("Order")
        page.locator("#page").get_by_role("button", name="Create training").dblclick()
        expect(page.get_by_role("heading", level=1)).to_have_text("from-the-form")
        with server.api() as client:
            jobs = client.get("/jobs", params={"text": "from-the-form"}).json()["data"]
            client.post(f"/jobs/{jobs[0]['id']}/cancel")
        assert len(jobs) == 1
        assert found.faults == []


def _fill(page: Page, label: str, text: str) -> None:
    box = page.get_by_role("textbox", name=label, exact=True)
    box.fill(text)
    box.press("Tab")


def test_an_upload_that_is_cut_goes_on_and_becomes_a_dataset(
    chromium: Browser, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "cut.jsonl"
    rows = (
        {"instruction": f"question {i} " + "x" * 400, "output": f"answer {i}"} for i in range(2_000)
    )
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with watched(chromium, server) as found:
        page, cuts = found.page, []
        found.open("/datasets")

        def cut(route: Route, request: Request) -> None:
            if request.method == "PATCH" and not cuts:
                cuts.append(1)
                route.abort("connectionreset")
            else:
                route.continue_()

        page.route("**/api/v1/uploads/*", cut)
        page.get_by_role("button", name="Upload dataset").first.click()
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_text("Detected: Alpaca").wait_for()
        page.get_by_role("button", name="Import").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("cut")
        expect(page.get_by_text("2,000 rows").first).to_be_visible()
        assert cuts == [1]


def test_a_killed_server_is_one_badge_that_goes_when_it_is_back(
    chromium: Browser, tmp_path: Path
) -> None:
    server = Server(tmp_path)
    with watched(chromium, server) as found:
        found.open("/")
        badge = found.page.get_by_text("Reconnecting …")
        expect(badge).to_have_count(0)
        server.end(signal.SIGKILL)
        expect(badge).to_have_count(1)
        server.start()
        expect(badge).to_have_count(0)
    server.end()

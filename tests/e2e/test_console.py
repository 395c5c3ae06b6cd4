"""The console in a real browser, on a real server with a real worker. FAULTS 10, 22."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect
from tests.e2e.console_browser import TOKEN, Server, watched

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


def test_a_first_run_comes_to_a_running_training_in_three_clicks_and_to_its_model(
    chromium: Browser, tmp_path: Path
) -> None:
    server = Server(tmp_path)
    with watched(chromium, server, signed_in=False) as found:
        page = found.page
        page.goto(server.url)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("New password").fill("a good long password")
        page.get_by_role("button", name="Set password").click()
        page.get_by_role("button", name="Start training").click()
        page.get_by_text("Running", exact=True).first.wait_for()
        page.locator(".uplot canvas").first.wait_for()
        page.get_by_role("button", name="Stop and keep").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop and keep").click()
        page.get_by_role("button", name="View model").click()
        page.get_by_role("tab", name="Model files").click()
        page.get_by_text("passport.json").wait_for()
        assert found.faults == []
    server.end()


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

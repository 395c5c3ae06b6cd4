"""Pages of settings, help, data and models in a real browser; axe looks at every page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.console_browser import WAIT_MS, Server, Watched, watched

pytestmark = pytest.mark.slow

AXE = Path(__file__).parents[2] / "console/node_modules/axe-core/axe.min.js"
CARD = """---
license: mit
---
# A card

<img src=x onerror="window.hostile = 1"><script>window.hostile = 2</script>
[click](javascript:window.hostile=3) and [a page](https://example.com).

| a | b |
| --- | --- |
| 1 | 2 |
"""


def test_the_first_page_is_small(chromium: Browser, server: Server) -> None:
    """Everything that the overview loads, compressed: below 400 KB, so that it is there soon."""
    sent = """performance.getEntriesByType('resource')
        .filter((each) => /[.](js|css|svg)$/.test(each.name))
        .reduce((sum, each) => sum + each.encodedBodySize, 0)"""
    with watched(chromium, server) as found:
        found.open("/")
        found.page.wait_for_load_state("load")
        size = found.page.evaluate(sent)
    assert 100_000 < size < 400_000


@pytest.fixture(scope="module")
def dataset(server: Server) -> str:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question {i}"},
                {"role": "assistant", "content": f"answer {i}"},
            ]
        }
        for i in range(120)
    ]
    with server.api() as client:
        return server.dataset(client, "editable", "\n".join(map(json.dumps, rows)).encode())


def test_a_token_is_shown_once_and_works_until_it_is_revoked(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/settings/tokens")
        page.get_by_role("button", name="New token").click()
        page.get_by_role("dialog").get_by_label("Name").fill("from-the-page")
        page.get_by_role("dialog").get_by_role("button", name="Create").click()
        secret = page.locator("[data-secret]").inner_text().strip()
        assert secret.startswith("tsk-")
        headers = {"Authorization": f"Bearer {secret}"}
        with server.api() as client:
            assert client.get("/me", headers=headers).status_code == 200
        page.get_by_role("button", name="I have copied it").click()
        assert secret not in page.content()
        page.get_by_role("row", name="from-the-page").get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("from-the-page", exact=True)).to_have_count(0)
        with server.api() as client:
            assert client.get("/me", headers=headers).status_code == 401
        assert found.faults == []


def test_a_user_joins_a_project_and_the_audit_tells_of_it(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/settings/users")
        page.get_by_role("button", name="New user").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name", exact=True).fill("not a name")
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_role("alert").first).to_be_visible()
        expect(dialog.get_by_label("Name", exact=True)).to_have_value("not a name")
        dialog.get_by_label("Name", exact=True).fill("li.na")
        dialog.get_by_label("Storage in GB").fill("2")
        dialog.get_by_role("button", name="Create").click()
        expect(page.get_by_role("cell", name="li.na")).to_be_visible()
        page.get_by_role("tab", name="Projects").click()
        page.get_by_role("button", name="Members").first.click()
        page.get_by_role("combobox", name="Find a user by name").fill("li.")
        page.locator(".ant-select-item-option", has_text="li.na").click()
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("cell", name="li.na")).to_be_visible()
        with server.api() as client:
            user = next(u for u in client.get("/users").json()["data"] if u["name"] == "li.na")
            assert user["quota_storage_bytes"] == 2 * 10**9
        found.open("/settings/audit")
        page.get_by_label("Action").fill("user.create")
        expect(page.get_by_role("cell", name=user["id"])).to_be_visible()
        expect(page.get_by_role("cell", name="user.create")).to_have_count(1)


def test_the_language_and_the_theme_are_chosen_and_kept(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/settings/account")
        page.get_by_text("中文", exact=True).last.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("设置")
        page.get_by_text("深色", exact=True).click()
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("设置")
        assert page.evaluate("document.documentElement.dataset.look") == "dark"
        with server.api() as client:
            assert client.get("/me").json()["user"]["language"] == "zh"
            client.patch("/me", json={"language": "en"})
        assert found.faults == []


def test_answers_come_again_in_the_language_that_is_chosen(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/datasets")
        expect(page.get_by_text("Customer service of an online shop.")).to_be_visible()
        page.get_by_role("button", name="中文").click()
        expect(page.get_by_text("网店客服问答。")).to_be_visible()
        assert found.faults == []


def test_an_import_that_failed_is_tried_again_with_what_was_sent_and_written(
    chromium: Browser, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "columns.csv"
    file.write_text("\n".join(["a,b", *(f"ask {i},say {i}" for i in range(120))]), "utf-8")
    with watched(chromium, server) as found:
        page = found.page
        found.open("/datasets")
        page.get_by_role("button", name="Upload dataset").first.click()
        dialog = page.get_by_role("dialog")
        page.locator("input[type=file]").set_input_files(file)
        expect(dialog.get_by_text("The format was not recognised")).to_be_visible()
        dialog.get_by_label("Name of the dataset").fill("mapped-later")
        dialog.get_by_role("button", name="Import").click()
        expect(dialog.get_by_role("alert").filter(has_text="columns.csv")).to_be_visible()
        for label, column in (("Question column", "a"), ("Answer column", "b")):
            dialog.get_by_role("combobox", name=label, exact=True).click()
            page.locator(".ant-select-dropdown:visible").get_by_title(column, exact=True).click()
        expect(dialog.get_by_text("ask 0").first).to_be_visible()
        dialog.get_by_role("button", name="Import").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("mapped-later")
        assert found.faults == []


def test_the_form_leads_to_the_help_on_a_parameter(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter")
        page.get_by_role("combobox", name="Add a dataset").click()
        page.locator(".ant-select-item-option", has_text="builtin:shop").click()
        found.next("Parameters")
        page.get_by_role("button", name="About Learning rate", exact=True).focus()
        page.get_by_role("link", name="Read more: Learning rate").dispatch_event("click")
        heading = page.get_by_role("heading", name="Learning rate", exact=True)
        expect(heading).to_be_focused()
        expect(page.get_by_text("5e-5 = 0.00005")).to_be_visible()
        assert found.faults == []


def test_a_row_is_edited_and_the_versions_compared(
    chromium: Browser, server: Server, dataset: str
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/datasets/{dataset}/rows?row=1")
        page.get_by_role("button", name="Edit", exact=True).click()
        page.get_by_label("Assistant").fill("a better answer")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.get_by_text("Version 2 is made.")).to_be_visible()
        expect(page.get_by_text("a better answer").first).to_be_visible()
        found.open(f"/datasets/{dataset}/versions")
        page.get_by_role("button", name="Compare").click()
        drawer = page.get_by_role("dialog")
        expect(drawer.get_by_text("answer 0", exact=True)).to_be_visible()
        expect(drawer.get_by_text("a better answer")).to_be_visible()
        assert found.faults == []


def test_splits_are_shown_and_a_version_is_exported(
    chromium: Browser, server: Server, dataset: str, tmp_path: Path
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/datasets/{dataset}/splits")
        page.get_by_role("button", name="Show splits").click()
        expect(page.get_by_text("108", exact=True)).to_be_visible()
        page.get_by_role("button", name="Export").click()
        page.get_by_role("dialog").get_by_role("button", name="Make the file").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        file = tmp_path / "export.jsonl"
        download.value.save_as(file)
        assert len(file.read_text(encoding="utf-8").splitlines()) == 120


@pytest.mark.usefixtures("dataset")
def test_shares_must_come_to_a_hundred_and_the_counts_follow(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter&dataset=builtin:shop")
        page.get_by_role("combobox", name="Add a dataset").click()
        page.locator(".ant-select-item-option", has_text="editable@").click()
        page.get_by_text("Shares", exact=True).click()
        share = page.get_by_label("Share in % builtin:shop")
        expect(share).to_have_value("50")
        share.fill("80")
        share.press("Tab")
        expect(page.get_by_text("The shares come to 130%")).to_be_visible()
        page.get_by_label("Share in % editable").fill("20")
        page.get_by_label("Share in % editable").press("Tab")
        expect(page.get_by_text("The shares come to")).to_have_count(0)
        expect(page.get_by_text("(80.0%)")).to_be_visible()


def test_a_waiting_job_says_on_its_page_what_it_waits_for_until_it_runs(
    chromium: Browser, server: Server
) -> None:
    with server.api() as client, watched(chromium, server) as found:
        me = f"/users/{client.get('/me').json()['user']['id']}"
        client.patch(me, json={"quota_running_jobs": 0}).raise_for_status()
        body = {"name": "patient", "base": "starter", "datasets": ["builtin:shop"]}
        job = client.post("/jobs", json=body).json()["id"]
        found.open(f"/jobs/{job}")
        waits = found.page.get_by_role("alert").get_by_text("0 may at a time")
        expect(waits).to_be_visible()
        client.patch(me, json={"quota_running_jobs": None}).raise_for_status()
        expect(waits).to_have_count(0)
        assert client.post(f"/jobs/{job}/cancel").is_success
        assert found.faults == []


def test_a_hostile_card_shows_as_text(chromium: Browser, server: Server) -> None:
    """The answer of the API is replaced: no import would keep such a card."""
    body = {"path": "README.md", "text": CARD, "is_whole": True, "bytes": len(CARD)}
    with watched(chromium, server) as found:
        found.page.route("**/files/text?*", lambda route: route.fulfill(json=body))
        with server.api() as client:
            models = client.get("/models").json()["data"]
        model = models[0]["id"] if models else _model(server)
        found.open(f"/models/{model}/card")
        expect(found.page.get_by_role("heading", name="A card")).to_be_visible()
        expect(found.page.get_by_text('onerror="window.hostile = 1"')).to_be_visible()
        expect(found.page.get_by_role("cell", name="2")).to_be_visible()
        assert found.page.locator("article img, .prose img, .prose script").count() == 0
        assert found.page.get_by_text("click", exact=True).get_attribute("href") in (None, "")
        assert found.page.evaluate("window.hostile") == 0
        assert found.faults == []


def _model(server: Server) -> str:
    """The result of a training of one step."""
    body = {
        "name": "small",
        "base": "starter",
        "datasets": ["builtin:shop"],
        "recipe": {"adapter": {"kind": "full"}, "training": {"max_steps": 1}},
    }
    with server.api() as client:
        job = client.post("/jobs", json=body).json()["id"]
        for _ in range(WAIT_MS // 200):
            found = client.get("/models", params={"source": "job"}).json()["data"]
            if found:
                return found[0]["id"]
            client.get(f"/jobs/{job}").raise_for_status()
            time.sleep(0.2)
    raise AssertionError("the training does not end")


PAGES = (
    *("/", "/jobs", "/datasets", "/models", "/models?tab=presets", "/welcome", "/nowhere"),
    *("/playground", "/deployments", "/evaluations"),
    *(f"/train?page={page}" for page in ("model", "data", "parameters", "basics")),
    *(
        f"/settings/{tab}"
        for tab in (
            *("account", "tokens", "notices", "projects"),
            *("users", "flavours", "system", "audit"),
        )
    ),
    *(f"/help/{section}" for section in ("basics", "methods", "parameters")),
)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_any_page(
    chromium: Browser, server: Server, dataset: str, look: str
) -> None:
    tabs = ("rows", "rows?row=1", "report", "stats", "splits", "versions")
    with server.api() as client:
        jobs = client.get("/jobs").json()["data"]
        models = client.get("/models").json()["data"]
    paths = [*PAGES, *(f"/datasets/{dataset}/{tab}" for tab in tabs)]
    if jobs:
        parts = ("", "/metrics", "/log", "/events", "/checkpoints", "/recipe")
        paths += [f"/jobs/{jobs[0]['id']}{tab}" for tab in parts]
    if models:
        parts = ("", "/card", "/files", "/parameters", "/lineage")
        paths += [f"/models/{models[0]['id']}{tab}" for tab in parts]
    with watched(chromium, server, look=look) as found:
        wrong = [line for path in paths for line in _faults(found, path)]
    assert not wrong, "\n".join(wrong)


def test_axe_finds_no_serious_fault_where_one_signs_in(chromium: Browser, server: Server) -> None:
    for look in ("light", "dark"):
        with watched(chromium, server, look=look, signed_in=False) as found:
            assert _faults(found, "/") == []


def _faults(found: Watched, path: str) -> list[str]:
    """What axe calls serious or critical, each with the first element that has it."""
    found.open(path)
    found.page.wait_for_timeout(300)  # colours of what appears are mixed while it moves
    return [
        f"{path}: {each['id']}: {each['nodes'][0]['html'][:160]}"
        for each in _axe(found.page)["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def _axe(page: Page) -> dict[str, Any]:
    """But for the row in which tables measure their columns: nobody sees it or gets into it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return page.evaluate(
        "axe.run({exclude: ['.ant-table-measure-row']}, {resultTypes: ['violations']})"
    )

"""Verdicts in a real browser: begun, watched, read row by row, and overridden with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.console_browser import Server, watched
from tests.e2e.trained import trained, until

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror='window.hostile = 1'>"


@pytest.fixture(scope="module")
def job(server: Server) -> dict[str, Any]:
    rows = [{"prompt": f"{n} {HOSTILE}", "completion": f"It is {n}."} for n in range(4)]
    with server.api() as client:
        server.dataset(client, "exam", "\n".join(json.dumps(row) for row in rows).encode())
        return trained(client, "examined", max_steps=1)


@pytest.fixture(scope="module")
def evaluation(server: Server, job: dict[str, Any]) -> str:
    """A comparison over four rows, which are too few to promote anything."""
    body = {"model": job["model_id"], "dataset": "exam", "gate": {"general": "none"}}
    with server.api() as client:
        made = client.post("/evaluations", json=body).json()
        path = f"/evaluations/{made['id']}"
        until(lambda: client.get(path).json(), "state", "succeeded")
    return made["id"]


def test_an_evaluation_is_begun_watched_and_scored(
    chromium: Browser, server: Server, job: dict[str, Any]
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/models/{job['model_id']}")
        page.get_by_role("button", name="Evaluate").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("switch", name="Compare with its base").click()
        dialog.get_by_label("Test data").click()
        page.locator(".ant-select-item-option", has_text="exam").first.click()
        dialog.get_by_role("button", name="Start").click()
        expect(page.get_by_text("Scored", exact=True)).to_be_visible()
        expect(page.get_by_text("primary", exact=True)).to_be_visible()
        page.get_by_role("tab", name="Row by row").click()
        expect(page.get_by_text("It is 3.", exact=True)).to_be_visible()
        assert found.faults == []


@pytest.mark.parametrize(
    ("language", "look", "width", "verdict", "rows"),
    [("en", "light", 1280, "Hold", "Row by row"), ("zh", "dark", 390, "暂缓", "逐行对比")],
)
def test_a_verdict_is_read_with_its_reasons_and_rows(
    chromium: Browser,
    server: Server,
    evaluation: str,
    language: str,
    look: str,
    width: int,
    verdict: str,
    rows: str,
) -> None:
    with watched(chromium, server, language=language, look=look, width=width) as found:
        page = found.page
        found.open(f"/evaluations/{evaluation}")
        expect(page.locator(".verdict h2")).to_have_text(verdict)
        expect(page.locator(".reason")).not_to_have_count(0)
        expect(page.locator(".interval").first).to_be_visible()
        page.get_by_role("tab", name=rows).click()
        page.locator(".ant-segmented-item").last.click()
        expect(page.locator(".boxed")).to_have_count(8)
        expect(page.get_by_text(f"3 {HOSTILE}")).to_be_visible()
        assert page.evaluate("window.hostile") == 0
        assert found.overflow <= 0
        assert found.faults == []


def test_a_report_is_downloaded_in_the_language_of_the_page(
    chromium: Browser, server: Server, evaluation: str
) -> None:
    with watched(chromium, server, language="zh") as found:
        found.open(f"/evaluations/{evaluation}")
        with found.page.expect_download() as told:
            found.page.get_by_role("button", name="下载").click()
        text = told.value.path().read_text("utf-8")
    assert "微调后的模型更好吗" in text


def test_a_model_that_did_not_pass_is_deployed_by_an_admin_with_a_reason_only(
    chromium: Browser, server: Server, evaluation: str
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/evaluations/{evaluation}")
        page.get_by_role("button", name="Deploy").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Deploy", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("did not pass")
        dialog.get_by_label("Override the gate").check()
        anyway = dialog.get_by_role("button", name="Deploy all the same")
        expect(anyway).to_be_disabled()
        dialog.get_by_label("Why? It stands in the audit.").fill("A demo for Monday.")
        anyway.click()
        expect(page.get_by_text("An admin overrode the gate")).to_be_visible()
        with server.api() as client:
            entries = client.get("/audit").json()["data"]
        assert [each["details"].get("override_reason") for each in entries].count(
            "A demo for Monday."
        ) == 1
        assert [each for each in found.faults if "409" not in each] == []


def test_a_wrong_answer_leads_to_its_training_rows_and_to_the_next_job(
    chromium: Browser, server: Server
) -> None:
    with server.api() as client:
        learned = [{"prompt": f"Count {n}", "completion": f"It is {n}."} for n in range(120)]
        dataset = server.dataset(client, "counted", _lines(learned))
        asked = [{"prompt": f"Count {n}", "completion": f"Surely {n}."} for n in (7, 70)]
        server.dataset(client, "asked", _lines(asked))
        job = trained(client, "counting", datasets=["counted"], max_steps=1)
        body = {"model": job["model_id"], "dataset": "asked", "compares": False}
        made = client.post("/evaluations", json=body).json()
        until(lambda: client.get(f"/evaluations/{made['id']}").json(), "state", "succeeded")
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/evaluations/{made['id']}/behind")
        page.get_by_role("button", name="Find the training rows").click()
        row = page.locator(".boxed", has=page.get_by_role("link", name="counted@1, Row")).first
        row.get_by_role("button", name="Change the answer").click()
        row.get_by_label("Answer of the row").fill("Surely so.")
        expect(page.get_by_text("1 row changed, 0 removed.")).to_be_visible()
        page.get_by_role("button", name="Make the version and train").click()
        expect(page.get_by_role("heading", name="counting-next")).to_be_visible()
        assert found.faults == []
    with server.api() as client:
        following = client.get("/jobs").json()["data"][0]
        client.post(f"/jobs/{following['id']}/cancel")
        assert client.get(f"/datasets/{dataset}").json()["num_versions"] == 2


def _lines(rows: list[dict[str, str]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()

"""Playground and deployments in a real browser: a finished model answers, beside its base."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.console_browser import Server, watched
from tests.e2e.trained import trained

pytestmark = pytest.mark.slow

HOSTILE = "Where is my order? <img src=x onerror='window.hostile = 1'>"


@pytest.fixture(scope="module")
def job(server: Server) -> dict[str, Any]:
    with server.api() as client:
        return trained(client, "talker", max_steps=2)


def playground(*models: str) -> str:
    return "/playground?" + "&".join(f"model={quote(model)}" for model in models)


def ask(page: Page, label: str, text: str) -> None:
    box = page.get_by_role("textbox", name=label)
    box.fill(text)
    box.press("Enter")


@pytest.mark.parametrize(
    ("language", "label", "tokens", "ready"),
    [
        ("en", "Question to all models", re.compile(r"\d+ tokens"), "Ready"),
        ("zh", "向所有模型提问", re.compile(r"\d+ 个 token"), "就绪"),
    ],
)
def test_a_finished_model_is_asked_beside_its_base(
    chromium: Browser,
    server: Server,
    job: dict[str, Any],
    language: str,
    label: str,
    tokens: re.Pattern[str],
    ready: str,
) -> None:
    with watched(chromium, server, language=language) as found:
        page = found.page
        found.open(playground("starter", job["model"]))
        ask(page, label, HOSTILE)
        expect(page.locator(".told")).to_have_count(2)
        expect(page.locator(".turn.question .said")).to_have_text([HOSTILE, HOSTILE])
        for pane in (0, 1):
            expect(page.locator(".pane").nth(pane)).to_contain_text(ready)
            expect(page.locator(".told").nth(pane)).to_contain_text(tokens)
        assert page.evaluate("window.hostile") == 0
        assert found.faults == []


def test_a_wrong_answer_goes_mended_into_a_new_dataset(
    chromium: Browser, server: Server, job: dict[str, Any]
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(playground(job["model"]))
        ask(page, "Question to all models", "How late are you open?")
        page.get_by_role("button", name="Mark as wrong").click()
        page.get_by_label("The right answer").fill("Until 18:00 <b>every</b> day.")
        page.get_by_label("Name of the dataset").fill("mended")
        page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("button", name="Open the dataset").click()
        expect(page.get_by_text("Until 18:00 <b>every</b> day.")).to_be_visible()
        with server.api() as client:
            dataset = client.get("/datasets", params={"text": "mended"}).json()["data"][0]
            path = f"/datasets/{dataset['id']}/versions/1/rows"
            row = client.get(path, params={"where": "to_mend == False"}).json()["data"][0]
        assert row["record"]["messages"][-1]["content"] == "Until 18:00 <b>every</b> day."
        assert row["extra"]["answered_by"] == job["model"]
        assert found.faults == []


def test_a_question_that_failed_is_kept_and_asked_again(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(playground("starter"))
        page.route("**/v1/chat/completions", lambda route: route.abort())
        ask(page, "Question to all models", "Is it lost?")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        expect(page.locator(".turn.question")).to_contain_text("Is it lost?")
        page.unroute("**/v1/chat/completions")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".told")).to_contain_text("tokens")


def test_an_answer_that_takes_too_long_is_stopped(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(playground("starter"))
        page.route("**/v1/chat/completions", lambda _: None)  # no answer comes, ever
        ask(page, "Question to all models", "Anybody there?")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".turn.answer")).to_contain_text("stopped")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        assert found.faults == []


def test_a_model_is_deployed_asked_looked_at_stopped_and_deleted(
    chromium: Browser, server: Server, job: dict[str, Any]
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/deployments")
        page.get_by_role("button", name="Deploy a model").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("combobox", name="Choose a model").click()
        page.locator(".ant-select-item-option", has_text=job["model"]).first.click()
        dialog.get_by_label("Name").fill("my-bot")
        dialog.get_by_role("button", name="Deploy", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("my-bot")
        expect(page.get_by_text("Ready", exact=True).first).to_be_visible()
        page.get_by_role("tab", name="How to call it").click()
        shown = page.locator("pre.yaml").inner_text()
        assert json.loads(shown.split("-d '", 1)[1][:-1])["model"] == "my-bot"
        page.get_by_role("button", name="Chat").click()
        ask(page, "Question to all models", "Is my-bot there?")
        expect(page.locator(".told")).to_contain_text("tokens")
        page.go_back()
        page.get_by_role("tab", name="Requests").click()
        expect(page.get_by_text("Is my-bot there?")).to_be_visible()
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_text("Stopped", exact=True).first).to_be_visible()
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Deployments")
        expect(page.get_by_role("link", name="my-bot")).to_have_count(0)
        assert found.faults == []

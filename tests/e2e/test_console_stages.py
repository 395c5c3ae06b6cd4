"""Trainings that are no SFT: their forms, data that fits, curves, rows of both sides."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.console_browser import Server, watched
from tests.e2e.trained import until

pytestmark = pytest.mark.slow

SHORT = """model: {base: starter}
stage: {kind: simpo}
data: {train: [{dataset: pairs@1}]}
training: {max_steps: 2, batch_size: 8}
"""


@pytest.fixture(scope="module")
def pairs(server: Server) -> str:
    """The id of a dataset of a hundred and twenty pairs."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"question {i}"}],
            "chosen": [{"role": "assistant", "content": f"good answer {i}"}],
            "rejected": [{"role": "assistant", "content": f"bad answer {i}"}],
        }
        for i in range(120)
    ]
    with server.api() as client:
        return server.dataset(client, "pairs", "\n".join(map(json.dumps, rows)).encode())


def _choose(page: Page, group: str, name: str) -> None:
    page.get_by_role("radiogroup", name=group).get_by_role("radio", name=name).click()


@pytest.mark.usefixtures("pairs")
def test_a_preference_training_is_made_from_the_form_and_its_rewards_are_drawn(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?page=model")
        _choose(page, "Kind of training", "Preference training")
        _choose(page, "How preferences are learned", "SimPO")
        page.get_by_role("radio", name="Starter").click()
        found.next("Data")
        page.get_by_role("combobox", name="Add a dataset").click()
        unfit = page.locator(".ant-select-item-option", has_text="builtin:shop")
        expect(unfit).to_have_class(re.compile("disabled"))
        expect(unfit).to_contain_text("questions with answers")
        page.locator(".ant-select-item-option", has_text="pairs@1").click()
        found.next("Parameters")
        expect(page.get_by_role("textbox", name="Beta", exact=True)).to_have_value("2")
        expect(page.get_by_role("textbox", name="Group size", exact=True)).to_have_count(0)
        page.get_by_text("YAML", exact=True).click()
        yaml = page.get_by_role("textbox", name="YAML")
        expect(yaml).to_have_value(re.compile("kind: simpo"))
        yaml.fill(SHORT)
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("apply or discard the changes first")).to_be_visible()
        page.reload()
        expect(yaml).to_have_value(SHORT)
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_text("The form now says the same.")).to_be_visible()
        found.next("Name and compute")
        page.locator("#name").fill("preferred")
        found.next("Order")
        page.locator("#page").get_by_role("button", name="Create training").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("preferred")
        expect(page.get_by_role("region", name="Reward margin")).to_be_visible()
        expect(page.get_by_role("region", name="Pairs told apart")).to_be_visible()
        assert found.faults == []


def test_a_dataset_that_does_not_fit_the_stage_is_told_in_chinese(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server, language="zh") as found:
        page = found.page
        found.open("/train?base=starter&dataset=builtin:shop")
        page.get_by_role("button", name="上一步").click()
        _choose(page, "训练类型", "偏好训练")
        page.get_by_role("button", name="下一步").click()
        told = page.get_by_role("alert").filter(has_text="DPO 需要偏好对")
        expect(told).to_contain_text("builtin:shop 包含的是问答数据")


def test_both_sides_of_a_pair_are_shown_as_tokens_and_edited(
    chromium: Browser, server: Server, pairs: str
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/datasets/{pairs}/rows?row=1")
        expect(page.get_by_role("columnheader", name="Worse answer")).to_be_visible()
        drawer = page.get_by_role("dialog")
        expect(drawer.get_by_role("heading", name="Better answer")).to_be_visible()
        expect(drawer.get_by_role("heading", name="Worse answer")).to_be_visible()
        drawer.get_by_role("button", name="Edit", exact=True).click()
        page.get_by_label("Worse answer · Assistant").fill("a worse one")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.get_by_text("Version 2 is made.")).to_be_visible()
        expect(page.get_by_text("a worse one").first).to_be_visible()
        assert found.faults == []


def test_a_model_of_github_is_asked_for_with_its_tag(chromium: Browser, server: Server) -> None:
    """No other host is reached from a test: the request is what counts."""
    asked: list[object] = []
    with watched(chromium, server) as found:
        page = found.page
        found.open("/models")
        page.route(
            "**/api/v1/models/import",
            lambda route: (asked.append(route.request.post_data_json), route.abort()),
        )
        page.get_by_role("button", name="Import model").first.click()
        page.get_by_text("GitHub", exact=True).click()
        page.get_by_label("Repository").fill("someone/tiny-model")
        page.get_by_label("Branch, tag or commit").fill("v1.0")
        page.get_by_role("dialog").get_by_role("button", name="Import").click()
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    (body,) = asked
    assert isinstance(body, dict)
    assert (body["source"], body["name"], body["revision"]) == (
        "github",
        "someone/tiny-model",
        "v1.0",
    )


def test_the_order_page_shows_what_other_numbers_of_devices_come_to(
    chromium: Browser, tmp_path: Path
) -> None:
    """Two sizes of one device, of which the worker has the smaller one."""
    sizes = [
        {"name": "small", "device": "local-cpu", "devices": 1, "price": 120},
        {"name": "large", "device": "local-cpu", "devices": 2, "price": 240},
    ]
    (tmp_path / "data").mkdir()
    settings = tmp_path / "data" / "settings.yaml"
    settings.write_text(json.dumps({"flavours": sizes}), encoding="utf-8")
    server = Server(tmp_path)
    with server.api() as client:  # it can be chosen once a worker has it
        until(lambda: client.get("/flavours").json()["data"][0], "is_available", True)
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter&dataset=builtin:shop")
        expect(page.get_by_role("combobox", name="Add a dataset")).to_be_visible()
        found.next("Parameters")
        found.next("Name and compute")
        page.locator("#name").fill("counted")
        page.get_by_role("button", name="Choose compute").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("radio", name="large")).to_be_disabled()
        _choose(page, "Compute", "small")
        expect(dialog.get_by_label("Details of what is chosen")).to_contain_text("1.20")
        dialog.get_by_role("button", name="Use this").click()
        expect(dialog).to_have_count(0)
        found.next("Order")
        card = page.locator(".ant-card", has_text="What other devices come to").last
        expect(card.get_by_role("row", name="small")).to_contain_text("Chosen")
        expect(card.get_by_role("row", name="large")).to_contain_text("2")
        assert found.faults == []
    server.end()

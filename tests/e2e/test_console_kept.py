"""What the console keeps: whole recipes, what was typed, what it knows while the server is away."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, Route, expect
from tests.e2e.console_browser import TOKEN, Server, watched
from tests.e2e.trained import submit

pytestmark = pytest.mark.slow

LLAMAFACTORY = """
model_name_or_path: starter
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
dataset: builtin:shop
cutoff_len: 1024
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
output_dir: saves/x
"""


def test_a_recipe_of_another_system_is_ordered_as_it_says(
    chromium: Browser, server: Server
) -> None:
    """The starter's own advice (all weights, a higher rate) takes no place of what it says."""
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter&dataset=builtin:shop")
        page.locator(".ant-steps-item-active", has_text="Data").wait_for()
        found.next("Parameters")
        page.get_by_text("YAML", exact=True).click()
        page.get_by_role("textbox", name="YAML").fill(LLAMAFACTORY)
        page.get_by_role("button", name="LLaMA-Factory").click()
        page.get_by_text("learning_rate", exact=True).first.wait_for()
        page.reload()
        rate = page.get_by_role("textbox", name="Learning rate", exact=True)
        expect(rate).to_have_value("1e-4")
        expect(page.get_by_role("radio", name="LoRA (partial)")).to_be_checked()
        found.next("Name and compute")
        page.locator("#name").fill("from-a-file")
        found.next("Order")
        page.locator("#page").get_by_role("button", name="Create training").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("from-a-file")
        with server.api() as client:
            [job] = client.get("/jobs", params={"text": "from-a-file"}).json()["data"]
            client.post(f"/jobs/{job['id']}/cancel")
            recipe = client.get(f"/jobs/{job['id']}/draft").json()["recipe"]
        assert recipe["adapter"]["kind"] == "lora"
        kept = {
            name: recipe["training"][name] for name in ("learning_rate", "epochs", "batch_size")
        }
        assert kept == {"learning_rate": 1e-4, "epochs": 3, "batch_size": 16}
        assert found.faults == []


def test_an_answer_that_is_lost_makes_no_second_job(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page, lost = found.page, []
        found.open("/train?base=starter&dataset=builtin:shop")
        page.locator(".ant-steps-item-active", has_text="Data").wait_for()
        found.next("Parameters")
        found.next("Name and compute")
        page.locator("#name").fill("lost-answer")
        found.next("Order")

        def lose(route: Route, request: Request) -> None:
            if request.method == "POST" and not lost:
                lost.append(route.fetch().status)  # the server has it; the browser never hears
                route.abort("connectionreset")
            else:
                route.continue_()

        page.route("**/api/v1/jobs", lose)
        create = page.locator("#page").get_by_role("button", name="Create training")
        create.click()
        page.get_by_role("alert").first.wait_for()
        create.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("lost-answer")
        with server.api() as client:
            jobs = client.get("/jobs", params={"text": "lost-answer"}).json()["data"]
            for job in jobs:
                client.post(f"/jobs/{job['id']}/cancel")
        assert lost == [201]
        assert len(jobs) == 1


def test_what_was_typed_outlives_the_end_of_the_session(chromium: Browser, server: Server) -> None:
    rows = b"".join(
        json.dumps({"question": f"q {n}", "answer": f"a {n}"}).encode() + b"\n" for n in range(3)
    )
    with server.api() as client:
        dataset = server.dataset(client, "typed", rows)
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/datasets/{dataset}/rows?row=1")
        page.get_by_role("button", name="Edit", exact=True).click()
        answer = page.get_by_label("assistant").last
        answer.fill("a better answer")
        page.context.clear_cookies()
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Token", exact=True).first.click()
        page.get_by_label("Token", exact=True).last.fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign in")).to_have_count(0)
        expect(answer).to_have_value("a better answer")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Version 2 is made.")).to_be_visible()
        expect(page.get_by_text("a better answer").first).to_be_visible()
        with server.api() as client:
            assert client.get(f"/datasets/{dataset}").json()["num_versions"] == 2


def test_a_live_chart_stays_while_the_server_is_away(chromium: Browser, tmp_path: Path) -> None:
    server = Server(tmp_path)
    with server.api() as client:
        job = submit(client, "long", max_steps=2_000, evaluate={"every_steps": 1_000})["id"]
    with watched(chromium, server) as found:
        found.open(f"/jobs/{job}/metrics")
        charts = found.page.locator("canvas")
        charts.first.wait_for()
        number = charts.count()
        badge = found.page.get_by_text("Reconnecting …")
        server.end(signal.SIGKILL)
        expect(badge).to_have_count(1)
        found.page.wait_for_timeout(3_000)  # longer than the page takes to ask again
        expect(charts).to_have_count(number)
        server.start()
        expect(badge).to_have_count(0)
        expect(charts).to_have_count(number)
        with server.api() as client:
            client.post(f"/jobs/{job}/cancel")
    server.end()


def test_a_wrong_value_is_named_where_the_order_is_made(chromium: Browser, server: Server) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/train?base=starter&dataset=builtin:shop")
        page.locator(".ant-steps-item-active", has_text="Data").wait_for()
        found.next("Parameters")
        rate = page.get_by_role("textbox", name="Learning rate", exact=True)
        rate.fill("abc")
        rate.press("Enter")
        page.get_by_role("alert").filter(has_text="abc").wait_for()
        found.next("Name and compute")
        page.locator("#name").fill("wrong-rate")
        found.next("Order")
        create = page.locator("#page").get_by_role("button", name="Create training")
        expect(create).to_be_disabled()
        page.get_by_role("link", name="Learning rate").click()
        page.locator(".ant-steps-item-active", has_text="Parameters").wait_for()
        rate.fill("2e-3")
        rate.press("Enter")
        found.next("Name and compute")
        found.next("Order")
        expect(create).to_be_enabled()
        assert found.faults == []


def test_files_that_cannot_be_read_are_refused_before_they_are_sent(
    chromium: Browser, server: Server
) -> None:
    row = b'{"question": "q", "answer": "a"}\n{"question": "q", "answer": ""}\n'
    files = [("坏.exe", b"MZ"), ("空.jsonl", b""), ("好.ndjson", row)]
    with watched(chromium, server) as found:
        page = found.page
        found.open("/datasets")
        page.get_by_role("button", name="Upload dataset").first.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("input[type=file]").set_input_files(
            [{"name": name, "mimeType": "text/plain", "buffer": text} for name, text in files]
        )
        expect(page.get_by_text("坏.exe: files of this kind are not read")).to_be_visible()
        expect(page.get_by_text("空.jsonl is empty")).to_be_visible()
        expect(dialog.get_by_text("好.ndjson")).to_be_visible()
        expect(dialog.get_by_text("The answer is empty")).to_be_visible()
        expect(dialog.get_by_role("progressbar")).to_have_count(1)
        assert found.faults == []


def test_the_end_of_the_session_is_noticed_in_the_playground(
    chromium: Browser, server: Server
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/playground?model=starter")
        question = page.get_by_role("textbox", name="Question")
        question.fill("Where is my parcel?")
        page.context.clear_cookies()
        question.press("Enter")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        expect(page.get_by_text("Where is my parcel?").first).to_be_attached()

"""Several jobs at once in a real browser: compared, put in another order, their curves read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.console_browser import Server, watched
from tests.e2e.trained import submit, trained

pytestmark = pytest.mark.slow
PICTURE = "(canvas) => canvas.toDataURL()"


@pytest.fixture(scope="module")
def jobs(server: Server) -> list[dict[str, Any]]:
    with server.api() as client:
        return [
            trained(client, "slow-learner", max_steps=2, learning_rate=1e-5),
            trained(client, "fast-learner", max_steps=3, learning_rate=1e-3),
        ]


def test_two_jobs_are_compared_from_the_list(
    chromium: Browser, server: Server, jobs: list[dict[str, Any]]
) -> None:
    with watched(chromium, server) as found:
        page = found.page
        found.open("/jobs")
        for job in jobs:
            page.get_by_role("row", name=job["name"]).get_by_role("checkbox").check()
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Compare jobs")
        expect(page.locator(".uplot canvas").first).to_be_visible()
        row = page.get_by_role("row", name="training.learning_rate")
        expect(row).to_contain_text("0.001")
        expect(page.get_by_role("row", name="training.max_steps")).to_be_visible()
        expect(page.get_by_role("row", name="data.max_length")).to_have_count(0)
        assert found.faults == []


def test_advice_stands_beside_the_curves_in_chinese_too(
    chromium: Browser, server: Server, jobs: list[dict[str, Any]]
) -> None:
    for language, title in (("en", "Reading the curves"), ("zh", "曲线解读")):
        with server.api() as client:
            headers = {"Accept-Language": language}
            told = client.get(f"/jobs/{jobs[1]['id']}/advice", headers=headers).json()["findings"]
        assert told
        with watched(chromium, server, language=language) as found:
            found.open(f"/jobs/{jobs[1]['id']}/metrics")
            expect(found.page.get_by_text(title)).to_be_visible()
            for each in told:
                expect(found.page.get_by_text(each["message"])).to_be_visible()
            assert found.faults == []


def test_a_row_leads_to_result_and_model_and_its_task_is_deleted_without_the_model(
    chromium: Browser, server: Server
) -> None:
    """F1, F2, G1: the operation column of the list, and the result of a job."""
    with server.api() as client:
        job = trained(client, "to-be-deleted", max_steps=1)
    with watched(chromium, server) as found:
        page = found.page
        found.open("/jobs")
        row = page.get_by_role("row", name="to-be-deleted")
        row.get_by_role("link", name="Details").click()
        page.get_by_role("tab", name="Results").click()
        expect(page.get_by_role("link", name=job["model"])).to_be_visible()
        expect(page.get_by_role("button", name="Ask it beside its base")).to_be_visible()
        found.open("/jobs")
        row.get_by_role("button", name="View model").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(job["model"])
        found.open("/jobs")
        row.get_by_role("button", name="More for to-be-deleted").click()
        page.get_by_role("menuitem", name="Delete task").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(row).to_have_count(0)
        assert found.faults == []
    with server.api() as client:
        assert client.get(f"/models/{job['model_id']}").status_code == 200


def test_a_curve_is_saved_as_a_picture_and_read_beside_reference_values(
    chromium: Browser, server: Server, jobs: list[dict[str, Any]], tmp_path: Path
) -> None:
    """F4, F5, F8: percent of memory, tokens a second and card with the values of a guide."""
    with watched(chromium, server) as found:
        page = found.page
        found.open(f"/jobs/{jobs[1]['id']}/metrics")
        chart = page.get_by_role("region", name="Loss", exact=True)
        chart.locator(".uplot canvas").wait_for()
        with page.expect_download() as download:
            chart.get_by_role("button", name="Save as picture").click()
        assert download.value.suggested_filename == "Loss.png"
        download.value.save_as(tmp_path / "Loss.png")
        assert (tmp_path / "Loss.png").read_bytes().startswith(b"\x89PNG")
        expect(page.get_by_role("region", name="Memory utilisation")).to_be_visible()
        speed = page.get_by_role("region", name="Tokens per second")
        expect(speed).to_contain_text("1,650 (machines: 1, cards: 8)")
        assert found.faults == []


def test_a_curve_is_read_and_zoomed_by_keys(
    chromium: Browser, server: Server, jobs: list[dict[str, Any]]
) -> None:
    """F4: what the mouse does on a chart, without one."""
    with watched(chromium, server) as found:
        found.open(f"/jobs/{jobs[1]['id']}/metrics")
        chart = found.page.get_by_role("region", name="Loss", exact=True)
        plot, canvas = chart.get_by_role("group", name="Loss"), chart.locator(".uplot canvas")
        canvas.wait_for()
        plot.focus()
        expect(chart.get_by_text("point to point")).to_be_visible()
        step = chart.locator(".u-legend .u-series").first
        for number in ("0", "1", "2"):  # the validation before the first step is a point, too
            plot.press("ArrowRight")
            expect(step).to_contain_text(number)
        whole = canvas.evaluate(PICTURE)
        plot.press("+")
        found.page.wait_for_function(
            f"([c, old]) => ({PICTURE})(c) !== old", arg=[canvas.element_handle(), whole]
        )
        plot.press("0")
        found.page.wait_for_function(
            f"([c, old]) => ({PICTURE})(c) === old", arg=[canvas.element_handle(), whole]
        )
        assert found.faults == []


def test_waiting_jobs_are_dragged_and_moved_by_keys(chromium: Browser, server: Server) -> None:
    with server.api() as client:
        made = [submit(client, f"job-{name}", max_steps=5000) for name in ("now", "b", "c", "d")]
    with watched(chromium, server) as found:
        page = found.page
        found.open("/jobs?status=running")
        page.get_by_role("row", name="job-now").wait_for()
        waiting = page.locator(".queue li")
        expect(waiting).to_contain_text(["job-b", "job-c", "job-d"])
        waiting.nth(2).drag_to(waiting.nth(0))
        expect(waiting).to_contain_text(["job-d", "job-b", "job-c"])
        page.get_by_role("button", name="Move job-c up").press("Enter")
        expect(waiting).to_contain_text(["job-d", "job-c", "job-b"])
        page.reload()
        expect(waiting).to_contain_text(["job-d", "job-c", "job-b"])
        assert found.faults == []
    with server.api() as client:
        ids = [job["id"] for job in made]
        client.post("/jobs/bulk", json={"action": "cancel", "job_ids": ids})

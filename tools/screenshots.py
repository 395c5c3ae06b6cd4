"""Every page of the console as a picture, in both themes and both languages, wide and narrow.

python tools/screenshots.py [--only TEXT] [--kind zh-dark-narrow] [--folder build/screenshots]

A real server with real data: the starter model, the example dataset, a training that ran.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.e2e.console_browser import Server, browser, watched

from tunesmith.examples import example_directory

SIZES: Final = {"wide": 1280, "narrow": 390}
LANGUAGES: Final = ("en", "zh")
LOOKS: Final = ("light", "dark")
HELP: Final = ("basics", "stages", "methods", "data", "parameters", "curves", "memory")
SETTINGS: Final = (
    "account", "tokens", "notices", "projects", "users", "flavours", "system", "audit",
)  # fmt: skip
LONG_EN: Final = "a-rather-long-name-of-a-support-assistant-for-returns-and-refunds-in-europe"
LONG_ZH: Final = (
    "面向欧洲地区退货与退款场景的多语言客户服务助手微调数据集（二〇二六年第四季度修订版）"
)


_NAMED: Final = """for (const key of Object.keys(localStorage)) {
    if (key.startsWith("tunesmith.draft.")) localStorage.setItem(key, JSON.stringify(
        {...JSON.parse(localStorage.getItem(key)), name: "support-assistant"}))}"""


def main() -> None:
    """Make the data, then go through the pages."""
    options = _options()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place, browser() as chromium:
        server = Server(Path(place))
        try:
            with server.api() as client:
                pages = pages_of(make_data(server, client))
            shown = {name: path for name, path in pages.items() if options.only in name}
            kinds = [f"{a}-{b}-{c}" for a in LANGUAGES for b in LOOKS for c in SIZES]
            for kind in kinds:
                if not options.kind or kind in options.kind:
                    picture(chromium, server, shown, options.folder, kind)
        finally:
            server.end()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="pages whose name contains this")
    parser.add_argument("--kind", action="append", help="such as zh-dark-narrow; all of them")
    parser.add_argument("--folder", type=Path, default=Path("build/screenshots"))
    return parser.parse_args()


def picture(
    chromium: Browser,
    server: Server,
    pages: Mapping[str, str],
    folder: Path,
    kind: str,
) -> None:
    """All pages in one language, theme and width; what a page did wrong is said."""
    language, look, size = kind.split("-")
    width = SIZES[size]
    signed_in = [name for name in pages if name != "sign-in"]
    with watched(chromium, server, language=language, look=look, width=width) as found:
        for name in signed_in:
            if name == "train-order":
                found.page.evaluate(_NAMED)
            found.open(pages[name])
            found.page.wait_for_timeout(400)  # charts and tables draw once the data is there
            found.page.screenshot(path=folder / f"{name}-{kind}.png", full_page=True)
        for fault in found.faults:
            sys.stdout.write(f"{kind}: {fault}\n")
    if "sign-in" in pages:
        with watched(
            chromium, server, language=language, look=look, width=width, signed_in=False
        ) as found:
            found.open("/")
            found.page.screenshot(path=folder / f"sign-in-{kind}.png", full_page=True)
    sys.stdout.write(f"{kind}: {len(pages)} pages\n")


def pages_of(made: Mapping[str, str]) -> dict[str, str]:
    """What each page is called, and its address."""
    job, dataset, model = made["job"], made["dataset"], made["model"]
    return {
        "sign-in": "/",
        "overview": "/",
        "missing": "/nowhere",
        "welcome": "/welcome",
        "jobs": "/jobs",
        **_tabs("job", f"/jobs/{job}", "metrics", "log", "events", "checkpoints", "recipe"),
        "job-failed": f"/jobs/{made['cancelled']}",
        "job-dpo": f"/jobs/{made['dpo']}/metrics",
        "jobs-compare": f"/jobs/compare?job={job}&job={made['second']}",
        "datasets": "/datasets",
        **_tabs("dataset", f"/datasets/{dataset}", "report", "stats", "splits", "versions"),
        "dataset-row": f"/datasets/{dataset}/rows?row=1",
        "dataset-pairs": f"/datasets/{made['pairs']}",
        "dataset-pair": f"/datasets/{made['pairs']}/rows?row=1",
        "models": "/models",
        "models-presets": "/models?tab=presets",
        **_tabs("model", f"/models/{model}", "card", "files", "parameters", "lineage"),
        "train-model": "/train?page=model",
        "train-data": "/train?base=starter&dataset=builtin:shop",
        "train-parameters": "/train?page=parameters",
        "train-basics": "/train?page=basics",
        "train-order": "/train?page=order",
        "playground": "/playground",
        "deployments": "/deployments",
        "deployment": f"/deployments/{made['deployment']}",
        "evaluations": "/evaluations",
        **_tabs("evaluation", f"/evaluations/{made['evaluation']}", "rows"),
        **{f"settings-{tab}": f"/settings/{tab}" for tab in SETTINGS},
        **{f"help-{section}": f"/help/{section}" for section in HELP},
    }


def _tabs(name: str, path: str, *tabs: str) -> dict[str, str]:
    return {name: path, **{f"{name}-{tab}": f"{path}/{tab}" for tab in tabs}}


def make_data(server: Server, client: httpx.Client) -> dict[str, str]:
    """A training that is done, others in other states, data with two versions, people, notices."""
    rows = (example_directory("customer-service") / "train.jsonl").read_bytes()
    dataset = server.dataset(client, "customer-service", rows)
    server.dataset(client, LONG_EN, rows)
    for operation in _edits():
        answer = client.post(f"/datasets/{dataset}/edit", json={"operation": operation})
        assert answer.status_code in (200, 202), answer.text
        if (task := answer.json()["task"]) is not None:
            server.task(client, task["id"])
    body = {"model": "starter"}
    counting = client.post(f"/datasets/{dataset}/versions/2/stats", json=body).json()
    server.task(client, counting["id"])
    first, second = _job(client, "first-training", 30), _job(client, LONG_EN, 8)
    pairs = server.dataset(client, "comparisons", _pairs())
    dpo = _job(client, "better-answers", 20, "comparisons@1", {"kind": "dpo"})
    cancelled = _job(client, LONG_ZH[:30], 500)
    for job in (first, second, dpo):
        _wait(client, job)
    client.post(f"/jobs/{cancelled}/cancel")
    _people(client)
    model = client.get("/models", params={"source": "job"}).json()["data"][-1]["id"]
    used = _used(server, client, model)
    return used | {
        "job": first,
        "second": second,
        "cancelled": cancelled,
        "dataset": dataset,
        "model": model,
        "pairs": pairs,
        "dpo": dpo,
    }


def _edits() -> Iterator[dict[str, Any]]:
    """What makes the second version of the dataset."""
    yield {
        "operation": "change",
        "changes": [
            {"row": 1, "fields": {"answer": "We answer within a day."}},
            {"row": 2, "fields": {"question": "Where is my parcel now?"}},
        ],
    }


def _pairs() -> bytes:
    """Each question with its own answer, and with that of another one as the worse."""
    text = (example_directory("customer-service") / "train.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()[:160]]
    answers = [row["messages"][-1]["content"] for row in rows]
    pairs = (
        {"messages": row["messages"][:-1], "chosen": chosen, "rejected": rejected}
        for row, chosen, rejected in zip(rows, answers, answers[7:] + answers[:7], strict=True)
    )
    return "\n".join(json.dumps(pair, ensure_ascii=False) for pair in pairs).encode()


def _job(
    client: httpx.Client,
    name: str,
    steps: int,
    dataset: str = "customer-service@2",
    stage: Mapping[str, str] | None = None,
) -> str:
    training = {"max_steps": steps, "batch_size": 8, "learning_rate": 1e-3, "log_every_steps": 1}
    body = {
        "name": name,
        "base": "starter",
        "datasets": [dataset],
        "recipe": {
            "adapter": {"kind": "full"},
            "stage": stage or {"kind": "sft"},
            "data": {"max_length": 256},
            "training": training,
        },
    }
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def _wait(client: httpx.Client, job: str) -> None:
    deadline = time.monotonic() + 600
    while (state := client.get(f"/jobs/{job}").json())["status"] != "succeeded":
        assert state["status"] not in ("failed", "cancelled"), state
        assert time.monotonic() < deadline, "the training does not end"
        time.sleep(0.5)


def _used(server: Server, client: httpx.Client, model: str) -> dict[str, str]:
    """A deployment of the model, and what it answers beside its base on rows that it never saw."""
    deployed = client.post("/deployments", json={"model": model, "name": "support"}).json()
    test = (example_directory("customer-service") / "heldout.jsonl").read_bytes()
    server.dataset(client, "exam", b"\n".join(test.splitlines()[:24]))
    body = {"model": model, "dataset": "exam", "gate": {"general": "none"}}
    evaluation = client.post("/evaluations", json=body).json()
    server.task(client, evaluation["task_id"])
    return {"deployment": deployed["id"], "evaluation": evaluation["id"]}


def _people(client: httpx.Client) -> None:
    """Users with limits, a token, a subscription, a second project."""
    client.post("/users", json={"name": "li.na", "email": "li.na@example.com"})
    limits = {"quota_running_jobs": 2, "quota_device_hours": 40, "quota_storage_bytes": 10**10}
    me = client.get("/me").json()["user"]["id"]
    client.patch(f"/users/{me}", json=limits | {"credit_cents": 12_500})
    client.post("/projects", json={"name": LONG_ZH[:40], "description": LONG_EN})
    client.post("/tokens", json={"name": "laptop"})
    key = (
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
    )
    client.post("/subscriptions", json={"channel": "wecom", "address": key})


if __name__ == "__main__":
    main()

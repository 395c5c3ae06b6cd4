"""Tasks of lm-eval through our own served model, where that library is installed.

OUT/
  asked.json          model, tasks and settings
  lm_eval.json        what lm-eval found, as it tells it
  samples/TASK.jsonl  each question with what was answered
  answers-*.db        lm-eval's own cache: what was answered is not asked again
  manifest.json       written last
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import orjson

from tunesmith.errors import InputError, RunFailed
from tunesmith.evaluation.endpoint import Endpoint
from tunesmith.evaluation.evaluate import finite, write_json, write_manifest
from tunesmith.evaluation.predictions import OnProgress, begin
from tunesmith.evaluation.served import Place
from tunesmith.runs.files import storage_errors, write_atomically
from tunesmith.runs.launch import engine_environment

FOUND = "lm_eval.json"
_PROGRAM = Path(__file__).parent / "workers" / "harness.py"
_UNKNOWN_TASK = 3  # exit code of the program
_DEFAULT_CONTEXT = 2048


@dataclass(frozen=True)
class Tasks:
    """What lm-eval is asked to run."""

    names: tuple[str, ...]
    include_path: Path | None = None
    limit: int | None = None
    few_shot: int | None = None
    parallel: int = 8


def check_installed() -> None:
    """InputError with the command that installs lm-eval."""
    missing = [name for name in ("lm_eval", "aiohttp", "tenacity") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"--lm-eval needs lm-eval, and this Python has no {' and no '.join(missing)}.",
            hint="pip install 'lm-eval[api]'",
            code="lm_eval_not_installed",
        )


def run_tasks(place: Place, tasks: Tasks, folder: Path, on_progress: OnProgress) -> dict[str, Any]:
    """All tasks; the document of lm_eval.json without the samples.

    Raises:
        InputError: lm-eval is missing, or does not know a task.
        RunFailed: lm-eval has failed; what was answered is kept.
    """
    check_installed()
    begin(folder, _asked(place, tasks))
    log = folder / "lm_eval.log"
    endpoint = place.reach(folder / "serving.log", lambda: on_progress("Loading the model", 0, 0))
    with tempfile.TemporaryDirectory(prefix="tunesmith-lm-eval-") as temporary:
        order, result = Path(temporary, "order.json"), Path(temporary, "result.json")
        order.touch(0o600)  # it holds the key
        order.write_bytes(orjson.dumps(_order(endpoint, tasks, folder)))
        on_progress("Asking", 0, 0)
        code = _run([sys.executable, str(_PROGRAM), str(order), str(result)], log, on_progress)
        if code != 0:
            raise _failed(code, log)
        found = orjson.loads(result.read_bytes())
    _keep_samples(found.pop("samples"), folder)
    write_json(folder / FOUND, found)
    write_manifest(folder, "lm_eval")
    return found


def scores_of(found: Mapping[str, Any]) -> list[tuple[str, str, float | None, float | None]]:
    """(task, measure, value, standard error) of each number that lm-eval found."""
    rows: list[tuple[str, str, float | None, float | None]] = []
    for task, measures in found["results"].items():
        for key, value in measures.items():
            name, _, filtered = key.partition(",")
            if not isinstance(value, int | float) or name.endswith("_stderr") or not filtered:
                continue
            error = measures.get(f"{name}_stderr,{filtered}")
            told = name if filtered == "none" else f"{name} ({filtered})"
            spread = finite(error) if isinstance(error, int | float) else None
            rows.append((task, told, finite(value), spread))
    return rows


def _asked(place: Place, tasks: Tasks) -> dict[str, Any]:
    endpoint = place.endpoint
    return {
        "model": place.model,
        "endpoint": endpoint and endpoint.url,
        "lm_eval": list(tasks.names),
        "limit": tasks.limit,
        "few_shot": tasks.few_shot,
    }


def _order(endpoint: Endpoint, tasks: Tasks, folder: Path) -> dict[str, Any]:
    context, tokenizer = _about(endpoint)
    return {
        "tasks": list(tasks.names),
        "include_path": tasks.include_path and str(tasks.include_path.absolute()),
        "limit": tasks.limit,
        "few_shot": tasks.few_shot,
        "parallel": tasks.parallel,
        "url": endpoint.url.rstrip("/"),
        "model": endpoint.model,
        "key": endpoint.key,
        "context": context,
        "tokenizer": tokenizer,
        "cache": str((folder / "answers").absolute()),
    }


def _about(endpoint: Endpoint) -> tuple[int, str]:
    """The context of the model, and the folder of its tokenizer where the address tells it."""
    key = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    try:
        answer = httpx.get(f"{endpoint.url.rstrip('/')}/models", headers=key, timeout=30)
        models = answer.json().get("data", []) if answer.is_success else []
    except (httpx.HTTPError, ValueError, AttributeError):
        return _DEFAULT_CONTEXT, ""
    named = [model for model in models if model.get("id") == endpoint.model]
    told: dict[str, Any] = named[0] if named else {}
    tokenizer = str(told.get("root") or "")  # a folder, where the model runs on this machine
    is_here = (Path(tokenizer) / "tokenizer_config.json").is_file()
    return int(told.get("max_model_len") or _DEFAULT_CONTEXT), tokenizer if is_here else ""


def _run(command: list[str], log: Path, on_progress: OnProgress) -> int:
    """Run to the end; the last progress that lm-eval shows is passed on."""
    with (
        storage_errors(log),
        log.open("wb") as words,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=engine_environment()
        ) as process,
    ):
        try:
            while True:
                try:
                    return process.wait(0.5)
                except subprocess.TimeoutExpired:
                    on_progress("Asking", *progress_in(log))
        finally:
            process.terminate()


def progress_in(log: Path) -> tuple[int, int]:
    """The numbers of the last bar in a log, such as `Requesting API:  40%|####  | 4/10`."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 400))
        bars = re.findall(rb"\| (\d+)/(\d+) \[", file.read())
    return (int(bars[-1][0]), int(bars[-1][1])) if bars else (0, 0)


def _failed(code: int, log: Path) -> InputError | RunFailed:
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    if code == _UNKNOWN_TASK:
        return InputError(
            f"lm-eval cannot run the task {text.rpartition('TASK ')[2]}",
            hint="`lm-eval ls tasks` lists the known ones; --lm-eval-path adds a folder of yours.",
            code="lm_eval_task_unknown",
        )
    last = text.splitlines()[-1] if text else f"it ended with code {code}"
    return RunFailed(
        f"lm-eval has failed: {last[-500:]}",
        hint=f"All that it said is in {log}. What was answered is kept.",
        code="lm_eval_failed",
    )


def _keep_samples(samples: Mapping[str, Any], folder: Path) -> None:
    for task, lines in samples.items():
        name = re.sub(r"[^\w.-]+", "_", task)
        (folder / "samples").mkdir(exist_ok=True)
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        write_atomically(folder / "samples" / f"{name}.jsonl", content)

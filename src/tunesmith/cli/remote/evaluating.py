"""`tunesmith evaluate --remote` and `compare --remote`: a server asks its own models.

Rows are a dataset of the server, the test rows of one of its jobs, or a file that is sent there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from tunesmith.cli import asking
from tunesmith.cli.remote.connecting import connect, document
from tunesmith.cli.remote.submitting import dataset_on_server
from tunesmith.cli.remote.waiting import shown as progress_shown
from tunesmith.cli.terminal import printable, say, say_json, short_path, table
from tunesmith.errors import InputError
from tunesmith.runs import RunDir
from tunesmith.runs.files import storage_errors, write_atomically
from tunesmith.schemas.evaluations import EvaluationRead
from tunesmith.sdk import Client

_JOB = "ftjob-"
_REPORT, _DOCUMENT = "report.html", "evaluation.json"


def refuse_local(
    requests: asking.Requests,
    scoring: asking.Scoring,
    endpoint: str | None,
    keep: str | None = None,
    lm_eval: str | None = None,
) -> None:
    """InputError for what a server decides itself or never does for a client."""
    given = [
        f"--{field.name.replace('_', '-')}"
        for group in (requests, scoring)
        for field in fields(group)
        if field.default is not MISSING and getattr(group, field.name) != field.default
    ]
    given += ["--endpoint"] * (endpoint is not None) + ["--keep"] * (keep is not None)
    given += ["--lm-eval"] * (lm_eval is not None)
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be had with --remote: the server asks its own models and "
            "runs no file or address of its users.",
            hint="Leave it out, or evaluate on this machine.",
            code="not_remote",
        )


def evaluate(model: str, rows: asking.Rows, shown: asking.Shown, **order: Any) -> None:
    """Begin, wait with progress, fetch report and document; tell what was found."""
    _refuse_full(rows.out)
    with connect() as client:
        order = {key: value for key, value in order.items() if value not in (None, [], {})}
        made = client.evaluations.create(
            model, split=rows.split, max_rows=rows.max_rows, **order, **_rows(client, rows, shown)
        )
        if not shown.quiet and not shown.json:
            say(f"Evaluation {made.id} on {client.base_url}")
        found = _waited(client, made, quiet=shown.quiet or shown.json)
        _fetch(client, found, rows.out, asking.language(shown.lang))
    if shown.json:
        say_json(document(found))
    else:
        say(told(found, rows.out / _REPORT))


def _waited(client: Client, made: EvaluationRead, *, quiet: bool) -> EvaluationRead:
    """Until it has ended; Ctrl-C ends it there too, as it would here."""
    stopped = f"Stopped; evaluation {made.id} was cancelled at the server."
    with progress_shown(stopped=stopped, quiet=quiet) as on:
        try:
            return client.evaluations.wait(made.id, on_progress=on.task)
        except KeyboardInterrupt:
            client.tasks.cancel(made.task_id)
            raise


def _rows(client: Client, rows: asking.Rows, shown: asking.Shown) -> dict[str, str]:
    name = asking.named_rows(rows)
    if name.startswith(_JOB):
        return {"job_id": name}
    if RunDir(Path(name).expanduser()).recipe_path.is_file():
        raise InputError(
            f"{name} is a run on this machine; the server does not know its test rows.",
            hint="Give --data the job there (ftjob-...), a dataset there, or a file of rows.",
            code="run_not_remote",
        )
    return {"dataset": dataset_on_server(client, name, quiet=shown.quiet or shown.json)}


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is not empty; nothing in it was changed.",
            hint="Choose a new or empty folder with --out.",
            code="directory_not_empty",
        )


def _fetch(client: Client, found: EvaluationRead, out: Path, language: str) -> None:
    import orjson

    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        client.evaluations.report(found.id, out / _REPORT, language=language)
    content = client.evaluations.document(found.id)
    write_atomically(out / _DOCUMENT, orjson.dumps(content, option=orjson.OPT_INDENT_2))


def told(found: EvaluationRead, page: Path) -> str:
    """The verdict or the scores, and where the report lies."""
    summary: Mapping[str, Any] = found.summary
    lines: list[str] = []
    if found.verdict is not None:
        lines += [f"\nVerdict: {found.verdict}", f"  {printable(str(summary.get('because', '')))}"]
    scores = [_score(name, told) for name, told in dict(summary.get("scores", {})).items()]
    lines += ["", table(scores), "", table([("report", str(short_path(page)))])]
    return "\n".join(lines)


def _score(name: str, told: Mapping[str, Any]) -> tuple[str, str]:
    """One score, or that of both models."""
    unit = str(told.get("unit", ""))
    values = (
        [told[side]["value"] for side in ("base", "tuned")] if "tuned" in told else [told["value"]]
    )
    shown = [asking.number(float("nan") if value is None else value, unit) for value in values]
    return name, " -> ".join(shown)

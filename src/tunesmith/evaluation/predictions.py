"""The answers of a model to the rows of a test set: asked once, kept line by line, gone on with.

`predictions.jsonl` grows by one line an answer, in the order in which answers come. Whoever is
killed loses the answers that were under way; the same command goes on with the rows that have no
line. `asked.json` beside it says what was asked, so that answers of two models never mix.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from tunesmith.errors import InputError
from tunesmith.evaluation.endpoint import Asker, Endpoint, EndpointRefused, Reply, Sampling
from tunesmith.evaluation.files import ASKED, PREDICTIONS
from tunesmith.evaluation.parallel import as_answered
from tunesmith.evaluation.rows import TestRow
from tunesmith.runs.files import storage_errors, write_atomically

_REFUSED_AT_FIRST = 5
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prediction:
    """What a model answered to one row; `error` where the address refused the request."""

    id: str
    row: str  # digest of the row
    prediction: str
    seconds: float
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""


def begin(folder: Path, about: dict[str, Any]) -> None:
    """Make the folder of an evaluation; InputError where it holds another one."""
    path = folder / ASKED
    if path.is_file():
        known = orjson.loads(path.read_bytes())
        differ = [key for key in about if known.get(key) != about[key]]
        if differ:
            told = "; ".join(f"{key}: {known.get(key)!r}, now {about[key]!r}" for key in differ[:4])
            raise InputError(
                f"{folder} holds another evaluation ({told}); nothing in it was changed.",
                hint="Choose another folder with --out, or remove this one.",
                code="other_evaluation",
                differs=differ,
            )
        return
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(
            f"{folder} is not empty and holds no evaluation; nothing in it was changed.",
            hint="Choose a new or empty folder with --out.",
            code="directory_not_empty",
        )
    write_atomically(path, orjson.dumps(about, option=orjson.OPT_INDENT_2))


def read_predictions(folder: Path, rows: Iterable[TestRow]) -> dict[str, Prediction]:
    """The answers that there are, by row; a torn last line and rows that changed are left out."""
    path = folder / PREDICTIONS
    if not path.exists():
        return {}
    digests = {row.id: row.digest for row in rows}
    found: dict[str, Prediction] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        told = orjson.loads(line)
        known = {name: told[name] for name in Prediction.__dataclass_fields__ if name in told}
        prediction = Prediction(**known)
        if digests.get(prediction.id) == prediction.row:
            found[prediction.id] = prediction
    return found


def answer_rows(
    rows: list[TestRow],
    folder: Path,
    endpoint: Endpoint,
    sampling: Sampling,
    *,
    parallel: int,
    on_progress: OnProgress,
) -> dict[str, Prediction]:
    """Ask for every row that has no answer yet, several at once; all answers."""
    with _log(folder) as log:
        known = read_predictions(folder, rows)
        left = [row for row in rows if row.id not in known]
        on_progress("Answering", 0, len(left))
        with Asker(endpoint) as asker:
            for row, reply in _replies(asker, left, sampling, parallel):
                prediction = Prediction(
                    id=row.id,
                    row=row.digest,
                    prediction=reply.text,
                    seconds=round(reply.seconds, 4),
                    finish=reply.finish,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                    error=reply.error,
                )
                _append(log, folder, row, prediction)
                known[row.id] = prediction
                on_progress("Answering", len(known) - len(rows) + len(left), len(left))
        with storage_errors(folder):
            os.fsync(log.fileno())
    return {row.id: known[row.id] for row in rows}


def _replies(
    asker: Asker, rows: list[TestRow], sampling: Sampling, parallel: int
) -> Generator[tuple[TestRow, Reply]]:
    """Answers as they come; EndpointRefused where the first ones are all refused."""

    def ask(row: TestRow) -> Reply:
        return asker.chat(row.messages, sampling, row.tools)

    refused: int | None = 0  # None once an answer has come
    for row, reply in as_answered(asker, ask, rows, parallel):
        refused = refused + 1 if refused is not None and reply.error else None
        if refused is not None and refused >= min(_REFUSED_AT_FIRST, len(rows)):
            raise _all_refused(asker.endpoint, reply)
        yield row, reply


def _all_refused(endpoint: Endpoint, reply: Reply) -> EndpointRefused:
    return EndpointRefused(
        f"{endpoint.url} refuses all that it is asked: {reply.error}",
        hint="Check the name of the model and --max-tokens.",
    )


@contextmanager
def _log(folder: Path) -> Generator[IO[bytes]]:
    """The file of predictions, for this process alone; a torn last line is cut off."""
    path = folder / PREDICTIONS
    with storage_errors(path):
        log = path.open("ab")
    with log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another process is writing to {folder}.",
                hint="Wait for it, or choose another folder with --out.",
                code="evaluation_running",
            ) from error
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        yield log


def _append(log: IO[bytes], folder: Path, row: TestRow, prediction: Prediction) -> None:
    with storage_errors(folder / PREDICTIONS):
        log.write(line_of(row, prediction))
        log.flush()


def line_of(row: TestRow, prediction: Prediction) -> bytes:
    """The row and what was answered, as files have it."""
    told = {**asdict(prediction), "reference": row.reference, "messages": row.messages}
    return orjson.dumps(told) + b"\n"

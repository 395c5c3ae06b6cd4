"""Evaluations: the models answer through their deployments; answers that are there stay there."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tunesmith.errors import RunFailed
from tunesmith.evaluation.compare import (
    compare,
    comparison_document,
    set_exam,
)
from tunesmith.evaluation.compare import finish as finish_comparison
from tunesmith.evaluation.endpoint import Endpoint, Sampling
from tunesmith.evaluation.evaluate import Settings, finish, scores_document
from tunesmith.evaluation.evaluate import evaluate as score
from tunesmith.evaluation.predictions import OnProgress
from tunesmith.evaluation.report.comparison import comparison_page
from tunesmith.evaluation.report.single import evaluation_page
from tunesmith.evaluation.rows import TestSet, read_test_set
from tunesmith.evaluation.scoring import Options, select
from tunesmith.evaluation.served import Place, Weights
from tunesmith.runs.files import write_atomically
from tunesmith.server import clock
from tunesmith.server.deployments.evaluated import evaluating_name
from tunesmith.server.deployments.sources import Source, adapter_folder, base_argument
from tunesmith.server.incoming import storing
from tunesmith.server.services.deployments import DeploymentOrder, Deployments
from tunesmith.server.services.evaluations import gate_of
from tunesmith.server.tables import Evaluation
from tunesmith.server.task_context import TaskContext

_PARALLEL: Final = 8
_LONGEST: Final = 512  # tokens of an answer
_SHORTEST: Final = 64
_START_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.5


def evaluate(context: TaskContext) -> dict[str, Any]:
    """One evaluation or comparison, to its end; the rows that were answered are not asked again."""
    order = context.params["order"]
    evaluation_id = context.params["evaluation_id"]
    with context.platform.database.read() as session:
        row = session.get_one(Evaluation, evaluation_id)
    test = read_test_set(context.params["rows"], split=order["split"], max_rows=order["max_rows"])
    folder = context.platform.place.evaluations / evaluation_id
    with storing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
    work = _compare if row.base else _score
    told = work(context, row, test, folder)
    _conclude(context, evaluation_id, told)
    return {"evaluation_id": evaluation_id, **told}


def _compare(context: TaskContext, row: Evaluation, test: TestSet, folder: Path) -> dict[str, Any]:
    order = context.params["order"]
    base, tuned = _Deployed(context, row.base, "base"), _Deployed(context, row.model, "tuned")
    asks = base.weights().is_asked and tuned.weights().is_asked
    settings, gate = _settings(context, test), gate_of(order["gate"])
    exam = set_exam(test, folder, settings, gate, order["scores"], asks=asks)
    found = compare(base, tuned, exam, on_progress=_progress(context))
    write_atomically(folder / "report.zh.html", comparison_page(found, "zh"))
    finish_comparison(found, folder, comparison_page(found, "en"))
    document = comparison_document(found)
    wanted = ("verdict", "because", "primary", "rows", "length_growth", "latency_growth", "general")
    scores = {
        name: {key: each[key] for key in ("base", "tuned", "difference", "better", "unit")}
        for name, each in document["scores"].items()
    }
    general = document["general"] and {
        key: document["general"][key] for key in ("data", "score", "base", "tuned", "difference")
    }
    return {key: document[key] for key in wanted} | {"scores": scores, "general": general}


def _score(context: TaskContext, row: Evaluation, test: TestSet, folder: Path) -> dict[str, Any]:
    settings = _settings(context, test)
    place = _Deployed(context, row.model, "tuned")
    asks = None if place.weights().is_asked else False
    selection = select(test.rows, context.params["order"]["scores"], settings.options, asks=asks)
    with place:
        found = score(place, test, selection, folder, settings, on_progress=_progress(context))
    write_atomically(folder / "report.zh.html", evaluation_page(found, "zh"))
    finish(found, folder, evaluation_page(found, "en"))
    document = scores_document(found)
    return {key: document[key] for key in ("primary", "rows", "scores", "refused", "cut_off")}


class _Deployed(Place):
    """A model of the platform, in a deployment of its own for as long as it is asked.

    It is nobody's to chat with, so it may be a model that has not passed.
    """

    def __init__(self, context: TaskContext, model: str, side: str) -> None:
        super().__init__(model)
        self._context = context
        self._name = evaluating_name(context.params["evaluation_id"], side)
        self._deployment_id = ""

    def __exit__(self, *_: object) -> None:
        if self._deployment_id:
            self._deployments.delete(self._context.caller, self._deployment_id)
            self._deployment_id = ""

    def is_beside(self, other: Place) -> bool:
        """Deployments of one base answer from one process."""
        return isinstance(other, _Deployed) and self._source.base == other._source.base

    @cached_property
    def _source(self) -> Source:
        context = self._context
        return self._deployments.source_of(context.caller, self.model, context.project_id)

    def weights(self) -> Weights:
        """The files of the model on this machine, where the engine measures with them."""
        source, platform = self._source, self._context.platform
        with platform.database.read() as session:
            base = base_argument(session, platform.place, source.base)
            if source.adapter_id is None:
                return Weights(base)
            return Weights(base, adapter_folder(session, platform.place, source.adapter_id))

    @property
    def _deployments(self) -> Deployments:
        return self._context.platform.deployments

    def reach(self, log: Path, on_wait: Callable[[], None]) -> Endpoint:
        """The address of its process, once it is ready; the same one for a second set of rows."""
        _ = log
        caller = self._context.caller
        if not self._deployment_id:
            project_id = self._context.project_id
            made = self._deployments.create_unchecked(caller, self._order(), project_id)
            self._deployment_id = made.id
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            target = self._deployments.target(caller, self._deployment_id)
            if target is not None:
                return Endpoint(f"{target.address}/v1", target.served_as, target.secret)
            on_wait()
            time.sleep(_LOOK_SECONDS)
        raise RunFailed(
            f"Model {self.model} was not ready after {_START_SECONDS:.0f} s.",
            hint="The list of deployments shows how it is.",
            code="deployment_starting",
        )

    def _order(self) -> DeploymentOrder:
        return DeploymentOrder(
            self.model, self._name, autostart=False, idle_seconds=0, keeps_requests=False
        )


def _progress(context: TaskContext) -> OnProgress:
    def tell(activity: str, done: int, total: int) -> None:
        context.progress(done, total or None, "rows", activity)

    return tell


def _settings(context: TaskContext, test: TestSet) -> Settings:
    """Greedy answers as long as the longest reference may be; programs of models where they may."""
    longest = max(len(row.reference.encode()) for row in test.rows)
    tokens = min(_LONGEST, max(_SHORTEST, longest))
    options = Options(allow_code=context.platform.settings.model_programs)
    return Settings(sampling=Sampling(max_tokens=tokens), parallel=_PARALLEL, options=options)


def _conclude(context: TaskContext, evaluation_id: str, told: dict[str, Any]) -> None:
    with context.platform.database.write() as session:
        row = session.get_one(Evaluation, evaluation_id)
        row.verdict, row.summary = told.get("verdict"), told
        row.finished_at = clock.read(session).wall

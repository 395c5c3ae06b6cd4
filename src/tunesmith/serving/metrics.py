"""Numbers for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from tunesmith.serving.order import Delta
from tunesmith.serving.state import State

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COUNTERS = (
    ("prompt_tokens", "Tokens of prompts that were read."),
    ("answer_tokens", "Tokens of answers."),
    ("steps", "Forwards of the model."),
    ("step_seconds", "Time in them."),
    ("finished", "Answers that were complete."),
    ("cancelled", "Answers whose client left."),
    ("refused", "Requests that found the queue full."),
    ("preempted", "Rows that were sent back for want of memory."),
    ("failed_steps", "Steps that raised an error."),
)


class Metrics:
    """The registry of one server."""

    def __init__(self, state: State) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_OfEngine(state))
        self._first = self._histogram("first_token_seconds", "From the request to the first token.")
        self._whole = self._histogram("answer_seconds", "From the request to its last token.")

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(
            f"tunesmith_serving_{name}", text, buckets=_SECONDS, registry=self._registry
        )

    def watch(self, model: str) -> Callable[[Delta], None]:
        """A listener for the pieces of one request."""
        del model  # a label a model would grow without bound
        began = time.monotonic()
        first = True

        def hear(delta: Delta) -> None:
            nonlocal first
            if first:
                first = False
                self._first.observe(time.monotonic() - began)
            if delta.is_last:
                self._whole.observe(time.monotonic() - began)

        return hear

    def text(self) -> tuple[bytes, str]:
        """(content, content type)."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _OfEngine(Collector):
    """What the engine counts itself, read when asked."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        served = self._state.served
        yield GaugeMetricFamily(
            "tunesmith_serving_ready",
            "1 when it answers.",
            value=float(self._state.phase == "ready"),
        )
        if served is None:
            return
        engine = served.engine
        for name, text, value in (
            ("running", "Answers in the batch.", engine.num_running),
            ("waiting", "Answers that wait.", engine.num_waiting),
            ("adapters", "Adapters beside the base.", len([*served.voices]) - 1),
        ):
            yield GaugeMetricFamily(f"tunesmith_serving_{name}", text, value=float(value))
        for name, text in _COUNTERS:
            value = getattr(engine.counts, name)
            yield CounterMetricFamily(f"tunesmith_serving_{name}", text, value=float(value))

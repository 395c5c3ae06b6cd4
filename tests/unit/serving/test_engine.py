"""What the engine does when clients leave, steps fail and adapters go."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.serving.conftest import Bench, order_of, prompts_of, running, write_adapter

from tunesmith.serving.errors import GenerationFailed, NotReady, QueueFull, UnknownModel
from tunesmith.serving.order import Delta
from tunesmith.serving.scheduler import Limits

SharpModel = Callable[..., Path]
[PROMPT] = prompts_of(9)


@pytest.fixture
def bench(sharp_model_dir: SharpModel) -> Generator[Bench]:
    with running(sharp_model_dir("llama"), limits=Limits(max_rows=2), max_waiting=3) as made:
        yield made


def test_cancelled_answers_leave_their_slots_to_those_that_wait(bench: Bench) -> None:
    heard: queue.Queue[Delta] = queue.Queue()
    long = order_of(PROMPT, 400)
    rows = bench.engine.submit([(long, heard.put)] * 2)
    waiting = bench.engine.submit([(long, heard.put)])
    heard.get(timeout=30)
    bench.engine.cancel([*rows, *waiting])
    [told] = bench.ask(order_of(PROMPT, 5))  # comes at once, though the slots were full
    bench.assert_same(bench.ids(told), PROMPT, 5)
    assert bench.engine.counts.cancelled == 3
    assert bench.engine.num_running == bench.engine.num_waiting == 0


def test_a_full_queue_takes_nothing_of_a_request(bench: Bench) -> None:
    heard: queue.Queue[Delta] = queue.Queue()
    rows = bench.engine.submit([(order_of(PROMPT, 400), heard.put)] * 4)
    with pytest.raises(QueueFull) as refused:
        bench.engine.submit([(order_of(PROMPT), heard.put)] * 2)
    assert refused.value.details["retry_after"] >= 1
    rows += bench.engine.submit([(order_of(PROMPT), heard.put)])
    bench.engine.cancel(rows)
    while bench.engine.num_running + bench.engine.num_waiting:  # until the next step
        time.sleep(0.001)
    assert len(bench.ask(order_of(PROMPT))) == 1


def test_a_failed_step_ends_its_own_answers_and_no_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as broken:
        broken.setattr(bench.decoder, "forward", fails)
        with pytest.raises(GenerationFailed, match="the device is gone"):
            bench.ask(order_of(PROMPT))
    [told] = bench.ask(order_of(PROMPT))
    bench.assert_same(bench.ids(told), PROMPT, 12)
    assert bench.engine.counts.failed_steps == 1


def test_a_model_whose_steps_always_fail_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Any) -> Any:
        raise RuntimeError("the device is gone")

    told: list[Exception] = []
    bench.engine.on_gave_up = told.append
    monkeypatch.setattr(bench.decoder, "forward", fails)
    for _ in range(3):
        with pytest.raises(GenerationFailed):
            bench.ask(order_of(PROMPT))
    with pytest.raises(NotReady):
        bench.ask(order_of(PROMPT))
    assert [str(error) for error in told] == ["the device is gone"]


@pytest.mark.parametrize("fast", [True, False])
def test_an_adapter_that_goes_finishes_its_answers_first(
    sharp_model_dir: SharpModel, tmp_path: Path, fast: bool
) -> None:
    base = sharp_model_dir("llama")
    folders = [write_adapter(base, tmp_path / str(seed), seed=seed) for seed in (1, 2)]
    with running(base, fast=fast) as bench:
        first, second = [bench.engine.load_adapter(folder) for folder in folders]
        expected = bench.ids(bench.ask(order_of(PROMPT, 60, adapter=first))[0])
        heard: queue.Queue[Delta] = queue.Queue()
        bench.engine.submit([(order_of(PROMPT, 60, adapter=first), heard.put)])
        bench.engine.retire(first)
        with pytest.raises(UnknownModel):
            bench.ask(order_of(PROMPT, adapter=first))
        tokens: list[int] = []
        while True:
            delta = heard.get(timeout=30)
            tokens += [one.token for one in delta.scored]
            if delta.is_last:
                break
        assert tokens == expected
        assert bench.ids(bench.ask(order_of(PROMPT, adapter=second))[0]) != expected[:12]
        assert bench.engine._retiring == []


def test_who_asks_when_the_engine_ends_is_told(sharp_model_dir: SharpModel) -> None:
    with running(sharp_model_dir("llama")) as bench:
        heard: queue.Queue[Delta] = queue.Queue()
        bench.engine.submit([(order_of(PROMPT, 400), heard.put)])
        heard.get(timeout=30)
        assert not bench.engine.close(0.0)
        with pytest.raises(NotReady):
            bench.ask(order_of(PROMPT))
        last = heard.get(timeout=30)
        while not last.is_last:
            last = heard.get(timeout=30)
        assert isinstance(last.error, NotReady)

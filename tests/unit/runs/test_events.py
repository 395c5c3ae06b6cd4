"""The event stream: append-only, repaired after a crash, readable at any moment."""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tunesmith.runs import EventWriter, RunDir, StorageFull, last_event, next_attempt, read_events


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run", "name: x\n", recipe_name="x")


def _types(run: RunDir) -> list[str]:
    return [event["type"] for event in read_events(run)[0]]


def test_events_carry_run_attempt_sequence_and_time(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        writer.emit("started", name="机器人")
        writer.emit("step", step=1, loss=2.5)
    first, second = read_events(run)[0]
    assert (first["run"], first["attempt"], first["seq"]) == ("run", 1, 1)
    assert first["name"] == "机器人"
    assert (second["seq"], second["loss"]) == (2, 2.5)
    assert second["time"].endswith("+00:00")


def test_nan_and_infinity_become_null(run: RunDir) -> None:
    """FAULTS row 5: no NaN in JSON."""
    with EventWriter(run, attempt=1) as writer:
        writer.emit(
            "step", loss=math.nan, nested={"a": [math.inf, -math.inf]}, np=np.float32("nan")
        )
    event = json.loads(run.events_path.read_text(), parse_constant=pytest.fail)
    assert event["loss"] is None
    assert event["nested"] == {"a": [None, None]}
    assert event["np"] is None


def test_numpy_scalars_paths_and_odd_file_names_can_be_written(run: RunDir) -> None:
    """FAULTS row 34: a name that is not UTF-8 must not stop a run."""
    with EventWriter(run, attempt=1) as writer:
        writer.emit("step", step=np.int64(3), loss=np.float32(0.5), path=Path("a/b"))
        writer.emit("artifact", path=Path(os.fsdecode(b"bad-\xff")), size=np.int64(7), big=2**70)
    step, artifact = read_events(run)[0]
    assert (step["step"], step["loss"], step["path"]) == (3, 0.5, "a/b")
    assert artifact["path"] == "bad-\\udcff"
    assert (artifact["size"], artifact["big"]) == (7, 2**70)


def test_a_value_that_is_no_data_is_refused_and_the_stream_stays_whole(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        with pytest.raises(TypeError, match="cannot hold a object"):
            writer.emit("step", value=object())
        writer.emit("finished")
    assert [event["seq"] for event in read_events(run)[0]] == [1]


def test_a_torn_last_line_is_cut_off_before_the_next_event(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        writer.emit("step", step=1)
        writer.emit("step", step=2, note="x" * 200_000)
    content = run.events_path.read_bytes()
    for cut in (len(content) - 1, len(content) - 2, len(content) - 150_000):
        run.events_path.write_bytes(content[:cut])
        with EventWriter(run, attempt=2) as writer:
            writer.emit("started")
        whole = cut == len(content) - 1  # only the line end was missing: the event counts
        assert _types(run) == (["step", "step", "started"] if whole else ["step", "started"])


def test_a_torn_only_line_leaves_an_empty_stream(run: RunDir) -> None:
    run.events_path.write_bytes(b'{"type":"sta')
    EventWriter(run, attempt=1).close()
    assert run.events_path.read_bytes() == b""


def test_zeros_left_by_a_power_failure_are_repaired_or_reported(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        writer.emit("step", step=1)
    with run.events_path.open("ab") as file:
        file.write(b"\0" * 4096)
    with EventWriter(run, attempt=2) as writer:
        writer.emit("started")
    assert _types(run) == ["step", "started"]
    with run.events_path.open("ab") as file:
        file.write(b"\0" * 16 + b"\n")
    damaged = read_events(run)[0][-1]
    assert (damaged["type"], damaged["code"]) == ("warning", "broken_event")


def test_a_reader_leaves_a_half_written_line_for_later(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        writer.emit("started")
    half = b'{"type":"step","attempt":1,"seq":2}\n'
    with run.events_path.open("ab") as file:
        file.write(half[:10])
    events, offset = read_events(run.events_path)
    assert [event["type"] for event in events] == ["started"]
    assert read_events(run.events_path, offset) == ([], offset)
    with run.events_path.open("ab") as file:
        file.write(half[10:])
    events, end = read_events(run.events_path, offset)
    assert [event["type"] for event in events] == ["step"]
    assert end == run.events_path.stat().st_size


def test_a_reader_may_start_at_any_byte(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        for step in range(3):
            writer.emit("step", step=step, text="中文")
    content = run.events_path.read_bytes()
    starts = [0, *(i + 1 for i, byte in enumerate(content) if byte == 10)]
    for offset in range(len(content) + 5):
        events, end = read_events(run.events_path, offset)
        assert len(events) == sum(1 for start in starts[:-1] if start >= offset)
        assert end == len(content)


def test_a_run_without_events_reads_as_empty(run: RunDir) -> None:
    assert read_events(run) == ([], 0)
    assert last_event(run) is None
    assert next_attempt(run) == 1


def test_the_sequence_goes_on_within_an_attempt_and_restarts_with_the_next(run: RunDir) -> None:
    for attempt in (1, 1, 2):
        with EventWriter(run, attempt) as writer:
            writer.emit("progress")
    keys = [(event["attempt"], event["seq"]) for event in read_events(run)[0]]
    assert keys == [(1, 1), (1, 2), (2, 1)]
    assert next_attempt(run) == 3


def test_the_last_event_is_found_behind_a_line_longer_than_a_block(run: RunDir) -> None:
    with EventWriter(run, attempt=4) as writer:
        writer.emit("warning", message="y" * 300_000)
    with run.events_path.open("ab") as file:
        file.write(b'{"type":"st')
    event = last_event(run)
    assert event is not None
    assert len(event["message"]) == 300_000
    assert next_attempt(run) == 5


def test_events_of_several_threads_do_not_mix(run: RunDir) -> None:
    with EventWriter(run, attempt=1) as writer:
        threads = [
            threading.Thread(target=lambda: [writer.emit("step", x="z" * 500) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [event["seq"] for event in read_events(run)[0]] == list(range(1, 201))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_interrupt_right_after_a_line_does_not_give_its_number_twice(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventWriter(run, attempt=1) as writer:
        with monkeypatch.context() as patched:

            def interrupted(file: int, data: bytes, write=os.write) -> int:
                write(file, data)
                raise KeyboardInterrupt

            patched.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                writer.emit("started")
        writer.emit("paused")
    assert [(e["type"], e["seq"]) for e in read_events(run)[0]] == [("started", 1), ("paused", 2)]


def test_a_full_disk_is_reported_as_such(run: RunDir) -> None:
    """FAULTS row 4."""
    run.events_path.symlink_to("/dev/full")
    writer = EventWriter(run, attempt=1)
    with pytest.raises(StorageFull, match="Disk full"):
        writer.emit("step")

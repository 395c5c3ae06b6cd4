"""The parts of a worker by themselves: flavours, shipping, endings, devices, the nursery."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.runs import EventWriter, RunDir
from tunesmith.server import claims, journal
from tunesmith.server.backends.backend import Launch
from tunesmith.server.backends.devices import (
    find_devices,
    flavour_of,
    warn_of_misnamed_variable,
)
from tunesmith.server.backends.local import LocalBackend, Process
from tunesmith.server.backends.nursery import Nursery
from tunesmith.server.flavours import HostDevices, flavours
from tunesmith.server.settings import FlavourSetting
from tunesmith.server.worker.endings import (
    LAST_WORDS,
    conclude,
    last_words,
    model_name,
    public_error,
)
from tunesmith.server.worker.shipping import Shipper, checkpoint_metrics, mended

# ---------------------------------------------------------------- flavours


def host(**changes: Any) -> HostDevices:
    fields: dict[str, Any] = {
        "worker": "gpu-1",
        "flavour": "h200",
        "kind": "cuda",
        "memory_bytes": 2**30,
        "num_devices": 4,
        "num_free": 4,
    }
    return HostDevices(**(fields | changes))


def test_a_worker_gives_flavours_in_sizes_of_powers_of_two() -> None:
    found = flavours([host(num_devices=6, num_free=1)])
    assert [flavour.name for flavour in found] == ["h200", "h200-x2", "h200-x4", "h200-x6"]
    assert [flavour.num_devices for flavour in found] == [1, 2, 4, 6]
    assert all(flavour.is_available for flavour in found)
    assert [flavour.is_free for flavour in found] == [True, False, False, False]
    assert "in use" in found[1].reason


def test_a_configured_flavour_names_region_and_price_and_takes_the_place_of_the_own() -> None:
    large = FlavourSetting(name="large", device="h200", devices=4, region="eu", price=400)
    found = {flavour.name: flavour for flavour in flavours([host()], [large])}
    assert set(found) == {"large"}  # other sizes of a device with a price would cost nothing
    assert (found["large"].region, found["large"].price_cents_per_hour) == ("eu", 400)
    assert (found["large"].device, found["large"].num_devices) == ("h200", 4)
    free = FlavourSetting(name="large", device="h200", devices=4)
    assert {each.name for each in flavours([host()], [free])} == {"large", "h200", "h200-x2"}


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ([], "No worker has reported"),
        ([host(is_alive=False)], "is running (gpu-1)"),
        ([host(accepts_jobs=False)], "take no jobs"),
        ([host(num_devices=1, num_missing=1)], "1 configured but not found"),
    ],
)
def test_a_flavour_that_nobody_has_is_greyed_with_the_reason(
    hosts: list[HostDevices], says: str
) -> None:
    (found,) = flavours(hosts, [FlavourSetting(name="h200", devices=2)])[:1]
    assert not found.is_available
    assert not found.is_free
    assert says in found.reason


# ---------------------------------------------------------------- devices


def test_names_of_gpus_become_names_of_flavours() -> None:
    assert flavour_of("NVIDIA H200") == "h200"
    assert flavour_of("NVIDIA GeForce RTX 4090") == "rtx-4090"
    assert flavour_of("NVIDIA A100-SXM4-80GB") == "a100-sxm4-80gb"


def test_devices_that_are_not_there_are_reported_as_missing() -> None:
    found = find_devices([0, 99], num_cpu_devices=2)
    assert [(device.index, device.is_missing) for device in found] == [(0, False), (99, True)]
    assert found[0].memory_bytes


NVML = """
from pathlib import Path

GPUS = Path(__file__).with_name("gpus")  # indices of those that the driver tells of


class Memory:
    total = 141 << 30


def nvmlInit():
    if not GPUS.exists():
        raise RuntimeError("driver not loaded")


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    return len(GPUS.read_text().split())


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetName(handle):
    return "NVIDIA H200"


def nvmlDeviceGetMemoryInfo(handle):
    return Memory
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with three GPUs, as the library of the driver shows it."""
    folder = tmp_path / "nvml"
    folder.mkdir()
    (folder / "pynvml.py").write_text(NVML)
    (folder / "gpus").write_text("0 1 2")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    yield folder / "gpus"
    sys.modules.pop("pynvml", None)


def test_a_gpu_that_is_configured_and_not_there_is_told_with_those_that_are(
    driver: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """FAULTS 31"""
    found = find_devices([1, 3])
    assert [(d.index, d.flavour, d.is_missing) for d in found] == [
        (1, "h200", False),
        (3, "h200", True),
    ]
    assert "GPU 3 not found; available: 0-2" in caplog.text
    assert driver.exists()


def test_a_gpu_that_vanishes_is_missing_until_it_is_back(
    driver: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    backend = LocalBackend(
        environment=os.environ, command=["/bin/false"], warm=False, look_seconds=0
    )

    def missing() -> list[int]:
        backend.tend()
        return [device.index for device in backend.devices() if device.is_missing]

    assert missing() == []
    driver.write_text("0 1")
    assert missing() == [2]
    assert missing() == [2]
    assert caplog.text.count("GPU 2 has vanished; available: 0-1.") == 1
    driver.rename(tmp_path / "gone")  # the driver itself: never the CPU in its place
    assert missing() == [0, 1, 2]
    assert all(device.flavour == "h200" for device in backend.devices())
    driver.write_text("0 1 2")
    assert missing() == []
    assert "GPU 2 is there" in caplog.text


@pytest.mark.parametrize(
    ("environment", "is_told"),
    [
        ({"CUDA_VISIBLE_DEVICE": "1"}, True),
        ({"CUDA_VISIBLE_DEVICE": "1", "CUDA_VISIBLE_DEVICES": "0"}, False),
        ({}, False),
    ],
)
def test_the_misspelt_variable_is_told_with_its_right_name(
    environment: dict[str, str], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """E8: a widely read guide prints the name without its last letter."""
    warn_of_misnamed_variable(environment)
    assert ("Set CUDA_VISIBLE_DEVICES=1" in caplog.text) is is_told


# ---------------------------------------------------------------- events


def run_with(tmp_path: Path, *kinds: str, attempt: int = 1) -> RunDir:
    tmp_path.mkdir(exist_ok=True)
    run = RunDir(tmp_path)
    with EventWriter(run, attempt) as writer:
        for number, kind in enumerate(kinds, 1):
            writer.emit(kind, step=number, total_steps=9, loss=1.0, tokens=1)
    return run


def shipped(world: Any, job_id: str) -> list[tuple[int, int | None, str]]:
    with world.database.read() as session:
        found = journal.after(session, job_id, 0, 1000)
    return [(e.attempt, e.seq, e.type) for e in found if e.seq is not None]


def claim_of(world: Any) -> claims.Claim:
    job = world.submit()
    claimed = claims.claim(world.database, world.worker())
    assert claimed is not None
    assert claimed.job_id == job.id
    return claimed


def test_events_are_shipped_once_and_paths_are_left_out(world: Any, tmp_path: Path) -> None:
    run, claimed = run_with(tmp_path / "run", "started", "step"), claim_of(world)
    with EventWriter(run, 1) as writer:
        writer.emit("failed", message=f"Disk full: {tmp_path}/run/x", hint="", code="disk_full")
    shipper = Shipper(world.database, claimed, run, hidden=str(tmp_path))
    assert shipper.ship()
    assert shipper.ship()
    assert shipped(world, claimed.job_id) == [(1, 1, "started"), (1, 2, "step"), (1, 3, "failed")]
    assert shipper.ending is not None
    assert shipper.ending["message"] == "Disk full: run/x"
    assert world.job(claimed.job_id).status == "running"


def test_another_shipper_goes_on_where_the_first_one_was(world: Any, tmp_path: Path) -> None:
    run, claimed = run_with(tmp_path / "run", "started", "step"), claim_of(world)
    Shipper(world.database, claimed, run, hidden="-").ship()
    with EventWriter(run, 1) as writer:
        writer.emit("step", step=2, total_steps=9, loss=0.5)
    (again,) = claims.held(world.database, claimed.worker_id)
    second = Shipper(world.database, again, run, hidden="-")
    assert second.offset == again.offset > 0
    assert second.has_started
    second.ship()
    assert shipped(world, claimed.job_id) == [(1, 1, "started"), (1, 2, "step"), (1, 3, "step")]


def test_a_file_that_lost_its_end_is_read_anew(world: Any, tmp_path: Path) -> None:
    run, claimed = run_with(tmp_path / "run", "started", "step", "step"), claim_of(world)
    Shipper(world.database, claimed, run, hidden="-").ship()
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    run.events_path.write_bytes(lines[0])
    claims.interrupted(world.database, claimed)
    second = claims.claim(world.database, claimed.worker_id)
    assert second is not None
    with EventWriter(run, 2) as writer:
        writer.emit("started")
    Shipper(world.database, second, run, hidden="-").ship()
    assert shipped(world, claimed.job_id)[-2:] == [(1, 3, "step"), (2, 1, "started")]


def test_a_damaged_line_becomes_a_warning_in_its_place(world: Any, tmp_path: Path) -> None:
    run, claimed = run_with(tmp_path / "run", "started", "step", "step"), claim_of(world)
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    run.events_path.write_bytes(b"".join(lines))
    assert Shipper(world.database, claimed, run, hidden="-").ship()
    assert shipped(world, claimed.job_id) == [(1, 1, "started"), (1, 2, "warning"), (1, 3, "step")]


def test_a_gap_is_filled_only_where_the_event_before_is_known() -> None:
    events = [{"attempt": 2, "seq": 3, "type": "step", "run": "r"}]
    assert [event["seq"] for event in mended(events, None)] == [3]
    assert [event["seq"] for event in mended(events, (2, 1))] == [2, 3]
    assert [event["seq"] for event in mended(events, (1, 9))] == [1, 2, 3]


def test_a_checkpoint_has_the_metrics_of_its_step() -> None:
    trained, evaluated = {"loss": 1.0, "token_accuracy": 0.5}, {"loss": 2.0}
    assert checkpoint_metrics(8, trained, evaluated) == {
        "step": 8,
        "train_loss": 1.0,
        "train_mean_token_accuracy": 0.5,
        "valid_loss": 2.0,
        "full_valid_loss": 2.0,
    }


# ---------------------------------------------------------------- endings


def test_errors_of_the_engine_get_codes_of_the_api() -> None:
    few = public_error({"code": "too_few_rows", "message": "9 rows", "about": "data"})
    assert (few["code"], few["param"]) == ("invalid_n_examples", "training_file")
    data = public_error({"code": "row_beyond_exact_context", "message": "m", "about": "data"})
    assert (data["code"], data["reason"]) == ("invalid_training_file", "row_beyond_exact_context")
    model = public_error({"code": "model_gated", "message": "m", "about": "model"})
    assert (model["code"], model["param"]) == ("model_gated", "model")
    other = public_error({"code": "loss_not_finite", "message": "m", "about": ""})
    assert (other["code"], other["reason"], other["param"]) == (
        "server_error",
        "loss_not_finite",
        None,
    )


def test_a_job_keeps_the_values_of_an_error_and_neither_paths_nor_secrets() -> None:
    told = public_error(
        {
            **{"code": "out_of_memory", "message": "m", "hint": "h", "about": "", "step": 7},
            **{"run": "r", "seq": 3, "attempt": 1, "time": "t", "type": "failed"},
            **{"existing": ["q_proj", "v_proj"], "form": "start", "model": "org/name"},
            **{
                "folder": "/srv/data",
                "note": "see '/srv/x'",
                "at": "https://u:p@h/",
                "home": "~/x",
            },
            **{"hf_token": "hf_x", "api_key": "k", "files": ["/etc/a"], "deep": {"a": 1}},
        }
    )
    assert told == {
        **{"code": "server_error", "message": "m", "param": None, "hint": "h"},
        **{"reason": "out_of_memory", "step": 7, "form": "start"},
        **{"existing": ["q_proj", "v_proj"], "model": "org/name"},
    }


def test_names_of_results_have_four_parts_whatever_they_are_made_of() -> None:
    job = "ftjob-01kat3v9m0b6x1r5q8wz2c7d4e"
    assert model_name("starter", "my team", "", job) == f"ft:starter:my-team::{job[-8:]}"
    again = model_name(f"ft:Qwen/Qwen3-0.6B:a:b:{job[-8:]}", "p", "x:y", job)
    assert again == f"ft:Qwen/Qwen3-0.6B:p:x-y:{job[-8:]}"


def test_an_attempt_that_died_is_tried_three_times_in_all(world: Any) -> None:
    claimed = claim_of(world)
    for attempt in (1, 2, 3):
        assert claimed.attempt == attempt
        claims.interrupted(world.database, claimed, checkpoint_step=4, why="killed")
        claims.interrupted(world.database, claimed, checkpoint_step=4)  # twice is once
        again = claims.claim(world.database, claimed.worker_id)
        if attempt < 3:
            assert again is not None
            claimed = again
    job = world.job(claimed.job_id)
    assert (job.status, job.reason) == ("failed", "attempts_used_up")
    assert "The checkpoint of step 4 is kept" in job.error["message"]


def test_a_job_that_is_given_up_tells_the_last_words_of_its_engine(
    world: Any, tmp_path: Path
) -> None:
    """One that died before it could write a single event, each time."""
    run = RunDir(tmp_path / "run")
    run.log_path.parent.mkdir(parents=True)
    claimed = claim_of(world)
    for attempt in (1, 2, 3):
        with run.log_path.open("ab") as log:
            log.write(f"attempt {attempt}\n\n\x1bImportError: libcudart.so\xff\n".encode("latin-1"))
        conclude(world.database, claimed, run, None, was_told=False)
        claimed = claims.claim(world.database, claimed.worker_id) or claimed
    job = world.job(claimed.job_id)
    assert job.reason == "attempts_used_up"
    assert job.error["log"].splitlines()[-2:] == ["attempt 3", " ImportError: libcudart.so\ufffd"]


def test_an_engine_that_printed_nothing_has_no_last_words(tmp_path: Path) -> None:
    assert last_words(RunDir(tmp_path)) == ""
    log = RunDir(tmp_path).log_path
    log.parent.mkdir()
    log.write_bytes(b"x" * LAST_WORDS + b"y" * LAST_WORDS)
    assert last_words(RunDir(tmp_path)) == "y" * LAST_WORDS


def test_a_cancel_that_meets_a_dead_process_is_a_cancel(world: Any) -> None:
    claimed = claim_of(world)
    world.jobs.cancel(claimed.job_id, "ann")
    claims.interrupted(world.database, claimed)
    assert world.job(claimed.job_id).status == "cancelled"


# ---------------------------------------------------------------- processes

NURSERY = """
import sys, tunesmith.engine.nursery as nursery
nursery.PRELOADED = ()
def run(arguments):
    print("engine", *arguments, flush=True)
    import time
    time.sleep(float(arguments[0]))
    return 0
sys.exit(nursery.main(run))
"""


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def nursery() -> Any:
    made = Nursery([sys.executable, "-c", NURSERY], os.environ)
    yield made
    made.close()


def tended(nursery: Nursery, reached: Callable[[], bool]) -> None:
    def look() -> bool:
        nursery.tend()
        return reached()

    until(look)


def test_engines_of_a_nursery_lead_sessions_and_outlive_it(
    nursery: Nursery, tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    order = nursery.order(["60", "中文"], str(log), {"X": "1"})
    tended(nursery, lambda: order.pid is not None)
    assert order.pid is not None
    engine = Process.of(order.pid)
    assert os.getsid(order.pid) == order.pid
    until(lambda: "engine 60 中文" in log.read_text())
    nursery.close()
    assert engine.is_alive()
    engine.kill_group()
    until(lambda: not engine.is_alive())


def test_ended_engines_of_a_nursery_do_not_stay_as_zombies(
    nursery: Nursery, tmp_path: Path
) -> None:
    orders = [nursery.order(["0"], str(tmp_path / f"{n}.log"), {}) for n in range(5)]
    tended(nursery, lambda: all(order.pid for order in orders))
    pids = [order.pid or 0 for order in orders]
    assert len(set(pids)) == 5
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_nursery_that_dies_is_started_again_and_its_orders_are_lost(
    nursery: Nursery, tmp_path: Path
) -> None:
    tended(nursery, lambda: nursery.is_ready)
    process = nursery._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    order = nursery.order(["0"], str(tmp_path / "a.log"), {})
    process.kill()
    tended(nursery, lambda: order.is_lost)
    assert nursery.order(["0"], str(tmp_path / "b.log"), {}).is_lost
    tended(nursery, lambda: nursery.is_ready)
    again = nursery.order(["0"], str(tmp_path / "c.log"), {})
    tended(nursery, lambda: again.pid is not None)


def test_a_backend_without_a_nursery_reaps_what_it_started(tmp_path: Path) -> None:
    backend = LocalBackend(environment=os.environ, command=["/bin/false"], warm=False)
    engine = backend.start(Launch(RunDir(tmp_path), 1, (0,)))
    assert engine.child is not None
    pid = engine.child.pid
    until(lambda: not engine.is_alive())
    backend.tend()
    assert not Path(f"/proc/{pid}").exists()
    assert backend.find(RunDir(tmp_path)) is None


def test_a_number_that_belongs_to_another_process_is_not_taken_for_the_engine() -> None:
    mine = Process.of(os.getpid())
    assert mine.is_alive()
    assert mine.started is not None
    assert not Process(mine.pid, mine.started + 1).is_alive()

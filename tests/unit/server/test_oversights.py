"""What the setting of flavours gets wrong, beside the devices that workers have."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from tunesmith.recipe import Notice
from tunesmith.server import doctor, workers
from tunesmith.server.backends.local import LocalBackend
from tunesmith.server.database import Database
from tunesmith.server.datadir import prepare
from tunesmith.server.flavours import HostDevices
from tunesmith.server.oversights import oversights
from tunesmith.server.settings import FlavourSetting, Settings
from tunesmith.server.worker.worker import Worker
from tunesmith.server.workers import DeviceInfo

CPU = HostDevices("w", "local-cpu", "cpu", None, 1, 1)
H200 = HostDevices("g", "h200", "cuda", None, 8, 8)
PRICED = FlavourSetting(name="cpu", device="local-cpu", price=100)
MISSPELT = FlavourSetting(name="cpu", device="locl-cpu", price=100)


def codes(found: list[Notice]) -> list[str]:
    return [each.code for each in found]


def test_a_misspelt_device_and_the_one_that_it_leaves_free_are_both_named() -> None:
    unknown, free = oversights([CPU], [MISSPELT])
    assert unknown.code == "flavour_without_device"
    assert "locl-cpu" in unknown.message
    assert "Did you mean local-cpu?" in unknown.message
    assert free.code == "device_without_flavour"
    assert "local-cpu" in free.message


def test_a_setting_that_names_every_device_says_nothing() -> None:
    free = FlavourSetting(name="h200", price=0)
    assert oversights([CPU, H200], [PRICED, free]) == []


def test_a_forgotten_device_matters_only_where_others_have_a_price() -> None:
    assert codes(oversights([CPU, H200], [PRICED])) == ["device_without_flavour"]
    named = FlavourSetting(name="office", device="local-cpu")
    assert oversights([CPU, H200], [named]) == []


def test_a_device_of_a_worker_that_is_gone_charges_nobody() -> None:
    gone = HostDevices("g", "h200", "cuda", None, 8, 8, is_alive=False)
    assert oversights([CPU, gone], [PRICED]) == []


def test_before_the_first_worker_nothing_can_be_said() -> None:
    assert oversights([], [MISSPELT]) == []


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Settings:
    prepare(tmp_path / "data")
    plain = Settings(data_dir=tmp_path / "data", database_url=url, port=0)
    return plain.model_copy(update={"flavours": [MISSPELT]})


def test_doctor_names_what_is_wrong_with_the_mend(settings: Settings) -> None:
    database = Database(settings.database)
    early = [c for c in doctor.check_database(settings) if c.name == "flavours"]
    assert [each.status for each in early] == ["ok"]
    workers.register(database, "w", [DeviceInfo(0, flavour="local-cpu")])
    database.close()
    found = [c for c in doctor.check_database(settings) if c.name == "flavours"]
    assert [each.status for each in found] == ["warning", "warning"]
    assert all("TUNESMITH_FLAVOURS" in each.mend for each in found)
    right = settings.model_copy(update={"flavours": [PRICED]})
    (fine,) = [c for c in doctor.check_database(right) if c.name == "flavours"]
    assert fine.status == "ok"


def test_a_worker_that_starts_tells_it_in_its_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    database, stop = Database(settings.database), threading.Event()
    backend = LocalBackend(environment={}, num_cpu_devices=1, warm=False)
    place = prepare(settings.data_dir)
    worker = Worker(database, backend, place, name="w", flavours=settings.flavours)
    thread = threading.Thread(target=worker.run, args=(stop,))
    with caplog.at_level(logging.INFO):
        thread.start()
        while "with devices" not in caplog.text and thread.is_alive():
            thread.join(0.02)
        stop.set()
        thread.join(10)
    backend.close()
    database.close()
    assert "Did you mean local-cpu?" in caplog.text

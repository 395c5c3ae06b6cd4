"""What the setting `flavours` says wrongly or forgets, beside the devices that workers have. Pure.

A misspelt device is a flavour that nobody can choose, and leaves the real one without its price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from tunesmith.recipe import Notice
from tunesmith.server.flavours import HostDevices
from tunesmith.server.settings import FlavourSetting

_MEND: Final = "Correct TUNESMITH_FLAVOURS, or `flavours` in the settings file, and start again."


def oversights(hosts: Sequence[HostDevices], settings: Iterable[FlavourSetting]) -> list[Notice]:
    """Devices that no worker has, and devices without a price where others have one.

    Before the first worker has told of its devices nothing can be said.
    """
    chosen = list(settings)
    if not hosts or not chosen:
        return []
    return [*_unknown(hosts, chosen), *_uncovered(hosts, chosen)]


def _unknown(hosts: Sequence[HostDevices], chosen: Sequence[FlavourSetting]) -> Iterator[Notice]:
    devices = sorted({host.flavour for host in hosts})
    for name in dict.fromkeys(entry.device or entry.name for entry in chosen):
        if name in devices:
            continue
        near = get_close_matches(name, devices, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]}?" if near else ""
        yield Notice(
            "flavour_without_device",
            f"The setting flavours names the device {name}, and no worker has one; workers have "
            f"{', '.join(devices)}.{guess}",
            f"{_MEND} Where {name} is right, start the worker that has it.",
            values={"device": name, "devices": ", ".join(devices)},
        )


def _uncovered(hosts: Sequence[HostDevices], chosen: Sequence[FlavourSetting]) -> Iterator[Notice]:
    """Only of workers that run: one that is gone for good charges nobody."""
    if not any(entry.price for entry in chosen):
        return
    named = {entry.device or entry.name for entry in chosen}
    for name in sorted({host.flavour for host in hosts if host.is_alive} - named):
        yield Notice(
            "device_without_flavour",
            f"Workers have the device {name}, which the setting flavours does not name: jobs on it "
            "cost nothing, while others have a price.",
            f"{_MEND} A device that shall be free is listed with the price 0.",
            values={"device": name},
        )

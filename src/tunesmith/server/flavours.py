"""What a job can be computed on, with its price: made from what workers report. Pure, but `load`.

A flavour is a number of equal devices on one host: `local-cpu`, `h200`, `h200-x2`. Each worker adds
those that it could give; the setting `flavours` adds others, and names, regions and prices. One
that no living worker has stays in the list, greyed, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.server.clock import Moment
from tunesmith.server.settings import FlavourSetting
from tunesmith.server.tables import Device, Worker


@dataclass(frozen=True)
class HostDevices:
    """The devices of one worker as the list needs them."""

    worker: str
    flavour: str
    kind: str  # cuda, cpu
    memory_bytes: int | None
    num_devices: int
    num_free: int
    num_missing: int = 0
    is_alive: bool = True
    accepts_jobs: bool = True


@dataclass(frozen=True)
class Flavour:
    """One choice. `device` and `num_devices` are what the job's row gets."""

    name: str
    device: str
    num_devices: int
    kind: str
    region: str = "local"
    memory_bytes: int | None = None  # of one device
    price_cents_per_hour: float = 0.0
    is_available: bool = True
    is_free: bool = True  # a job would start at once
    reason: str = ""  # why it is not available, or not free


def flavours(
    hosts: Sequence[HostDevices], settings: Iterable[FlavourSetting] = ()
) -> list[Flavour]:
    """All choices: the configured ones first, then what workers have, in sizes of powers of two.

    Of a device that has a price only the configured sizes: others would cost nothing.
    """
    chosen = list(settings)
    named = {(entry.device or entry.name, entry.devices) for entry in chosen}
    priced = {entry.device or entry.name for entry in chosen if entry.price}
    for device in sorted({host.flavour for host in hosts} - priced):
        largest = max(h.num_devices + h.num_missing for h in hosts if h.flavour == device)
        chosen += [
            FlavourSetting(name=default_name(device, count), device=device, devices=count)
            for count in _sizes(largest)
            if (device, count) not in named
        ]
    return [_flavour(entry, hosts) for entry in chosen]


def default_name(device: str, count: int) -> str:
    """`h200`, `h200-x2`."""
    return device if count == 1 else f"{device}-x{count}"


def load(session: Session, moment: Moment) -> list[HostDevices]:
    """The workers and their devices as they are in the database."""
    rows = session.execute(
        select(Worker, Device)
        .join(Device, Device.worker_id == Worker.id)
        .order_by(Worker.name, Device.index)
    )
    groups: dict[tuple[str, str], list[tuple[Worker, Device]]] = {}
    for worker, device in rows:
        groups.setdefault((worker.name, device.flavour), []).append((worker, device))
    return [_host(group, moment) for group in groups.values()]


def _host(group: Sequence[tuple[Worker, Device]], moment: Moment) -> HostDevices:
    worker = group[0][0]
    there = [device for _, device in group if device.missing_since is None]
    memory = [device.memory_bytes for device in there if device.memory_bytes is not None]
    flavour = group[0][1].flavour
    return HostDevices(
        worker=worker.name,
        flavour=flavour,
        kind="cpu" if flavour == "local-cpu" else "cuda",
        memory_bytes=min(memory, default=None),
        num_devices=len(there),
        num_free=sum(device.job_id is None for device in there),
        num_missing=len(group) - len(there),
        is_alive=worker.lease_until >= moment.lease,
        accepts_jobs=worker.accepts_jobs,
    )


def _sizes(largest: int) -> list[int]:
    """1, 2, 4, ... and the largest itself: 6 -> 1, 2, 4, 6."""
    powers = [2**n for n in range(largest.bit_length()) if 2**n <= largest]
    return sorted({*powers, largest} - {0})


def _flavour(entry: FlavourSetting, hosts: Sequence[HostDevices]) -> Flavour:
    device = entry.device or entry.name
    mine = [host for host in hosts if host.flavour == device]
    reason = why_not(entry.devices, device, mine)
    is_free = not reason and any(_serves(h) and h.num_free >= entry.devices for h in mine)
    memory = entry.memory_gib
    reported = [host.memory_bytes for host in mine if host.memory_bytes is not None]
    return Flavour(
        name=entry.name,
        device=device,
        num_devices=entry.devices,
        kind=mine[0].kind if mine else "cpu" if "cpu" in device else "cuda",
        region=entry.region,
        memory_bytes=int(memory * 2**30) if memory is not None else min(reported, default=None),
        price_cents_per_hour=entry.price,
        is_available=not reason,
        is_free=is_free,
        reason=reason or ("" if is_free else "All its devices are in use; a job waits its turn."),
    )


def most_devices(hosts: Iterable[HostDevices], device: str = "") -> int:
    """Devices of the largest host, whether it runs or not; of one kind of device or of any."""
    return max(
        (h.num_devices + h.num_missing for h in hosts if device in ("", h.flavour)), default=0
    )


def runs_now(hosts: Iterable[HostDevices], count: int, device: str = "") -> bool:
    """Whether a running worker has so many devices, free or not."""
    return any(
        _serves(host) and host.num_devices >= count
        for host in hosts
        if device in ("", host.flavour)
    )


def why_not(count: int, device: str, hosts: Sequence[HostDevices]) -> str:
    """Why no job can run on so many of these devices now; empty when one can."""
    if not hosts:
        return f"No worker has reported a {device}."
    if not any(host.is_alive for host in hosts):
        names = ", ".join(host.worker for host in hosts)
        return f"No worker with a {device} is running ({names})."
    if not any(_serves(host) for host in hosts):
        return f"The workers with a {device} are stopping and take no jobs."
    most = max(host.num_devices for host in hosts if _serves(host))
    if most >= count:
        return ""
    lost = sum(host.num_missing for host in hosts)
    gone = f"; {lost} configured but not found" if lost else ""
    return f"The largest running worker has {most} of {device}{gone}."


def _serves(host: HostDevices) -> bool:
    return host.is_alive and host.accepts_jobs

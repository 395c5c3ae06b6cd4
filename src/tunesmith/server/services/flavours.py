"""What jobs can be computed on, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from sqlalchemy.orm import Session

from tunesmith.errors import InputError
from tunesmith.recipe import Notice
from tunesmith.server import clock, flavours
from tunesmith.server.access import Caller
from tunesmith.server.clock import Moment
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.errors import Conflict
from tunesmith.server.flavours import Flavour, HostDevices
from tunesmith.server.oversights import oversights
from tunesmith.server.settings import Settings
from tunesmith.server.tables import Job
from tunesmith.server.workers import Heartbeats, heartbeats


class Flavours:
    """The choices of the compute picker; those without a worker stay in it, with the reason."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def list(self, caller: Caller, *, region: str | None = None) -> Sequence[Flavour]:
        """All regions unless one is named."""
        caller.require_scope("read")
        with self._database.read() as session:
            found = self.all(session, clock.read(session))
        return [each for each in found if region is None or each.region == region]

    def workers(self) -> Heartbeats:
        """Who runs jobs now, and who is missing."""
        with self._database.read() as session:
            place = DataDir(self._settings.data_dir)
            return heartbeats(session, clock.read(session).wall, place)

    def oversights(self) -> Sequence[Notice]:
        """What the setting `flavours` says wrongly or forgets of the devices of workers."""
        if not self._settings.flavours:
            return []
        with self._database.read() as session:
            hosts = _hosts(session, clock.read(session))
        return oversights(hosts, self._settings.flavours)

    def all(self, session: Session, moment: Moment) -> Sequence[Flavour]:
        return flavours.flavours(_hosts(session, moment), self._settings.flavours)

    def choose(
        self, session: Session, moment: Moment, name: str, num_devices: int | None
    ) -> Flavour | None:
        """The flavour that a job means by name and number of devices.

        None: any device will do, and none has a price. Where some have one, a job without a
        flavour gets the cheapest that is available, so that its price is known before it starts;
        a size that no flavour has is refused. So is one that no host will ever have.
        """
        known = self.all(session, moment)
        if name:
            return _named(known, name, num_devices)
        hosts, count = _hosts(session, moment), num_devices or 1
        if not any(each.price_cents_per_hour for each in known):
            _refuse_never(hosts, count, [""])
            return None
        fitting = [each for each in known if each.num_devices == count]
        if not fitting:
            raise _no_such_size(known, count)
        _refuse_never(hosts, count, [each.device for each in fitting])
        able = [each for each in fitting if flavours.most_devices(hosts, each.device) >= count]
        return min(
            able or fitting, key=lambda each: (not each.is_available, each.price_cents_per_hour)
        )

    def resized(
        self, session: Session, moment: Moment, job: Job, num_devices: int
    ) -> Flavour | None:
        """The flavour of a job for another number of devices: its own, then one of its region."""
        known = self.all(session, moment)
        own = next((each for each in known if each.name == job.flavour_name), None)
        same = [
            each.name
            for each in known
            if own is not None
            and (each.device, each.region) == (own.device, own.region)
            and each.num_devices == num_devices
        ]
        name = own.name if own is not None and own.name in same else next(iter(same), job.flavour)
        return self.choose(session, moment, name, num_devices)

    def again(self, session: Session, moment: Moment, job: Job, num_devices: int) -> Flavour | None:
        """The flavour of a job that goes on, with its price of today.

        Its own one may be away for a while, as its worker is: then the job waits for it.
        """
        known = self.all(session, moment)
        own = next((each for each in known if each.name == job.flavour_name), None)
        if own is None or own.num_devices != num_devices:
            return self.resized(session, moment, job, num_devices)
        _refuse_never(_hosts(session, moment), num_devices, [own.device])
        return own

    def notices(
        self, session: Session, moment: Moment, chosen: Flavour | None, num_devices: int
    ) -> Sequence[Notice]:
        """That a job waits for a worker that does not run now."""
        device = chosen.device if chosen is not None else ""
        if flavours.runs_now(_hosts(session, moment), num_devices, device):
            return []
        what = device or "device"
        return [
            Notice(
                "no_worker_running",
                f"No running worker has {num_devices} {what}{'s' if num_devices > 1 else ''}; "
                "the job waits until one does.",
                "Start a worker, or ask an administrator.",
            )
        ]


def _hosts(session: Session, moment: Moment) -> Sequence[HostDevices]:
    return [host for host in flavours.load(session, moment) if host.flavour]


def _refuse_never(hosts: Sequence[HostDevices], count: int, devices: Sequence[str]) -> None:
    """A number that no host has, running or not; before the first host all may come."""
    most = max(flavours.most_devices(hosts, device) for device in devices)
    if not hosts or count <= most:
        return
    raise Conflict(
        f"No worker has {count} devices that would do; the largest has {most}. Nothing was "
        "submitted.",
        hint=f"Ask for {most} at most, or add a worker with {count}." if most else "Add a worker.",
        code="too_many_devices",
        param="num_devices",
        num_devices=count,
        most=most,
    )


def _no_such_size(known: Sequence[Flavour], count: int, device: str = "") -> InputError:
    sizes = sorted({each.num_devices for each in known if device in ("", each.device)})
    told = ", ".join(map(str, sizes))
    return InputError(
        f"There is no flavour{f' of {device}' if device else ''} with {count} devices; nothing was "
        "submitted.",
        hint=f"Numbers of devices that there are: {told}.",
        code="no_such_size",
        device=device or "-",
        param="num_devices",
        num_devices=count,
        sizes=sizes,
    )


def _named(known: Sequence[Flavour], name: str, num_devices: int | None) -> Flavour:
    """By its own name, or by that of its device with a number beside."""
    exact = [each for each in known if each.name == name]
    sized = [each for each in known if each.device == name and each.num_devices == num_devices]
    fitting = [each for each in exact if num_devices in (None, each.num_devices)]
    found = next(iter(fitting or sized or exact), None)
    if found is None and num_devices and any(each.device == name for each in known):
        raise _no_such_size(known, num_devices, name)
    if found is None:
        near = get_close_matches(name, [each.name for each in known], n=1, cutoff=0.5)
        some = ", ".join(each.name for each in known[:10]) or "none yet: no worker has registered"
        raise InputError(
            f"There is no flavour {name}; nothing was submitted.",
            hint=f"Did you mean {near[0]}?" if near else f"Flavours: {some}.",
            code="unknown_flavour",
            param="flavour",
            name=name,
        )
    if num_devices is not None and found.num_devices != num_devices:
        raise InputError(
            f"{found.name} has {found.num_devices} devices, and num_devices is {num_devices}.",
            hint="Leave one of them out, or choose the flavour of that size.",
            code="flavour_size",
            param="num_devices",
            name=found.name,
            has=found.num_devices,
        )
    if not found.is_available:
        raise Conflict(
            f"{found.name} is not available: {found.reason}",
            hint="Choose another flavour, or submit without one to take what comes free.",
            code="flavour_unavailable",
            param="flavour",
            name=found.name,
            reason=found.reason,
        )
    return found

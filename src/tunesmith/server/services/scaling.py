"""On how many devices a job makes sense: pure rules, for the picker, the estimate and the refusal.

Every stage and method trains on several devices of one host, GPUs or shares of the CPU: each holds
the whole model and takes its share of the rows of a step. So the rows of a step are the most
devices that have something to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.errors import InputError
from tunesmith.recipe import Notice
from tunesmith.server.flavours import Flavour
from tunesmith.server.services.recipes import ComesTo


@dataclass(frozen=True)
class Scaling:
    """What one flavour offers a job. `why` tells what keeps it from more devices, if anything."""

    flavour: str
    num_devices: int
    is_sensible: bool
    counts: Sequence[int]  # of its device and region that make sense; one: there is no choice
    why: Notice | None


def most_devices(comes: ComesTo) -> int | None:
    """How many devices have a row of each step; None where rows of a step are not known."""
    known = [rows for rows in (comes.batch_rows, comes.training_rows) if rows is not None]
    return max(1, min(known)) if known else None


def scalings(known: Sequence[Flavour], comes: ComesTo) -> list[Scaling]:
    """For each flavour, in the order of the list."""
    return [_scaling(each, known, comes) for each in known]


def sizes_of(flavour: Flavour, known: Sequence[Flavour]) -> list[int]:
    """The numbers of devices that flavours of the same device and region have."""
    same = {
        each.num_devices
        for each in known
        if (each.device, each.region) == (flavour.device, flavour.region)
    }
    return sorted(same)


def _scaling(flavour: Flavour, known: Sequence[Flavour], comes: ComesTo) -> Scaling:
    sizes, most = sizes_of(flavour, known), most_devices(comes)
    counts = [count for count in sizes if most is None or count <= most]
    why = None
    if len(counts) < len(sizes):
        why = _few_rows(comes, most or 1)
    elif len(sizes) == 1:
        why = Notice(
            "one_size",
            f"{flavour.device} comes in one size here: {sizes[0]}.",
            "The number of devices is that of the flavour.",
        )
    return Scaling(
        flavour=flavour.name,
        num_devices=flavour.num_devices,
        is_sensible=flavour.num_devices in counts,
        counts=counts,
        why=why,
    )


def _few_rows(comes: ComesTo, most: int) -> Notice:
    if comes.batch_rows is not None and comes.batch_rows == most:
        return Notice(
            "few_rows_a_step",
            f"A step of this job has {most} {_rows(most)}, and a device needs one of each step: "
            f"more than {most} would have nothing to do.",
            "A higher training.batch_size lets more devices work.",
            "training.batch_size",
        )
    return Notice(
        "few_rows",
        f"This job trains on {most} {_rows(most)}: more devices than that would have nothing to "
        "do.",
        "Add rows, or take fewer devices.",
        "data.train",
    )


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def refuse_idle_devices(comes: ComesTo, num_devices: int) -> None:
    """InputError where some of the devices would have nothing to do."""
    most = most_devices(comes)
    if most is None or num_devices <= max(1, most):
        return
    why = _few_rows(comes, most)
    raise InputError(
        f"{num_devices} devices are too many for this job. {why.message} Nothing was submitted.",
        hint=f"Take {most} at most. {why.hint}",
        code="idle_devices",
        param="num_devices",
        num_devices=num_devices,
        most=most,
    )

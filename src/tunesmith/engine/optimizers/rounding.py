"""Stochastic rounding to bfloat16: up or down by chance, so that the mean is the exact value.

bfloat16 keeps 8 bits of a number: a weight of 1 has no neighbour nearer than 0.004, and an update
of 0.0001 rounded to the nearest is lost each time. Rounded up with probability 0.0001 / 0.0078, a
hundred of them move the weight by what they should, on average (Gupta and others 2015, arXiv
1502.02551; for training in bfloat16 Zamirai and others 2020, arXiv 2010.06192).

The chance is a function of seed, update, parameter and place in it: the same whatever lies beside a
parameter in memory, after a resume, and on every device.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor

from tunesmith.engine.dropout import GOLDEN, mixed

_DROPPED = 0xFFFF  # the bits that float32 has and bfloat16 has not


@cache
def key_of(name: str) -> int:
    """A number of 63 bits for the name of a parameter, the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1


def rounding_key(seed: int, step: int, name: str) -> int:
    """What chance depends on, but for the place."""
    start = mixed(torch.tensor(seed) * GOLDEN + step)
    return int(mixed(start + key_of(name)))


def round_stochastically(values: Tensor, key: int, start: int = 0) -> Tensor:
    """float32 values as bfloat16; `start` is the place of the first within its parameter.

    A random number below 2 ** 16 is added to the bits of the value, and the lower 16 are cut off:
    they carry over with a probability of what they are worth. The sign is a bit of its own, so that
    rounding is away from zero as often as it should be.
    """
    places = torch.arange(start, start + values.numel(), device=values.device)
    chance = mixed(places * GOLDEN + key) & _DROPPED
    bits = values.contiguous().view(torch.int32).flatten() + chance.to(torch.int32)
    rounded = (bits & ~_DROPPED).view(torch.float32).view(values.shape)
    # Infinity and NaN are no numbers whose bits could be added to.
    return torch.where(values.isfinite(), rounded, values).to(torch.bfloat16)

"""How long a job will take, and what that costs: from runs of the same base, else from its size.

What past runs say is in paces.py, how many tokens there are in row_tokens.py. Quick and rough: the
measured plan is a background task (`job.plan`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy.orm import Session

from tunesmith.recipe import Dpo, Grpo, Kto, Recipe, Stage
from tunesmith.recipe.adapters import starts_as_base
from tunesmith.server.datadir import DataDir
from tunesmith.server.flavours import Flavour
from tunesmith.server.services.memory import expected_memory
from tunesmith.server.services.models.grounds import Ground, ground, ground_of
from tunesmith.server.services.paces import pace_of, past_runs
from tunesmith.server.services.recipes import ComesTo, comes_to
from tunesmith.server.services.row_tokens import mean_tokens
from tunesmith.server.services.submission import Resolved
from tunesmith.server.tables import Job

_BYTES_PER_TOKEN: Final = 3.5  # of JSONL in English and Chinese, keys and quotes included
_TOKENS_A_ROW: Final = 200.0  # where a dataset does not tell its bytes
# Sustained floating-point operations a second of one device, when nothing was measured yet.
_SPEED: Final = {"cuda": 1.0e14, "cpu": 4.0e10}
_START_SECONDS: Final = 10.0
_SIZE: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Estimate:
    """What a job will need. `basis` tells how sure that is."""

    basis: Literal["past_runs", "size"]
    rows: int | None
    steps: int | None
    tokens: int
    seconds: float
    memory_bytes: int | None  # on each device
    memory_basis: Literal["layers", "parameters"] | None
    price_cents_per_hour: float
    price_cents: int
    num_past_runs: int = 0


def estimate(
    session: Session,
    place: DataDir,
    resolved: Resolved,
    flavour: Flavour | None,
    num_devices: int,
) -> Estimate:
    """Seconds on so many devices; the price is that of the flavour for this time."""
    comes = comes_to(resolved.recipe, resolved.rows, num_devices)
    tokens = tokens_of(session, place, resolved, comes)
    parameters = parameters_of(session, resolved)
    recipe, device = resolved.recipe, flavour.device if flavour is not None else ""
    pace = pace_of(past_runs(session, resolved.base_name, recipe, device))
    if pace is not None:
        seconds = pace.seconds(tokens, num_devices)
    else:
        speed = _SPEED.get(flavour.kind if flavour is not None else "cpu", _SPEED["cpu"])
        operations = tokens * _operations(recipe) * (parameters or 1e9)
        seconds = _START_SECONDS + operations / speed / num_devices
    seconds = round(seconds, 1)
    family = ground_of_job(session, resolved).family
    memory = expected_memory(session, place, resolved, parameters, family, flavour)
    price = flavour.price_cents_per_hour if flavour is not None else 0.0
    return Estimate(
        basis="size" if pace is None else "past_runs",
        rows=resolved.rows,
        steps=comes.total_steps,
        tokens=round(tokens),
        seconds=seconds,
        memory_bytes=None if memory is None else memory.bytes,
        memory_basis=None if memory is None else memory.basis,
        price_cents_per_hour=price,
        price_cents=round(seconds / 3600 * price),
        num_past_runs=0 if pace is None else pace.num_runs,
    )


def _operations(recipe: Recipe) -> float:
    """Operations a weight and token: forward is 2; backward 4, or 2 where weights are frozen."""
    own = 6.0 if recipe.adapter.kind == "full" else 4.0
    stage = recipe.stage
    if isinstance(stage, Grpo):
        return own + 2  # all tokens are written, too
    if not isinstance(stage, Dpo | Kto):
        return own
    # The reference reads everything once an epoch, or once in all where it is kept.
    off = starts_as_base(recipe.adapter, new_words=bool(recipe.model.new_words))
    once = stage.reference == "cached" or (stage.reference == "auto" and not off)
    reads = 1 / max(1.0, recipe.training.epochs) if once else 1.0
    # The shift of kto reads another answer twice.
    borrowed = isinstance(stage, Kto) and stage.loss == "kto"
    return own + 2 * reads * (2 if borrowed else 1) + (2 if borrowed else 0)


def left_of(price_cents: int, job: Job) -> int:
    """The part of a price that the steps still to come make up."""
    done = job.step / job.total_steps if job.total_steps else 0.0
    return round(price_cents * max(0.0, 1.0 - done))


def learned_tokens(stage: Stage, length: float) -> float:
    """Tokens of a row: of grpo those of all answers to it, each of half the longest length."""
    if not isinstance(stage, Grpo):
        return length
    return stage.group_size * (length + stage.max_answer_tokens / 2)


def tokens_of(session: Session, place: DataDir, resolved: Resolved, comes: ComesTo) -> float:
    """Tokens of the whole training: rows that are not held out x their mean length x passes."""
    longest = resolved.recipe.data.max_length
    tokens = 0.0
    for source in resolved.sources:
        if source.role != "train" or not source.rows:
            continue
        mean = mean_tokens(session, place, resolved, source)
        if mean is None:
            mean = source.bytes / source.rows / _BYTES_PER_TOKEN if source.bytes else _TOKENS_A_ROW
        length = min(max(mean, 1.0), longest)
        tokens += source.rows * source.times * learned_tokens(resolved.recipe.stage, length)
    if comes.training_rows is not None and comes.rows_available:
        tokens *= comes.training_rows / comes.rows_available
    passes = resolved.recipe.training.epochs
    if comes.total_steps is not None and comes.steps_per_epoch:
        passes = comes.total_steps / comes.steps_per_epoch
    return tokens * passes


def parameters_of(session: Session, resolved: Resolved) -> int | None:
    """Weights of the base: as its files or the catalog say, else as its name does (Qwen3-0.6B)."""
    known = ground_of_job(session, resolved).parameters
    if known is not None:
        return known
    found = _SIZE.search(resolved.base_name)
    if found is None:
        return None
    return int(float(found[1]) * (1e9 if found[2].lower() == "b" else 1e6))


def ground_of_job(session: Session, resolved: Resolved) -> Ground:
    """What is known of the weights that a job starts from."""
    if resolved.base is not None:
        return ground(session, resolved.base)
    return ground_of(resolved.base_name)

"""What a job would need, from the size of its file: nothing is started, nothing is imported."""

from __future__ import annotations

from tunesmith.schemas.openai.jobs import EstimateObject, JobCreate
from tunesmith.server.access import Caller
from tunesmith.server.platform import Platform
from tunesmith.server.services import estimates
from tunesmith.server.services.openai.looking import look_up, sized
from tunesmith.server.services.scaling import refuse_idle_devices
from tunesmith.server.services.submission import Resolved
from tunesmith.server.tables import Model


def estimate(platform: Platform, caller: Caller, body: JobCreate) -> EstimateObject:
    """Price, time and memory of the body of a create call."""
    found = look_up(platform, caller, body)
    known = sized(platform, caller, body, found)
    refuse_idle_devices(known.comes_to, found.num_devices)
    with platform.database.read() as session:
        base = session.get(Model, found.start.model_id) if found.start.model_id else None
        resolved = Resolved(known.loaded.recipe, [known.source], base)
        expected = estimates.estimate(
            session, platform.place, resolved, found.flavour, found.num_devices
        )
    return EstimateObject(
        basis=expected.basis,
        **known.numbers.document(),
        rows=expected.rows,
        steps=expected.steps,
        trained_tokens=expected.tokens,
        seconds=expected.seconds,
        memory_bytes=expected.memory_bytes,
        price_cents_per_hour=expected.price_cents_per_hour,
        price_cents=expected.price_cents,
    )

"""What jobs can be computed on."""

from __future__ import annotations

from pydantic import Field

from tunesmith.schemas.common import Answer


class FlavourRead(Answer):
    """One choice of the compute picker."""

    name: str
    device: str
    num_devices: int
    kind: str
    region: str
    memory_bytes: int | None
    price_cents_per_hour: float
    is_available: bool
    is_free: bool
    reason: str
    counts: list[int] = Field(
        description="Numbers of devices of this kind and region that there are; POST "
        "/jobs/estimate says which of them make sense for a job."
    )


class FlavourList(Answer):
    """All choices, unavailable ones with the reason; `regions` are those of the whole list."""

    data: list[FlavourRead]
    regions: list[str]

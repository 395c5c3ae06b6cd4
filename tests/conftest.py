"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# No test goes by the clock: a busy machine may take its time over an example.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

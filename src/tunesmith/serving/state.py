"""How far a server is: loading, ready, failed or draining; and what it has loaded."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.errors import InputError, TunesmithError
from tunesmith.serving.errors import NotAuthenticated, NotReady
from tunesmith.serving.flow import Postman
from tunesmith.serving.options import Options

if TYPE_CHECKING:
    from tunesmith.serving.loading import Served

Phase = Literal["loading", "ready", "draining", "failed"]


@dataclass
class State:
    """What the routes share; the loading thread sets `served` or `error`, once."""

    options: Options
    key: str | None = None
    phase: Phase = "loading"
    served: Served | None = None
    error: TunesmithError | None = None
    activity: str = "starting"
    postman: Postman = field(default_factory=Postman)
    started: float = field(default_factory=time.time)

    def ready(self) -> Served:
        """What is loaded; NotReady while nothing is."""
        if self.phase == "ready" and self.served is not None:
            return self.served
        told = {
            "loading": f"The model is not ready yet ({self.activity}).",
            "draining": "The server is ending; it takes no more requests.",
            "failed": "The model could not be loaded, or failed.",
        }
        raise NotReady(
            told.get(self.phase, self.phase),
            hint="GET /health says when it is ready.",
            retry_after=2,
        )

    def become_ready(self, served: Served) -> None:
        """The model is there."""
        self.served = served
        self.phase = "ready"

    def fail(self, error: TunesmithError) -> None:
        """There is no model, or none any more."""
        self.error = error
        self.phase = "failed"

    def health(self) -> dict[str, Any]:
        """The body of /health, also written into the ready file."""
        told: dict[str, Any] = {"status": self.phase}
        if self.phase == "loading":
            told["activity"] = self.activity
        if self.error is not None:
            told["error"] = self.error.to_dict()
        if self.served is not None:
            engine = self.served.engine
            told |= {
                "model": self.served.voices.base.name,
                "adapters": [
                    v.name for v in self.served.voices if v is not self.served.voices.base
                ],
                "running": engine.num_running,
                "waiting": engine.num_waiting,
                **self.served.about,
            }
        return told

    def check_key(self, header: str | None) -> None:
        """NotAuthenticated unless the right key came, where there is one."""
        if self.key is None:
            return
        kind, _, given = (header or "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), self.key.encode()
        ):
            raise NotAuthenticated(
                "The key is missing or wrong.", hint="Send Authorization: Bearer KEY."
            )


def read_key(options: Options) -> str | None:
    """The key of the key file."""
    if options.key_file is None:
        return None
    try:
        key = options.key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The key file {options.key_file} cannot be read: {error}.") from error
    if not key:
        raise InputError(f"The key file {options.key_file} is empty.")
    return key

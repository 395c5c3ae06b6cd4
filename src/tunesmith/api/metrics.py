"""What Prometheus reads: requests by route, and how long they took."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_PREFIXES: Final = ("/api/v1", "/v1")


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tunesmith_http_requests_total",
            "Requests by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tunesmith_http_request_seconds",
            "Seconds from the request to the end of its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._sign_ins = Counter(
            "tunesmith_sign_ins_failed_total",
            "Sign-ins and tokens that were refused, by kind: password, token.",
            ["kind"],
            registry=self.registry,
        )
        self._pauses = Counter(
            "tunesmith_sign_in_pauses_total",
            "Failed sign-ins after which the account or the address had to wait.",
            registry=self.registry,
        )

    def sign_in_failed(self, kind: str) -> None:
        self._sign_ins.labels(kind).inc()

    def sign_in_paused(self) -> None:
        self._pauses.inc()

    def request(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        self._requests.labels(scope["method"], route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


def route_of(scope: Scope) -> str:
    """The pattern that matched, never the path itself: ids would make endless series."""
    pattern = str(getattr(scope.get("route"), "path", ""))
    if not pattern:
        return "none"
    for prefix in _PREFIXES:  # a router does not know where it was included
        if scope["path"].startswith(f"{prefix}/") and not pattern.startswith(f"{prefix}/"):
            return prefix + pattern
    return pattern

"""The console on one core: what the first page sends, when it is painted, how fast a chart is.

`paint_ms` is the first thing to be seen, `page_ms` the page with its title.

python benchmarks/console.py [--repeats 5]

The browser is bound to one core and its cache is empty each time; the server has the other ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.e2e.console_browser import Server, browser, watched

STEPS: Final = 10_000
_GOALS: Final = (("sent_kb", 400), ("paint_ms", 1500), ("page_ms", 1500), ("chart_ms", 300))
# When the element stands in the page and the frame after it was drawn.
_PAINTED: Final = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("%s")) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""
_SENT: Final = """performance.getEntriesByType('resource')
  .filter((each) => /[.](js|css|svg)$/.test(each.name))
  .reduce((sum, each) => sum + each.encodedBodySize, 0)"""
# No file came within a second; the stream of events never ends, so the network is never idle.
_SETTLED: Final = """() => {
  const before = window.numFiles;
  window.numFiles = performance.getEntriesByType('resource').length;
  return before === window.numFiles;
}"""
_ANSWERED: Final = """Math.max(...performance.getEntriesByType('resource')
  .filter((each) => each.name.includes('/metrics?')).map((each) => each.responseEnd))"""


def main() -> None:
    """Print the median of each figure, with the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        server = Server(Path(place))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the browser inherits it
        try:
            with browser() as chromium:
                runs = [measure(chromium, server) for _ in range(repeats)]
        finally:
            server.end()
    for name, goal in _GOALS:
        values = [run[name] for run in runs]
        shown = ", ".join(f"{value:.0f}" for value in sorted(values))
        sys.stdout.write(f"{name}: {statistics.median(values):.0f} (goal {goal}; {shown})\n")


def measure(chromium: Browser, server: Server) -> dict[str, float]:
    with watched(chromium, server) as found:
        found.page.add_init_script(_PAINTED % "h1")
        found.page.goto(f"{server.url}/")
        page_ms = _painted(found.page)
        found.page.wait_for_function(_SETTLED, polling=1000)
        first = {
            "sent_kb": found.page.evaluate(_SENT) / 1000,
            "page_ms": page_ms,
            "paint_ms": found.page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            ),
        }
    with watched(chromium, server) as found:
        return first | {"chart_ms": chart_ms(found.page, server)}


def chart_ms(page: Page, server: Server) -> float:
    """From the last byte of the curves to the frame that shows them."""
    with server.api() as client:
        jobs = client.get("/jobs").json()["data"]
        job = jobs[0]["id"] if jobs else _job(client)
    page.add_init_script(_PAINTED % ".uplot canvas")
    page.route("**/metrics?*", lambda route: route.fulfill(json=_curves(job)))
    page.goto(f"{server.url}/jobs/{job}/metrics")
    return _painted(page) - page.evaluate(_ANSWERED)


def _painted(page: Page) -> float:
    """The policy of the page refuses `wait_for_function`, which evaluates texts in it."""
    while page.evaluate("window.painted ?? 0") == 0:
        page.wait_for_timeout(50)
    return page.evaluate("window.painted")


def _job(client: Any) -> str:
    body = {"name": "measured", "base": "starter", "datasets": ["builtin:shop"]}
    job = client.post("/jobs", json=body).json()["id"]
    client.post(f"/jobs/{job}/cancel")
    return job


def _curves(job: str) -> dict[str, Any]:
    """Two curves of 10,000 steps, as no server sends them: those are thinned out to 2,000."""
    steps = list(range(1, STEPS + 1))
    series = {
        name: {
            "steps": steps,
            "values": [scale / step**0.3 for step in steps],
            "times": steps,
            "num_points": STEPS,
            "smoothed": None,
        }
        for name, scale in (("loss", 4.0), ("validation_loss", 4.4))
    }
    rest = {"restarts": [], "last_step": STEPS, "references": {}}
    return {"job_id": job, "series": series} | rest


if __name__ == "__main__":
    main()

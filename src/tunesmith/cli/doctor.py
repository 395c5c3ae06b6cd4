"""`tunesmith doctor`: what works on this machine, and what to mend. Works without torch."""

from __future__ import annotations

import json as json_format
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from tunesmith.cli.checks import HUB_MEND, Check, Status, check_hub, hub_addresses, local_checks
from tunesmith.cli.engine import run_engine
from tunesmith.cli.language import chinese, language
from tunesmith.cli.serve import has_server
from tunesmith.cli.signed_in import login_checks
from tunesmith.cli.terminal import say, say_json, wants_colour
from tunesmith.errors import InputError
from tunesmith.runs.launch import engine_environment

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

HUB_SECONDS = 3.0
_COLOURS = {"ok": "32", "warning": "33", "error": "31"}
_EXAMPLES = """Examples:

tunesmith doctor

tunesmith doctor --json
"""


@app.command(epilog=_EXAMPLES)
def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Check this machine: versions, devices, disk, memory, hub access, and the platform on it.

    Of the platform: settings, data directory, database, port, clocks; and the server that one is
    signed in to. Each line is ok, a warning or an error, with what to do about it. Ends with 1 when
    there is an error.
    """
    checks = all_checks(Path.cwd(), os.environ)
    worst = worst_status(checks)
    if json:
        say_json({"status": worst, "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        for check in checks:
            say(check_line(check, width, colour=wants_colour(sys.stdout), columns=columns))
        say(_verdict(checks))
    # The pool of `ask_hubs` may still wait for a name server: do not wait for it.
    sys.stdout.flush()
    os._exit(1 if worst == "error" else 0)


def all_checks(folder: Path, environment: Mapping[str, str]) -> list[Check]:
    """Every check, the slow ones beside each other."""
    pool = ThreadPoolExecutor(5)
    engine = pool.submit(engine_checks)
    server = pool.submit(server_checks)
    signed_in = pool.submit(login_checks, environment)
    hubs = ask_hubs(pool, environment)
    platform = server.result()
    known = {check.name for check in platform}  # of its SQLite the platform itself knows more
    return [
        *(check for check in local_checks(folder, environment) if check.name not in known),
        *engine.result(),
        *platform,
        *signed_in.result(),
        *(hub() for hub in hubs),
    ]


def check_line(check: Check, width: int, *, colour: bool, columns: int = 0) -> str:
    """'  ok       torch        2.13.0', and the mend below it, folded to `columns` if given."""
    status = f"{check.status:<7}"
    if colour:
        status = f"\033[{_COLOURS[check.status]}m{status}\033[0m"
    room = columns - width - 13  # what is left of a line beside status and name
    indent = f"\n  {'':7}  {'':{width}}  "
    texts = [check.detail, *([f"-> {check.mend}"] if check.mend else [])]
    lines = [line for text in texts for line in _folded(text, room)]
    return f"  {status}  {check.name:<{width}}  {indent.join(lines)}"


def _folded(text: str, room: int) -> list[str]:
    """Paths and commands stay whole, to be copied."""
    if room < 20:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def worst_status(checks: list[Check]) -> Status:
    """The status of the whole machine."""
    ranks: tuple[Status, ...] = get_args(Status)
    return ranks[max((ranks.index(check.status) for check in checks), default=0)]


def engine_checks() -> list[Check]:
    """What the engine says of devices; one line with the reason when it cannot start."""
    try:
        done = run_engine("doctor", "--json", capture=True)
    except InputError as error:
        return [Check("devices", "error", "unknown: torch is not installed", error.hint)]
    return _parsed(done, "engine", "engine")


def server_checks() -> list[Check]:
    """What the platform says of its settings, database and port; one line where it cannot."""
    if not has_server():
        detail = "not installed; needed for `tunesmith serve` only"
        return [Check("platform", "ok", detail, "pip install 'tunesmith[server]'")]
    command = [sys.executable, "-m", "tunesmith.server", "doctor", "--json", "--lang", language()]
    done = subprocess.run(
        command, env=engine_environment(), capture_output=True, encoding="utf-8", check=False
    )
    return _parsed(done, "platform", "server")


def _parsed(done: subprocess.CompletedProcess[str], name: str, extra: str) -> list[Check]:
    try:
        return parse_checks(json_format.loads(done.stdout))
    except (ValueError, TypeError, KeyError):
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        detail = f"the {name} cannot start: {lines[-1][:300]}"
        return [Check(name, "error", detail, f"pip install -U 'tunesmith[{extra}]'")]


def parse_checks(document: Any) -> list[Check]:
    """The checks of the engine's JSON document."""
    rows = cast("list[dict[str, Any]]", document["checks"])
    return [
        Check(
            str(row["name"]),
            row["status"] if row["status"] in get_args(Status) else "warning",
            str(row["detail"]),
            str(row.get("mend") or ""),
        )
        for row in rows
    ]


def ask_hubs(pool: ThreadPoolExecutor, environment: Mapping[str, str]) -> list[Callable[[], Check]]:
    """Start asking every hub; each answer is waited for a few seconds, name servers included."""
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return [lambda: Check("hub", "ok", "not asked: HF_HUB_OFFLINE is set")]
    asked = {
        name: (address, pool.submit(check_hub, name, address, HUB_SECONDS))
        for name, address in hub_addresses(environment).items()
    }
    return [partial(_answer, name, *asking) for name, asking in asked.items()]


def _answer(name: str, address: str, future: Future[Check]) -> Check:
    try:
        return future.result(HUB_SECONDS + 1)
    except FutureTimeout:
        detail = f"{address} did not answer within {HUB_SECONDS:.0f} seconds"
        return Check(name, "warning", detail, HUB_MEND)


def _verdict(checks: list[Check]) -> str:
    errors = sum(check.status == "error" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    if chinese():
        return _verdict_zh(errors, warnings)
    if errors:
        return f"\n{errors} to mend before training works here, {warnings} to look at."
    if warnings:
        return f"\nReady. {warnings} to look at."
    return "\nEverything is ready. Try `tunesmith demo`."


def _verdict_zh(errors: int, warnings: int) -> str:
    if errors:
        return f"\n有 {errors} 项需要先解决才能在本机训练，另有 {warnings} 项请留意。"
    if warnings:
        return f"\n可以使用，有 {warnings} 项请留意。"
    return "\n一切就绪，可以试试 `tunesmith demo`。"

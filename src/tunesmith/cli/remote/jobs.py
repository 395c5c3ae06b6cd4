"""`tunesmith jobs ...`: submit, look, follow, steer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tunesmith.cli.progress import UNICODE, duration, sparkline
from tunesmith.cli.remote import names
from tunesmith.cli.remote.connecting import (
    AllOption,
    JsonOption,
    ProjectOption,
    YesOption,
    confirm,
    connect,
    document,
    group,
    say_all,
)
from tunesmith.cli.remote.following import exit_code, follow_and_report
from tunesmith.cli.remote.tables import (
    LISTED,
    ago,
    local,
    say_more,
    say_table,
    short_id,
    short_ids,
)
from tunesmith.cli.terminal import (
    command_line,
    complain,
    printable,
    say,
    say_json,
    short_text,
    table,
    warn,
)
from tunesmith.cli.work import size
from tunesmith.errors import InputError
from tunesmith.schemas.jobs import DatasetUse, JobDetails, JobRead, JobSubmitted, SeriesRead
from tunesmith.sdk import ApiError, Client

_T = TypeVar("_T")

app = group("Trainings on the server: submit, follow, steer.")
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id, its beginning, or name.")]
JobsArgument = Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids or names.")]
NameOption = Annotated[str | None, typer.Option("--name", help="What to call it.")]
FlavourOption = Annotated[
    str | None,
    typer.Option("--flavour", help="What to compute on. Otherwise: what comes free first."),
]
DevicesOption = Annotated[int | None, typer.Option("--devices", min=1, help="How many.")]
PriorityOption = Annotated[
    int, typer.Option("--priority", min=-100, max=100, help="Higher goes first.")
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Stay and watch it.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only warnings, errors and the result.")
]
ChangesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the recipe to change."),
]
_ACTIVE = ("running", "pausing", "starting")
_STATUS_WORDS = {"checking": "validating_files"}  # as people read it, and as the server calls it


@app.command("list", epilog="Example: tunesmith jobs list --status running --status queued")
def list_(
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only of this one; repeatable.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="In the name.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only one's own.")] = False,
    project: ProjectOption = None,
    all: AllOption = False,
    json: JsonOption = False,
) -> None:
    """Jobs, newest first."""
    with connect() as client:
        query = {
            "status": [_STATUS_WORDS.get(word, word) for word in status or []] or None,
            "text": text,
            "user_id": "me" if mine else None,
            "project_id": names.project_id(client, project),
        }
        limit = {} if all else {"limit": LISTED + 1}
        jobs = list(islice(client.jobs.list(**query, **limit), None if all else LISTED + 1))
    shown = jobs if all else jobs[:LISTED]
    if json:
        return say_all(shown)
    if not shown:
        return say("No jobs. Submit one:\n  tunesmith jobs submit recipe.yaml")
    _say_jobs(shown)
    say_more(len(shown), more=len(jobs) > len(shown))
    return None


@app.command(epilog="Example: tunesmith jobs show 01m7zvxy3f")
def show(job: JobArgument, json: JsonOption = False) -> None:
    """All that is known of one job."""
    with connect() as client:
        found = client.jobs.get(names.job_id(client, job))
    if json:
        return say_json(document(found))
    say(table(_facts(found)))
    if found.error:
        say(f"\n{printable(str(found.error.get('message', '')))}")
        say(f"  {printable(str(found.error.get('hint') or ''))}".rstrip())
    say(f"\n{_next(found)}")
    return None


@app.command(
    epilog="Example: tunesmith jobs submit recipe.yaml training.epochs=2 --name second --follow"
)
def submit(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="Files it names are sent.")],
    overrides: ChangesArgument = None,
    name: NameOption = None,
    project: ProjectOption = None,
    flavour: FlavourOption = None,
    devices: DevicesOption = None,
    priority: PriorityOption = 0,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Repeatable.")
    ] = None,
    follow: FollowOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Queue a training. Data files of the recipe are sent first, once."""
    from tunesmith.cli.remote.submitting import submit as send

    with connect() as client:
        made = send(
            client,
            recipe,
            overrides or [],
            project_id=names.project_id(client, project),
            quiet=quiet or json,
            name=name,
            flavour=flavour,
            num_devices=devices,
            priority=priority,
            labels=_pairs(label or [], "--label") or None,
        )
        _announce(client, made, follow=follow, quiet=quiet, json=json)


@app.command(epilog="Example: tunesmith jobs follow 01m7zvxy3f")
def follow(job: JobArgument, quiet: QuietOption = False, json: JsonOption = False) -> None:
    """Watch a job until it ends or is paused; Ctrl-C leaves it running.

    Exit codes: 0 finished, 75 paused, 1 failed or cancelled, 130 left.
    """
    with connect() as client:
        found = names.job_id(client, job)
        client.jobs.get(found)  # an unknown one is told before the screen is taken
        code = follow_and_report(client, found, quiet=quiet, json=json)
        if json:
            say_json(document(client.jobs.get(found)))
    raise typer.Exit(code)


@app.command(epilog="Example: tunesmith jobs log 01m7zvxy3f --to train.log")
def log(
    job: JobArgument,
    to: Annotated[Path | None, typer.Option("--to", help="Write the whole log to a file.")] = None,
    json: JsonOption = False,
) -> None:
    """The end of a job's log."""
    with connect() as client:
        found = names.job_id(client, job)
        if to is not None:
            _refuse_folder(to)
            written = client.jobs.download_log(found, to)
            told = {"path": str(to), "bytes": written}
            return say_json(told) if json else say(f"{to}: {size(written)}")
        part = client.jobs.log(found)
    if json:
        return say_json(document(part))
    return say(printable(part.text).rstrip("\n") or "The log is empty.")


@app.command(epilog="Example: tunesmith jobs metrics 01m7zvxy3f --to curves.csv")
def metrics(
    job: JobArgument,
    to: Annotated[Path | None, typer.Option("--to", help="Write all points as CSV.")] = None,
    json: JsonOption = False,
) -> None:
    """The curves of a job: first, lowest and last values, and their course."""
    with connect() as client:
        found = names.job_id(client, job)
        if to is not None:
            _refuse_folder(to)
            written = client.jobs.download_metrics(found, to)
            told = {"path": str(to), "bytes": written}
            return say_json(told) if json else say(f"{to}: {size(written)}")
        read = client.jobs.metrics(found)
    if json:
        return say_json(document(read))
    rows = [_curve(name, series) for name, series in read.series.items() if series.steps]
    if not rows:
        return say("Nothing was measured yet.")
    say_table(("curve", ">points", ">first", ">lowest", ">last", "course"), rows, wide=0)
    return None


@app.command(epilog="Example: tunesmith jobs cancel 01m7zvxy3f")
def cancel(jobs: JobsArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """End jobs without a result; their checkpoints are kept."""

    def ask(found: Sequence[str]) -> None:
        confirm(f"Cancel {_counted(found)}?", yes=yes or len(found) == 1)

    _each(jobs, lambda client: client.jobs.cancel, "is cancelled", "is being cancelled", json, ask)


@app.command(epilog="Example: tunesmith jobs pause 01m7zvxy3f")
def pause(jobs: JobsArgument, json: JsonOption = False) -> None:
    """Save a checkpoint and free the device."""
    _each(jobs, lambda client: client.jobs.pause, "is paused", "is being paused", json)


@app.command(epilog="Example: tunesmith jobs resume 01m7zvxy3f --devices 2")
def resume(jobs: JobsArgument, devices: DevicesOption = None, json: JsonOption = False) -> None:
    """Queue paused jobs again: they go on from their last checkpoint, at the price of today."""

    def act(client: Client) -> Callable[[str], JobRead]:
        return lambda job: client.jobs.resume(job, devices)

    _each(jobs, act, "is queued again", "is queued again", json)


@app.command(epilog="Example: tunesmith jobs stop 01m7zvxy3f")
def stop(jobs: JobsArgument, json: JsonOption = False) -> None:
    """Finish now, and keep the result.

    A job that waits or is paused goes first, and ends with the checkpoint that it has.
    """
    _each(jobs, lambda client: client.jobs.stop, "has finished", "is finishing", json)


@app.command(epilog="Example: tunesmith jobs retry 01m7zvxy3f --follow")
def retry(
    job: JobArgument,
    follow: FollowOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train again from the beginning: a new job with the recipe of one that ended.

    However it ended; the old one never changes. The price is that of today.
    `jobs resume` goes on from a pause, `jobs branch` from a checkpoint.
    """
    with connect() as client:
        made = client.jobs.retry(names.job_id(client, job))
        _announce(client, made, follow=follow, quiet=quiet, json=json)


@app.command(epilog="Example: tunesmith jobs clone 01m7zvxy3f training.epochs=3 --name third")
def clone(
    job: JobArgument,
    changes: ChangesArgument = None,
    name: NameOption = None,
    flavour: FlavourOption = None,
    devices: DevicesOption = None,
    priority: PriorityOption = 0,
    follow: FollowOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """A new job like another, with changed fields of its recipe."""
    about = _about(name=name, flavour=flavour, num_devices=devices, priority=priority)
    with connect() as client:
        made = client.jobs.clone(names.job_id(client, job), _values(changes or []), **about)
        _announce(client, made, follow=follow, quiet=quiet, json=json)


@app.command(epilog="Example: tunesmith jobs checkpoints 01m7zvxy3f")
def checkpoints(job: JobArgument, json: JsonOption = False) -> None:
    """Where a job can be gone on from, newest first."""
    with connect() as client:
        found = list(client.jobs.checkpoints(names.job_id(client, job)))
    if json:
        return say_all(found)
    if not found:
        return say("No checkpoint yet.")
    rows = [
        (str(one.step), size(one.bytes), *_measured(one.metrics), ago(one.created_at))
        for one in found
    ]
    head = (">step", ">size", ">train loss", ">validation loss", ">accuracy", "saved")
    say_table(head, rows, wide=5)
    here = f"{short_id(found[0].job_id)}:{found[0].step}"
    say(f"\nGo on from one with other settings:\n  {command_line('jobs', 'branch', here)}")
    return None


@app.command(epilog="Example: tunesmith jobs branch 01m7zvxy3f:200 training.learning_rate=5e-5")
def branch(
    checkpoint: Annotated[
        str, typer.Argument(metavar="JOB:STEP", help="Or the id of a checkpoint.")
    ],
    changes: ChangesArgument = None,
    name: NameOption = None,
    flavour: FlavourOption = None,
    devices: DevicesOption = None,
    priority: PriorityOption = 0,
    follow: FollowOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """A new job that goes on from a checkpoint with changed fields."""
    about = _about(name=name, flavour=flavour, num_devices=devices, priority=priority)
    with connect() as client:
        found = names.checkpoint_id(client, checkpoint)
        made = client.jobs.branch(found, _values(changes or []), **about)
        _announce(client, made, follow=follow, quiet=quiet, json=json)


@app.command(epilog="Example: tunesmith jobs use 01m7zvxy3f:200 --name halfway")
def use(
    checkpoint: Annotated[
        str, typer.Argument(metavar="JOB:STEP", help="Or the id of a checkpoint.")
    ],
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """Make a model of a checkpoint, to chat with, export or train on.

    A checkpoint becomes one model: the same again tells which one it is.
    """
    with connect() as client:
        made = client.jobs.use_checkpoint(names.checkpoint_id(client, checkpoint), name)
    if json:
        return say_json(document(made))
    there = "" if made.is_new else " is there already"
    return say(f"Model {printable(made.name)} ({made.model_id}){there}")


@app.command(epilog="Example: tunesmith jobs reorder 01m7zvxy3f --before 01m7zvwq2a")
def reorder(
    job: JobArgument,
    before: Annotated[
        str | None, typer.Option("--before", metavar="JOB", help="Without it: to the end.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Another place among the waiting jobs of the project."""
    with connect() as client:
        other = None if before is None else names.job_id(client, before)
        moved = client.jobs.reorder(names.job_id(client, job), other)
    where = f"before {printable(before)}" if before is not None else "at the end"
    return say_json(document(moved)) if json else say(f"{_called(moved)} now waits {where}.")


@app.command(epilog="Example: tunesmith jobs delete 01m7zvxy3f --yes")
def delete(jobs: JobsArgument, yes: YesOption = False, json: JsonOption = False) -> None:
    """Take jobs that ended or are paused off the list, with their checkpoints; models stay."""
    with connect() as client:
        found = [names.job_id(client, job) for job in jobs]
        confirm(f"Delete {_counted(jobs)} with log and checkpoints?", yes=yes)
        deleted: list[str] = []
        refused = _try_each(found, client.jobs.delete, lambda job, _: deleted.append(job))
    if json:
        say_json({"deleted": deleted} | _errors(refused))
    elif deleted:
        say(f"Deleted {_counted(deleted)}.")
    _end_refused(refused, len(found))


# ---------------------------------------------------------------- what they share


def _each(
    jobs: Sequence[str],
    action: Callable[[Client], Callable[[str], JobRead]],
    done: str,
    begun: str,
    json: bool,
    ask: Callable[[Sequence[str]], None] | None = None,
) -> None:
    """One action on jobs that were all found before the first is touched."""
    changed: list[JobRead] = []

    def tell(_: str, job: JobRead) -> None:
        changed.append(job)
        if not json:
            say(f"{_called(job)} {begun if job.intent is not None else done}.")

    with connect() as client:
        found = [names.job_id(client, job) for job in jobs]
        if ask is not None:
            ask(found)
        refused = _try_each(found, action(client), tell)
    if json:
        say_json({"data": [document(each) for each in changed]} | _errors(refused))
    _end_refused(refused, len(found))


def _try_each(
    jobs: Sequence[str], act: Callable[[str], _T], tell: Callable[[str, _T], None]
) -> dict[str, ApiError]:
    """Act on all, whatever is refused on the way: the refusals by job. Of one job it is raised."""
    refused: dict[str, ApiError] = {}
    for job in jobs:
        try:
            done = act(job)
        except ApiError as error:
            if len(jobs) == 1:
                raise
            refused[job] = error
            complain(error.message, error.hint)
        else:
            tell(job, done)
    return refused


def _errors(refused: Mapping[str, ApiError]) -> dict[str, Any]:
    """What the JSON document says of refusals; nothing where there are none."""
    told = [{"job_id": job} | error.to_dict() for job, error in refused.items()]
    return {"errors": told} if told else {}


def _end_refused(refused: Mapping[str, ApiError], count: int) -> None:
    if refused:
        say(f"{len(refused)} of {count} jobs were refused; the others are done.", to=sys.stderr)
        raise typer.Exit(next(iter(refused.values())).exit_code)


def _announce(client: Client, made: JobSubmitted, *, follow: bool, quiet: bool, json: bool) -> None:
    """What its author should know, and that a job is queued; then watch it, if asked to."""
    for notice in made.notices:
        warn(notice.message, notice.hint)
    if not json and not quiet:
        say(f"Job {made.id} ({printable(made.name)}) is {made.status}.")
    if not follow:
        if json:
            say_json(document(made))
        elif not quiet:
            say(f"\nWatch it:\n  {command_line('jobs', 'follow', short_id(made.id))}")
        return
    code = follow_and_report(client, made.id, quiet=quiet, json=json)
    if json:
        say_json(document(client.jobs.get(made.id)))
    raise typer.Exit(code)


def _say_jobs(jobs: Sequence[JobRead]) -> None:
    rows = [
        (short, job.name, _status(job), _steps(job), _loss(job), ago(job.created_at))
        for short, job in zip(short_ids([job.id for job in jobs]), jobs, strict=True)
    ]
    say_table(("id", "name", "status", ">step", ">loss", "made"), rows, wide=1)


def _status(job: JobRead) -> str:
    if job.intent in ("cancel", "pause", "stop") and job.status in _ACTIVE:
        return {"cancel": "cancelling", "pause": "pausing", "stop": "stopping"}[job.intent]
    return next((word for word, name in _STATUS_WORDS.items() if name == job.status), job.status)


def _steps(job: JobRead) -> str:
    if not job.step and job.total_steps is None:
        return "-"
    return f"{job.step}/{job.total_steps or '?'}"


def _loss(job: JobRead) -> str:
    return "-" if job.loss is None else f"{job.loss:.4f}"


def _dataset(use: DatasetUse) -> str:
    """`shop@3`, with its role where it is not trained on; what ships has no versions."""
    version = "" if use.version is None else f"@{use.version}"
    name = f"{short_text(use.name, 100)}{version}" if use.name else use.dataset_version_id
    return name if use.role == "train" else f"{name} ({use.role})"


def _facts(job: JobDetails) -> list[tuple[str, str]]:
    left = f", {duration(job.eta_seconds)} left" if job.eta_seconds else ""
    reason = f" ({short_text(job.reason, 200)})" if job.reason else ""
    facts = [
        ("id", job.id),
        ("name", short_text(job.name, 100)),
        ("status", f"{_status(job)}{reason}"),
        ("waiting", short_text(job.waits_for.message, 200) if job.waits_for else ""),
        ("step", f"{_steps(job)}{left}"),
        ("loss", _loss(job)),
        ("base", short_text(job.base, 100)),
        ("datasets", ", ".join(_dataset(use) for use in job.datasets)),
        ("devices", f"{job.num_devices}{f' of {job.flavour}' if job.flavour else ''}"),
        ("attempts", str(len(job.attempts)) if job.attempts else ""),
        ("took", _took(job)),
        ("checkpoints", str(job.num_checkpoints) if job.num_checkpoints else ""),
        ("model", job.model_id or ""),
        ("labels", ", ".join(f"{key}={text}" for key, text in (job.labels or {}).items())),
        ("parent", job.parent_id or ""),
        ("made", local(job.created_at)),
        ("started", local(job.started_at) if job.started_at else ""),
        ("finished", local(job.finished_at) if job.finished_at else ""),
        ("project", job.project_id),
    ]
    return [(name, printable(value)) for name, value in facts if value]


def _took(job: JobDetails) -> str:
    """Time and memory beside what was expected; how far off that was once the job is whole."""
    seconds = sum(attempt.device_seconds for attempt in job.attempts) / job.num_devices
    if not seconds or job.expected is None:
        return duration(seconds) if seconds else ""
    found = [_beside(duration, seconds, job.expected.seconds, job.status == "succeeded")]
    if job.peak_memory_bytes and job.expected.memory_bytes:
        real, expected = job.peak_memory_bytes, job.expected.memory_bytes
        found.append(_beside(size, real, expected, job.status == "succeeded"))
    return "; ".join(found)


def _beside(say: Callable[[float], str], real: float, expected: float, is_whole: bool) -> str:
    off = f", {(real - expected) / expected:+.0%}" if is_whole and expected else ""
    return f"{say(real)} (expected {say(expected)}{off})"


def _next(job: JobDetails) -> str:
    """What one would type now."""
    here = short_id(job.id)
    if job.status == "succeeded" and job.model_id is not None:
        model = short_id(job.model_id)
        return f"Take it home:\n  {command_line('models', 'download', model, '--to', 'result')}"
    if job.status == "paused":
        return f"Go on:\n  {command_line('jobs', 'resume', here)}"
    if exit_code(job) and job.finished_at is not None:
        return f"Once more:\n  {command_line('jobs', 'retry', here)}"
    return f"Watch it:\n  {command_line('jobs', 'follow', here)}"


def _curve(name: str, series: SeriesRead) -> tuple[str, ...]:
    known = [value for value in series.values if value is not None]
    if not known:
        return (name, str(series.num_points), "-", "-", "-", "")
    shown = [f"{value:.4g}" for value in (known[0], min(known), known[-1])]
    course = sparkline(tuple(known), UNICODE, width=20)
    return (name.replace("_", " "), str(series.num_points), *shown, course)


def _measured(metrics: dict[str, Any]) -> list[str]:
    """Both losses, and the accuracy on the rows held out; `-` for what was not measured."""
    names = ("train_loss", "valid_loss", "valid_mean_token_accuracy")
    found = [metrics.get(name) for name in names]
    return ["-" if value is None else f"{value:.4g}" for value in found]


def _about(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _pairs(words: Sequence[str], option: str) -> dict[str, str]:
    wrong = next((word for word in words if "=" not in word), None)
    if wrong is not None:
        raise InputError(f"{option} {printable(wrong)} has no value: write KEY=VALUE.")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _values(words: Sequence[str]) -> dict[str, Any]:
    """Fields with their values as YAML reads them, as recipes do."""
    import yaml

    texts = _pairs(words, "The change")
    try:
        # What YAML takes for a text may still be a number to the recipe: 5e-5.
        return {key: yaml.safe_load(text) for key, text in texts.items()}
    except yaml.YAMLError as error:
        raise InputError(f"A value cannot be read: {error}") from error


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder.", hint=f"Name a file: --to {path}/FILE")


def _counted(jobs: Sequence[str]) -> str:
    return f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs"


def _called(job: JobRead) -> str:
    return f"Job {short_id(job.id)} ({short_text(job.name, 60)})"

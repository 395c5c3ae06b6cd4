"""From what people type to an id: a whole id, the beginning of one, or a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from tunesmith.cli.remote.tables import ago, short_id
from tunesmith.cli.terminal import short_text
from tunesmith.errors import InputError
from tunesmith.sdk import Client

_DIGITS: Final = frozenset("0123456789abcdefghjkmnpqrstvwxyz")
_LENGTH: Final = 26  # of an id behind its prefix
_SHORTEST: Final = 4
_SHOWN: Final = 5
Find = Callable[[str], Iterable[Any]]


@dataclass(frozen=True)
class Kind:
    """What is looked for. `beginning` lists those whose ids may begin so, newest first."""

    noun: str
    prefix: str
    group: str
    beginning: Find
    named: Find


def job_id(client: Client, word: str) -> str:
    jobs = client.jobs
    return find(
        Kind(
            "job", "ftjob-", "jobs",
            lambda beginning: jobs.list(text=beginning),
            lambda name: (each for each in jobs.list(text=name) if each.name == name),
        ),
        word,
    )  # fmt: skip


def dataset_id(client: Client, word: str) -> str:
    datasets = client.datasets
    return find(
        Kind(
            "dataset", "ds-", "datasets",
            lambda beginning: datasets.list(text=beginning),
            lambda name: (each for each in datasets.list(text=name) if each.name == name),
        ),
        word,
    )  # fmt: skip


def model_id(client: Client, word: str) -> str:
    models = client.models
    return find(
        Kind(
            "model", "model-", "models",
            lambda beginning: models.list(text=beginning),
            lambda name: (each for each in models.list(text=name) if each.name == name),
        ),
        word,
    )  # fmt: skip


def deployment_id(client: Client, word: str) -> str:
    return find(_of_list("deployment", client.deployments.list), word)


def project_id(client: Client, word: str | None) -> str | None:
    """None where no project is named."""
    return None if word is None else find(_of_list("project", client.projects.list), word)


def user_id(client: Client, word: str) -> str:
    if word == "me":
        return client.me().user.id
    return find(_of_list("user", client.users.list), word)


def token_id(client: Client, word: str) -> str:
    return find(_of_list("token", client.tokens.list), word)


def subscription_id(client: Client, word: str) -> str:
    return find(_of_list("subscription", client.notices.list), word)


def checkpoint_id(client: Client, word: str) -> str:
    """Whole, or JOB:STEP, where the job may be shortened."""
    if word.startswith(_CHECKPOINT):
        return word
    job, colon, step = word.rpartition(":")
    job = job if colon else word
    found = {each.step: each.id for each in client.jobs.checkpoints(job_id(client, job))}
    if not colon or not step.isdecimal() or int(step) not in found:
        steps = ", ".join(map(str, sorted(found))) or "none"
        why = f"has no checkpoint of step {step}" if colon else "is named without a step"
        raise InputError(
            f"Job {job} {why}; nothing was submitted.",
            hint=f"Write JOB:STEP. Checkpoints are there of the steps: {steps}.",
            code="checkpoint_not_found",
        )
    return found[int(step)]


def find(kind: Kind, word: str) -> str:
    """The id that a word means; InputError for none, and for several."""
    rest = word.strip().lower().removeprefix(kind.prefix)
    may_be_id = bool(rest) and set(rest) <= _DIGITS and len(rest) <= _LENGTH
    if may_be_id and len(rest) == _LENGTH:
        return kind.prefix + rest
    found = list(islice(kind.named(word), _SHOWN + 1))
    if not found and may_be_id and len(rest) >= _SHORTEST:
        found = _beginning(kind, kind.prefix + rest)
    if len(found) == 1:
        return found[0].id
    raise _unclear(kind, word, found) if found else _missing(kind, word)


_CHECKPOINT: Final = "ftckpt_"
_PREFIXES: Final = {
    "deployment": "dep-",
    "project": "proj-",
    "user": "user-",
    "token": "tok-",
    "subscription": "sub-",
}


def _of_list(noun: str, every: Callable[[], Iterable[Any]]) -> Kind:
    """A kind of which there are few."""

    def named(name: str) -> Iterable[Any]:
        return (each for each in every() if getattr(each, "name", None) == name)

    group = "notices" if noun == "subscription" else f"{noun}s"
    return Kind(noun, _PREFIXES[noun], group, lambda _: every(), named)


def _beginning(kind: Kind, beginning: str) -> list[Any]:
    """Those whose ids begin so, some of them."""
    found = (each for each in kind.beginning(beginning) if each.id.startswith(beginning))
    return list(islice(found, _SHOWN + 1))


def _missing(kind: Kind, word: str) -> InputError:
    return InputError(
        f"There is no {kind.noun} {short_text(word, 100)}.",
        hint=f"`tunesmith {kind.group} list` shows what there is.",
        code=f"{kind.noun}_not_found",
    )


def _unclear(kind: Kind, word: str, found: list[Any]) -> InputError:
    lines = [
        f"  {short_id(each.id, [other.id for other in found])}  "
        f"{short_text(getattr(each, 'name', ''), 40)}  {ago(each.created_at)}"
        for each in found[:_SHOWN]
    ]
    more = ["  ..."] if len(found) > _SHOWN else []
    return InputError(
        f"{short_text(word, 100)} means several {kind.noun}s.",
        hint="\n".join(["Write more of the id:", *lines, *more]),
        code="ambiguous_name",
    )

"""Fields that contradict each other. Every check names both and says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.recipe.schema import Recipe

_NEAR = 1e-6  # shares such as 33.3 + 33.3 + 33.4 may miss 100 by a rounding of binary fractions


@dataclass(frozen=True)
class Contradiction:
    """Fields that cannot stand together."""

    paths: tuple[str, ...]
    message: str
    hint: str


def contradictions(recipe: Recipe) -> list[Contradiction]:
    """All contradictions of a recipe at once."""
    checks = (
        *(_token_budget, _stopping, _formats),
        *(_held_out_data, _held_out_fractions, _held_out_columns),
        *(_shares, _general),
    )
    return [found for check in checks for found in check(recipe)]


def _token_budget(recipe: Recipe) -> Iterator[Contradiction]:
    # micro_batch_tokens may be smaller: a longer row is computed alone.
    longest, tokens = recipe.data.max_length, recipe.training.batch_tokens
    if tokens is not None and tokens < longest:
        yield Contradiction(
            ("training.batch_tokens", "data.max_length"),
            f"training.batch_tokens ({tokens}) is smaller than data.max_length ({longest}): "
            "the longest rows would not fit.",
            f"Raise training.batch_tokens to {longest} or more, or lower data.max_length.",
        )


def _stopping(recipe: Recipe) -> Iterator[Contradiction]:
    if recipe.training.stop.patience is not None and recipe.data.validation.kind == "none":
        yield Contradiction(
            ("training.stop.patience", "data.validation.kind"),
            f"training.stop.patience ({recipe.training.stop.patience}) counts evaluations, but "
            "data.validation.kind is none.",
            "Write data.validation.kind: split, or remove training.stop.patience.",
        )


def _formats(recipe: Recipe) -> Iterator[Contradiction]:
    kind = recipe.stage.kind
    for index, source in enumerate(recipe.data.train):
        if source.format == "auto" or (source.format == "text") == (kind == "pt"):
            continue
        path = f"data.train.{index}.format"
        learns = "plain text" if kind == "pt" else "answers"
        holds = "plain text" if source.format == "text" else "dialogues"
        yield Contradiction(
            (path, "stage.kind"),
            f"{path} is {source.format}, which holds {holds}, but stage.kind {kind} learns "
            f"{learns}.",
            f"Write stage.kind: {'sft' if kind == 'pt' else 'pt'}, or another format.",
        )


def _held_out_data(recipe: Recipe) -> Iterator[Contradiction]:
    data = recipe.data
    places = [(f"data.train.{n}.dataset", source.dataset) for n, source in enumerate(data.train)]
    for name, section in (("validation", data.validation), ("test", data.test)):
        if section.kind != "dataset":
            continue
        path = f"data.{name}.dataset"
        for other, dataset in places:
            if dataset == section.dataset:
                left = "validate" if name == "validation" else "test"
                yield Contradiction(
                    (path, other),
                    f"{path} and {other} are both {dataset}: nothing would be left to {left} on.",
                    f"Write data.{name}.kind: split to hold out a part of the training data.",
                )
        places.append((path, section.dataset))


def _held_out_fractions(recipe: Recipe) -> Iterator[Contradiction]:
    validation, test = recipe.data.validation, recipe.data.test
    if validation.kind != "split" or test.kind != "split":
        return
    if validation.fraction + test.fraction >= 1:
        yield Contradiction(
            ("data.validation.fraction", "data.test.fraction"),
            f"data.validation.fraction ({validation.fraction:g}) and data.test.fraction "
            f"({test.fraction:g}) leave nothing to train on.",
            "Lower one of them; 0.1 each is usual.",
        )


def _held_out_columns(recipe: Recipe) -> Iterator[Contradiction]:
    for name, section in (("validation", recipe.data.validation), ("test", recipe.data.test)):
        if section.kind == "split" and section.group_by and section.group_by == section.stratify_by:
            path = f"data.{name}"
            yield Contradiction(
                (f"{path}.stratify_by", f"{path}.group_by"),
                f"{path}.stratify_by and {path}.group_by are both {section.group_by}: its values "
                "cannot stay whole and be divided at once.",
                "Keep one of them.",
            )


def _shares(recipe: Recipe) -> Iterator[Contradiction]:
    sources = recipe.data.train
    paths = tuple(f"data.train.{n}.share" for n in range(len(sources)))
    given = [source.share for source in sources if source.share is not None]
    if not given:
        return
    if len(given) < len(sources):
        lacking = [path for path, source in zip(paths, sources, strict=True) if not source.share]
        yield Contradiction(
            paths,
            f"{len(given)} of {len(sources)} datasets have a share; {', '.join(lacking)} "
            f"{'is' if len(lacking) == 1 else 'are'} missing.",
            "Give every dataset a share, all of them together 100, or none of them one.",
        )
    elif abs(sum(given) - 100) > _NEAR:
        told = " + ".join(f"{share:g}" for share in given)
        yield Contradiction(
            paths,
            f"The shares of the datasets sum to {sum(given):.10g} %, not 100 % ({told}).",
            "Change data.train.*.share so that they come to 100.",
        )
    for number, source in enumerate(sources):
        if source.share is not None and source.sampling_rate != 1:
            path = f"data.train.{number}"
            yield Contradiction(
                (f"{path}.share", f"{path}.sampling_rate"),
                f"{path}.share ({source.share:g}) and {path}.sampling_rate "
                f"({source.sampling_rate:g}) both say how many rows are drawn.",
                "Keep one of them.",
            )


def _general(recipe: Recipe) -> Iterator[Contradiction]:
    sources = recipe.data.train
    roles = [source.role for source in sources]
    if "general" not in roles or any(source.share is not None for source in sources):
        return
    if "user" not in roles:
        yield Contradiction(
            ("data.train.0.role", "data.general_ratio"),
            "Every dataset has role: general, but data.general_ratio counts general rows for each "
            "row of the others.",
            "Remove the role of the dataset that the model shall learn.",
        )
    for number, source in enumerate(sources):
        if source.role == "general" and source.sampling_rate != 1:
            path = f"data.train.{number}"
            yield Contradiction(
                (f"{path}.sampling_rate", f"{path}.role"),
                f"{path}.sampling_rate is {source.sampling_rate:g}, but its role is general: "
                "data.general_ratio says how many of its rows are drawn.",
                "Set data.general_ratio, or remove the role to draw by the rate.",
            )

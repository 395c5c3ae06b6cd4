"""Fields that contradict each other. Every check names both and says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.recipe.schema import Recipe


@dataclass(frozen=True)
class Contradiction:
    """Fields that cannot stand together."""

    paths: tuple[str, ...]
    message: str
    hint: str


def contradictions(recipe: Recipe) -> list[Contradiction]:
    """All contradictions of a recipe at once."""
    checks = (_token_budget, _stopping, _formats, _validation_data)
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


def _validation_data(recipe: Recipe) -> Iterator[Contradiction]:
    validation = recipe.data.validation
    if validation.kind != "dataset":
        return
    for index, source in enumerate(recipe.data.train):
        if source.dataset == validation.dataset:
            yield Contradiction(
                ("data.validation.dataset", f"data.train.{index}.dataset"),
                f"data.validation.dataset and data.train.{index}.dataset are both "
                f"{source.dataset}: nothing would be left to validate on.",
                "Write data.validation.kind: split to hold out a part of it.",
            )

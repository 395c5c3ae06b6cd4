"""What the author of a valid recipe should know: risks and advice, from the recipe and its data."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.recipe.catalog import show
from tunesmith.recipe.problems import Notice
from tunesmith.recipe.profiles import PRESETS
from tunesmith.recipe.schema import Recipe

MANY_EPOCHS = 10
SMALL_DATA_ROWS = 1000
HIGH_RATE = 1e-4
MANY_REPEATS = 5  # of a dataset in one epoch
SAFER_RATE = 5e-5


def recipe_notices(recipe: Recipe) -> list[Notice]:
    """All that can be said without looking at the data."""
    parts = (_preset, _model, _epochs, _rate, _validation, _mixture, _not_used)
    return [notice for part in parts for notice in part(recipe)]


def data_notices(
    recipe: Recipe, *, rows: int, shortest_row_tokens: int | None = None
) -> list[Notice]:
    """What only the data shows: a high rate on few rows, a length below every row."""
    found: list[Notice] = []
    rate = recipe.training.learning_rate
    if rows < SMALL_DATA_ROWS and rate >= HIGH_RATE:
        found.append(
            Notice(
                "high_rate_small_data",
                f"training.learning_rate is {show(rate)} and there are only {rows} rows: the model "
                "may learn them by heart.",
                f"Try training.learning_rate: {show(SAFER_RATE)}.",
                "training.learning_rate",
            )
        )
    if shortest_row_tokens is not None and recipe.data.max_length < shortest_row_tokens:
        found.append(
            Notice(
                "length_below_every_row",
                f"data.max_length is {recipe.data.max_length}, and the shortest row has "
                f"{shortest_row_tokens} tokens: every row is cut.",
                f"Raise data.max_length to {shortest_row_tokens} or more.",
                "data.max_length",
            )
        )
    return found


def _preset(recipe: Recipe) -> Iterator[Notice]:
    preset = PRESETS.get(recipe.preset or "")
    if preset:
        yield from preset.notices


def _model(recipe: Recipe) -> Iterator[Notice]:
    if recipe.model.trust_remote_code:
        yield Notice(
            "remote_code",
            f"model.trust_remote_code is on: code that comes with {recipe.model.base} may do "
            "anything on this machine.",
            "Pin model.revision to a commit that you have read.",
            "model.trust_remote_code",
        )


def _epochs(recipe: Recipe) -> Iterator[Notice]:
    training = recipe.training
    if training.epochs > MANY_EPOCHS and training.max_steps is None:
        yield Notice(
            "many_epochs",
            f"training.epochs is {show(training.epochs)}: above {MANY_EPOCHS}, models recite their "
            "data more than they understand it.",
            "Judge by the loss: 0.7 to 1.4 is a good end.",
            "training.epochs",
        )


def _rate(recipe: Recipe) -> Iterator[Notice]:
    if recipe.training.learning_rate == 0:
        yield Notice(
            "zero_rate",
            "training.learning_rate is 0: the weights will not change.",
            "1e-4 is usual for LoRA, 1e-5 to 5e-5 for full tuning.",
            "training.learning_rate",
        )
    elif recipe.data.allow_small and recipe.training.learning_rate >= HIGH_RATE:
        yield Notice(
            "high_rate_small_data",
            f"training.learning_rate is {show(recipe.training.learning_rate)}, which is high for "
            "the few rows that data.allow_small expects.",
            f"Try training.learning_rate: {show(SAFER_RATE)}.",
            "training.learning_rate",
        )


def _validation(recipe: Recipe) -> Iterator[Notice]:
    if recipe.data.validation.kind != "none":
        return
    yield Notice(
        "validation_off",
        "data.validation is none: nobody will see whether the model overfits, and the result is "
        "the last step, not the best one.",
        "Write data.validation: {kind: split, fraction: 0.1}.",
        "data.validation.kind",
    )
    if recipe.training.evaluate.every_steps != "auto":
        yield Notice(
            "value_not_used",
            f"training.evaluate.every_steps ({recipe.training.evaluate.every_steps}) is not used: "
            "data.validation.kind is none.",
            path="training.evaluate.every_steps",
        )


def _mixture(recipe: Recipe) -> Iterator[Notice]:
    data = recipe.data
    for number, source in enumerate(data.train):
        if source.sampling_rate > MANY_REPEATS:
            yield Notice(
                "many_repeats",
                f"data.train.{number}.sampling_rate is {show(source.sampling_rate)}: each of its "
                "rows is seen so many times an epoch, and the training takes longer.",
                f"1 to {MANY_REPEATS} is usual.",
                f"data.train.{number}.sampling_rate",
            )
    shares = any(source.share is not None for source in data.train)
    general = any(source.role == "general" for source in data.train)
    if data.general_ratio != type(data).model_fields["general_ratio"].default and (
        shares or not general
    ):
        reason = "every dataset has a share" if shares else "no dataset has role: general"
        yield Notice(
            "value_not_used",
            f"data.general_ratio ({show(data.general_ratio)}) is not used: {reason}.",
            path="data.general_ratio",
        )


def _not_used(recipe: Recipe) -> Iterator[Notice]:
    training = recipe.training
    default_size = type(training).model_fields["batch_size"].default
    if training.batch_tokens is not None and training.batch_size != default_size:
        yield Notice(
            "value_not_used",
            f"training.batch_size ({training.batch_size}) is not used: training.batch_tokens "
            f"({training.batch_tokens}) fills each update instead.",
            path="training.batch_size",
        )
    if recipe.export.merge and recipe.adapter.kind == "full":
        yield Notice(
            "value_not_used",
            "export.merge is not used: adapter.kind is full, so there is nothing to merge.",
            path="export.merge",
        )

"""What the author of a valid recipe should know: risks and advice, from the recipe and its data."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.recipe.adapters import ADAPTERS, IN_FRONT
from tunesmith.recipe.catalog import show
from tunesmith.recipe.problems import Notice, notice
from tunesmith.recipe.profiles import PRESETS
from tunesmith.recipe.schema import Recipe
from tunesmith.recipe.words import Words

MANY_EPOCHS = 10
SMALL_DATA_ROWS = 1000
HIGH_RATE = 1e-4
MANY_REPEATS = 5  # of a dataset in one epoch
SAFER_RATE = 5e-5


def recipe_notices(recipe: Recipe) -> list[Notice]:
    """All that can be said without looking at the data."""
    parts = (_preset, _model, _epochs, _rate, _validation, _mixture, _not_used)
    return [each for part in parts for each in part(recipe)]


def data_notices(
    recipe: Recipe, *, rows: int, shortest_row_tokens: int | None = None
) -> list[Notice]:
    """What only the data shows: a high rate on few rows, a length below every row."""
    found: list[Notice] = []
    rate = recipe.training.learning_rate
    if rows < SMALL_DATA_ROWS and rate >= HIGH_RATE and _moves_weights(recipe):
        found.append(_high_rate(rate, {"en": f"{rows} rows", "zh": f" {rows} 条"}))
    if shortest_row_tokens is not None and recipe.data.max_length < shortest_row_tokens:
        found.append(
            notice(
                "length_below_every_row",
                "data.max_length",
                length=recipe.data.max_length,
                shortest=shortest_row_tokens,
            )
        )
    return found


def _moves_weights(recipe: Recipe) -> bool:
    """Learned vectors begin small or behind closed gates: they need rates far higher than these."""
    return recipe.adapter.kind not in (*IN_FRONT, "adapter")


def _high_rate(rate: float, rows: Words) -> Notice:
    return notice(
        "high_rate_small_data",
        "training.learning_rate",
        rate=show(rate),
        rows=rows,
        safer=show(SAFER_RATE),
    )


def _preset(recipe: Recipe) -> Iterator[Notice]:
    preset = PRESETS.get(recipe.preset or "")
    if preset:
        yield from preset.notices


def _model(recipe: Recipe) -> Iterator[Notice]:
    if recipe.model.trust_remote_code:
        yield notice("remote_code", "model.trust_remote_code", base=recipe.model.base)


def _epochs(recipe: Recipe) -> Iterator[Notice]:
    training = recipe.training
    if training.epochs > MANY_EPOCHS and training.max_steps is None:
        yield notice(
            "many_epochs", "training.epochs", epochs=show(training.epochs), most=MANY_EPOCHS
        )


def _rate(recipe: Recipe) -> Iterator[Notice]:
    rate = recipe.training.learning_rate
    if rate == 0:
        yield notice("zero_rate", "training.learning_rate")
    elif recipe.data.allow_small and rate >= HIGH_RATE and _moves_weights(recipe):
        few = {"en": "the few rows that data.allow_small expects", "zh": " data.allow_small 的少量"}
        yield _high_rate(rate, few)


def _validation(recipe: Recipe) -> Iterator[Notice]:
    if recipe.data.validation.kind != "none":
        return
    yield notice("validation_off", "data.validation.kind")
    every = recipe.training.evaluate.every_steps
    if every != "auto":
        yield unused(
            "training.evaluate.every_steps",
            every,
            {"en": "data.validation.kind is none", "zh": "data.validation.kind 为 none"},
        )


def _mixture(recipe: Recipe) -> Iterator[Notice]:
    data = recipe.data
    for number, source in enumerate(data.train):
        if source.sampling_rate > MANY_REPEATS:
            field, rate = f"data.train.{number}.sampling_rate", show(source.sampling_rate)
            yield notice("many_repeats", field, rate=rate, most=MANY_REPEATS)
    shares = any(source.share is not None for source in data.train)
    general = any(source.role == "general" for source in data.train)
    if data.general_ratio != type(data).model_fields["general_ratio"].default and (
        shares or not general
    ):
        yield unused("data.general_ratio", data.general_ratio, _SHARES if shares else _NO_GENERAL)


_SHARES: Words = {"en": "every dataset has a share", "zh": "每个数据集都填写了配比"}
_NO_GENERAL: Words = {
    "en": "no dataset has role: general",
    "zh": "没有 role: general 的数据集",
}


def _not_used(recipe: Recipe) -> Iterator[Notice]:
    training = recipe.training
    default_size = type(training).model_fields["batch_size"].default
    if training.batch_tokens is not None and training.batch_size != default_size:
        tokens = training.batch_tokens
        because = {
            "en": f"training.batch_tokens ({tokens}) fills each update instead",
            "zh": f"每次更新按 training.batch_tokens（{tokens}）填满",
        }
        yield unused("training.batch_size", training.batch_size, because)
    kind = recipe.adapter.kind
    if recipe.export.merge and kind not in ADAPTERS:
        because = {
            "en": f"adapter.kind is {kind}, so there is nothing to merge",
            "zh": f"adapter.kind 为 {kind}，没有可合并的内容",
        }
        yield unused("export.merge", None, because)


def unused(path: str, value: object, because: Words) -> Notice:
    """That a field, with its value unless that is None, has no effect, and why."""
    what = {"en": path, "zh": f"{path} "}
    if value is not None:
        shown = show(value)
        what = {"en": f"{path} ({shown})", "zh": f"{path}（{shown}）"}
    return notice("value_not_used", path, what=what, because=because)

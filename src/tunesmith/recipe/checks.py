"""Fields that contradict each other. Every check names both and says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.recipe.adapters import ADAPTERS, Lora, starts_as_base
from tunesmith.recipe.capabilities import RULES, Contradiction
from tunesmith.recipe.capabilities import clash as _clash
from tunesmith.recipe.stages import Cpo, Dpo, Grpo, Kto
from tunesmith.recipe.words import Words, listed

if TYPE_CHECKING:
    from tunesmith.recipe.schema import Recipe

_NEAR = 1e-6  # shares such as 33.3 + 33.3 + 33.4 may miss 100 by a rounding of binary fractions


def contradictions(recipe: Recipe) -> list[Contradiction]:
    """All contradictions of a recipe at once."""
    checks = (
        *(_token_budget, _smoothing, _stopping, _formats, _references, _metrics, _rollouts),
        *(_held_out_data, _held_out_fractions, _held_out_columns),
        *(_shares, _general),
        *RULES,
    )
    return [found for check in checks for found in check(recipe)]


def _token_budget(recipe: Recipe) -> Iterator[Contradiction]:
    # micro_batch_tokens may be smaller: a longer row is computed alone.
    longest, tokens = recipe.data.max_length, recipe.training.batch_tokens
    if tokens is not None and tokens < longest:
        paths = ("training.batch_tokens", "data.max_length")
        yield _clash(paths, "batch_below_row", tokens=tokens, longest=longest)


def _smoothing(recipe: Recipe) -> Iterator[Contradiction]:
    stage = recipe.stage
    if not isinstance(stage, Dpo | Cpo) or stage.loss not in ("hinge", "ipo"):
        return
    if stage.label_smoothing:
        paths = ("stage.label_smoothing", "stage.loss")
        yield _clash(paths, "smoothing_of_another_loss", loss=stage.loss)


def _stopping(recipe: Recipe) -> Iterator[Contradiction]:
    patience = recipe.training.stop.patience
    if patience is not None and recipe.data.validation.kind == "none":
        paths = ("training.stop.patience", "data.validation.kind")
        yield _clash(paths, "patience_without_validation", patience=patience)


def _references(recipe: Recipe) -> Iterator[Contradiction]:
    stage, adapter = recipe.stage, recipe.adapter
    if not isinstance(stage, Dpo | Kto | Grpo) or stage.reference != "adapter_off":
        return
    if adapter.kind not in ADAPTERS:
        paths = ("stage.reference", "adapter.kind")
        yield _clash(paths, "reference_needs_new_adapter", what=_ALL_WEIGHTS)
    elif isinstance(adapter, Lora) and adapter.continue_from is not None:
        paths = ("stage.reference", "adapter.continue_from")
        yield _clash(paths, "reference_needs_new_adapter", what=_GOES_ON)
    elif recipe.model.new_words:
        paths = ("stage.reference", "model.new_tokens", "model.new_special_tokens")
        yield _clash(paths, "reference_needs_new_adapter", what=_NEW_WORDS)
    elif not starts_as_base(adapter):
        paths = ("stage.reference", "adapter.init", "adapter.modules_to_save")
        yield _clash(paths, "reference_needs_new_adapter", what=_STARTS_AWAY)


_ALL_WEIGHTS: Words = {
    "en": "weights of the model itself are trained",
    "zh": "训练的是模型自身的参数",
}
_STARTS_AWAY: Words = {
    "en": "adapter.init or adapter.modules_to_save change the model itself",
    "zh": "adapter.init 或 adapter.modules_to_save 会改变模型自身",
}
_NEW_WORDS: Words = {
    "en": "new tokens have vectors in the model itself",
    "zh": "新增 token 的向量位于模型自身",
}
_GOES_ON: Words = {"en": "an earlier adapter is gone on with", "zh": "在已有适配器上继续训练"}
_OF_PAIRS = ("loss", "token_accuracy", "reward_accuracy", "reward_margin", "chosen_log_prob")
MEASURED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sft", "pt"), ("loss", "token_accuracy")),
    **dict.fromkeys(("dpo", "simpo", "orpo", "cpo"), _OF_PAIRS),
    "kto": ("loss", "reward_margin", "chosen_log_prob", "kl"),
    "rm": ("loss", "reward_accuracy", "reward_margin"),
    "grpo": ("loss", "reward", "kl"),
}
"""What each stage can say about an evaluation."""


def _metrics(recipe: Recipe) -> Iterator[Contradiction]:
    kind, metric = recipe.stage.kind, recipe.training.stop.metric
    if metric not in MEASURED[kind]:
        paths = ("training.stop.metric", "stage.kind")
        known = ", ".join(MEASURED[kind])
        yield _clash(paths, "metric_of_another_stage", metric=metric, kind=kind, known=known)


def _rollouts(recipe: Recipe) -> Iterator[Contradiction]:
    stage = recipe.stage
    if not isinstance(stage, Grpo):
        return
    if not stage.rewards:
        yield _clash(("stage.rewards", "stage.kind"), "no_rewards")
    if stage.max_answer_tokens >= recipe.data.max_length:
        yield _clash(
            ("stage.max_answer_tokens", "data.max_length"),
            "no_room_for_questions",
            answer=stage.max_answer_tokens,
            longest=recipe.data.max_length,
        )
    if stage.delta is not None and stage.delta <= 1 + stage.clip_high:
        paths = ("stage.delta", "stage.clip_high")
        yield _clash(paths, "delta_below_clip", delta=f"{stage.delta:g}")
    if recipe.training.stop.metric == "kl" and stage.beta == 0:
        yield _clash(("training.stop.metric", "stage.beta"), "kl_without_reference")


def _formats(recipe: Recipe) -> Iterator[Contradiction]:
    kind = recipe.stage.kind
    for index, source in enumerate(recipe.data.train):
        if source.format == "auto" or (source.format == "text") == (kind == "pt"):
            continue
        path = f"data.train.{index}.format"
        yield _clash(
            (path, "stage.kind"),
            "format_against_stage",
            field=path,
            format=source.format,
            holds=_PLAIN if source.format == "text" else _DIALOGUES,
            kind=kind,
            learns=_PLAIN if kind == "pt" else _ANSWERS,
            other="sft" if kind == "pt" else "pt",
        )


_PLAIN: Words = {"en": "plain text", "zh": "纯文本"}
_DIALOGUES: Words = {"en": "dialogues", "zh": "对话"}
_ANSWERS: Words = {"en": "answers", "zh": "回答"}
_USES: dict[str, Words] = {
    "validation": {"en": "validate", "zh": "验证"},
    "test": {"en": "test", "zh": "测试"},
}


def _held_out_data(recipe: Recipe) -> Iterator[Contradiction]:
    data = recipe.data
    places = [(f"data.train.{n}.dataset", source.dataset) for n, source in enumerate(data.train)]
    for name, section in (("validation", data.validation), ("test", data.test)):
        if section.kind != "dataset":
            continue
        path = f"data.{name}.dataset"
        for other, dataset in places:
            if dataset == section.dataset:
                yield _clash(
                    (path, other),
                    "held_out_twice",
                    field=path,
                    other=other,
                    dataset=dataset,
                    use=_USES[name],
                    part=name,
                )
        places.append((path, section.dataset))


def _held_out_fractions(recipe: Recipe) -> Iterator[Contradiction]:
    validation, test = recipe.data.validation, recipe.data.test
    if validation.kind != "split" or test.kind != "split":
        return
    if validation.fraction + test.fraction >= 1:
        yield _clash(
            ("data.validation.fraction", "data.test.fraction"),
            "nothing_to_train_on",
            validation=f"{validation.fraction:g}",
            test=f"{test.fraction:g}",
        )


def _held_out_columns(recipe: Recipe) -> Iterator[Contradiction]:
    for name, section in (("validation", recipe.data.validation), ("test", recipe.data.test)):
        if section.kind == "split" and section.group_by and section.group_by == section.stratify_by:
            path = f"data.{name}"
            paths = (f"{path}.stratify_by", f"{path}.group_by")
            yield _clash(paths, "whole_and_divided", field=path, column=section.group_by)


def _shares(recipe: Recipe) -> Iterator[Contradiction]:
    sources = recipe.data.train
    paths = tuple(f"data.train.{n}.share" for n in range(len(sources)))
    given = [source.share for source in sources if source.share is not None]
    if not given:
        return
    if len(given) < len(sources):
        lacking = [path for path, source in zip(paths, sources, strict=True) if not source.share]
        yield _clash(
            paths, "shares_missing", given=len(given), all=len(sources), lacking=listed(lacking)
        )
    elif abs(sum(given) - 100) > _NEAR:
        told = " + ".join(f"{share:g}" for share in given)
        yield _clash(paths, "shares_not_100", sum=f"{sum(given):.10g}", parts=told)
    for number, source in enumerate(sources):
        if source.share is not None and source.sampling_rate != 1:
            path = f"data.train.{number}"
            yield _clash(
                (f"{path}.share", f"{path}.sampling_rate"),
                "share_and_rate",
                field=path,
                share=f"{source.share:g}",
                rate=f"{source.sampling_rate:g}",
            )


def _general(recipe: Recipe) -> Iterator[Contradiction]:
    sources = recipe.data.train
    roles = [source.role for source in sources]
    if "general" not in roles or any(source.share is not None for source in sources):
        return
    if "user" not in roles:
        yield _clash(("data.train.0.role", "data.general_ratio"), "only_general")
    for number, source in enumerate(sources):
        if source.role == "general" and source.sampling_rate != 1:
            path = f"data.train.{number}"
            yield _clash(
                (f"{path}.sampling_rate", f"{path}.role"),
                "general_with_rate",
                field=path,
                rate=f"{source.sampling_rate:g}",
            )

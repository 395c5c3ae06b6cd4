"""What the user is told about the data: sizes, lengths, and what deserves a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.data.held_out import HeldOut
from tunesmith.data.mixing import MixingPlan
from tunesmith.data.table import TokenTable
from tunesmith.data.tally import total
from tunesmith.data.tokenise import longer_rows_need

Warnings = list[dict[str, str]]

PAIRS = (
    "Rows counted as preference_row are pairs of a better and a worse answer, from which this "
    "stage cannot learn: set stage.kind: dpo (or simpo, orpo, cpo, kto, rm), or give rows with "
    "one answer each."
)
_HINTS = {
    "preference_row": PAIRS,
    "answers_equal": "Both answers of these rows are the same, so there is nothing to prefer: "
    "look at the columns of the better and the worse answer.",
    "no_pair": "This stage compares two answers to a question: its rows need a chosen and a "
    "rejected one. stage.kind: kto learns from single answers that were found good or bad.",
    "no_question": "Stage grpo asks questions: its rows need one, and the last turn of a dialogue "
    "that is asked comes from the user.",
    "no_judgement": "Stage kto needs to know which answers are good: add a column kto_tag, label "
    "or desirable with true or false, name a column of other words as label_field, or give it "
    "pairs.",
}


def hint_of(dropped: Mapping[str, Any], usual: str) -> str:
    """What to do about rows that were left out."""
    return next((hint for reason, hint in _HINTS.items() if reason in dropped), usual)


def warning(code: str, message: str, hint: str) -> dict[str, str]:
    return {"code": code, "message": message, "hint": hint}


def data_report(
    table: TokenTable,
    rows: npt.NDArray[np.int64],
    mixture: MixingPlan,
    validation: HeldOut,
    test: HeldOut,
) -> dict[str, Any]:
    """Counts of rows and tokens, for data/report.json."""
    tallies = table.about["tallies"]
    return {
        **total(tallies),
        "sources": tallies,
        "train": _sizes(table, rows),
        "mixing": mixture.to_json(),
        "validation": _held_out_sizes(validation),
        "test": _held_out_sizes(test),
        "lengths": _lengths(table),
    }


def _held_out_sizes(held: HeldOut) -> dict[str, Any]:
    sizes = {"rows": 0, "tokens": 0, "label_tokens": 0}
    if held.of is not None:
        sizes = _sizes(held.of.table, held.rows)
    return {**held.report, **sizes}


def _sizes(table: TokenTable, rows: npt.NDArray[np.int64]) -> dict[str, int]:
    return {
        "rows": len(rows),
        "tokens": int(table.lengths[rows].sum()),
        "label_tokens": int(table.label_counts[rows].sum()),
    }


def _lengths(table: TokenTable) -> dict[str, float]:
    """Tokens per row before truncation, and the max_length that keeps 99 of 100 rows whole."""
    full = table.full_lengths
    p50, p95, p99 = (round(value, 1) for value in np.percentile(full, [50, 95, 99]).tolist())
    whole = int(np.percentile(full, 99, method="higher"))  # a length that a row has
    return {
        "mean": round(float(full.mean()), 1),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "max": int(full.max()),
        "suggested_max_length": -(-whole // 64) * 64,
    }


def report_warnings(report: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What in a report the user should look at."""
    rows_read, template = report["rows_read"], report["template"]
    if template.startswith("default "):
        yield warning(
            "no_chat_template",
            f"The model has no chat template; the built-in {template[8:]} is used.",
            "Name one in data.chat_template to choose yourself.",
        )
    if report["truncated"]:
        yield warning(
            "rows_truncated",
            f"{report['truncated']} of {rows_read} rows were longer than {report['max_length']} "
            "tokens and lost their end.",
            _longer_rows(report),
        )
    yield from _plain_texts(report)
    turns_apart = sum(source["turns_apart"]["count"] for source in report["sources"])
    if turns_apart:
        yield warning(
            "turns_apart",
            f"The chat template renders earlier answers differently: {turns_apart} conversations "
            f"became {report['training_rows']} rows in all, so that every answer is learned as it "
            "is asked for.",
            "stage.loss_on: last_turn keeps one row a conversation and costs fewer tokens.",
        )
    ignored = sum(source["tools_ignored"]["count"] for source in report["sources"])
    if ignored:
        yield warning(
            "tools_ignored",
            f"The chat template does not write tools: those of {ignored} rows are left out.",
            "Choose a model whose template knows tools, or set data.chat_template.",
        )
    if report["untrained_turns"]:
        yield warning(
            "untrained_turns",
            f"{report['untrained_turns']} answers are context only: they stand before any "
            "question, or the template does not take a prompt that ends there.",
            "Preview such a row to see which.",
        )
    if report["dropped"]:
        told = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items())
        yield warning(
            "rows_dropped",
            f"{sum(report['dropped'].values())} of {rows_read} rows were left out: {told}.",
            hint_of(report["dropped"], "The data report lists their lines."),
        )
    yield from _mixing_warnings(report["mixing"])
    for name in ("validation", "test"):
        yield from _held_out_warnings(name, report[name])


def _longer_rows(report: dict[str, Any]) -> str:
    """The length that keeps rows whole, where the model takes rows of that length."""
    limit, context = report["max_length"], report["context"]
    suggested = report["lengths"]["suggested_max_length"]
    if context is not None and suggested > context:
        return f"{longer_rows_need(limit, context)}."
    if suggested <= limit:
        return f"That is fewer than 1 row in 100. {longer_rows_need(limit, context)}."
    return f"data.max_length: {suggested} keeps 99 of 100 rows whole."


def _plain_texts(report: dict[str, Any]) -> Iterator[dict[str, str]]:
    names = [source["source"] for source in report["sources"] if source["format"] == "text"]
    if names and report["stage"] == "sft":
        yield warning(
            "plain_text_rows",
            f"The rows of {', '.join(names)} are plain text, not questions with answers: all of "
            "each is learned, without the chat template.",
            "stage: pt is meant for documents and splits long ones. Where the rows are questions "
            "and answers, name their columns: prompt_field and response_field.",
        )


def _mixing_warnings(mixing: dict[str, Any]) -> Iterator[dict[str, str]]:
    missing = mixing["general_missing"]
    if missing:
        general = sum(d["rows_drawn"] for d in mixing["datasets"] if d["role"] == "general")
        yield warning(
            "general_corpus_small",
            f"The general corpus is too small: {general + missing:,} rows were asked for, and "
            f"repeating it 10 times gives {general:,}.",
            "Add general rows, or lower data.general_ratio.",
        )


def _held_out_warnings(name: str, held: dict[str, Any]) -> Iterator[dict[str, str]]:
    if held["kind"] == "none":
        return
    if not held["rows"]:
        yield warning(
            f"no_{name}_rows",
            f"No {name} rows are left: {_why_none(held)}.",
            f"Name another {name} dataset, or remove duplicates.",
        )
    for key, effect in _COLUMN_EFFECTS.items():
        column = held.get(key, {})
        if column.get("rows_without_value"):
            yield warning(
                "column_without_value",
                f"{column['rows_without_value']} rows have no value in the column "
                f"'{column['column']}' of data.{name}.{key}: {effect}.",
                "Fill the column where it matters.",
            )
    if "group_by" in held and (held["drawn"] < held["wanted"] or held["set_aside"]):
        divided = (
            f" {held['set_aside']} rows of a group that was divided are not used at all."
            if held["set_aside"]
            else ""
        )
        yield warning(
            "groups_too_large",
            f"{held['drawn']} {name} rows instead of {held['wanted']}: the rows of one "
            f"'{held['group_by']['column']}' stay together, and its groups are too large to come "
            f"closer.{divided}",
            f"Raise data.{name}.fraction, or group by a finer column.",
        )


def _why_none(held: dict[str, Any]) -> str:
    removed = held["duplicates_removed"]
    if held["kind"] == "split":
        if removed:
            return f"all {removed} that were drawn equal a training row"
        return "none could be drawn"
    tallies = held["sources"]
    dropped = total(tallies)["dropped"]
    told = [f"{removed} equal a training row"] if removed else []
    told += [f"{count} {reason}" for reason, count in dropped.items()]
    return f"of {total(tallies)['rows_read']} rows, {', '.join(told)}" if told else "there are none"


_COLUMN_EFFECTS = {
    "stratify_by": "they count as one value of their own",
    "group_by": "each of them counts as a group of its own",
}

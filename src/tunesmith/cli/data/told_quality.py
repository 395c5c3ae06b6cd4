"""What score, diversity and augment print for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.cli.data.told import coloured
from tunesmith.cli.terminal import columns, command_line, fold, short_text, table
from tunesmith.data.quality.report import WARNING_ZH

_WIDTH = 96
_BAR = 40


def score_lines(facts: dict[str, Any], *, chinese: bool) -> Iterator[str]:
    """Distribution, reasons, the worst and best rows, what to do next, and the warning."""
    column = facts["column"]
    unscored = facts["rows"] - facts["scored"]
    beside = f"; {unscored:,} without a score" if unscored else ""
    yield f"{facts['subject']}: {column} of {facts['scored']:,} rows, by {facts['by']}{beside}"
    yield from _method_lines(facts["facts"])
    yield ""
    yield from _distribution_lines(facts["distribution"])
    if facts.get("reasons"):
        yield ""
        yield f"  reasons ({facts['without_reason']:,} rows have none)"
        rows = [
            (r["name"], f"{r['rows']:>9,} rows   takes {r['penalty']:.0%}")
            for r in facts["reasons"]
        ]
        yield table(rows, indent=4)
    for title in ("worst", "best"):
        if facts[title]:
            yield ""
            yield coloured(f"  {title} rows", "1")
            yield from _row_lines(facts[title], column)
    for note in facts["notes"]:
        yield ""
        yield from (f"  {line}" for line in fold(note, 90, 4))
    yield ""
    yield from _next_lines(facts)
    yield ""
    yield from (f"  {line}" for line in fold(WARNING_ZH if chinese else facts["warning"], 90, 4))


def _method_lines(facts: dict[str, Any]) -> Iterator[str]:
    if "model" in facts:
        cut = f"; {facts['truncated']:,} rows were cut" if facts["truncated"] else ""
        yield f"  exp(mean loss by answer token) of {facts['model']}{cut}"
        for reason, count in facts["dropped"].items():
            yield f"  without a score: {reason} {count:,}"
    if "accuracy" in facts:
        held, training = facts["held_out_rows"], facts["training_rows"]
        yield (
            f"  trained on {training['good']:,} good and {training['bad']:,} bad rows; on "
            f"{held['good']:,} good and {held['bad']:,} bad rows held out it is right in "
            f"{facts['accuracy']:.1%}"
        )
        yield "  (mean of both kinds; guessing gives 50%). Other data than that is harder."
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in facts["recognised"].items())
        yield from (f"  {line}" for line in fold(f"recognised: {kinds}", _WIDTH, 4))


def _distribution_lines(facts: dict[str, Any]) -> Iterator[str]:
    if not facts:
        yield "  No row has a score."
        return
    names = ("mean", "min", "p1", "p5", "median", "p95", "p99", "max")
    yield "  " + "".join(f"{name:>11}" for name in names)
    yield "  " + "".join(f"{_number(facts[name]):>11}" for name in names)
    yield ""
    most = max(facts["counts"])
    for low, high, count in zip(facts["edges"], facts["edges"][1:], facts["counts"], strict=False):
        bar = "█" * round(_BAR * count / most) or ("▏" if count else "")
        yield f"  {_number(low):>9} - {_number(high):<9} {bar} {count:,}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row_lines(rows: Sequence[dict[str, Any]], column: str) -> Iterator[str]:
    for row in rows:
        question = short_text(row["question"], 36)
        room = " " * (36 - columns(question)) + "  "
        text = question + room + short_text(row["answer"], 40)
        if not question:  # a document
            text = short_text(row["answer"], 78)
        yield f"  {row['id']:>8}  {_number(row[column]):>8}  {text}"
        if row.get("reasons"):
            yield f"{'':>20}  {', '.join(row['reasons'])}"


def _next_lines(facts: dict[str, Any]) -> Iterator[str]:
    if facts["new_version"] is None:
        yield f"  Every row of {facts['version']} has these values already: no new version."
    else:
        yield f"  {facts['version']} published: the same rows with the column {facts['column']}"
    if not facts["commands"]:
        yield "  All rows are alike: there is nothing to sort out."
        return
    for title, words in facts["commands"].items():
        yield f"    {title:<7} {command_line(*words)}"


# ---------------------------------------------------------------- diversity


def diversity_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The overall figure, repetitions, languages, the biggest groups, and advice."""
    overall, same = facts["diversity"], facts["near_same"]
    languages = ", ".join(f"{name} {share:.1%}" for name, share in facts["languages"].items())
    yield f"{facts['subject']}: {facts['rows']:,} rows"
    yield ""
    rows = [
        ("diversity", f"{overall['value']:.2f}  {overall['meaning']}"),
        ("near-same", f"{same['share']:.1%}  {same['rows']:,} questions nearly repeat another"),
        ("languages", languages),
    ]
    for name, text in rows:
        lines = fold(text, _WIDTH - 14, 4)
        yield f"  {name:<10}  {lines[0]}"
        yield from (f"  {'':<10}  {line}" for line in lines[1:])
    yield ""
    shown = facts["clusters"]
    yield (
        f"  {facts['num_clusters']} groups of similar questions, the {len(shown)} biggest of them:"
    )
    for group in shown:
        yield ""
        words = ", ".join(group["words"])
        yield f"  {group['cluster']:>4}  {group['rows']:>8,} rows {group['share']:>6.1%}  {words}"
        for example in group["examples"]:
            yield f"        {example['id']:>8}  {short_text(example['question'], 76)}"
    yield ""
    for line in facts["advice"]:
        yield from (f"  {part}" for part in fold(line, _WIDTH, 4))


# ---------------------------------------------------------------- augmentation


def augment_lines(facts: dict[str, Any]) -> Iterator[str]:
    """Counts by set, and what to know about the new rows."""
    yield (
        f"{facts['subject']}: {facts['matched']:,} of {facts['rows']:,} rows ask in a known "
        f"wording; {facts['added']:,} rows added"
    )
    rows = [
        (name, f"{count['matched']:>8,} matched {count['added']:>8,} added")
        for name, count in facts["sets"].items()
        if count["matched"]
    ]
    if rows:
        yield table(rows)
    if facts["present"]:
        yield f"  {facts['present']:,} would repeat a row that is there already: left out"
    if facts["version"] is None:
        yield "  There is no new version."
        yield f"  The wordings are those of {facts['templates']}: {', '.join(facts['sets'])}."
        return
    yield ""
    yield f"  {facts['version']} published; new rows have ids from {facts['first_id']} on, and the"
    yield "  columns augmented_from (the row they come from) and template (the set)."
    yield "  Split test and validation rows off before: a row and its wordings belong together."
    for title, words in facts["commands"].items():
        yield f"    {title:<7} {command_line(*words)}"

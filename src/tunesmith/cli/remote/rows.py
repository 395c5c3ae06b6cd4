"""What is printed of rows of a dataset: the rows, one as tokens, a report, statistics."""

from __future__ import annotations

from typing import Any, Final

from tunesmith.cli.remote.tables import say_table, width
from tunesmith.cli.terminal import fold, printable, say, short_text
from tunesmith.cli.work import size
from tunesmith.schemas.datasets import PreviewRead, PreviewTokenRead, RowsPage

_PLACES: Final = 3
_LINES: Final = 6
_LENGTHS: Final = (("row", "tokens"), ("context", "prompt_tokens"), ("learned", "answer_tokens"))


def say_rows(page: RowsPage) -> None:
    """One line for each: question and answer, shortened."""
    if not page.data:
        return say("No such rows." if page.total else "The version has no rows.")
    rows = [(str(row.get("id", "")), *_told(row)) for row in page.data]
    half = (width() - max(len(row[0]) for row in rows) - 4) // 2
    cut = [(number, short_text(asked, half), answered) for number, asked, answered in rows]
    say_table((">row", "question", "answer"), cut, wide=2)
    if page.next_after is not None and page.has_more:
        say(f"\n{page.total:,} rows; go on with --after {page.next_after}")
    return None


def say_preview(shown: PreviewRead) -> None:
    """A row as messages, then as tokens: [what is learned] in brackets."""
    say(printable(f"line {shown.line} of {shown.file} ({shown.why})"))
    for speaker, text in _spoken(shown.record or {}):
        say(f"\n{printable(speaker)}:")
        for line in printable(text).splitlines():
            say(f"  {line}")
    if shown.refused:
        say(f"\nNothing is learned here: {printable(shown.refused)}.")
    for row in shown.rows:
        learned = sum(token.supervised for token in row.tokens)
        say(f"\n{len(row.tokens)} tokens, {learned} learned (in brackets):")
        say(printable(_marked(row.tokens)))
        if row.cut_at is not None:
            say(f"Cut at {row.cut_at} tokens: {len(row.tokens) - row.cut_at} are lost.")


def say_report(report: dict[str, Any]) -> None:
    """Findings with their first places, worst first, and their sum."""
    say(
        f"{printable(report['subject'])}: {report['rows_read']:,} rows read, "
        f"{report['rows_usable']:,} usable, {size(report['bytes'])}"
    )
    for finding in report["findings"]:
        if not finding["count"]:
            continue
        say(f"\n{finding['severity']:<8} {finding['code']}  {finding['count']:,}")
        for line in fold(finding["title"], width() - 9, _LINES):
            say(f"         {line}")
        for place in finding["places"][:_PLACES]:
            say(f"         {_place(place)}")
        for line in fold(f"mend: {finding['mend']}", width() - 9, _LINES):
            say(f"         {line}")
    counts = report["counts"]
    told = ", ".join(f"{count:,} {name}s" for name, count in counts.items() if count)
    say(f"\n{told or 'Nothing found'}.")


def say_statistics(facts: dict[str, Any]) -> None:
    """Lengths in tokens, how much each max_length would keep, and the recommended one."""
    say(f"{printable(str(facts.get('subject', '')))}: {facts['rows_read']:,} rows\n")
    marks = ("mean", "median", "p95", "max", "total")
    rows = [
        (name, *(f"{facts[key][mark]:,}" for mark in marks))
        for name, key in _LENGTHS
        if key in facts
    ]
    say_table(("tokens", *(f">{mark}" for mark in marks)), rows, wide=0)
    recommended = facts["recommended"]["max_length"]
    cuts = [
        (f"{cut['max_length']:,}", f"{cut['rows_whole']:,}", f"{cut['share_whole']:.1%}",
         f"{cut['tokens_lost']:,}",
         "recommended" if cut["max_length"] == recommended else "")
        for cut in facts["max_lengths"]
    ]  # fmt: skip
    say()
    say_table((">max_length", ">rows whole", ">share", ">tokens lost", ""), cuts, wide=4)
    say()
    for line in fold(f"Recommended: {recommended}: {facts['recommended']['why']}.", width(), 4):
        say(line)


def _told(row: dict[str, Any]) -> tuple[str, str]:
    """Question and answer of a row, however its record says them."""
    spoken = list(_spoken(row.get("record") or row))
    asked = next((text for speaker, text in spoken if "user" in speaker), "")
    answered = [text for speaker, text in spoken if "assistant" in speaker or speaker == "text"]
    return asked, answered[-1] if answered else ""


def _spoken(record: dict[str, Any]) -> list[tuple[str, str]]:
    if "text" in record and record["text"] is not None:
        return [("text", str(record["text"]))]
    found: list[tuple[str, str]] = []
    for key in ("messages", "chosen", "rejected"):
        for message in record.get(key) or []:
            name = str(message.get("role", ""))
            text = str(message.get("content") or "")
            calls = [str(call.get("name", "")) for call in message.get("tool_calls") or []]
            text = "\n".join([text, *(f"calls {call}" for call in calls)]).strip()
            found.append((name if key == "messages" else f"{key} {name}", text))
    return found


def _marked(tokens: list[PreviewTokenRead]) -> str:
    """The texts of tokens in a row, with brackets round what is learned."""
    parts: list[str] = []
    inside = False
    for token in tokens:
        if token.supervised != inside:
            parts.append("[" if token.supervised else "]")
            inside = token.supervised
        parts.append(token.text)
    return "".join([*parts, "]" if inside else ""])


def _place(place: dict[str, Any]) -> str:
    where = [f"row {place['row']}"] if "row" in place else []
    where += [f"{place['file']} line {place['line']}"] if place.get("file") else []
    where += [str(place["field"])] if place.get("field") else []
    excerpt = f": {place['excerpt']}" if place.get("excerpt") else ""
    return short_text(", ".join(where) + excerpt, width() - 9)

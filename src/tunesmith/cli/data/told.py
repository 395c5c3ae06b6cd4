"""What the data commands print for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.cli.terminal import columns, fold, printable, short_text, table, wants_colour
from tunesmith.cli.work import size
from tunesmith.data.check.rules import RULES, rule_of

if TYPE_CHECKING:
    from tunesmith.data.check.check import Report
    from tunesmith.data.check.findings import Finding, Place
    from tunesmith.data.preview import PreviewRow, RowPreview
    from tunesmith.data.store import DatasetAbout, Version

_COLOURS = {"error": "1;31", "warning": "33", "info": "36"}
_WIDTH = 96
_BARS = " ▏▎▍▌▋▊▉█"


def coloured(text: str, code: str) -> str:
    """The text in colour where standard output is a terminal that wants colour."""
    return f"\033[{code}m{text}\033[0m" if wants_colour(sys.stdout) else text


# ---------------------------------------------------------------- check


def report_lines(report: Report, *, chinese: bool, places: int) -> Iterator[str]:
    """A report: what was read, each finding with its first places and its mend, the sum."""
    languages = ", ".join(f"{name} {count:,}" for name, count in report.languages.items())
    yield (
        f"{printable(report.subject)}: {report.rows_read:,} rows read, "
        f"{report.rows_usable:,} usable, {size(report.bytes)}"
        + (f"; {languages}" if languages else "")
    )
    for source in report.sources:
        yield printable(f"  {source['source']}: {source['why']}")
    for finding in report.findings:
        if finding.count:
            yield ""
            yield from _finding_lines(finding, chinese=chinese, places=places)
    yield ""
    yield _sum_line(report)


def _finding_lines(finding: Finding, *, chinese: bool, places: int) -> Iterator[str]:
    rule = rule_of(finding.code)
    title = rule.zh if chinese else rule.en
    severity = coloured(f"{rule.severity:<8}", _COLOURS[rule.severity])
    yield f"{severity} {finding.code}  {finding.count:,}  {title}"
    if classes := finding.detail.get("classes"):
        told = ", ".join(f"{short_text(name, 20)} {count:,}" for name, count in classes.items())
        yield from (f"         {line}" for line in fold(printable(told), _WIDTH, 3))
    shown = finding.places[:places]
    for place in shown:
        yield from _place_lines(place)
    if finding.count > len(shown) and shown:
        yield f"         ... and {finding.count - len(shown):,} more"
    yield f"         {'建议' if chinese else 'mend'}: {rule.mend_zh if chinese else rule.mend_en}"


def _place_lines(place: Place) -> Iterator[str]:
    parts = [
        f"row {place.row}" if place.row is not None else "",
        f"{place.file} {_unit(place.file)} {place.line}" if place.line else place.file,
        place.field,
    ]
    where = ", ".join(filter(None, parts))
    excerpt = f": {short_text(place.excerpt, 80)}" if place.excerpt else ""
    yield printable(f"         {where}{excerpt}")


def _unit(file: str) -> str:
    """What is counted in a file: rows where an editor shows no lines, or other ones."""
    return "row" if file.endswith((".json", ".parquet", ".xlsx", ".xls", ".json.gz")) else "line"


def _sum_line(report: Report) -> str:
    counts = report.findings.counts()
    if not any(counts.values()):
        return "Nothing found."
    told = [f"{counts['error']:,} errors", f"{counts['warning']:,} warnings"]
    return ", ".join([*told, f"{counts['info']:,} notes"])


# ---------------------------------------------------------------- statistics


def statistics_lines(subject: str, facts: dict[str, Any]) -> Iterator[str]:
    """Statistics as tables and a histogram."""
    yield f"{printable(subject)}: {facts['rows_read']:,} rows, {facts['rows_kept']:,} kept"
    for reason, count in facts["dropped"].items():
        yield f"  left out: {reason} {count:,}"
    yield ""
    names = ("mean", "median", "p5", "p95", "p99", "max", "total")
    yield f"  {'tokens':<10}" + "".join(f"{name:>12}" for name in names)
    for label, key in (
        ("row", "tokens"),
        ("context", "prompt_tokens"),
        ("learned", "answer_tokens"),
        ("turns", "turns"),
    ):
        yield f"  {label:<10}" + "".join(f"{facts[key][name]:>12,}" for name in names)
    yield ""
    yield from histogram_lines("tokens a row", facts["histogram"])
    yield ""
    yield "  max_length   rows whole   share    tokens lost   of answers   rows without answer"
    if facts["documents"]:
        yield "  (plain text is split into windows: none of it is cut)"
    recommended = facts["recommended"]["max_length"]
    for cut in facts["max_lengths"]:
        mark = " <- recommended" if cut["max_length"] == recommended else ""
        yield (
            f"  {cut['max_length']:>10,} {cut['rows_whole']:>12,} {cut['share_whole']:>7.1%} "
            f"{cut['tokens_lost']:>14,} {cut['label_tokens_lost']:>12,} "
            f"{cut['rows_without_labels']:>21,}{mark}"
        )
    why = f"Recommended: max_length {recommended}: {facts['recommended']['why']}."
    yield from (f"  {line}" for line in fold(printable(why), _WIDTH, 4))
    yield ""
    epoch, price, packing = facts["epoch"], facts["token_num"], facts["packing"]
    rows = [
        ("an epoch", f"{epoch['tokens']:,} tokens, {epoch['label_tokens']:,} of them learned"),
        (
            "token_num",
            f"{price['steps']:,} steps x {price['batch_size']} rows x {price['sequence']:,} = "
            f"{price['token_num']:,} (an upper bound: rows are shorter than max_length)",
        ),
        ("packing", f"saves {packing['saved']:.1%} of the slots of padded batches"),
    ]
    yield table(rows)
    yield ""
    yield from (f"  {line}" for line in fold(facts["advice"], _WIDTH, 4))


def histogram_lines(title: str, histogram: dict[str, Any], width: int = 50) -> Iterator[str]:
    """Bars of text, one line a bin."""
    counts = [*histogram["counts"], *([histogram["beyond"]] if histogram["beyond"] else [])]
    most = max(counts, default=0)
    yield f"  {title}"
    for number, count in enumerate(counts):
        start = number * histogram["width"]
        beyond = number == len(histogram["counts"])
        label = f">= {start:,}" if beyond else f"{start:,}-{start + histogram['width'] - 1:,}"
        yield f"  {label:>15} {_bar(count / most if most else 0, width)} {count:,}"


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BARS[rest] if rest else "")) or ("▏" if share else "")


# ---------------------------------------------------------------- preview


def preview_lines(shown: RowPreview, *, tokens: bool) -> Iterator[str]:
    """A row as messages, then as the tokens that the model gets."""
    yield printable(f"{shown.file} {_unit(shown.file)} {shown.line} ({shown.why})")
    for name, text in _messages(shown.record or {}):
        yield ""
        yield coloured(printable(name), "1")
        yield printable(text)
    if shown.refused:
        yield ""
        said = rule_of(shown.refused).en if shown.refused in RULES else shown.refused
        yield f"Nothing is learned here. {printable(said)}."
    if not tokens or not shown.rows:
        return
    for number, row in enumerate(shown.rows, start=1):
        learned = sum(token.supervised for token in row.tokens)
        part = f", part {number} of {len(shown.rows)}" if len(shown.rows) > 1 else ""
        part = f", the {row.answer} answer" if row.answer else part
        yield ""
        yield coloured(f"{len(row.tokens)} tokens, {learned} of them learned{part}", "1")
        yield _token_text(row)
        if row.window is not None:
            windows = -(-len(row.tokens) // row.window)
            yield f"Split into {windows} windows of {row.window} tokens at most: nothing is lost."
        if row.cut_at is not None:
            lost = row.tokens[row.cut_at :]
            yield (
                f"Cut at {row.cut_at} tokens: {len(lost)} are lost, "
                f"{sum(token.supervised for token in lost)} of them learned."
            )
    yield ""
    yield _legend()


def _messages(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "text" in record:
        yield "text", record["text"]
    for key in ("messages", "chosen", "rejected"):
        for message in record.get(key, []):
            name = message["role"] if key == "messages" else f"{key} {message['role']}"
            weight = f" (weight {message['weight']})" if "weight" in message else ""
            calls = [f"calls {c['name']}({c['arguments']})" for c in message.get("tool_calls", [])]
            reasoning = [f"(thinks) {message['reasoning']}"] if "reasoning" in message else []
            lines = [*reasoning, *([message["content"]] if message["content"] else []), *calls]
            yield name + weight, "\n".join(lines)


def _token_text(row: PreviewRow) -> str:
    """Learned tokens green or in 【】, special ones with their names, the cut marked."""
    pieces: list[str] = []
    in_colour = wants_colour(sys.stdout)
    learned = False
    for number, token in enumerate(row.tokens):
        if number == row.cut_at:
            pieces.append(coloured("✂ cut here ✂", "1;31"))
        if row.window and number and number % row.window == 0:
            pieces.append(coloured("✂ next window ✂", "1;36"))
        if not in_colour and token.supervised != learned:
            pieces.append("【" if token.supervised else "】")
        learned = token.supervised
        pieces.append(_token(token.text, token.supervised, token.special, in_colour))
    return "".join(pieces) + ("】" if learned and not in_colour else "")


def _token(text: str, learned: bool, special: bool, in_colour: bool) -> str:
    shown = text.replace("\n", "↵\n") if "\n" in text else text
    shown = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in shown)
    if not in_colour:
        return shown
    code = ("1;" if special else "") + ("30;42" if learned else "35" if special else "2")
    return f"\033[{code}m{shown}\033[0m"


def _legend() -> str:
    if not wants_colour(sys.stdout):
        return "【learned】 the rest is context; ↵ is a line break"
    learned, context = "\033[30;42mlearned\033[0m", "\033[2mcontext\033[0m"
    return f"{learned}  {context}  \033[1;35mspecial\033[0m  ↵ line break"


# ---------------------------------------------------------------- versions


def dataset_table(entries: Sequence[tuple[DatasetAbout, Version]]) -> Iterator[str]:
    """Datasets with their newest versions."""
    wide = max((columns(about.name) for about, _ in entries), default=4)
    yield f"  {'name':<{wide}}  version       rows       size  created     description"
    for about, version in entries:
        manifest = version.manifest
        name = about.name + " " * (wide - columns(about.name))
        yield (
            f"  {name}  {manifest.version:>7} {manifest.rows:>10,} {size(manifest.bytes):>10}  "
            f"{manifest.created[:10]}  {short_text(about.description, 40)}"
        )


def version_lines(about: DatasetAbout, versions: Sequence[Version]) -> Iterator[str]:
    """A dataset: its description, then its versions, newest first."""
    rows = [
        ("description", about.description),
        ("tags", ", ".join(about.tags)),
        ("licence", about.licence),
        ("language", about.language),
        ("role", about.role),
    ]
    yield coloured(about.name, "1")
    yield table([(name, value) for name, value in rows if value])
    for version in reversed(versions):
        manifest = version.manifest
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in manifest.kinds.items())
        rejected = f"; {manifest.rejected:,} rejected" if manifest.rejected else ""
        yield f"  @{manifest.version}  {manifest.created[:19]}  {kinds}{rejected}"
        yield f"      {'; '.join(map(operation_text, manifest.operations))}"


def operation_text(operation: dict[str, Any]) -> str:
    """Such as `replace find='a' new='b'`."""
    facts = {key: value for key, value in operation.items() if key != "operation"}
    told = " ".join(f"{key}={value!r}" for key, value in facts.items())
    return short_text(f"{operation['operation']} {told}".strip(), _WIDTH)


def diff_lines(facts: dict[str, Any]) -> Iterator[str]:
    """What was added, removed and changed, the first rows of each."""
    counts = facts["counts"]
    yield (
        f"{facts['before']} -> {facts['after']}: {counts['added']:,} added, "
        f"{counts['removed']:,} removed, {counts['changed']:,} changed, {counts['same']:,} the same"
    )
    for row in facts["removed"]:
        yield coloured(f"- {row['id']}  {_one_line(row['before'])}", "31")
    for row in facts["added"]:
        yield coloured(f"+ {row['id']}  {_one_line(row['after'])}", "32")
    for row in facts["changed"]:
        before, after = _differing(_one_line(row["before"], 0), _one_line(row["after"], 0))
        yield coloured(f"- {row['id']}  {before}", "31")
        yield coloured(f"+ {row['id']}  {after}", "32")
    shown = sum(len(facts[kind]) for kind in ("added", "removed", "changed"))
    total = counts["added"] + counts["removed"] + counts["changed"]
    if total > shown:
        yield f"... and {total - shown:,} more"


def _one_line(record: dict[str, Any], width: int = 90) -> str:
    text = " | ".join(f"{name}: {text}" for name, text in _messages(record))
    text = " ".join(text.split())
    return short_text(text, width) if width else text


def _differing(before: str, after: str) -> tuple[str, str]:
    """Both texts from shortly before the place where they part."""
    same = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, same - 30)
    lead = "..." if start else ""
    return tuple(short_text(lead + text[start:], 90) for text in (before, after))  # type: ignore[return-value]

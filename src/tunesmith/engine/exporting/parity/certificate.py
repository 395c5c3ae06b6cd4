"""The certificate: parity.json for programs, PARITY.md for people, in two languages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith import __version__
from tunesmith.engine.export import write_json
from tunesmith.engine.exporting.parity.figures import Figures
from tunesmith.engine.exporting.parity.limits import Limits

JSON_NAME, TEXT_NAME = "parity.json", "PARITY.md"
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Answered:
    """One prompt and what both made of it. `common_tokens` are equal from the beginning."""

    prompt: str
    origin: str
    reference: str
    artefact: str
    equal: bool
    common_tokens: int
    same_prompt_tokens: bool
    mean_logprob_difference: float


@dataclass(frozen=True)
class LlamaCli:
    """What llama.cpp's own program answered, where it was found."""

    program: str
    version: str
    asked: int
    equal: int


@dataclass(frozen=True)
class Certificate:
    """All figures of one export, and the verdict."""

    source: str
    format: str
    precision: str
    engine: str
    reader: str
    figures: Figures
    limits: Limits
    problems: tuple[str, ...]
    allowed: bool  # drift was allowed by the user
    notes: tuple[str, ...]
    rows: tuple[Answered, ...]
    llama_cli: LlamaCli | None

    @property
    def passed(self) -> bool:
        """Nothing is beyond its limit."""
        return not self.problems

    @property
    def status(self) -> str:
        """passed, drift, or drift_allowed."""
        if self.passed:
            return "passed"
        return "drift_allowed" if self.allowed else "drift"

    def to_json(self) -> dict[str, Any]:
        """The certificate as one JSON object; what is no number is null."""
        content = {
            "status": self.status,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "tunesmith": __version__,
            **{name: value for name, value in asdict(self).items() if name != "allowed"},
        }
        return _finite(content)

    def write(self, folder: Path) -> None:
        """Both files."""
        write_json(folder / JSON_NAME, self.to_json())
        (folder / TEXT_NAME).write_text(self.to_markdown(), encoding="utf-8")

    def to_markdown(self) -> str:
        """For people: the verdict, the figures beside their limits, the answers side by side."""
        parts = [
            "# Does this export answer as the trained model does?",
            self._verdict(),
            f"`{self.source}` as **{self.format}** ({self.precision}). Both models got the same "
            f"{len(self.rows)} prompts: {self.engine} on one side, {self.reader} on the other.",
            _table(("Figure", "Value", "Limit"), self._figures()),
            "A position is *decided* when the trained model's best token leads by more than "
            f"{self.limits.tie:g} in log-probability; a smaller lead is a tie that rounding may "
            "turn. Differences are those of the tokens that the trained model chose.",
            *(f"- {note}" for note in self.notes),
            self._llama_cli_text(),
            "## Answers",
            *(_answer_text(row) for row in self.rows),
            "## 中文说明",
            self._verdict_zh(),
            "上表把训练引擎（未合并的适配器、训练时的模板与分词）与重新加载的导出文件逐项比较："
            "贪心解码文本、首选词元一致率、对数概率差、KL 散度，以及对话渲染后的词元是否完全相同。",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _verdict(self) -> str:
        if self.passed:
            return "**PASSED.** The export answers as the trained model does, within the limits."
        told = "\n".join(f"- {problem}" for problem in self.problems)
        allowed = " It was kept because drift was allowed (`--allow-drift`)." * self.allowed
        return (
            f"**DRIFT: this export does NOT answer as the trained model does.**{allowed}\n\n{told}"
        )

    def _verdict_zh(self) -> str:
        if self.passed:
            return "**通过。** 导出的模型与训练得到的模型在限度内一致。"
        return "**存在漂移：导出的模型与训练得到的模型回答不一致，请勿直接使用。** 详见上方列表。"

    def _figures(self) -> list[tuple[str, str, str]]:
        figures, limits = self.figures, self.limits
        share = f"{figures.top1_agreement_of_decided:.2%} of {figures.decided_positions:,}"
        return [
            ("Positions compared", f"{figures.positions:,}", ""),
            ("Same likeliest token", f"{figures.top1_agreement:.2%}", ""),
            (
                "Same likeliest token where decided",
                share,
                f"at least {limits.top1_agreement_of_decided:.2%}",
            ),
            (
                "Mean difference of log-probabilities",
                _figure(figures.mean_logprob_difference),
                f"{limits.mean_logprob_difference:g}",
            ),
            (
                "Largest difference of log-probabilities",
                _figure(figures.max_logprob_difference),
                f"{limits.max_logprob_difference:g}",
            ),
            ("Mean KL divergence", _figure(figures.mean_kl), f"{limits.mean_kl:g}"),
            ("Largest KL divergence", _figure(figures.max_kl), ""),
            ("Equal greedy answers", f"{figures.greedy_equal} of {figures.greedy_total}", ""),
            (
                "Chats that become the same tokens",
                f"{figures.template_equal} of {figures.template_total}",
                "all",
            ),
        ]

    def _llama_cli_text(self) -> str:
        found = self.llama_cli
        if found is None:
            return ""
        return (
            f"`{found.program}` ({found.version}) gave the trained model's greedy answer to "
            f"{found.equal} of {found.asked} prompts."
        )


def _answer_text(row: Answered) -> str:
    if row.equal:
        return f"**{_short(row.prompt)}**\n\n> {_short(row.reference)}\n\nEqual."
    return (
        f"**{_short(row.prompt)}**\n\n> trained: {_short(row.reference)}\n\n"
        f"> exported: {_short(row.artefact)}\n\nThe first {row.common_tokens} tokens are equal."
    )


def _short(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    cut = plain[:SHOWN_CHARACTERS] + ("..." if len(plain) > SHOWN_CHARACTERS else "")
    return cut.replace("|", "\\|").replace("*", "\\*") or "(nothing)"


def _figure(value: float) -> str:
    return "no number" if math.isnan(value) else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

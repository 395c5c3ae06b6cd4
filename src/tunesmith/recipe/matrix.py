"""The tables of what goes together in docs/, asked of the rules. Run it: python -m this module."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from tunesmith.recipe.capabilities import (
    DEVICES,
    PRECISIONS,
    QUANTISATIONS,
    Choice,
    refusal,
)
from tunesmith.recipe.catalog import catalog, variants
from tunesmith.recipe.pages import keep
from tunesmith.recipe.training import OptimizerKind

_COMMAND = "`python -m tunesmith.recipe.matrix`"


@dataclass(frozen=True)
class Page:
    """The fixed texts of the page in one language."""

    language: str
    file: str
    title: str
    intro: str
    pairs: str
    formats: str
    quantised: str
    optimizers: str
    pure: str
    offloaded: str
    method: str
    optimizer: str
    format: str
    base: str
    setting: str
    why: str
    yes: str
    no: str


PAGES = (
    Page(
        language="en",
        file="capabilities.md",
        title="What goes together",
        intro=f"""\
Training types, methods, number formats and devices, made by {_COMMAND}
from the same rules that check a recipe before anything is loaded. Each training type with each
method is trained for three steps and loaded again in the tests, on a CPU; each method once in the
shorter number formats. What a model of a certain family can be trained with stands on its page in
the console and in `tunesmith models show`.""",
        pairs="Training type and method",
        formats="Number format and device",
        quantised="Quantised base (QLoRA), method and device",
        optimizers="Optimizer and method",
        pure="Pure bfloat16 (`training.master_weights: false`): optimizer and method",
        offloaded="Activations in main memory, and device",
        method="Method",
        optimizer="Optimizer",
        format="Format",
        base="Quantised base",
        setting="Setting",
        why="Why not",
        yes="yes",
        no="no",
    ),
    Page(
        language="zh",
        file="capabilities.zh.md",
        title="可用组合",
        intro=f"""\
训练类型、训练方式、计算精度与设备的可用组合，由 {_COMMAND}
根据检查配方的同一套规则生成（在加载任何内容之前检查）。每种训练类型与每种训练方式的组合，
都在测试中于 CPU 上训练三步并重新加载；较短的精度则对每种训练方式各测一次。某一系列模型支持哪些
组合，见控制台中该模型的页面，或 `tunesmith models show`。""",
        pairs="训练类型与训练方式",
        formats="计算精度与设备",
        quantised="量化的基座（QLoRA）与训练方式、设备",
        optimizers="优化器与训练方式",
        pure="纯 bfloat16（`training.master_weights: false`）：优化器与训练方式",
        offloaded="激活值放在主内存，与设备",
        method="训练方式",
        optimizer="优化器",
        format="精度",
        base="量化的基座",
        setting="设置",
        why="原因",
        yes="是",
        no="否",
    ),
)


def matrix(page: Page) -> str:
    """The whole page as Markdown."""
    kinds = variants()
    stages, methods = list(kinds["stage"]), list(kinds["adapter"])
    reasons: list[str] = []

    def table(head: str, rows: Sequence[str], columns: Sequence[str], of: Any) -> str:
        lines = [f"| {head} | " + " | ".join(f"`{name}`" for name in columns) + " |"]
        lines.append("| " + " | ".join(["---"] * (len(columns) + 1)) + " |")
        for row in rows:
            cells = [_cell(of(row, column), page, reasons) for column in columns]
            lines.append(f"| `{row}` | " + " | ".join(cells) + " |")
        return "\n".join(lines)

    optimizers = get_args(OptimizerKind)
    parts = [
        f"# {page.title}",
        page.intro,
        f"## {page.pairs}",
        table(page.method, methods, stages, lambda m, s: Choice(stage=s, method=m)),
        f"## {page.formats}",
        table(page.format, PRECISIONS, DEVICES, lambda p, d: Choice(precision=p, device=d)),
        f"## {page.quantised}",
        table(page.base, QUANTISATIONS, [*methods, *DEVICES], _quantised_choice),
        f"## {page.optimizers}",
        table(page.optimizer, optimizers, methods, lambda o, m: Choice(optimizer=o, method=m)),
    ]
    parts += [f"## {page.pure}", table(page.optimizer, optimizers, methods, _pure_choice)]
    parts.append(f"## {page.offloaded}")
    parts.append(table(page.setting, ["training.activation_offload"], DEVICES, _offloaded_choice))
    if reasons:
        parts += [f"## {page.why}", "\n".join(f"{n}. {why}" for n, why in enumerate(reasons, 1))]
    parts.append(_helps(page))
    return "\n\n".join(parts) + "\n"


def _pure_choice(optimizer: str, method: str) -> Choice:
    return Choice(method=method, optimizer=optimizer, precision="bfloat16", master_weights=False)


def _offloaded_choice(_setting: str, device: str) -> Choice:
    return Choice(device=device, activation_offload=True)


def _quantised_choice(kind: str, other: str) -> Choice:
    """Of a method, or of a device with the method that there is."""
    if other in DEVICES:
        return Choice(method="lora", quantization=kind, device=other)
    return Choice(method=other, quantization=kind)


def _cell(choice: Choice, page: Page, reasons: list[str]) -> str:
    found = refusal(choice)
    if found is None:
        return page.yes
    told = found.in_language(page.language)
    why = f"{told.message} {told.hint}".strip()
    if why not in reasons:
        reasons.append(why)
    return f"{page.no} ({reasons.index(why) + 1})"


def _helps(page: Page) -> str:
    """What each method and optimizer is good for, as the fields themselves say."""
    parts: list[str] = []
    for head, path in (
        (page.method, "adapter.kind"),
        (page.base, "model.quantization"),
        (page.optimizer, "training.optimizer.kind"),
        ("`activation_checkpointing`", "training.activation_checkpointing"),
        ("`activation_offload`", "training.activation_offload"),
    ):
        facts = catalog()[path].facts
        parts.append(f"**{head}**: {facts.en if page.language == 'en' else facts.zh}")
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages; with --check only say whether they are up to date."""
    return keep({page.file: matrix(page) for page in PAGES}, _COMMAND[1:-1], arguments)


if __name__ == "__main__":
    sys.exit(main())

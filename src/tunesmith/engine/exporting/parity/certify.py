"""Runs the prompts through both models and judges. Read `certify` first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from tunesmith import __version__
from tunesmith.data.conversation import Conversation
from tunesmith.engine.exporting.errors import ExportFailed
from tunesmith.engine.exporting.formats import Artefact, Format
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity.certificate import Answered, Certificate, LlamaCli
from tunesmith.engine.exporting.parity.figures import RowFigures, combine, compare
from tunesmith.engine.exporting.parity.limits import LIMITS, drift
from tunesmith.engine.exporting.parity.llama_cli import ask_llama_cli
from tunesmith.engine.exporting.parity.prompts import Prompt, choose_prompts
from tunesmith.engine.exporting.parity.reference import reference_walks
from tunesmith.engine.exporting.parity.walks import (
    Walk,
    greedy,
    module_logits,
    plain_generation,
    walk,
)
from tunesmith.engine.exporting.source import Source

DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def certify(
    source: Source,
    folder: Path,
    written: Format,
    *,
    format_name: str,
    device: torch.device,
    allow_drift: bool,
    narrator: Narrator,
) -> Certificate:
    """Ask both models the same, one after the other, so that one fits where the other did."""
    prompts, notes = choose_prompts(source)
    references = reference_walks(source, prompts, device, narrator)
    with narrator.step("Loading the export as other programs do"):
        artefact = _read(written, folder)
    limits = LIMITS[written.precision]
    rows: list[RowFigures] = []
    answered: list[Answered] = []
    plain_generation(artefact.model)
    logits = module_logits(artefact.model, device)
    with narrator.step("The export answers"):
        for number, (prompt, known) in enumerate(zip(prompts, references, strict=True), start=1):
            row = compare(known, walk(logits, known.prompt, known.answer), tie=limits.tie)
            said = greedy(artefact.model, prompt.ids, source.stop_ids, device)
            rows.append(row)
            answered.append(_answered(source, artefact, prompt, known, said, row))
            narrator.tell(number, len(prompts), "prompts")
    figures = combine(
        rows,
        greedy=[row.equal for row in answered],
        template=[row.same_prompt_tokens for row in answered],
    )
    problems = [*artefact.problems, *drift(figures, limits)]
    cli = _llama_cli(source, folder, prompts, answered, narrator)
    return Certificate(
        source=source.asked,
        format=format_name,
        precision=written.precision,
        engine=f"tunesmith {__version__} in float32 on {device.type}",
        reader=artefact.read_by,
        figures=figures,
        limits=limits,
        problems=tuple(problems),
        allowed=allow_drift,
        notes=(*written.notes(), *notes, *([cli] if isinstance(cli, str) else [])),
        rows=tuple(answered),
        llama_cli=cli if isinstance(cli, LlamaCli) else None,
    )


def _read(written: Format, folder: Path) -> Artefact:
    try:
        return written.read(folder)
    except Exception as error:  # of any library; whatever it is, users would meet it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportFailed(
            f"The export was written, but cannot be read back: {reason}. Nothing was kept.",
            hint="Another format may work; --no-parity would keep this one as it is.",
            code="export_unreadable",
        ) from error


def _answered(
    source: Source,
    artefact: Artefact,
    prompt: Prompt,
    known: Walk,
    said: list[int],
    row: RowFigures,
) -> Answered:
    tokenizer = source.renderer.tokenizer
    pairs = zip(known.answer, said, strict=False)
    common = next(
        (at for at, (left, right) in enumerate(pairs) if left != right),
        min(len(known.answer), len(said)),
    )
    return Answered(
        prompt=prompt.shown(),
        origin=prompt.origin,
        reference=tokenizer.decode(known.answer, skip_special_tokens=True),
        artefact=tokenizer.decode(said, skip_special_tokens=True),
        equal=said == known.answer,
        common_tokens=common,
        same_prompt_tokens=artefact_ids(source, artefact, prompt.conversation) == prompt.ids,
        mean_logprob_difference=row.sum_difference / max(row.positions, 1),
    )


def artefact_ids(source: Source, artefact: Artefact, conversation: Conversation) -> list[int] | str:
    """What the artefact's own tokenizer and template make of a chat; a text when they refuse."""
    if source.is_plain:
        text = "".join(message.content for message in conversation.messages)
        return artefact.tokenizer(text)["input_ids"]
    messages = [message.for_template() for message in conversation.messages]
    try:
        found: Any = artefact.tokenizer.apply_chat_template(
            messages,
            tools=[dict(tool) for tool in conversation.tools] or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
    except Exception as error:  # a template of any kind, in a renderer that is not ours
        return f"refused: {error}"
    return list(found["input_ids"])


def _llama_cli(
    source: Source,
    folder: Path,
    prompts: list[Prompt],
    answered: list[Answered],
    narrator: Narrator,
) -> LlamaCli | str | None:
    files = sorted(folder.glob("*.gguf"))
    if not files:
        return None
    return ask_llama_cli(source, files[0], prompts, [row.reference for row in answered], narrator)


def quiet_transformers() -> None:
    """Its own bars and hints are not for the users of an export."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

"""`tunesmith chat`: talk to a run or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.engine import become_engine
from tunesmith.errors import InputError

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

_EXAMPLES = """Examples:

tunesmith chat runs/first --compare

tunesmith chat Qwen/Qwen3-0.6B --adapter runs/first/artifacts/adapter

tunesmith chat runs/first --prompt "I cannot log in to my account"
"""


@app.command(epilog=_EXAMPLES)
def chat(
    model: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL", help="A run, a model folder or a hub id."),
    ],
    adapter: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An adapter to put on the model.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Answer this one question and end.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Answer with base and tuned model side by side.")
    ] = False,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A system message before everything.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most tokens in an answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", min=0.0, help="0 takes the likeliest token always.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="The same answer again where it is sampled.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, with --prompt.")] = False,
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")
    ] = None,
) -> None:
    """Talk to a run or a model in the terminal; answers appear as they are written.

    Ctrl-C ends an answer, a second one the conversation.
    """
    if adapter is not None and not adapter.is_dir():
        raise InputError(
            f"There is no adapter folder {adapter}.",
            hint="Name the folder with adapter_config.json, such as RUN/artifacts/adapter.",
        )
    if json and prompt is None:
        raise InputError("--json needs a question to answer.", hint="Add --prompt TEXT.")
    options = {
        "--adapter": adapter,
        "--prompt": prompt,
        "--system": system,
        "--max-tokens": max_tokens,
        "--temperature": temperature,
        "--seed": seed,
        "--device": device,
    }
    # One word for each option, so that a text that starts with a dash is no option itself.
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    flags = [name for name, wanted in (("--compare", compare), ("--json", json)) if wanted]
    become_engine("chat", *given, *flags, "--", model)

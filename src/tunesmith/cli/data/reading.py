"""Options that say how files are read, and what the commands make of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.language import language

if TYPE_CHECKING:
    from tunesmith.data.store import Catalog, Version
    from tunesmith.data.subject import Files, Subject
    from tunesmith.recipe import Dataset

SubjectArgument = Annotated[
    str, typer.Argument(metavar="X", help="A file, a folder, or a dataset: name or name@3.")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME[@N]", help="A dataset, or one of its versions.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Shape of the rows; found by itself when left out."),
]
PromptOption = Annotated[str | None, typer.Option(help="Column of the question.")]
ResponseOption = Annotated[str | None, typer.Option(help="Column of the answer.")]
HistoryOption = Annotated[str | None, typer.Option(help="Column of earlier turns.")]
SystemOption = Annotated[str | None, typer.Option(help="Column of the system message.")]
EncodingOption = Annotated[
    str | None,
    typer.Option(help="Encoding of text files, such as gb18030; auto guesses. Default: UTF-8."),
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Whose tokenizer: a folder, a hub id, or starter.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def wanted_rows(
    subject: str,
    format: str | None = None,
    prompt_field: str | None = None,
    response_field: str | None = None,
    history_field: str | None = None,
    system_field: str | None = None,
) -> Dataset:
    """How rows are read, as a recipe would say it; RecipeError for a format that there is not."""
    from pydantic import ValidationError

    from tunesmith.errors import InputError
    from tunesmith.recipe import Dataset

    given = {
        "format": format,
        "prompt_field": prompt_field,
        "response_field": response_field,
        "history_field": history_field,
        "system_field": system_field,
    }
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    spellings = {"openai": "messages", "chatml": "messages", "prompt-response": "prompt_response"}
    if "format" in told:
        told["format"] = spellings.get(told["format"], told["format"])
    try:
        return Dataset(dataset=subject, **told)
    except ValidationError as error:
        from tunesmith.schemas.wrong_values import sentence

        problem: Any = error.errors()[0]
        option = str(problem["loc"][0]).replace("_", "-")
        spoken = language()
        wrong = sentence(problem, spoken)
        stop = "。" if spoken == "zh" else "."
        raise InputError(f"--{option}: {wrong}{stop}") from error


def open_catalog() -> Catalog:
    from tunesmith.data.store import Catalog

    return Catalog()


def open_subject(text: str, wanted: Dataset, encoding: str | None) -> Subject:
    from tunesmith.data.subject import find_subject

    return find_subject(text, wanted, encoding)


def open_files(paths: list[Path], wanted: Dataset, encoding: str | None) -> Files:
    from tunesmith.data.subject import files_subject

    return files_subject(paths, wanted, encoding)


def open_version(name: str) -> Version:
    return open_catalog().open(name)


def cache_folder() -> Path:
    from tunesmith.runs.files import data_directory

    return data_directory() / "cache" / "tokens"

"""Files of users as readers want them: by names with endings, in a folder that is ours."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from tunesmith.data.convert import RowUnusable
from tunesmith.data.formats import SAMPLE_ROWS, find_layout
from tunesmith.data.readers import READERS, read_rows
from tunesmith.data.readers.sources import file_type
from tunesmith.data.records import to_json
from tunesmith.data.subject import Files, files_subject
from tunesmith.data.tokenise import Progress
from tunesmith.errors import DataError, InputError, TunesmithError
from tunesmith.recipe import Dataset as Reading
from tunesmith.schemas.wrong_values import sentence
from tunesmith.server.access import Caller
from tunesmith.server.database import Database
from tunesmith.server.datadir import DataDir
from tunesmith.server.filenames import component
from tunesmith.server.incoming import refuse_full_disk, storing
from tunesmith.server.services.datasets import archives
from tunesmith.server.services.files import present_file
from tunesmith.server.tables import File

_MAGIC: Final = ((b"PAR1", ".parquet"), (b"PK\x03\x04", ".xlsx"), (b"\x1f\x8b", ".jsonl.gz"))
_SHOWN: Final = 200  # characters of a cell that is shown
_MOST_SHOWN: Final = 64 << 20  # bytes of a file in an archive that is unpacked while somebody waits


@contextmanager
def opened(
    database: Database,
    place: DataDir,
    caller: Caller,
    file_ids: Sequence[str],
    mapping: Mapping[str, Any],
    encoding: str | None,
    *,
    members: Collection[str] = (),
    on_progress: Progress = lambda _kind, _done, _total: None,
) -> Generator[Files]:
    """Files by id as one subject; what is wrong with them is told without our own paths.

    Archives are unpacked; `members` names the files, or folders, of an archive that are wanted.
    """
    with database.read() as session:
        files = [present_file(session, caller, file_id) for file_id in file_ids]
    with _folder(place) as folder, _named(folder):
        paths: list[Path] = []
        aside: list[tuple[str, str]] = []
        for number, file in enumerate(files):
            if not archives.is_archive(file.filename):
                paths.append(_link(folder, place, file))
                continue
            target = folder / f"archive-{number}"
            target.mkdir()
            unpacked, beside = _unpacked(place, file, members, target, on_progress)
            paths += unpacked
            aside += beside
        wanted = reading(files[0].filename, mapping)
        found = files_subject(paths, wanted, encoding)
        yield replace(found, name=files[0].filename, aside=[*found.aside, *aside])


@contextmanager
def _folder(place: DataDir) -> Generator[Path]:
    """A folder in the cache, where there is room for what archives hold."""
    home = place.cache / "unpacked"
    with storing(place.cache):
        home.mkdir(exist_ok=True)
        folder = tempfile.mkdtemp(prefix="reading-", dir=home)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpacked(
    place: DataDir,
    file: File,
    members: Collection[str],
    folder: Path,
    on_progress: Progress,
) -> tuple[list[Path], list[tuple[str, str]]]:
    """The data files of an archive, and what else is in it."""
    path, name = place.file(file.id), Path(file.filename).name
    on_progress("look", 0, 0)
    contents = archives.look(path, name)
    if members:
        some = [each for each in contents.members if is_among(each.name, members)]
        contents = replace(contents, members=some)
    refuse_full_disk(folder, contents.bytes)
    with storing(folder):
        paths = archives.unpack(
            path, name, contents, folder, lambda done, total: on_progress("unpack", done, total)
        )
    if not paths:
        raise DataError(
            f"{name} holds none of the files that are wanted.",
            code="archive_without_data",
            name=name,
        )
    return paths, contents.aside


def is_among(name: str, wanted: Collection[str]) -> bool:
    """Whether a file of an archive is one of these, or lies in a folder that is."""
    parents = (str(parent) for parent in PurePosixPath(name).parents)
    return name in wanted or any(parent in wanted for parent in parents)


def reading(name: str, mapping: Mapping[str, Any]) -> Reading:
    """How rows are read, as a recipe would say it."""
    given = {key: value for key, value in mapping.items() if value is not None}
    try:
        return Reading(dataset=name or "file", **given)
    except ValidationError as error:
        problem: Any = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        told = {language: sentence(problem, language) for language in ("en", "zh")}
        raise InputError(
            f"{field}: {told['en']}.",
            code="bad_mapping",
            param=f"mapping.{field}",
            field=field,
            told=told,
        ) from error


def refuse_unreadable(place: DataDir, file: File) -> None:
    """DataError for a file whose ending no reader knows; one without an ending is looked into.

    What a zip would come to is looked at here, so that nobody waits for a refusal.
    """
    path = Path(component(file.filename))
    if archives.is_archive(file.filename):
        if archives.is_quick(file.filename):
            archives.look(place.file(file.id), path.name)
        return
    if path.suffix and file_type(path) not in READERS:
        archives_too = ", ".join(archives.ENDINGS)
        raise DataError(
            f"{path.name}: files of type '{path.suffix}' cannot be read; nothing was begun.",
            hint=f"Known types: {', '.join(sorted(READERS))}; text also packed as .gz or .zst; "
            f"archives: {archives_too}.",
            code="unknown_file_type",
            param="file_ids",
            name=path.name,
        )


def refuse_to_look(place: DataDir, file: File) -> list[str]:
    """The member of an archive that is shown before an import; InputError for one too large."""
    if not archives.is_archive(file.filename):
        return []
    name = Path(file.filename).name
    if archives.is_quick(name):
        first = next(iter(archives.look(place.file(file.id), name).members), None)
        if first is not None and first.bytes <= _MOST_SHOWN:
            return [first.name]
    raise InputError(
        f"{name} is unpacked by its import only; its rows cannot be shown before.",
        hint="Import it, or send one of its files by itself to look at it.",
        code="archive_not_shown",
        param="file_id",
    )


def detect(files: Files, rows: int) -> dict[str, Any]:
    """What the first rows of a file show: format and why, columns with examples, records."""
    path = files.paths[0]
    problems: list[dict[str, Any]] = []

    def on_problem(line: int, error: DataError) -> None:
        message = error.message.replace(f"{path.parent}/", "")
        problems.append({"line": line, "code": error.code, "message": message})

    found = list(
        islice(
            read_rows(path, encoding=files.encoding, on_problem=on_problem), max(rows, SAMPLE_ROWS)
        )
    )
    told: dict[str, Any] = {"file": path.name, "columns": _columns([row for _, row in found])}
    told |= {"problems": problems[:20], "format": None, "why": "", "kind": None, "rows": []}
    if not found:
        return told
    try:
        layout = find_layout([row for _, row in found[:SAMPLE_ROWS]], files.wanted, path.name)
    except DataError as error:
        told["problems"] = [{"line": 0, "code": error.code, "message": error.message}, *problems]
        return told
    told |= {"format": layout.format, "why": layout.why, "kind": layout.kind}
    told["used_columns"] = sorted(layout.used)
    told["rows"] = [_as_record(layout.convert, line, row) for line, row in found[:rows]]
    return told


def _as_record(convert: Any, line: int, row: Any) -> dict[str, Any]:
    try:
        return {"line": line, "record": to_json(convert(row)), "refused": None}
    except RowUnusable as reason:
        return {"line": line, "record": None, "refused": str(reason)}


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [{"name": name, "examples": _examples(rows, name)} for name in islice(names, 500)]


def _examples(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    cells = [row[name] for row in rows if row.get(name) not in (None, "")]
    return [str(cell)[:_SHOWN] for cell in cells[:3]]


def _link(folder: Path, place: DataDir, file: File) -> Path:
    """A link with an ending that says what the file is; names that come twice get a number."""
    target = place.file(file.id)
    name = component(file.filename)
    if file_type(Path(name)) not in READERS and not Path(name).suffix:
        name += _ending_of(target)
    path = folder / name
    number = 2
    while path.is_symlink():
        path, number = folder / f"{number}-{name}", number + 1
    path.symlink_to(target)
    return path


def _ending_of(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    return next((ending for magic, ending in _MAGIC if head.startswith(magic)), ".jsonl")


@contextmanager
def _named(folder: Path) -> Generator[None]:
    """Errors name files as their users do: the folder of the links means nothing to them."""
    ours = re.compile(re.escape(str(folder)) + r"/(archive-\d+/)?")
    try:
        yield
    except TunesmithError as error:
        error.message = ours.sub("", error.message)
        error.hint = ours.sub("", error.hint)
        raise

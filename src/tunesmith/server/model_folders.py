"""Model folders on their way in: checked before any engine sees them, then kept under our id.

    found = find_folder(name, roots)      a name of a client, below a root of the administrator
    copy_folder(found, draft)             links are never followed out of it
    facts = examine(draft)                every rule of tunesmith.models; FAULTS 23 and 29
    publish(draft, target)                manifest last, then the name: complete or absent

What is judged is the copy that is kept: whoever changes the source meanwhile gains nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tunesmith.errors import ModelError, TunesmithError
from tunesmith.models.facts import Facts, read_facts
from tunesmith.models.files import check_model_files
from tunesmith.models.hubs import is_wanted
from tunesmith.models.vocabulary import check_tokenizer_size
from tunesmith.runs.files import fsync_directory
from tunesmith.runs.manifest import MANIFEST, Manifest, write_manifest
from tunesmith.server.errors import NotFound
from tunesmith.server.incoming import refuse_full_disk, storing

OnBytes = Callable[[int, int], None]
_BLOCK: Final = 8 << 20
_MOST_FOUND: Final = 200
_DEEPEST: Final = 3
_CONFIGS: Final = ("config.json", "adapter_config.json")


def examine(directory: Path, *, trust_remote_code: bool = False) -> Facts:
    """What is in a folder that passes every check; ModelError with the first that it does not.

    Nothing in the folder runs, and no message shows where it lies.
    """
    # Jinja and tokenizers, for the processes of tasks alone: a server starts without them.
    from tunesmith.models.templates import check_templates

    with _for_users(directory):
        files = check_model_files(directory, trust_remote_code=trust_remote_code)
        facts = read_facts(files)
        check_templates(directory)
        if facts.vocabulary is not None:
            check_tokenizer_size(directory, facts.vocabulary)
        if files.kind == "model" and not facts.is_causal:
            raise _not_causal(facts)
    return facts


def find_folder(name: str, roots: Sequence[Path]) -> Path:
    """The folder of that name below a root, whole components compared after links are resolved.

    `name` is relative to the first root that has it. Absolute names count below a root only.
    """
    plain = PurePosixPath(name)
    if not name or "\0" in name or ".." in plain.parts:
        raise _no_folder(name)
    for root in roots:
        base = root.resolve()
        found = (base / name).resolve()
        if found != base and found.is_relative_to(base) and found.is_dir():
            return found
    raise _no_folder(name)


def list_folders(root: Path) -> Iterator[str]:
    """Names of what looks like a model below a root, a few levels deep; links are not followed."""
    base, count = root.resolve(), 0
    for folder, subfolders, names in os.walk(base, followlinks=False):
        place = Path(folder)
        depth = len(place.relative_to(base).parts)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".")) * (depth < _DEEPEST)
        if depth and any(config in names for config in _CONFIGS):
            yield place.relative_to(base).as_posix()
            count += 1
            if count == _MOST_FOUND:
                return


def copy_folder(source: Path, draft: Path, on_bytes: OnBytes) -> None:
    """Copy the files of a model; the source is checked first, so that a refusal comes at once."""
    with _for_users(source):
        check_model_files(source)
    paths = [path for path in sorted(source.iterdir()) if path.is_file() and is_kept(path.name)]
    total = sum(path.stat().st_size for path in paths)
    refuse_full_disk(draft.parent, total)
    done = 0
    with storing(draft.parent):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for path in paths:
            for size in _copy(path.resolve(), draft / path.name):
                done += size
                on_bytes(done, total)


def is_kept(name: str) -> bool:
    """Whether a file of a model is of use: weights, settings, tokenizer, licence."""
    return is_wanted(name, ("NOTICE*",))


def publish(draft: Path, target: Path, **known: Any) -> Manifest:
    """Give a checked draft its name; its manifest keeps what is known of it."""
    with storing(target.parent):
        (draft / MANIFEST).unlink(missing_ok=True)
        manifest = write_manifest(draft, **known)
        draft.rename(target)
        fsync_directory(target.parent)
    return manifest


def _copy(source: Path, target: Path) -> Iterator[int]:
    """Bytes as they are copied. O_NOFOLLOW: the path was resolved, so a link here is a new one."""
    with (
        open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as reading,
        target.open("xb") as writing,
    ):
        while block := reading.read(_BLOCK):
            writing.write(block)
            yield len(block)


class _for_users:
    """Errors for users of a server: without the place of its data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, TunesmithError):
            return
        if error.code == "model_has_code":  # no recipe of a user decides that on a server
            error.hint = (
                "Choose a version of the model that needs no code of its own (often named '-hf'). "
                "An administrator can allow a repository at one commit with "
                "TUNESMITH_REMOTE_CODE_REPOSITORIES."
            )
        for hidden in (f"{self._directory}/", str(self._directory)):
            shown = "" if hidden.endswith("/") else "the folder"
            error.message = error.message.replace(hidden, shown)
            error.hint = error.hint.replace(hidden, shown)
        error.args = (error.message,)


def _not_causal(facts: Facts) -> ModelError:
    return ModelError(
        f"Refused: {facts.architecture or 'the model'} does not write text from left to right.",
        hint="Choose a model whose config.json names an architecture that ends in ForCausalLM.",
        code="model_not_causal",
        architecture=facts.architecture,
    )


def _no_folder(name: str) -> NotFound:
    return NotFound(
        f"There is no folder {name[:200]!r} to import from.",
        hint="Put it below `import` in the data directory, or below a folder of "
        "TUNESMITH_IMPORT_ROOTS; the list of folders shows what is there.",
        code="import_folder_not_found",
        param="name",
        name=name[:200],
    )

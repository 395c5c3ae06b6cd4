"""The run directory: one place that names every file of a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import RunDirError
from tunesmith.runs.files import StorageFull, folder_path, storage_errors, write_atomically


@dataclass(frozen=True)
class RunDir:
    """One run on the disk. The engine knows a recipe and this directory, nothing else."""

    path: Path

    @classmethod
    def create(cls, path: Path | str, recipe_yaml: str, *, recipe_name: str) -> RunDir:
        """Make a new run; a directory with anything in it is refused, never overwritten."""
        run = cls(folder_path(path).expanduser().absolute())
        run.refuse_existing()
        header = "" if recipe_yaml.startswith("#") else f"# Recipe {recipe_name!r} as submitted.\n"
        folders = (run.log_path.parent, run.data_dir, run.checkpoints_dir, run.artifacts_dir)
        was_there = run.path.exists()
        try:
            with storage_errors(run.path):
                for folder in folders:
                    folder.mkdir(parents=True, exist_ok=True)
            write_atomically(run.recipe_path, header + recipe_yaml)
        except BaseException as error:
            # On a full disk, say. A directory without a recipe could not be used for anything.
            run.recipe_path.unlink(missing_ok=True)
            for folder in (*folders, *(() if was_there else (run.path,))):
                with suppress(OSError):
                    folder.rmdir()
            if isinstance(error, StorageFull):
                error.hint = "Free space on that file system, then give the same command again."
            raise
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunDir:
        """An existing run; a directory without a recipe is no run."""
        run = cls(folder_path(path).expanduser().absolute())
        if not run.path.is_dir():
            raise RunDirError(
                f"There is no run directory {run.path}.",
                hint="Check the path, or start the run without --resume.",
                code="run_not_found",
                path=str(run.path),
            )
        if not run.recipe_path.is_file():
            raise RunDirError(
                f"{run.path} is not a run directory: recipe.yaml is missing in it.",
                hint="Name the directory that was given to `tunesmith train --run`.",
            )
        return run

    def refuse_existing(self) -> None:
        """RunDirError when something lies where a new run is to be made."""
        if self.recipe_path.exists():
            raise RunDirError(
                f"{self.path} holds a run already; nothing in it was changed.",
                hint="Add --resume to go on with it, or choose another directory with --run.",
                code="run_exists",
                path=str(self.path),
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunDirError(
                f"{self.path} is a file, not a directory.",
                hint="Choose another directory with --run.",
            )
        if self.path.is_dir() and any(self.path.iterdir()):
            raise RunDirError(
                f"{self.path} is not empty and holds no run; nothing in it was changed.",
                hint="Choose a new or empty directory with --run.",
                code="directory_not_empty",
                path=str(self.path),
            )

    @property
    def name(self) -> str:
        """The name of the run in its events: the last part of its path."""
        return self.path.name

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def resolved_path(self) -> Path:
        return self.path / "resolved.yaml"

    @property
    def control_path(self) -> Path:
        return self.path / "control.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "logs" / "train.log"

    @property
    def data_dir(self) -> Path:
        return self.path / "data"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def artifacts_dir(self) -> Path:
        return self.path / "artifacts"

    @property
    def tensorboard_dir(self) -> Path:
        return self.path / "tensorboard"

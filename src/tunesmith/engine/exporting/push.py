"""To a hub, for those who are logged in."""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.engine.exporting.errors import ExportFailed, ExportRefused
from tunesmith.engine.exporting.narrator import Narrator

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def check_login(repository: str) -> str:
    """The user's name at the hub; asked before hours of work, not after."""
    if not _REPOSITORY.fullmatch(repository):
        raise ExportRefused(
            f"--push {repository} is no name of a model at a hub.",
            hint="It looks like your-name/support-bot.",
            code="hub_id_invalid",
        )
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise ExportRefused(
            "--push needs the hub, and HF_HUB_OFFLINE is set.",
            hint="Unset it, or leave out --push.",
            code="hub_offline",
        )
    if get_token() is None:
        raise ExportRefused(
            "--push needs a login at the hub, and there is none.",
            hint="Run `hf auth login`, or set HF_TOKEN to a token that may write.",
            code="hub_not_logged_in",
        )
    try:
        return str(HfApi().whoami()["name"])
    except Exception as error:  # of the hub, of the network, of a proxy
        raise ExportRefused(
            f"The hub at {constants.ENDPOINT} did not confirm the login: {_first_line(error)}",
            hint="Check the token and the connection, or leave out --push.",
            code="hub_not_logged_in",
        ) from error


def push(folder: Path, repository: str, narrator: Narrator) -> str:
    """Upload a finished export; it stays where it is, whatever happens. Returns the address."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi()
    try:
        with narrator.step(f"Uploading to {repository}"):
            made = api.create_repo(repository, private=True, exist_ok=True)
            api.upload_folder(
                repo_id=made.repo_id,
                folder_path=folder,
                commit_message="Upload by tunesmith export",
            )
    except Exception as error:  # of the hub, of the network, of a proxy
        raise ExportFailed(
            f"The upload to {repository} failed: {_first_line(error)} "
            f"The export itself is complete in {folder}.",
            hint=f"Try again with `hf upload {repository} {folder}`.",
            code="hub_upload_failed",
        ) from error
    return str(made)


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0].strip()
    return line if line.endswith(".") else f"{line}."

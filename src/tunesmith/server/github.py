"""Models on GitHub: assets of a release, or a folder of a repository at a tag. Read `ask` first.

    OWNER/REPOSITORY           the assets of the release of that tag, else the top folder at it
    OWNER/REPOSITORY/FOLDER    that folder at a tag, a branch or a commit

Only hosts of GitHub are called, or the one of `github_api`; each address is checked like any other
that a user gives (outgoing/), redirects too. Only files that a model needs are fetched, in pieces,
so that a download that was cut goes on, and a host that falls silent does not hold it for long.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from tunesmith.errors import ModelError
from tunesmith.models.hubs import is_wanted
from tunesmith.server.outgoing import AddressPolicy, Caps, FetchFailed, Outgoing, Reply
from tunesmith.server.outgoing.errors import refused
from tunesmith.server.settings import Settings

HOSTS: Final = frozenset(
    {
        "github.com",
        "raw.githubusercontent.com",
        "objects.githubusercontent.com",
        "release-assets.githubusercontent.com",
    }
)
_PART: Final = r"[A-Za-z0-9_.-]{1,100}"
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9-]{{0,38}}/{_PART}(/{_PART}){{0,10}}")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_MOST_FILES: Final = 300
_PIECE: Final = 32 << 20  # bytes of one call
_PIECE_SECONDS: Final = 300.0
_ANSWER: Final = Caps(seconds=30.0, response_bytes=8 << 20)
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER: Final = 1024
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class GithubFile:
    """A file as GitHub announces it; `digest` is `sha256:...`, or `blob:...` as git counts it."""

    name: str
    bytes: int
    url: str
    digest: str = ""


@dataclass(frozen=True)
class GithubModel:
    """What will be fetched. `mark` is the same as long as all of it is."""

    name: str
    commit: str
    files: tuple[GithubFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def mark(self) -> str:
        told = json.dumps([(file.name, file.bytes, file.digest) for file in self.files])
        return f"{self.commit}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def is_github_name(name: str) -> bool:
    """Whether a name can be a repository, or a folder in one; never a way out of it."""
    return _NAME.fullmatch(name) is not None and not set(name.split("/")) & {".", ".."}


class Github:
    """The part of GitHub's interface that an import needs."""

    def __init__(self, settings: Settings) -> None:
        self._api = settings.github_api.rstrip("/")
        token = settings.github_token
        self._token = token.get_secret_value() if token is not None else ""
        own = urlsplit(self._api)
        self._own = (own.scheme, own.netloc)
        schemes = frozenset({"https", own.scheme})
        networks = AddressPolicy.of(settings.allowed_networks).allowed
        self._outgoing = Outgoing(AddressPolicy(networks, schemes))

    def ask(self, name: str, revision: str) -> GithubModel:
        """The commit and the files of a model; nothing is downloaded."""
        owner, repository, *folder = name.split("/")
        place = f"/repos/{owner}/{repository}"
        answer = self._json(f"{place}/commits/{quote(revision, safe='')}")
        if not isinstance(answer, dict):
            raise _not_found(name, revision)
        commit = str(cast("dict[str, Any]", answer).get("sha", ""))
        files = () if folder else self._assets(place, revision)
        if not any(file.name.endswith(".safetensors") for file in files):
            path = quote("/".join(folder))
            files = self._folder(f"{place}/contents/{path}?ref={quote(commit)}")
        return GithubModel(name, commit, _useful(name, revision, files))

    def fetch(self, told: GithubModel, target: Path, on_bytes: OnBytes) -> None:
        """The files into a folder. What came before a cut is not asked for again."""
        target.mkdir(parents=True, exist_ok=True)
        done = 0
        for file in sorted(told.files, key=lambda each: each.bytes):  # what is wrong shows soon
            path = target / file.name
            if not (path.is_file() and path.stat().st_size == file.bytes):

                def count(now: int, before: int = done) -> None:
                    on_bytes(before + now, told.bytes)

                self._fetch(told.name, file, path, count)
            done += file.bytes
            on_bytes(done, told.bytes)

    def _fetch(
        self, name: str, file: GithubFile, path: Path, on_bytes: Callable[[int], None]
    ) -> None:
        part = path.with_name(f"{path.name}.part")
        if part.is_file() and part.stat().st_size > file.bytes:
            part.unlink()
        part.touch()
        while (there := part.stat().st_size) < file.bytes:
            with _explained(name):
                self._piece(file, part, there)
            if part.stat().st_size <= there:
                raise _unreachable(name)
            on_bytes(part.stat().st_size)
        _refuse_pointer(file.name, part)
        if _digest(part, file.digest) != file.digest:
            part.unlink()
            raise ModelError(
                f"{file.name} of {name} arrived damaged (checksum); it was removed.",
                hint="Import the model again; the other files are kept.",
                code="download_damaged",
                file=file.name,
                name=name,
            )
        part.rename(path)

    def _piece(self, file: GithubFile, part: Path, start: int) -> None:
        end = min(file.bytes, start + _PIECE) - 1
        caps = Caps(seconds=_PIECE_SECONDS, response_bytes=file.bytes)
        headers = {"accept": "application/octet-stream", "range": f"bytes={start}-{end}"}
        with self._open(file.url, headers, caps) as reply:
            if reply.status_code not in (200, 206):
                raise _answered(reply.status_code)
            # A host that knows no ranges sends the whole file: from its beginning, then.
            with part.open("ab" if reply.status_code == 206 else "wb") as writing:
                for chunk in reply.chunks():
                    writing.write(chunk)

    def _assets(self, place: str, tag: str) -> tuple[GithubFile, ...]:
        """Of the release of a tag; none where there is no release."""
        answer = self._json(f"{place}/releases/tags/{quote(tag, safe='')}")
        if not isinstance(answer, dict):
            return ()
        rows = cast("dict[str, Any]", answer).get("assets")
        return tuple(
            GithubFile(str(row["name"]), int(row["size"]), str(row["browser_download_url"]),
                       str(row.get("digest") or ""))
            for row in _rows(rows)
        )  # fmt: skip

    def _folder(self, place: str) -> tuple[GithubFile, ...]:
        return tuple(
            GithubFile(str(row["name"]), int(row["size"]), str(row["download_url"]),
                       f"blob:{row['sha']}")
            for row in _rows(self._json(place))
            if row.get("type") == "file" and row.get("download_url")
        )  # fmt: skip

    def _json(self, place: str) -> Any:
        """What the API says; None for what is not there."""
        headers = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
        name = "/".join(place.split("/")[2:4])  # of /repos/OWNER/REPOSITORY/...
        with _explained(name), self._open(self._api + place, headers, _ANSWER) as reply:
            if reply.status_code in (404, 422):
                return None
            if reply.status_code != 200:
                raise _answered(reply.status_code)
            try:
                return json.loads(reply.read())
            except ValueError:
                raise _answered(reply.status_code) from None

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str], caps: Caps) -> Generator[Reply]:
        """One answer; redirects lead to hosts of the list only, and the token to the API only."""
        for _ in range(_MOST_REDIRECTS):
            self._check_host(url)
            mine = dict(headers)
            if self._token and _origin(url) == self._own:
                mine["authorization"] = f"Bearer {self._token}"
            with self._outgoing.open("GET", url, headers=mine, caps=caps) as reply:
                location = reply.headers.get("location", "")
                if reply.status_code not in _REDIRECTS or not location:
                    yield reply
                    return
                url = str(reply.url.join(location))
        raise _answered(310)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if _origin(url) != self._own and (parts.scheme != "https" or parts.netloc not in HOSTS):
            raise refused("host", "it is no host of GitHub")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _rows(found: Any) -> list[dict[str, Any]]:
    rows = cast("list[Any]", found) if isinstance(found, list) else []
    return [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]


def _useful(name: str, revision: str, files: tuple[GithubFile, ...]) -> tuple[GithubFile, ...]:
    """The files of a model, and no model without weights and settings."""
    useful = tuple(f for f in files if is_wanted(f.name, ("NOTICE*",)) and "\\" not in f.name)
    names = {file.name for file in useful}
    has_weights = any(each.endswith(".safetensors") for each in names)
    pickle = next((file.name for file in files if file.name.endswith(_PICKLES)), None)
    if pickle is not None and not has_weights:
        raise ModelError(
            f"Refused: {pickle} of {name} is a pickle; convert to safetensors.",
            hint="A pickle runs code when it is loaded. Look for a tag with model.safetensors, or "
            "convert it in a safe place and import the folder.",
            code="model_is_pickle",
            file=pickle,
        )
    if not has_weights or not names & {"config.json", "adapter_config.json"}:
        raise ModelError(
            f"{name} has no config.json with model.safetensors at {revision}, neither as assets of "
            "a release nor as files; nothing was downloaded.",
            hint="Name the tag as `revision`, and a folder as OWNER/REPOSITORY/FOLDER.",
            code="github_without_model",
            name=name,
            revision=revision,
        )
    if len(useful) > _MOST_FILES:
        raise ModelError(
            f"{name} has {len(useful)} files of a model; {_MOST_FILES} are taken.",
            hint="Name the folder of one model as OWNER/REPOSITORY/FOLDER.",
            code="github_too_many_files",
            name=name,
            limit=_MOST_FILES,
        )
    return useful


def _refuse_pointer(name: str, path: Path) -> None:
    if path.stat().st_size > _LONGEST_POINTER or not path.read_bytes().startswith(_POINTER):
        return
    path.unlink()
    raise ModelError(
        f"Refused: {name} is a pointer of Git LFS, not the file itself.",
        hint="Attach the files to a release and name its tag, import the model from Hugging Face "
        "or ModelScope, or clone it with `git lfs pull` and import the folder.",
        code="model_is_lfs_pointer",
        file=name,
    )


def _digest(path: Path, like: str) -> str:
    """The checksum of a file in the form of another one; that itself where it has no known form."""
    kind = like.partition(":")[0]
    if kind not in ("sha256", "blob"):
        return like
    found = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "blob":
        found.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as reading:
        while block := reading.read(1 << 20):
            found.update(block)
    return f"{kind}:{found.hexdigest()}"


@contextmanager
def _explained(name: str) -> Generator[None]:
    try:
        yield
    except FetchFailed as error:
        raise _unreachable(name) from error


def _not_found(name: str, revision: str) -> ModelError:
    return ModelError(
        f"GitHub has no {name} with the tag, branch or commit {revision}, or it is private.",
        hint="Check the spelling; for a private repository an administrator sets "
        "TUNESMITH_GITHUB_TOKEN.",
        code="github_not_found",
        param="name",
        name=name,
        revision=revision,
    )


def _unreachable(name: str) -> ModelError:
    return ModelError(
        f"GitHub did not answer as needed, so {name} did not come; what came is kept.",
        hint="Check the network of the server, and import the model again: it goes on where it "
        "stopped.",
        code="github_unreachable",
        name=name,
    )


def _answered(status: int) -> ModelError:
    return ModelError(
        f"GitHub refused the request (status {status}); what came is kept.",
        hint="Without a token it answers 60 requests an hour: try again later, or an administrator "
        "sets TUNESMITH_GITHUB_TOKEN.",
        code="github_refused",
        status=status,
    )

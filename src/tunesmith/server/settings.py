"""What an installation sets: TUNESMITH_* variables and one file, each with a default.

    settings = Settings.load(port=8500)     # options of a command, then variables, then the file

The file is YAML, `name: value` with the names below: the one that TUNESMITH_SETTINGS names, else
`settings.yaml` in the data directory. What is wrong in it or in the variables is told all at once,
and nothing starts with a setting that it does not know. Secrets are `SecretStr` and shown nowhere.
docs/operating.md lists every setting; a test sees to it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tunesmith.errors import InputError, RecipeError
from tunesmith.recipe.document import parse_yaml
from tunesmith.runs.files import data_directory, folder_path, storage_errors
from tunesmith.schemas.wrong_values import sentence
from tunesmith.server.errors import SettingsRefused
from tunesmith.server.notices import gateways

PREFIX: Final = "TUNESMITH_"
FILE_VARIABLE: Final = "TUNESMITH_SETTINGS"
FILE_NAME: Final = "settings.yaml"
FLAVOURS_FORM: Final = '[{"name": "gpu-2", "device": "h200", "devices": 2, "price": 500}]'
# A token that guards everything: nobody guesses it, and every header and shell carries it.
SHORTEST_TOKEN: Final = 24
SHORTEST_KEY: Final = 32
_TOKEN: Final = re.compile(rf"[!-~]{{{SHORTEST_TOKEN},}}")
# Read by the command line, the engine and the tests, and no settings of a server.
OTHER_VARIABLES: Final = frozenset(
    PREFIX + name
    # URL and TOKEN are those of commands that talk to a server, perhaps on this machine.
    for name in (
        *("SETTINGS", "DEBUG", "FAULT", "LANG", "PROCESSES", "URL", "TOKEN"),
        *("TEST_POSTGRES", "TEST_TOKENIZERS"),
    )
)


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _plain(value: SecretStr) -> str:
    return value.get_secret_value()


def _json(value: Any) -> Any:
    """What a variable or a line of text says, in JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None


Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]  # a variable has them by comma


class FlavourSetting(BaseModel):
    """One entry of `flavours`: a number of devices on one host, and what they cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="How users choose it.")
    device: str = Field(
        default="", description="Flavour of the device as workers report it; the name."
    )
    devices: int = Field(default=1, ge=1, description="How many of them on one host.")
    region: str = Field(default="local", description="Where it stands.")
    memory_gib: float | None = Field(default=None, gt=0, description="Of one device.")
    price: float = Field(default=0.0, ge=0, description="For an hour, in cents.")


class Settings(BaseSettings):
    """Read once, at the start of a process, and handed on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    data_dir: Path = Field(default_factory=data_directory)
    database_url: SecretStr = Field(
        SecretStr(""), description="Empty: a SQLite file in the data directory."
    )
    database_timeout: float = Field(
        10.0, gt=0, description="Seconds to wait for a lock or a connection before giving up."
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8400, ge=0, le=65535, description="Port of `serve`; 0 takes a free one.")
    admin_token: SecretStr | None = Field(
        None,
        description="The first admin's token, of 24 characters or more; otherwise one is made "
        "and printed once.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Seals addresses and secrets of notices in the database, for servers on "
        "several machines; 32 characters or more. Old keys may follow by comma: they open only. "
        "Empty: the file `secret` in data_dir.",
    )
    secret_key_file: Path | None = Field(
        None, description="A file that holds such a key, in place of the variable."
    )
    public_url: str = Field("", description="How users reach this installation: links, cookies.")
    allowed_hosts: Names = Field(
        default_factory=list[str],
        description="Host names that requests may ask for, besides localhost and public_url's.",
    )
    allowed_networks: Names = Field(
        default_factory=list[str],
        description="Networks that addresses given by users may lie in, as 10.0.0.0/8; "
        "public ones always may.",
    )
    mail_url: SecretStr = Field(
        SecretStr(""), description="Sends notices by mail: an URL of Apprise with {address} in it."
    )
    sms_url: SecretStr = Field(
        SecretStr(""), description="Sends notices by SMS: an URL of Apprise with {address} in it."
    )
    rate_limit: int = Field(600, ge=0, description="Requests a minute and caller; 0: no limit.")
    quota_running_jobs: int | None = Field(None, ge=0)
    quota_device_hours: float | None = Field(None, ge=0)
    quota_storage_bytes: int | None = Field(None, ge=0)

    least_rows: int = Field(
        100, ge=1, description="Rows that a job needs; fewer only with data.allow_small."
    )
    remote_code_repositories: Names = Field(
        default_factory=list[str],
        description="Repositories whose own code may run, each as REPOSITORY@COMMIT.",
    )
    python_graders: bool = Field(
        False, description="Whether users may run graders that are programs, with limits but free."
    )
    model_programs: bool = Field(
        False, description="Whether evaluations run programs of models, in a sandbox alone."
    )
    billing_url: str = Field("", description="Where users read the rules of billing.")

    upload_max_bytes: int = Field(
        5 << 30, ge=1, description="Largest file of data that an upload may have."
    )
    upload_silence_seconds: float = Field(
        60.0, gt=0, description="After this long without a byte a sender counts as gone."
    )
    upload_hours: float = Field(
        24.0, gt=0, description="How long an unfinished upload is kept after its last byte."
    )

    import_roots: Names = Field(
        default_factory=list[str],
        description="Folders below which models may be imported, besides `import` in data_dir.",
    )
    github_api: str = Field(
        "https://api.github.com",
        description="Where models of GitHub are asked for; an own one has it at HOST/api/v3.",
    )
    github_token: SecretStr | None = Field(
        None, description="For private repositories, and more than 60 requests an hour."
    )
    hub_downloads: bool = Field(
        True, description="Whether jobs may name a model of a hub that nobody has imported."
    )

    oidc_issuer: str = Field("", description="Address of the identity provider; empty: no OIDC.")
    oidc_client_id: str = Field("", description="Name of this installation at the provider.")
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret there, if any.")
    oidc_scopes: Names = Field(
        default_factory=lambda: ["openid", "email", "profile"],
        description="What is asked of the provider.",
    )
    oidc_name_claim: str = Field(
        "preferred_username", description="The claim that is the name of a new user."
    )
    oidc_allowed_domains: Names = Field(
        default_factory=list[str],
        description="Domains of verified e-mail addresses that may come in; empty: all.",
    )
    oidc_create_users: bool = Field(
        False, description="Whether who signs in for the first time becomes a user."
    )
    oidc_groups_claim: str = Field("groups", description="The claim that lists groups.")
    oidc_admin_group: str = Field(
        "", description="Group whose members administrate; empty: the provider does not say."
    )

    worker_name: str = Field(
        "", description="Of this machine's worker; empty: the host. Two on one host need two."
    )
    worker_stop_seconds: float = Field(
        120.0, ge=0, description="How long a worker that ends waits for its jobs' checkpoints."
    )
    silence_seconds: float = Field(
        1770.0,
        gt=0,
        le=1770.0,
        description="An engine that lives and makes no progress for so long is ended; its job is "
        "tried again.",
    )
    least_free_bytes: int = Field(
        16 << 20, ge=0, description="With less room in data_dir a worker claims no job."
    )
    log_part_bytes: int = Field(
        64 << 20, ge=4096, description="A job's log goes on in a new file after this much."
    )
    log_parts: int = Field(4, ge=2, description="Files of a job's log that are kept.")
    devices: Annotated[list[int] | None, NoDecode, BeforeValidator(_split)] = Field(
        None, description="GPUs that the worker offers, by index; empty: all that it finds."
    )
    cpu_devices: int = Field(
        1, ge=1, description="Jobs beside each other on a worker without a GPU; they share it."
    )
    warm_engine: bool = Field(
        True, description="Keep a process with everything imported, so that jobs start at once."
    )
    engine_command: str = Field(
        "", description="Program that trains, in place of `python -m tunesmith.engine`."
    )
    flavours: Annotated[list[FlavourSetting], NoDecode, BeforeValidator(_json)] = Field(
        default_factory=list[FlavourSetting],
        description="Sizes that users choose from, with prices: name, device, devices, region, "
        "memory_gib, price (cents an hour). Those of the workers are added.",
    )

    deployment_host: str = Field(
        "127.0.0.1", description="Address that models answer on; `serve` has to reach it."
    )
    deployment_memory_gib: float = Field(
        0.0, ge=0, description="What models that answer may take together on a worker; 0: half."
    )
    deployment_devices: str = Field(
        "", description="GPUs for models that answer, as CUDA_VISIBLE_DEVICES has them; empty: all."
    )
    deployment_idle_seconds: int = Field(
        900, ge=0, description="After this long without a question a model stops; 0: never."
    )
    deployment_gate: Literal["promote", "reject", "off"] = Field(
        "promote",
        description="Which models a verdict keeps from being deployed: all but promoted ones, "
        "rejected ones, none. Models without a verdict pass.",
    )
    deployment_wait_seconds: float = Field(
        120.0, gt=0, description="How long a question waits for a model that is starting."
    )

    backup_before_upgrade: bool = Field(
        True, description="Copy the database before a new version changes its tables."
    )
    clean_every_hours: float = Field(
        24.0, ge=0, description="How often `serve` cleans up by the rules below; 0: never."
    )
    clean_checkpoints_days: int = Field(
        30, ge=0, description="Days that checkpoints of a finished job are kept; 0: for ever."
    )
    clean_deleted_days: int = Field(
        7, ge=0, description="Days that the bytes of what a user deleted are kept; 0: for ever."
    )
    clean_cache_days: int = Field(
        30, ge=0, description="Days that an unused part of the cache is kept; 0: for ever."
    )
    clean_logs_days: int = Field(
        30, ge=0, description="Days that logs and crash reports are kept; 0: for ever."
    )
    clean_requests_days: int = Field(
        30, ge=0, description="Days that questions to deployments are kept; 0: for ever."
    )
    clean_backups_days: int = Field(
        90, ge=0, description="Days that copies made before an upgrade are kept; 0: for ever."
    )

    @field_validator("admin_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                f"it needs at least {SHORTEST_TOKEN} characters, printable ASCII without spaces. "
                "Make one with `openssl rand -hex 24`"
            )
        return value

    @field_validator("secret_key")
    @classmethod
    def _long_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(len(key) < SHORTEST_KEY for key in _split(_plain(value))):
            raise ValueError(
                f"each key needs at least {SHORTEST_KEY} characters. Make one with "
                "`openssl rand -hex 32`"
            )
        return value

    @field_validator("secret_key_file")
    @classmethod
    def _there(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        try:
            key = value.expanduser().read_bytes().strip()
        except OSError as error:
            raise ValueError(f"the file cannot be read ({error.strerror})") from None
        if len(key) < SHORTEST_KEY:
            raise ValueError(f"the file needs at least {SHORTEST_KEY} characters")
        return value.expanduser().absolute()

    @field_validator("billing_url", "public_url", "github_api")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("it needs an address that begins with http:// or https://")
        return value

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        try:
            return [str(ip_network(network)) for network in value]
        except ValueError:
            raise ValueError("it needs networks such as 10.0.0.0/8, without host bits") from None

    @field_validator("mail_url", "sms_url")
    @classmethod
    def _gateway(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        gateways.check(str(info.field_name).removesuffix("_url"), value.get_secret_value())
        return value

    @field_validator("data_dir")
    @classmethod
    def _whole_path(cls, value: Path) -> Path:
        try:
            return folder_path(value).expanduser().absolute()
        except InputError as error:
            raise ValueError(error.message) from None

    @property
    def secret_keys(self) -> list[str]:
        """The keys of `secret_key`, the newest first."""
        return _split(_plain(self.secret_key)) if self.secret_key is not None else []

    @property
    def database(self) -> str:
        """The URL of the database in use; it may hold a password."""
        url = self.database_url.get_secret_value()
        return url or f"sqlite:///{self.data_dir / 'tunesmith.db'}"

    @classmethod
    def load(cls, **options: Any) -> Self:
        """The settings of this process; `options` that are None were not given.

        Raises SettingsRefused with everything that is wrong, in the variables and in the file.
        """
        options = {name: value for name, value in options.items() if value is not None}
        file = settings_file(options.get("data_dir"))
        content = read_file(file)
        problems = [*_unknown_variables(), *_unknown_keys(content, file)]
        given = _variables()
        known = {
            name: value
            for name, value in content.items()
            if name in cls.model_fields and name not in given
        }
        try:
            settings = cls(**(known | options))
        except ValidationError as error:
            sources = dict.fromkeys(known, str(file)) | dict.fromkeys(options, "option")
            problems += [_told(row, sources) for row in error.errors(include_url=False)]
            settings = None
        if settings is None or problems:
            raise _refused(problems)
        return settings


def settings_file(data_dir: Path | str | None = None) -> Path:
    """The file that settings come from; it need not exist unless TUNESMITH_SETTINGS names it."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return folder_path(data_dir or data_directory()).expanduser().absolute() / FILE_NAME


def read_file(file: Path) -> dict[str, Any]:
    """What a settings file says; nothing where there is none."""
    try:
        with storage_errors(file):
            text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if os.environ.get(FILE_VARIABLE):
            raise _refused([f"{FILE_VARIABLE} names {file}, which is not there."]) from None
        return {}
    except UnicodeDecodeError:
        raise _refused([f"{file} is no UTF-8 text."]) from None
    try:
        document = parse_yaml(text, str(file))
    except RecipeError as error:
        raise _refused([error.message], hint=error.hint) from None
    if document.problems:
        raise _refused([f"{p.path} ({file}) {p.message}" for p in document.problems])
    value = document.value
    if value is not None and not isinstance(value, dict):
        raise _refused([f"{file} holds no `name: value` lines."])
    return {str(name): entry for name, entry in cast("dict[Any, Any]", value or {}).items()}


def other_names() -> list[str]:
    """TUNESMITH_* variables that nothing reads; something else, such as Kubernetes, sets some."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(n for n in os.environ if n.upper().startswith(PREFIX) and n.upper() not in known)


def _variables() -> set[str]:
    """The settings that a variable gives, which the library reads in any case of letters."""
    return {
        name.upper().removeprefix(PREFIX).lower()
        for name, value in os.environ.items()
        if value and name.upper().startswith(PREFIX)
    }


def _unknown_variables() -> Iterable[str]:
    """Misspelt names only: a variable that is like none of ours is not meant for us."""
    known = [PREFIX + name.upper() for name in Settings.model_fields] + sorted(OTHER_VARIABLES)
    for name in other_names():
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.85)
        if near:
            yield f"{name} (variable) is no setting. Did you mean {near[0]}?"


def _unknown_keys(content: dict[str, Any], file: Path) -> Iterable[str]:
    for name in content:
        if name == "data_dir" and not os.environ.get(FILE_VARIABLE):
            yield f"data_dir ({file}) cannot move the directory that the file itself lies in."
        if name not in Settings.model_fields:
            plain = name.lower().removeprefix(PREFIX.lower()).replace("-", "_")
            near = difflib.get_close_matches(plain, Settings.model_fields, n=1, cutoff=0.5)
            guess = f" Did you mean {near[0]}?" if near else ""
            yield f"{name} ({file}) is no setting.{guess}"


def _told(row: ErrorDetails, sources: dict[str, str]) -> str:
    """One wrong value: where it stands, what is wrong; the value itself unless it is a secret."""
    name = str(row["loc"][0])
    source = sources.get(name)
    where = f"{name} ({source})" if source else f"{PREFIX}{name.upper()} (variable)"
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{where} is no setting."
    shown = "" if "SecretStr" in str(field.annotation) else f" = {str(row['input'])[:100]!r}"
    inside = "".join(f"[{part!r}]" for part in row["loc"][1:])
    own = row["type"] == "value_error"  # said by a check above, in words of ours
    message = row["msg"].removeprefix("Value error, ") if own else sentence({**row, "input": ()})
    form = f" The form is: {FLAVOURS_FORM}." if name == "flavours" else ""
    return f"{where}{inside}{shown}: {message[:1].lower()}{message[1:]}.{form}"


def _refused(problems: list[str], hint: str = "") -> SettingsRefused:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return SettingsRefused(
        f"The settings cannot be used; nothing was started:\n{lines}",
        hint=hint or "Correct them and start again; `tunesmith doctor` shows what is in use.",
        problems=problems,
    )

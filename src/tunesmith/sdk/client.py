"""The client: one attribute a noun."""

from __future__ import annotations

from types import TracebackType

from tunesmith.schemas.common import Health
from tunesmith.schemas.people import Me
from tunesmith.sdk.connection import Connection
from tunesmith.sdk.datasets import Datasets
from tunesmith.sdk.deployments import Deployments
from tunesmith.sdk.evaluations import Evaluations
from tunesmith.sdk.files import Files
from tunesmith.sdk.jobs import Jobs
from tunesmith.sdk.login import find
from tunesmith.sdk.models import Models
from tunesmith.sdk.notices import Notices
from tunesmith.sdk.people import Projects, Tokens, Users
from tunesmith.sdk.tasks import Tasks


class Client:
    """Talks to a server as one user.

    Without arguments it takes TUNESMITH_URL and TUNESMITH_TOKEN, else what `tunesmith login` has
    stored. Use it in a `with` block, or close it.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: str | None = None,
        *,
        language: str = "en",
        retries: int = 4,
    ) -> None:
        login = find(base_url, token)
        self.token = login.token
        self._connection = connection = Connection(
            login.url, login.token, language=language, retries=retries
        )
        self.tasks = Tasks(connection)
        self.files = Files(connection)
        self.datasets = Datasets(connection, self.files, self.tasks)
        self.models = Models(connection, self.tasks)
        self.jobs = Jobs(connection)
        self.deployments = Deployments(connection)
        self.evaluations = Evaluations(connection, self.tasks)
        self.users = Users(connection)
        self.projects = Projects(connection)
        self.tokens = Tokens(connection)
        self.notices = Notices(connection)

    @property
    def base_url(self) -> str:
        return self._connection.base_url

    def health(self) -> Health:
        return self._connection.get("/api/v1/health", Health)

    def me(self) -> Me:
        """Who this token belongs to, and what it may do."""
        return self._connection.get("/api/v1/me", Me)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

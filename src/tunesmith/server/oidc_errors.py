"""Why a sign-in at an identity provider did not succeed, in words that quote nobody at length."""

from __future__ import annotations

from typing import Final

from tunesmith.errors import TunesmithError
from tunesmith.server.errors import NotAuthenticated


class ProviderUnreachable(TunesmithError):
    """The identity provider did not answer as its protocol says."""

    code = "oidc_unreachable"


REFUSED: Final = {
    "other_provider": "the answer is another provider's",
    "said_no": "the provider said no",
    "no_code": "the answer holds no code",
    "no_id_token": "the provider sent no id token",
    "code_not_accepted": "the code was not accepted ({word})",
    "id_token_not_valid": "the id token does not hold ({word})",
    "nobody": "the id token names nobody",
}
NOT_FINISHED: Final = {
    "not_begun": "this browser has not begun it, or too long ago",
    "too_late": "it took too long",
    "other_sign_in": "the answer belongs to another sign-in",
    "used_before": "this answer was used before",
}


def refused(form: str, word: str = "") -> NotAuthenticated:
    """`form`: which of the reasons; `word` is what the provider or its token says."""
    return NotAuthenticated(
        f"The sign-in did not succeed: {REFUSED[form].format(word=word)}.",
        hint="Start again from the sign-in page.",
        code="oidc_refused",
        form=form,
        word=word,
    )


def not_finished(form: str) -> NotAuthenticated:
    """`form`: which of the reasons."""
    return NotAuthenticated(
        f"The sign-in was not finished: {NOT_FINISHED[form]}.",
        hint="Start again from the sign-in page.",
        code="oidc_invalid",
        form=form,
    )


def unreachable(why: str) -> ProviderUnreachable:
    return ProviderUnreachable(
        f"The identity provider cannot be used: {why}.",
        hint="Try again soon; an administrator finds its address in TUNESMITH_OIDC_ISSUER.",
    )

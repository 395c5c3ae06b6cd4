"""One's own API tokens."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.people import TokenCreate, TokenCreated, TokenRead

router = APIRouter(prefix="/tokens", tags=["people"], route_class=CallerFirst)


@router.post("", status_code=201)
def create_token(body: TokenCreate, caller: CallerDep, platform: PlatformDep) -> TokenCreated:
    """Make a token; its secret is in this answer and nowhere else."""
    token, secret = platform.tokens.create(
        caller,
        body.name,
        scopes=set(body.scopes),
        project_id=body.project_id,
        lifetime=timedelta(days=body.lifetime_days) if body.lifetime_days else None,
    )
    return TokenCreated(**TokenRead.model_validate(token).model_dump(), secret=secret)


@router.get("")
def list_tokens(
    caller: CallerDep, platform: PlatformDep, after: After = None, limit: Limit = 100
) -> Listed[TokenRead]:
    return listed(platform.tokens.list(caller, after=after, limit=limit), TokenRead)


@router.delete("/{token_id}", status_code=204)
def revoke_token(token_id: str, caller: CallerDep, platform: PlatformDep) -> None:
    """The token counts no more from this moment on."""
    platform.tokens.revoke(caller, token_id)

"""Subscriptions to what happens to jobs and deployments, and the log of what was sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query

from tunesmith.api.dependencies import After, CallerDep, CallerFirst, Limit, PlatformDep
from tunesmith.api.listed import listed
from tunesmith.schemas.common import Listed
from tunesmith.schemas.notices import (
    SentNoticeRead,
    SubscriptionCreate,
    SubscriptionRead,
    SubscriptionSecret,
    SubscriptionUpdate,
)
from tunesmith.server.services.notices import NewSubscription, SubscriptionView

router = APIRouter(tags=["notices"], route_class=CallerFirst)
_ID = r"^[\w.:-]+$"
SubscriptionId = Annotated[str, Path(max_length=100, pattern=_ID)]


@router.post("/subscriptions", status_code=201)
def create_subscription(
    body: SubscriptionCreate, caller: CallerDep, platform: PlatformDep
) -> SubscriptionSecret:
    """Be told of a job, or of all of a project. A webhook's secret is shown this once."""
    made, secret = platform.notices.subscribe(caller, NewSubscription(**body.model_dump()))
    return _with_secret(made, secret)


@router.get("/subscriptions")
def list_subscriptions(
    caller: CallerDep,
    platform: PlatformDep,
    project_id: Annotated[str | None, Query(max_length=100)] = None,
    job_id: Annotated[str | None, Query(max_length=100, pattern=_ID)] = None,
    after: After = None,
    limit: Limit = 20,
) -> Listed[SubscriptionRead]:
    """One's own of a project, newest first; admins of the project see all of it."""
    page = platform.notices.list(caller, project_id, job_id=job_id, after=after, limit=limit)
    return listed(page, SubscriptionRead)


@router.get("/subscriptions/{subscription_id}")
def get_subscription(
    subscription_id: SubscriptionId, caller: CallerDep, platform: PlatformDep
) -> SubscriptionRead:
    return SubscriptionRead.model_validate(platform.notices.get(caller, subscription_id))


@router.patch("/subscriptions/{subscription_id}")
def update_subscription(
    subscription_id: SubscriptionId,
    body: SubscriptionUpdate,
    caller: CallerDep,
    platform: PlatformDep,
) -> SubscriptionRead:
    """Other events, another address, off or on again."""
    changed = platform.notices.update(caller, subscription_id, **body.model_dump())
    return SubscriptionRead.model_validate(changed)


@router.delete("/subscriptions/{subscription_id}", status_code=204)
def delete_subscription(
    subscription_id: SubscriptionId, caller: CallerDep, platform: PlatformDep
) -> None:
    """Gone with the log of what was sent; what waits is not sent."""
    platform.notices.delete(caller, subscription_id)


@router.post("/subscriptions/{subscription_id}/secret")
def rotate_secret(
    subscription_id: SubscriptionId, caller: CallerDep, platform: PlatformDep
) -> SubscriptionSecret:
    """A new secret for a webhook, shown this once; for a day the old one signs, too."""
    return _with_secret(*platform.notices.rotate_secret(caller, subscription_id))


@router.post("/subscriptions/{subscription_id}/test")
def send_test(
    subscription_id: SubscriptionId, caller: CallerDep, platform: PlatformDep
) -> SentNoticeRead:
    """Send a test now, once, and say what came of it."""
    return SentNoticeRead.model_validate(platform.notices.test(caller, subscription_id))


@router.get("/notices")
def list_notices(
    subscription_id: Annotated[str, Query(max_length=100, pattern=_ID)],
    caller: CallerDep,
    platform: PlatformDep,
    after: After = None,
    limit: Limit = 20,
) -> Listed[SentNoticeRead]:
    """What was sent for a subscription or is to be, newest first, with every try."""
    page = platform.notices.deliveries(caller, subscription_id, after=after, limit=limit)
    return listed(page, SentNoticeRead)


def _with_secret(shown: SubscriptionView, secret: str | None) -> SubscriptionSecret:
    return SubscriptionSecret(**asdict(shown), secret=secret)

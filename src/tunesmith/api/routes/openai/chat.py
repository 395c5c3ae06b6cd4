"""Asking a model: base, fine-tuned, or a checkpoint. The answer comes from its serving process."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tunesmith.api.dependencies import CallerDep, CallerFirst, PlatformDep
from tunesmith.api.questions import Question, ask
from tunesmith.schemas.openai.chat import ChatAnswer, ChatQuestion, TextQuestion

router = APIRouter(tags=["chat"], route_class=CallerFirst)


@router.post("/chat/completions", response_model=ChatAnswer)
async def chat(
    body: ChatQuestion, request: Request, caller: CallerDep, platform: PlatformDep
) -> Response:
    """Answer a conversation. A model that is not running is started first."""
    return await ask(
        request, platform, caller, Question("chat", body.model_dump(exclude_unset=True))
    )


@router.post("/completions", response_model=ChatAnswer)
async def complete(
    body: TextQuestion, request: Request, caller: CallerDep, platform: PlatformDep
) -> Response:
    """Continue a text."""
    question = Question("completion", body.model_dump(exclude_unset=True))
    return await ask(request, platform, caller, question)

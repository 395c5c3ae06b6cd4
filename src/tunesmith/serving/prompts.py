"""From the body of a request to orders for the engine: tokens, sampling, limits.

Rendering a template takes as long as its author likes, so `app.py` calls this in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.conversation import Conversation
from tunesmith.data.messages import RowUnusable, read_message, read_tools
from tunesmith.errors import InputError
from tunesmith.serving.errors import PromptTooLong
from tunesmith.serving.forced import Expected, ForcedCall
from tunesmith.serving.order import Order, Sampling
from tunesmith.serving.tools import ToolFormat
from tunesmith.serving.vocabulary import vocabulary_of
from tunesmith.serving.voices import Voice
from tunesmith.serving.wire import ChatBody, CompletionBody, Generation

MOST_PROMPTS = 2048


@dataclass(frozen=True)
class Asked:
    """The orders of one request, choice by choice, and what is needed to write its answer."""

    voice: Voice
    orders: tuple[Order, ...]
    prompt_tokens: int
    tools: ToolFormat | None = None
    forced: ForcedCall | None = None


def chat_orders(body: ChatBody, voice: Voice, context: int | None) -> Asked:
    """What a chat asks for."""
    conversation = _conversation(body)
    tools = _tools(body)
    prompt = voice.chat_ids(conversation, tools)
    found = voice.tool_format if tools else None
    forced = _forced(body, found)
    if forced is not None:
        vocabulary_of(voice.tokenizer)  # sorted here, not in the engine's thread
        prompt = [*prompt, *voice.tokenizer.encode(forced.given)]
    wanted = body.max_completion_tokens or body.max_tokens
    order = _order(
        body,
        voice,
        prompt,
        _room(prompt, wanted, voice.context_of(context)),
        stop_ids=voice.stop_ids,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        keep_special=found is not None,
        expected=forced and forced.expected(),
    )
    if body.top_logprobs and not body.logprobs:
        raise InputError(
            "top_logprobs needs logprobs: true.", code="invalid_value", param="top_logprobs"
        )
    return Asked(voice, _choices(order, body), len(prompt), found, forced)


def text_orders(body: CompletionBody, voice: Voice, context: int | None) -> Asked:
    """What a completion asks for; `n` answers to each prompt, prompt by prompt."""
    orders: list[Order] = []
    total = 0
    for prompt in _prompts(body, voice):
        wanted = 16 if body.max_tokens is None else body.max_tokens
        room = _room(prompt, wanted, voice.context_of(context), may_be_full=wanted == 0)
        order = _order(
            body,
            voice,
            prompt,
            room,
            stop_ids=voice.text_stop_ids,
            logprobs=body.logprobs,
            prompt_logprobs=body.echo and body.logprobs is not None,
        )
        orders += _choices(order, body)
        total += len(prompt)
    return Asked(voice, tuple(orders), total)


# ---------------------------------------------------------------- prompts


def _conversation(body: ChatBody) -> Conversation:
    messages = []
    for number, turn in enumerate(body.messages):
        try:
            message = read_message(turn)
            if message.role != "assistant" and turn.get("content", turn.get("value")) is None:
                raise RowUnusable("content_is_missing")
            messages.append(message)
        except RowUnusable as problem:
            raise InputError(
                f"messages.{number} cannot be read: {str(problem).replace('_', ' ')}.",
                hint="A turn has a role (system, user, assistant, tool) and text as its content.",
                code="invalid_message",
                param=f"messages.{number}",
            ) from problem
    return Conversation(tuple(messages))


def _tools(body: ChatBody) -> Sequence[Mapping[str, Any]] | None:
    """The tools for the template."""
    choice = body.tool_choice
    if not body.tools or choice == "none":
        return None
    try:
        tools = read_tools(body.tools)
        if not all(_names(tools)):
            raise RowUnusable("a_tool_has_no_name")
        return tools
    except RowUnusable as problem:
        raise InputError(
            f"tools cannot be read: {str(problem).replace('_', ' ')}.",
            code="invalid_tools",
            param="tools",
        ) from problem


def _names(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the functions are called; nothing for one without a name."""
    functions = [tool.get("function", tool) for tool in tools]
    return [str(each.get("name") or "") if isinstance(each, dict) else "" for each in functions]


def _forced(body: ChatBody, form: ToolFormat | None) -> ForcedCall | None:
    """The call that `tool_choice` demands; InputError where that cannot be."""
    choice = body.tool_choice
    if choice in (None, "auto", "none"):
        return None
    names = _names(body.tools or [])
    wanted = names if choice == "required" else [_chosen(choice)]
    if not names or not set(wanted) <= set(names):
        raise InputError(
            f"tool_choice asks for {', '.join(wanted) or 'a tool'}, which tools does not have.",
            code="invalid_value",
            param="tool_choice",
        )
    if form is None or form.words is None:
        raise InputError(
            "The template of this model writes no calls that could be asked for.",
            hint="Leave tool_choice out, and say in the system message when a tool must be used.",
            code="unsupported_value",
            param="tool_choice",
        )
    return ForcedCall(tuple(dict.fromkeys(wanted)), *form.words)


def _chosen(choice: str | dict[str, Any] | None) -> str:
    """The name in `{"type": "function", "function": {"name": NAME}}`."""
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise InputError(
            "tool_choice is auto, none, required, or one function.",
            hint='Such as {"type": "function", "function": {"name": "look_up"}}.',
            code="invalid_value",
            param="tool_choice",
        )
    return name


def _prompts(body: CompletionBody, voice: Voice) -> list[list[int]]:
    given = body.prompt
    if isinstance(given, str):
        texts: list[Any] = [given]
    elif given and isinstance(given[0], int):
        texts = [given]
    else:
        texts = list(given)
    if not texts or len(texts) > MOST_PROMPTS:
        raise InputError(
            f"A request has from 1 to {MOST_PROMPTS:,} prompts, not {len(texts):,}.",
            code="invalid_value",
            param="prompt",
        )
    prompts = [voice.text_ids(one) if isinstance(one, str) else list(one) for one in texts]
    size = voice.num_tokens
    for ids in prompts:
        unknown = [token for token in ids if not 0 <= token < size]
        if unknown:
            raise InputError(
                f"Token {unknown[0]} is not in the vocabulary of {size:,} tokens.",
                code="invalid_value",
                param="prompt",
            )
    return prompts


def _room(
    prompt: Sequence[int], wanted: int | None, context: int | None, *, may_be_full: bool = False
) -> int:
    """How many tokens the answer may have; PromptTooLong where there is room for none."""
    if not prompt:
        raise InputError(
            "There is nothing to answer: the prompt is empty.", code="empty_prompt", param="prompt"
        )
    if context is None:
        return 1 << 30 if wanted is None else wanted
    left = context - len(prompt)
    if left < 0 or (left == 0 and not may_be_full):
        raise PromptTooLong(
            f"The prompt has {len(prompt):,} tokens; the context of this model is {context:,}.",
            hint="Shorten the conversation.",
            param="messages",
            prompt_tokens=len(prompt),
            context=context,
        )
    return left if wanted is None else min(wanted, left)


# ---------------------------------------------------------------- settings


def _order(
    body: Generation,
    voice: Voice,
    prompt: Sequence[int],
    room: int,
    *,
    stop_ids: frozenset[int],
    logprobs: int | None,
    prompt_logprobs: bool = False,
    keep_special: bool = False,
    expected: Expected | None = None,
) -> Order:
    return Order(
        tuple(prompt),
        room,
        _sampling(body, voice),
        frozenset() if body.ignore_eos else stop_ids,
        body.stops,
        logprobs,
        prompt_logprobs,
        keep_special,
        voice.adapter,
        voice.tokenizer,
        expected,
    )


def _sampling(body: Generation, voice: Voice) -> Sampling:
    """The request's own settings, then the advice of the model's authors, then greedy."""
    advised = dict(voice.advised) if body.temperature is None else {}
    if not advised.get("do_sample"):
        advised = {}
    temperature = body.temperature
    if temperature is None:
        # Several answers, or a share of the likeliest tokens, only make sense where one draws.
        draws = body.n > 1 or body.top_p is not None or body.top_k is not None
        temperature = float(advised.get("temperature", 1.0)) if advised or draws else 0.0
    top_k = body.top_k if body.top_k is not None else advised.get("top_k", 0)
    return Sampling(
        temperature=temperature,
        top_p=float(_first(body.top_p, advised.get("top_p"), 1.0)),
        top_k=max(int(top_k or 0), 0),
        min_p=float(_first(body.min_p, advised.get("min_p"), 0.0)),
        repetition_penalty=float(
            _first(body.repetition_penalty, advised.get("repetition_penalty"), 1.0)
        ),
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=_biases(body, voice),
        seed=int.from_bytes(os.urandom(8), "big") if body.seed is None else body.seed,
    )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _biases(body: Generation, voice: Voice) -> dict[int, float]:
    found: dict[int, float] = {}
    for key, bias in (body.logit_bias or {}).items():
        if not key.isascii() or not key.isdigit() or int(key[:20]) >= voice.num_tokens:
            raise InputError(
                f"logit_bias has {key[:40]!r}, which is no token of this model.",
                code="invalid_value",
                param="logit_bias",
            )
        found[int(key)] = bias
    return found


def _choices(order: Order, body: Generation) -> tuple[Order, ...]:
    """`n` orders with seeds of their own; the first has the seed of the request."""
    from dataclasses import replace

    seed = order.sampling.seed
    return tuple(
        replace(order, sampling=replace(order.sampling, seed=seed + number * 0x9E3779B1))
        for number in range(body.n)
    )

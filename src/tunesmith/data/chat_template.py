"""Compiles chat templates in a sandbox that offers what transformers offers to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.data.conversation import Message
from tunesmith.data.names import TEMPLATES
from tunesmith.data.tokenizer import SPECIAL_NAMES, TextTokenizer
from tunesmith.errors import DataError

_VALUE_ERRORS = (TypeError, ValueError, LookupError)  # what operations in a template may raise


class TemplateRefused(ValueError):
    """The template does not accept these messages, such as two user turns in a row."""


class _GenerationTag(jinja2.ext.Extension):
    """Accepts `{% generation %}` blocks; the mask is found without them."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def environment() -> ImmutableSandboxedEnvironment:
    """The sandbox in which templates run."""
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    env.filters["tojson"] = _tojson
    globals_: dict[str, Any] = env.globals  # the stubs only know Jinja's own
    globals_ |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    return env


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


class ChatTemplate:
    """One compiled template with the special tokens of its tokenizer."""

    def __init__(self, source: str, tokenizer: TextTokenizer) -> None:
        env = environment()
        named = {name: tokenizer.special(name) for name in SPECIAL_NAMES}
        specials = {name: token for name, token in named.items() if token is not None}
        try:
            self._render: Callable[..., str] = env.from_string(source, globals=specials).render
        except jinja2.TemplateSyntaxError as error:
            raise DataError(
                f"The chat template has a mistake in line {error.lineno}: {error.message}",
                hint="Mend the template, or name a built-in one in data.chat_template.",
            ) from error
        self.syntax = env.parse(source)

    def __call__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        generate: bool = False,
    ) -> str:
        """The text of some messages; `generate` ends it where the model would begin to answer."""
        try:
            return self._render(
                messages=[message.for_template() for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                documents=None,
                add_generation_prompt=generate,
            )
        except (jinja2.TemplateError, ArithmeticError, AttributeError, *_VALUE_ERRORS) as error:
            raise TemplateRefused(str(error)) from error


def builtin_template(name: str) -> str:
    """The source of a template that comes with the product."""
    folder = resources.files("tunesmith.data") / "templates"
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


def find_template(
    wanted: str | None, tokenizer: TextTokenizer, base_dir: Path | None = None
) -> tuple[str, str]:
    """The template's source and where it comes from: a file, a built-in one, or the tokenizer."""
    if wanted in TEMPLATES:
        return builtin_template(wanted), f"built-in {wanted}"
    if wanted is not None:
        return _template_file(wanted, base_dir), wanted
    if tokenizer.chat_template:
        return tokenizer.chat_template, "tokenizer"
    has_chatml = {"<|im_start|>", "<|im_end|>"} <= tokenizer.added_tokens.keys()
    name = "chatml" if has_chatml else "alpaca"
    return builtin_template(name), f"default {name}"


def _template_file(wanted: str, base_dir: Path | None) -> str:
    file = (base_dir or Path()) / wanted
    if not file.is_file():
        raise DataError(
            f"data.chat_template: there is no file {wanted}.",
            hint=f"Name a file, or one of {', '.join(TEMPLATES)}. A relative path starts at the "
            "recipe's folder, or at the current one.",
        )
    return file.read_text(encoding="utf-8")

"""Is a chat template safe to use? It is tried in a process that may be ended.

    python -m tunesmith.models.templates   < {"source": ..., "specials": {...}}   > {"refused": ...}

The sandbox of Jinja keeps a template from reaching Python, not from running for ever or filling
the memory. So the first try of a template that came from elsewhere has limits of the operating
system, and a template that meets them is refused.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError

from tunesmith.data.chat_template import environment
from tunesmith.errors import ModelError
from tunesmith.models.files import read_json

CPU_SECONDS: Final = 2
WALL_SECONDS: Final = 15.0
MEMORY_BYTES: Final = 512 * 1024 * 1024
LONGEST_SOURCE: Final = 1_000_000
LONGEST_TEXT: Final = 1_000_000  # of the few short turns of a try
_SPECIALS: Final = ("bos_token", "eos_token", "pad_token", "unk_token")
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def check_templates(directory: Path) -> int:
    """Try every chat template of a model folder; the number of them. ModelError for a bad one."""
    specials, sources = _read(directory)
    for name, source in sources.items():
        if len(source) > LONGEST_SOURCE:
            raise _refused(name, f"it has more than {LONGEST_SOURCE:,} characters")
        why = _try(source, specials)
        if why:
            raise _refused(name, why)
    return len(sources)


def _read(directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Special tokens, and the templates by where they stand."""
    file = directory / "tokenizer_config.json"
    settings: Any = read_json(file) if file.is_file() else {}
    if not isinstance(settings, dict):
        raise ModelError(
            f"{file.name} does not hold a JSON object.",
            code="tokenizer_broken",
            file=file.name,
        )
    config = cast("dict[str, Any]", settings)
    specials = {name: _text(config.get(name)) for name in _SPECIALS}
    sources: dict[str, str] = {}
    given = config.get("chat_template")
    if isinstance(given, str):
        sources[f"{file.name}: chat_template"] = given
    elif isinstance(given, list):
        for number, entry in enumerate(cast("list[Any]", given)):
            text = entry.get("template") if isinstance(entry, dict) else None
            if not isinstance(text, str):
                raise _refused(f"{file.name}: chat_template {number}", "it holds no text")
            sources[f"{file.name}: chat_template {number}"] = text
    elif given is not None:
        raise _refused(f"{file.name}: chat_template", "it holds no text")
    files = [directory / "chat_template.jinja", *sorted(directory.glob("*_templates/*.jinja"))]
    for path in files:
        if path.is_file():
            sources[path.name] = _file_text(path)
    old = directory / "chat_template.json"
    if old.is_file():
        content = read_json(old)
        text = content.get("chat_template") if isinstance(content, dict) else None
        if isinstance(text, str):
            sources[old.name] = text
    return {name: token for name, token in specials.items() if token}, sources


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("content")
    return value if isinstance(value, str) else ""


def _file_text(path: Path) -> str:
    if path.stat().st_size > 4 * LONGEST_SOURCE:
        raise _refused(path.name, f"it has more than {LONGEST_SOURCE:,} characters")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refused(path.name, "it is no UTF-8 text") from error


def _try(source: str, specials: dict[str, str]) -> str | None:
    """Why a template is refused; None for one that may be used."""
    order = json.dumps({"source": source, "specials": specials})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tunesmith.models.templates"],
            input=order.encode(),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {WALL_SECONDS:.0f} seconds"
    if done.returncode == 0:
        return json.loads(done.stdout)["refused"]
    if done.returncode < 0:
        return f"it did not end within {CPU_SECONDS} seconds"
    return "it took more memory than a template may, or broke the process that tried it"


def _refused(name: str, why: str) -> ModelError:
    return ModelError(
        f"Refused: the chat template in {name} is not safe to use: {why}.",
        hint="Replace it by the template of the model's own repository, or remove it and name a "
        "built-in one in data.chat_template.",
        code="chat_template_refused",
        file=name,
    )


def _main() -> int:
    order = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        why = _verdict(order["source"], order["specials"])
    except (MemoryError, RecursionError):
        return 1
    sys.stdout.write(json.dumps({"refused": why}))
    return 0


def _verdict(source: str, specials: dict[str, str]) -> str | None:
    env = environment()
    try:
        reached = _reached(env.parse(source))
        template = env.from_string(source, globals=specials)
    except jinja2.TemplateSyntaxError as error:
        return f"line {error.lineno} has a mistake: {error.message}"
    if reached:
        return f"it reaches for {reached}, an inner part of Python"
    for conversation in _conversations():
        try:
            text = template.render(**conversation)
        except SecurityError as error:
            return f"the sandbox stopped it: {error}"
        except (jinja2.TemplateError, ArithmeticError, AttributeError, *_VALUES) as error:
            del error  # it does not take this conversation, which is its right
            continue
        if len(text) > LONGEST_TEXT:
            return f"it makes {len(text):,} characters of a short dialogue"
    return None


_VALUES: Final = (TypeError, ValueError, LookupError)


def _reached(syntax: nodes.Template) -> str | None:
    """A name with two underscores that the template looks up, in whatever way it writes that."""
    for node in syntax.find_all((nodes.Getattr, nodes.Const)):
        name = node.attr if isinstance(node, nodes.Getattr) else node.value
        if isinstance(name, str) and name.startswith("__") and name.endswith("__") and name[2:-2]:
            return name
    return None


def _conversations() -> list[dict[str, Any]]:
    """What a template is tried with: plain, with a system message, with tools."""
    user, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    system = {"role": "system", "content": "Be brief."}
    lists: list[tuple[list[dict[str, str]], list[Any] | None]] = [
        ([user], None),
        ([user, answer], None),
        ([system, user, answer, user], None),
        ([system, user], [_TOOL]),
    ]
    return [
        {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": messages[-1] is user,
        }
        for messages, tools in lists
    ]


if __name__ == "__main__":
    sys.exit(_main())

"""The documents say what is true: recipes load, commands exist, links resolve, names are known."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from tunesmith.cli.main import COMMANDS
from tunesmith.errors import TunesmithError
from tunesmith.recipe import explain, loads

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tunesmith"
PAIRS = [
    ("README.md", "README.zh.md"),
    ("docs/guide.md", "docs/guide.zh.md"),
    ("docs/data-quality.md", "docs/data-quality.zh.md"),
    ("docs/operating.md", "docs/operating.zh.md"),
    ("docs/faults.md", "docs/faults.zh.md"),
    ("docs/openai.md", "docs/openai.zh.md"),
    ("docs/platform.md", "docs/platform.zh.md"),
    ("docs/evaluate.md", "docs/evaluate.zh.md"),
    ("docs/export.md", "docs/export.zh.md"),
    ("docs/console.md", "docs/console.zh.md"),
    ("docs/trace.md", "docs/trace.zh.md"),
    ("docs/performance.md", "docs/performance.zh.md"),
]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "recipes/*.md", "benchmarks/*.md", "tools/**/*.md")
    for path in ROOT.glob(pattern)
)
WRITTEN = [name for name in DOCUMENTS if not name.startswith("docs/parameters")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_ENDS = {"|", ">", ">>", "&&", ";", "&"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[tuple[str, str]]:
    """Language and content of each code block."""
    return FENCE.findall(text_of(name))


def prose(name: str) -> str:
    return FENCE.sub("", text_of(name))


# ---------------------------------------------------------------- recipes


def recipe_blocks() -> Iterator[Any]:
    for name in WRITTEN:
        for number, (language, content) in enumerate(blocks(name)):
            if language in ("yaml", "yml"):
                yield pytest.param(content, id=f"{name}-{number}")


@pytest.mark.parametrize("content", list(recipe_blocks()))
def test_every_recipe_in_the_documents_loads(content: str) -> None:
    mapping = yaml.safe_load(content)
    if {"model", "data"} <= mapping.keys():
        assert loads(content).recipe
    else:  # a fragment: completed with what every recipe needs
        whole = {"model": "starter", "data": {"train": ["rows.jsonl"]}} | mapping
        assert loads(yaml.safe_dump(whole)).recipe


# ---------------------------------------------------------------- commands


def command_lines(name: str) -> Iterator[str]:
    """Lines that call tunesmith, in code blocks and in inline code."""
    lines = [line for _, content in blocks(name) for line in content.splitlines()]
    lines += re.findall(r"(?<!`)`(tunesmith [^`]+)`(?!`)", prose(name))
    for line in lines:
        if re.match(r"\s*(\S*/bin/)?tunesmith\s", line):
            yield line.strip()


def words_of(line: str) -> list[str]:
    """`a/bin/tunesmith plan x.yaml > y  # why` -> [plan, x.yaml]."""
    words = shlex.split(line, comments=True)[1:]
    end = next((number for number, word in enumerate(words) if word in SHELL_ENDS), len(words))
    return [word for word in words[:end] if word != "--debug"]


def is_placeholder(word: str) -> bool:
    """COMMAND and its Chinese counterpart stand for any command."""
    return word.isupper() or not word.isascii()


def check_command(words: list[str]) -> None:
    """Raise where a command or an option does not exist."""
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version", "-h"), words[0]
        return
    assert words[0] in COMMANDS, f"there is no command {words[0]}"
    takes_fields = words[0] in ("train", "plan", "recipe")
    command: Any = get_command(import_module(COMMANDS[words[0]].module).app)
    words = words[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    context = command.context_class(command, info_name="tunesmith")
    command.make_parser(context).parse_args(list(words))
    for word in words:
        if takes_fields and re.match(r"[\w.]+=", word):
            explain(word.split("=")[0])


def all_command_lines() -> Iterator[Any]:
    recipes = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("recipes/*.yaml"))]
    for name in [*WRITTEN, *recipes]:
        lines = command_lines(name)
        if name.endswith(".yaml"):  # the comment on top says how to run it
            comments = (line.lstrip("# ") for line in text_of(name).splitlines())
            lines = (line for line in comments if line.startswith("tunesmith "))
        for line in dict.fromkeys(lines):
            words = words_of(line)
            if words and not is_placeholder(words[0]):
                yield pytest.param(words, id=f"{name}: {line[:60]}")


@pytest.mark.parametrize("words", list(all_command_lines()))
def test_every_command_in_the_documents_exists_with_its_options(words: list[str]) -> None:
    check_command(words)


@pytest.mark.parametrize(
    "words", [["train", "--nothing"], ["nothing"], ["recipe", "nothing"], ["plan", "a.yaml", "b=1"]]
)
def test_a_command_that_does_not_exist_would_be_found(words: list[str]) -> None:
    with pytest.raises(
        Exception, match=r"(?i)no such option|there is no|unknown|no field"
    ) as found:
        check_command(words)
    assert isinstance(found.value, AssertionError | TunesmithError) or "option" in str(found.value)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_make_target_in_the_documents_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    code = "\n".join([*(c for _, c in blocks(name)), *re.findall(r"`([^`\n]+)`", prose(name))])
    assert set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE)) <= targets


# ---------------------------------------------------------------- links and names


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def headings(name: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(name), re.MULTILINE)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_resolves(name: str) -> None:
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        if not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            known = {slug(heading) for heading in headings(file.relative_to(ROOT).as_posix())}
            if anchor not in known:
                broken.append(target)
    assert not broken


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_chinese_document_has_the_same_parts(english: str, chinese: str) -> None:
    def parts(name: str) -> tuple[list[int], list[str], int]:
        levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(name), re.MULTILINE)]
        rows = len(re.findall(r"^\|", prose(name), re.MULTILINE))
        return levels, [language for language, _ in blocks(name)], rows

    assert parts(english) == parts(chinese)


def test_the_chinese_figures_are_the_english_ones() -> None:
    def figures(name: str) -> list[list[str]]:
        rows = re.findall(r"^\|.+", prose(name), re.MULTILINE)
        return [sorted(re.findall(r"\d[\d,.]*\d|\d", row)) for row in rows]

    assert figures("docs/performance.md") == figures("docs/performance.zh.md")


@pytest.mark.parametrize("language", [".md", ".zh.md"])
def test_every_variable_that_the_code_reads_is_documented(language: str) -> None:
    guides = ("guide", "operating", "platform")
    told = "".join(text_of(f"docs/{guide}{language}") for guide in guides)
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    variables = set(re.findall(r"TUNESMITH_[A-Z_]+", code))
    assert "TUNESMITH_DATA_DIR" in variables
    missing = {variable for variable in variables if f"`{variable}`" not in told}
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_names_a_place_on_somebody_s_machine(name: str) -> None:
    assert not re.findall(r"(?<![\w.])/(?:work|tmp|root|home|Users|mnt|opt)/\S*", text_of(name))


def test_every_file_that_the_architecture_names_exists() -> None:
    text = prose("docs/architecture.md")
    named = set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.\w+)[`:]", text))
    places = (ROOT, SOURCE)
    missing = {
        name
        for name in named
        if not name.startswith("step-") and not any((place / name).exists() for place in places)
    }
    assert len(named) > 10
    assert not missing


def emitted_events() -> Iterator[tuple[str, list[str]]]:
    """Type and named fields of each event that the engine writes."""
    for file in sorted((SOURCE / "engine").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            kind = node.args[0]
            is_emit = isinstance(node.func, ast.Attribute) and node.func.attr == "emit"
            if is_emit and isinstance(kind, ast.Constant):
                yield str(kind.value), sorted(word.arg for word in node.keywords if word.arg)


@pytest.mark.parametrize(("kind", "fields"), list(emitted_events()))
def test_every_event_is_documented_with_its_fields(kind: str, fields: list[str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", prose("docs/architecture.md"), re.MULTILINE)
    documented = {name: set(re.findall(r"\w+", told)) for name, told in rows}
    assert kind in documented
    assert set(fields) - documented[kind] <= {"attempt"}  # every event has it


@pytest.mark.parametrize(
    ("name", "words"), [("README.md", "{} customer-service"), ("README.zh.md", "{} 条中英文")]
)
def test_the_readme_counts_the_rows_of_the_demo(name: str, words: str) -> None:
    rows = SOURCE / "examples" / "customer-service" / "train.jsonl"
    assert words.format(len(rows.read_text(encoding="utf-8").splitlines())) in text_of(name)

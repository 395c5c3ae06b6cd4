"""The rules of the code that no linter knows: read order, imports of torch, sizes, no silence.

Import directions between the packages are the contracts of import-linter, in `make check`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tunesmith"
MODULES = sorted(SOURCE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in MODULES if path.name == "__init__.py")
TORCH_FREE = (
    "tunesmith.cli.main",
    "tunesmith.cli.train",
    "tunesmith.recipe",
    "tunesmith.recipe.convert",
    "tunesmith.data.prepare",
    "tunesmith.data.batches",
    "tunesmith.runs",
    "tunesmith.runs.launch",
    "tunesmith.server.sweep",
    "tunesmith.server.services.jobs",
    "tunesmith.server.migrations.upgrade",
    "tunesmith.evaluation.curves",
    "tunesmith.evaluation.compare",
    "tunesmith.evaluation.intent",
    "tunesmith.cli.evaluate",
    "tunesmith.cli.demo",
)
HEAVY = ("torch", "transformers", "peft")
# What we aim at, and what no file or function may pass.
AIM_FUNCTION, MOST_FUNCTION = 60, 120
AIM_FILE, MOST_FILE = 600, 800


@dataclass(frozen=True)
class Function:
    """A function and its lines, from `def` to the last one."""

    file: Path
    name: str
    lines: int


def functions() -> Iterator[Function]:
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield Function(file, node.name, node.end_lineno - node.lineno + 1)


def lines_of(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_the_docstring_of_a_package_names_the_file_to_read_first(package: Path) -> None:
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    named = re.search(r"Read `([^`]+)` first", docstring)
    assert named, f"{package.name} has no 'Read `file` first' in its docstring"
    assert (package / named[1]).is_file(), f"{package.name} has no file {named[1]}"


@pytest.mark.parametrize("file", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_module_says_what_it_is(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert docstring
    assert "placeholder" not in docstring.lower()


@pytest.mark.parametrize("module", TORCH_FREE)
def test_only_the_engine_loads_torch(module: str) -> None:
    code = f"import sys, {module}\nsys.exit(', '.join({{*{HEAVY!r}}} & {{*sys.modules}}) or 0)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{module} imports {done.stderr}"


def test_every_module_of_the_torch_free_packages_names_no_heavy_import() -> None:
    """Also not inside functions, which a fresh interpreter does not show."""
    found = [
        f"{file.relative_to(SOURCE)}:{node.lineno} {name}"
        for file in MODULES
        if file.relative_to(SOURCE).parts[0] not in ("engine", "serving")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name.split(".")[0] in HEAVY
    ]
    assert not found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def test_no_error_is_caught_to_be_forgotten() -> None:
    """`except ...: pass` hides what a user should know; `contextlib.suppress` names a reason."""
    silent = [
        f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    assert not silent


def test_functions_and_files_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what is longer than we aim at; fails only where it is far longer."""
    long_functions = sorted(
        (f for f in functions() if f.lines > AIM_FUNCTION), key=lambda f: -f.lines
    )
    long_files = [(file, lines_of(file)) for file in MODULES if lines_of(file) > AIM_FILE]
    with capsys.disabled():
        for function in long_functions:
            place = function.file.relative_to(SOURCE)
            print(f"\n{function.lines} lines: {place} {function.name}", end="")  # noqa: T201
        for file, lines in long_files:
            print(f"\n{lines} lines: {file.relative_to(SOURCE)}", end="")  # noqa: T201
    assert all(function.lines <= MOST_FUNCTION for function in long_functions)
    assert all(lines <= MOST_FILE for _, lines in long_files)

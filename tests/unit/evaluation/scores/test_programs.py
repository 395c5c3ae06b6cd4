"""Programs of a model in the sandbox, and scorers of a user in their process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import InputError
from tunesmith.evaluation.sandbox import NoSandbox, Sandbox, find_sandbox
from tunesmith.evaluation.scores.code import code_score, unit_tests
from tunesmith.evaluation.scores.custom import ScorerFailed, custom_scores
from tunesmith.evaluation.workers.process import Limits

ADD = "def add(a, b):\n    return a + b\n"
TESTS = {"test": "assert add(1, 2) == 3\nassert add(0, 0) == 0"}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox()
    except NoSandbox as error:
        pytest.skip(str(error))


def passes(sandbox: Sandbox, program: str, extra: dict[str, Any] = TESTS) -> bool:
    return code_score([program], [extra], sandbox, seconds=3).rows[0] == 1.0


def test_a_program_passes_when_its_tests_do(sandbox: Sandbox) -> None:
    assert passes(sandbox, ADD)
    assert passes(sandbox, f"Here it is:\n```python\n{ADD}```\nHave fun.")
    assert not passes(sandbox, ADD.replace("+", "-"))
    assert not passes(sandbox, "no program at all")
    human = {"test": "def check(f):\n    assert f(2, 2) == 4", "entry_point": "add"}
    assert passes(sandbox, ADD, human)
    assert not passes(
        sandbox, ADD.replace("+", "*") + "    return 1", {"tests": ["assert add(1, 2) == 3"]}
    )


@pytest.mark.parametrize("early", ["import sys\nsys.exit(0)", "import os\nos._exit(0)"])
def test_leaving_before_the_tests_passes_nothing(sandbox: Sandbox, early: str) -> None:
    assert not passes(sandbox, early)


HOSTILE = {
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)",
    "file of a user": "open({secret!r}).read()",
    "write": "open({place!r}, 'w').write('x')",
    "system": "open('/usr/tunesmith', 'w').write('x')",
    "memory": "x = bytearray(4 << 30)",
    "endless": "while True: pass",
    "fork bomb": "import os\nwhile True: os.fork()",
    "disk": "open('/tmp/x', 'wb').write(bytes(200 << 20))",
    "remount": "import subprocess as s\ns.run(['mount', '-o', 'remount,rw', '/usr'], check=True)",
    "kill": "import os, signal\nos.kill({pid}, signal.SIGKILL)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_reaches_nothing(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    import os
    import socket

    secret, place = tmp_path / "secret.txt", tmp_path / "written.txt"
    secret.write_text("a key")
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = HOSTILE[name].format(
            port=port, secret=str(secret), place=str(place), pid=os.getpid()
        )
        ran = sandbox.run(source, 2)
    assert not ran.passed, name
    assert not place.exists()
    assert time.monotonic() - started < 60


def test_rows_without_tests_are_told() -> None:
    assert unit_tests({"tests": ["assert 1", "assert 2"]}) == "assert 1\nassert 2"
    assert unit_tests({}) is None
    with pytest.raises(InputError, match="No row has unit tests"):
        code_score(["x"], [{}], Sandbox("never", lambda _: ["false"]))


# ---------------------------------------------------------------- scorers of a user

ROWS = [
    ("1", {"prediction": "yes", "reference": "yes"}),
    ("2", {"prediction": "", "reference": "no"}),
]
QUICK = Limits(seconds=2.0, memory_bytes=512 << 20)


def scorer(folder: Path, source: str) -> Path:
    path = folder / "polite.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_a_scorer_gives_one_score_or_several(tmp_path: Path) -> None:
    one = scorer(tmp_path, "def score(row):\n    print('hello')\n    return len(row['prediction'])")
    found = custom_scores(one, ROWS)
    assert [(s.name, s.rows, s.unit) for s in found] == [("polite", [3.0, 0.0], "number")]
    many = scorer(
        tmp_path,
        "def score(row):\n"
        "    return {'same': row['prediction'] == row['reference']} if row['prediction'] else None",
    )
    names = {s.name: s.rows for s in custom_scores(many, ROWS)}
    assert names["same"] == [1.0, None]


BROKEN = {
    "no function": ("x = 1", "no function"),
    "syntax": ("def score(row:", "SyntaxError"),
    "import": ("import nothing_of_this_name", "ModuleNotFoundError"),
    "raises": ("def score(row):\n    return row['missing']", "KeyError"),
    "text": ("def score(row):\n    return 'good'", "finite number"),
    "nan": ("def score(row):\n    return float('nan')", "finite number"),
    "endless": ("def score(row):\n    while True: pass", "longer than 2 s"),
    "memory": ("def score(row):\n    return len(bytearray(2 << 30))", "MemoryError"),
    "exit": ("import os\ndef score(row):\n    os._exit(3)", "process ended"),
    "at import": ("import os\nos._exit(0)", "process ended"),
    "kills": (
        "import os, signal\ndef score(row):\n    os.kill(0, signal.SIGKILL)",
        "process ended",
    ),
    "writes": (
        "import os\ndef score(row):\n    [os.write(n, b'nonsense\\n') for n in range(3, 9) "
        "if os.path.exists(f'/proc/self/fd/{n}')]",
        "is no answer|failed|process ended",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_or_hostile_scorer_is_named_with_its_row(tmp_path: Path, name: str) -> None:
    source, told = BROKEN[name]
    with pytest.raises(ScorerFailed, match=told) as found:
        custom_scores(scorer(tmp_path, source), ROWS, QUICK)
    assert found.value.details["row"] == "1"
    assert found.value.exit_code == 2


def test_a_scorer_sees_no_keys_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "x")
    file = scorer(tmp_path, "import os\ndef score(row):\n    return 'SECRET_KEY' in os.environ")
    assert custom_scores(file, ROWS)[0].rows == [0.0, 0.0]

"""The command line of a served model: wrong words are told, and vLLM gets what is meant."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import COMMANDS
from tunesmith.cli.serve_model import app
from tunesmith.errors import InputError
from tunesmith.serving.__main__ import main
from tunesmith.serving.options import parse_options
from tunesmith.serving.vllm import vllm_command
from tunesmith.starter import starter_directory


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["starter", "--adapter", "broken"], "is not NAME=DIR"),
        (["starter", "--adapter", "a=b", "--adapter", "a=c"], "names a twice"),
        (["starter", "--host", "0.0.0.0"], "--key-file"),
        (["starter", "--engine", "vllm"], "vLLM, which is not installed"),
        (["starter", "--key-file", "/nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_loaded(
    words: list[str], reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        main([*words, "--port", "0"])
    assert reason in str(caught.value)


def test_a_port_that_somebody_has_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(" \n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be listened on"):
            main(["starter", "--port", str(taken.getsockname()[1])])
    with pytest.raises(InputError, match="is empty"):
        main(["starter", "--key-file", str(key), "--port", "0"])


def test_a_host_of_this_machine_needs_no_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert parse_options(["starter", "--host", host]).is_local


def test_vllm_gets_the_same_words() -> None:
    options = parse_options(
        ["starter", "--name", "mine", "--port", "9", "--max-concurrent", "7", "--context", "99"]
    )
    assert vllm_command(options, "vllm") == [
        "vllm", "serve", str(starter_directory()), "--served-model-name", "mine",
        "--host", "127.0.0.1", "--port", "9", "--dtype", "auto",
        "--max-num-seqs", "7", "--load-format", "safetensors", "--max-model-len", "99",
    ]  # fmt: skip


def test_the_command_hands_its_words_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _, command, __: started.append(command))
    words = ["starter", "--adapter", "a=runs/1", "--adapter", "b=runs/2", "--port", "0"]
    done = CliRunner().invoke(app, [*words, "--key-file", "-k"])
    assert done.exit_code == 0, done.output
    [command] = started
    assert command[:3] == [sys.executable, "-m", "tunesmith.serving"]
    options = parse_options(command[3:])
    assert options.adapters == (("a", "runs/1"), ("b", "runs/2"))
    assert options.key_file == Path("-k")
    assert options.port == 0
    assert COMMANDS["serve-model"].module == "tunesmith.cli.serve_model"

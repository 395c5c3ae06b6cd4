"""`tunesmith export` from the order to the folder, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tunesmith.engine.exporting.command import Order, export
from tunesmith.engine.exporting.errors import DriftTooLarge, ExportFailed, ExportRefused
from tunesmith.engine.exporting.narrator import Narrator
from tunesmith.engine.exporting.parity import prompts, walks
from tunesmith.errors import InputError
from tunesmith.runs import verify_manifest


@pytest.fixture(autouse=True)
def few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = prompts.shipped()[:2]
    monkeypatch.setattr(prompts, "shipped", lambda: shipped)
    monkeypatch.setattr(walks, "ANSWER_TOKENS", 8)


def order(run: Path, out: Path, kind: str = "merged", **changes: Any) -> dict[str, Any]:
    return export(Order(str(run), kind, out, **changes), Narrator(io.StringIO()))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_gguf_export_is_complete_with_card_and_certificate(make_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "导出 folder"
    done = order(make_run("qwen3"), out, "gguf", gguf_type="q8_0")
    assert names(out) == {
        "tiny-bot-q8_0.gguf",
        "README.md",
        "TRAINING.md",
        "passport.json",
        "parity.json",
        "PARITY.md",
        "manifest.json",
    }
    assert verify_manifest(out).extra == {"kind": "export", "format": "gguf", "parity": "passed"}
    assert done["parity"]["status"] == "passed"
    assert {file["path"] for file in done["files"]} == names(out)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "llama-cli -m tiny-bot-q8_0.gguf" in card
    assert "Yes: on 3 prompts" in card
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_an_ollama_export_has_its_modelfile(make_run: Any, tmp_path: Path) -> None:
    order(make_run("qwen3"), tmp_path / "out", "ollama", parity=False)
    text = (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith("FROM ./tiny-bot-f16.gguf\n")
    assert "parity.json" not in names(tmp_path / "out")
    assert "--no-parity" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def drifting(run: Path, place: Path) -> Path:
    """A run whose tokenizer splits texts by a rule that GGUF has no name for."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    copy = Path(shutil.copytree(run, place / "drifting"))
    for file in (copy / "artifacts").rglob("tokenizer.json"):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"h|[^h]+"), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.save(str(file))
    from tunesmith.runs import write_manifest

    write_manifest(copy / "artifacts", kinds=["adapter"], step=1)
    return copy


def test_allowed_drift_is_kept_and_flagged_everywhere(make_run: Any, tmp_path: Path) -> None:
    run = drifting(make_run("qwen3"), tmp_path)
    said = io.StringIO()
    out = tmp_path / "out"
    done = export(Order(str(run), "gguf", out, allow_drift=True), Narrator(said))
    assert done["parity"]["status"] == "drift_allowed"
    assert "WARNING: DRIFT" in said.getvalue()
    assert "DRIFT: this export does NOT answer" in (out / "PARITY.md").read_text(encoding="utf-8")
    assert "**No: it answers otherwise" in (out / "README.md").read_text(encoding="utf-8")
    assert verify_manifest(out).extra["parity"] == "drift_allowed"
    assert json.loads((out / "parity.json").read_bytes())["status"] == "drift_allowed"


def test_drift_is_refused_with_its_figures_and_nothing_is_kept(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from tunesmith.engine.exporting.parity import certify

    # Limits that no rounding keeps: the artefact itself is sound.
    strict = {"float16": replace(certify.LIMITS["float16"], mean_kl=0.0)}
    monkeypatch.setattr(certify, "LIMITS", strict)
    with pytest.raises(DriftTooLarge, match="mean KL divergence is") as refused:
        order(make_run("qwen3"), tmp_path / "out", "gguf")
    assert refused.value.exit_code == 1
    assert refused.value.details["certificate"]["status"] == "drift"
    assert "--allow-drift" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_result_and_a_damaged_one_are_told(make_run: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(make_run("qwen2", kind="full"), tmp_path / "run"))
    weights = run / "artifacts" / "model" / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(InputError, match=r"model\.safetensors: its content has changed"):
        order(run, tmp_path / "out")
    (run / "artifacts" / "manifest.json").unlink()
    with pytest.raises(InputError, match="has no result yet"):
        order(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_stands_for_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        order(tmp_path / "nothing", tmp_path / "out")
    assert refused.value.code == "model_not_found"


def test_int4_and_missing_torchao_are_refused_with_the_reason(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.engine.exporting import torchao_layout

    run = make_run("qwen2")
    monkeypatch.setattr(torchao_layout, "find_spec", lambda _: None)
    with pytest.raises(ExportRefused, match="needs torchao") as refused:
        order(run, tmp_path / "out", "int8")
    assert "tunesmith[torchao]" in refused.value.hint
    monkeypatch.setattr(torchao_layout, "find_spec", lambda _: object())
    with pytest.raises(ExportRefused, match="CUDA") as refused:
        order(run, tmp_path / "out", "int4", device="cpu")
    assert refused.value.code == "int4_needs_cuda"


@pytest.mark.slow
def test_int8_is_read_back_by_transformers_with_torchao(make_run: Any, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    out = tmp_path / "out"
    done = order(make_run("llama"), out, "int8")
    assert done["parity"]["status"] == "passed"
    assert 0 < done["parity"]["figures"]["mean_logprob_difference"] < 0.1
    settings = json.loads((out / "config.json").read_bytes())["quantization_config"]
    assert settings["quant_method"] == "torchao"
    assert not list(out.glob(".merged"))


# ---------------------------------------------------------------- llama-cli


def test_llama_cli_is_asked_where_it_is_installed(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is stood in for: it writes down what it is told, and answers nonsense."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "llama-cli"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "version: 7" && exit\n'
        f'echo "$@" >> {tmp_path}/asked\necho "no such answer [end of text]"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    order(make_run("qwen3"), tmp_path / "out", "gguf")
    found = json.loads((tmp_path / "out" / "parity.json").read_bytes())["llama_cli"]
    assert found["version"] == "version: 7"
    assert (found["asked"], found["equal"]) == (3, 0)
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert "Where is order 7?" in asked
    assert "--temp 0" in asked
    program.write_text("#!/bin/sh\necho cannot load the model >&2\nexit 3\n")
    order(make_run("qwen3"), tmp_path / "again", "gguf")
    notes = json.loads((tmp_path / "again" / "parity.json").read_bytes())["notes"]
    assert "llama-cli was found, but failed: cannot load the model" in notes


# ---------------------------------------------------------------- hub


def test_a_push_without_login_is_refused_before_any_work(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("qwen2")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ExportRefused, match="needs a login") as refused:
        order(run, tmp_path / "out", push="me/bot")
    assert refused.value.code == "hub_not_logged_in"
    assert "HF_TOKEN" in refused.value.hint
    with pytest.raises(ExportRefused, match="no name of a model"):
        order(run, tmp_path / "out", push="a name")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ExportRefused, match="HF_HUB_OFFLINE"):
        order(run, tmp_path / "out", push="me/bot")
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_fails_leaves_the_export_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.engine.exporting.push import push

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    (tmp_path / "file").touch()
    with pytest.raises(ExportFailed, match="The export itself is complete in") as failed:
        push(tmp_path, "me/bot", Narrator(io.StringIO()))
    assert failed.value.code == "hub_upload_failed"
    assert (tmp_path / "file").exists()


# ---------------------------------------------------------------- as a process


def start(*words: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "export", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **more,
    )


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(make_run: Any, tmp_path: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    out = tmp_path / "out"
    words = [str(make_run("qwen3")), "--format", "gguf", "--out", str(out), "--json"]
    process = start(*words, preexec_fn=limit)
    said, told = process.communicate(timeout=120)
    assert process.returncode == 1, told
    error = json.loads(said)["error"]
    assert error["code"] == "disk_full"
    assert "Nothing of the export was kept" in error["message"]
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_export_leaves_nothing(make_run: Any, tmp_path: Path) -> None:
    process = start(str(make_run("qwen3")), "--format", "merged", "--out", str(tmp_path / "out"))
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Interrupted; nothing of the export was kept." in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_wrong_words_are_told_before_the_engine_starts(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from tunesmith.cli.export import app

    words = ["starter", "--format", "merged", "--out", str(tmp_path), "--gguf-type", "f16"]
    failed = CliRunner().invoke(app, words)
    assert isinstance(failed.exception, InputError)
    assert "--gguf-type belongs to --format gguf" in failed.exception.message
    assert CliRunner().invoke(app, ["starter", "--format", "zip", "--out", "x"]).exit_code == 2

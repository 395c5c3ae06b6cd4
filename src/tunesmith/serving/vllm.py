"""The same address from vLLM, where it is installed: this process becomes `vllm serve`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from tunesmith.errors import InputError
from tunesmith.serving.options import Options
from tunesmith.serving.state import read_key


def become_vllm(options: Options) -> NoReturn:
    """Turn this process into vLLM; it never returns."""
    program = _program()
    command, environment = vllm_command(options, program), dict(os.environ)
    if options.adapters:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    key = read_key(options)
    if key is not None:  # a variable, as the words of a process can be read by everybody
        environment["VLLM_API_KEY"] = key
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, command, environment)


def _program() -> str:
    """The `vllm` beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.is_file() else shutil.which("vllm")
    if found is None:
        raise InputError(
            "--engine vllm needs vLLM, which is not installed here.",
            hint="pip install vllm (on a machine with a GPU), or leave out --engine.",
            code="vllm_not_installed",
        )
    return found


def vllm_command(options: Options, program: str) -> list[str]:
    """The words of `vllm serve` that mean what our options mean."""
    from tunesmith.engine.generate import find_target
    from tunesmith.engine.model_sources import resolve_adapter
    from tunesmith.models.adapters import adapter_type, is_in_front, is_lora
    from tunesmith.models.files import check_model_files

    found = find_target(options.base)
    check_model_files(found.directory)
    adapters = [(name, resolve_adapter(path)) for name, path in options.adapters]
    name = options.name or Path(options.base).name
    served = name
    if found.adapter is not None:
        adapters.insert(0, (name, found.adapter))
        served = found.base_name or str(found.directory)
    for _, folder in adapters:
        if not is_lora(folder):
            raise InputError(
                f"vLLM serves LoRA adapters, and {folder} is of the kind {adapter_type(folder)}.",
                hint="Leave out --engine vllm."
                if is_in_front(folder)
                else "Leave out --engine vllm, or merge it (tunesmith export --format merged).",
                code="adapter_mismatch",
            )
    words = [program, "serve", str(found.directory), "--served-model-name", served]
    words += ["--host", options.host, "--port", str(options.port), "--dtype", options.dtype]
    words += ["--max-num-seqs", str(options.max_concurrent), "--load-format", "safetensors"]
    if options.context is not None:
        words += ["--max-model-len", str(options.context)]
    if adapters:
        words += ["--enable-lora", "--max-loras", str(len(adapters)), "--lora-modules"]
        words += [f"{adapter}={folder}" for adapter, folder in adapters]
    return words

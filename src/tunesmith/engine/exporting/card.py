"""README.md of an export: what it is, how it is loaded, and what the certificate says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tunesmith import __version__
from tunesmith.engine.exporting.formats import Format, FormatName
from tunesmith.engine.exporting.parity.certificate import TEXT_NAME, Certificate
from tunesmith.engine.exporting.source import Source

_KINDS: dict[FormatName, tuple[str, str]] = {
    "adapter": ("a LoRA adapter in PEFT's layout", "PEFT 格式的 LoRA 适配器"),
    "merged": ("a whole model in the layout of transformers", "transformers 格式的完整模型"),
    "gguf": ("a GGUF file for llama.cpp", "供 llama.cpp 使用的 GGUF 文件"),
    "ollama": ("a GGUF file and a Modelfile for Ollama", "供 Ollama 使用的 GGUF 文件和 Modelfile"),
    "int8": ("a whole model with 8-bit weights (torchao)", "8 位权重的完整模型（torchao）"),
    "int4": ("a whole model with 4-bit weights (torchao)", "4 位权重的完整模型（torchao）"),
}
_LIBRARIES: dict[FormatName, str] = {
    "adapter": "peft",
    "merged": "transformers",
    "gguf": "gguf",
    "ollama": "gguf",
    "int8": "transformers",
    "int4": "transformers",
}


def write_card(
    source: Source, name: FormatName, written: Format, certificate: Certificate | None, folder: Path
) -> None:
    """The card, and the papers of the training beside it."""
    english, chinese = _KINDS[name]
    parts = [
        _front_matter(source, name),
        f"# {source.name}",
        f"This is {english}, exported by tunesmith {__version__}{_from(source)}.",
        "## How to use it",
        written.usage(),
        "## Is it the model that was trained?",
        _certificate_text(certificate),
        "\n".join(f"- {note}" for note in written.notes()),
        _training_text(source),
        "The model can be wrong, and inherits the limits and the licence of its base; evaluate it "
        "on your own data before you rely on it.",
        "## 中文说明",
        f"这是由 tunesmith {__version__} 导出的{chinese}。用法见上文代码。"
        f"{_certificate_zh(certificate)}模型的回答可能有误，上线前请用自己的数据评测。",
    ]
    (folder / "README.md").write_text(
        "\n\n".join(part for part in parts if part) + "\n", encoding="utf-8"
    )
    for given, kept in (
        ("README.md", "TRAINING.md"),
        ("BASE_README.md", "BASE_README.md"),
        ("passport.json", "passport.json"),
    ):
        paper = _artifacts(source) / given
        if source.run is not None and paper.is_file():
            shutil.copyfile(paper, folder / kept)


def _artifacts(source: Source) -> Path:
    return (source.run or Path()) / "artifacts"


def _front_matter(source: Source, name: FormatName) -> str:
    lines = ["---", f"library_name: {_LIBRARIES[name]}", "pipeline_tag: text-generation"]
    base = source.base_name
    if base is not None and not Path(base).is_absolute() and base != "starter":
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join([*lines, "tags:", "- tunesmith", "---"])


def _from(source: Source) -> str:
    if source.base_name is None:
        return ""
    base = Path(source.base_name).name if Path(source.base_name).is_absolute() else source.base_name
    return f" from a fine-tuned `{base}`"


def _training_text(source: Source) -> str:
    if source.run is None or not (_artifacts(source) / "README.md").is_file():
        return ""
    return "How it was trained is in `TRAINING.md`, everything about the run in `passport.json`."


def _certificate_text(certificate: Certificate | None) -> str:
    if certificate is None:
        return "This was not measured: the export was made with `--no-parity`."
    figures = certificate.figures
    if not certificate.passed:
        return (
            "**No: it answers otherwise, beyond the limits, and was kept on request.** "
            f"`{TEXT_NAME}` says where."
        )
    return (
        f"Yes: on {figures.greedy_total} prompts {figures.greedy_equal} greedy answers are equal, "
        f"the likeliest token is the same at {figures.top1_agreement:.1%} of "
        f"{figures.positions:,} positions, and log-probabilities differ by "
        f"{figures.mean_logprob_difference:.2g} on average. `{TEXT_NAME}` has all figures."
    )


def _certificate_zh(certificate: Certificate | None) -> str:
    if certificate is None:
        return "导出时使用了 `--no-parity`，未与训练得到的模型作比较。"
    if not certificate.passed:
        return f"**与训练得到的模型相比存在超出限度的漂移，** 详见 `{TEXT_NAME}`。"
    return f"与训练得到的模型逐项比较后通过，数据见 `{TEXT_NAME}`。"

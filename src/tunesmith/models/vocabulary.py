"""Does a tokenizer belong to the weights beside it? From their files, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import orjson

from tunesmith.errors import ModelError
from tunesmith.models.files import read_header, read_json

# A vocabulary table may be larger than the tokenizer (rounded up), but not by this factor.
LARGEST_TABLE_RATIO = 2
_TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_SPECIAL = ("chat_template", "bos_token", "eos_token", "pad_token", "unk_token")


def check_tokenizer_size(tokenizer_dir: Path, rows: int) -> None:
    """Refuse a tokenizer that does not fit a table of so many rows; the error names both sizes."""
    file = tokenizer_dir / "tokenizer.json"
    if not file.is_file():
        return  # a slow tokenizer; checked after its conversion
    regular, added = _token_ids(_parsed(file))
    size = max([*regular.values(), *added.values()], default=-1) + 1
    outside = {name for name, number in {**regular, **added}.items() if number >= rows}
    # Gemma 3 1B lists an image token behind its table; nothing in a text ever produces it.
    harmless = outside.isdisjoint(regular) and not any(
        name in _settings_text(tokenizer_dir) for name in outside
    )
    if (outside and not harmless) or rows > LARGEST_TABLE_RATIO * size:
        raise ModelError(
            f"The tokenizer in {tokenizer_dir} does not belong to the model: it has {size:,} "
            f"tokens, the model's table has {rows:,} rows.",
            hint="Put the tokenizer files of this very model beside its weights. If tokens were "
            "added to the tokenizer, resize the model's embeddings and save both.",
            code="tokenizer_mismatch",
            tokenizer_size=size,
            model_vocabulary=rows,
        )


def table_rows(directory: Path, weights: tuple[Path, ...]) -> int | None:
    """Rows of the embedding table: what the weights hold, else what config.json says."""
    for path in weights:
        for name, entry in read_header(path).items():
            if name.endswith(_TABLES) and len(entry["shape"]) == 2:
                return int(entry["shape"][0])
    config: dict[str, Any] = read_json(directory / "config.json")
    text = cast("dict[str, Any]", config.get("text_config") or config)
    size = text.get("vocab_size")
    return size if type(size) is int else None


def _parsed(file: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise _odd(file, str(error)) from error
    if not isinstance(content, dict):
        raise _odd(file, "it does not hold a JSON object")
    return cast("dict[str, Any]", content)


def _token_ids(tokenizer: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Regular and added tokens of tokenizer.json; Unigram lists pairs, all others a mapping."""
    try:
        vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
        if isinstance(vocabulary, list):
            vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
        added = {
            str(token["content"]): int(token["id"]) for token in tokenizer.get("added_tokens") or ()
        }
        regular = {str(name): int(number) for name, number in vocabulary.items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _odd(Path("tokenizer.json"), "its lists of tokens are not understood") from error
    return {name: number for name, number in regular.items() if name not in added}, added


def _settings_text(directory: Path) -> str:
    """What the chat template and the named special tokens say, as text to search in."""
    parts: list[str] = []
    template = directory / "chat_template.jinja"
    if template.is_file():
        parts.append(template.read_text(encoding="utf-8"))
    settings = directory / "tokenizer_config.json"
    if settings.is_file():
        content = read_json(settings)
        parts += [json.dumps(content.get(name), ensure_ascii=False) for name in _SPECIAL]
    return "\n".join(parts)


def _odd(file: Path, why: str) -> ModelError:
    return ModelError(
        f"Refused: {file.name} is no tokenizer: {why}.",
        hint="Download or copy the file again.",
        code="tokenizer_broken",
        file=file.name,
    )

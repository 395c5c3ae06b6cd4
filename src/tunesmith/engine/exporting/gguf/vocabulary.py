"""The tokenizer in GGUF: tokens, kinds, merges or scores, and how a text is split before them.

A file does not carry the rule that splits texts, only its name, so a rule without a name there
cannot be written. Two kinds of tokenizers are: BPE over bytes (Llama 3, Qwen, GPT-2) and
SentencePiece's BPE with single bytes as a last resort (Llama 2, Mistral, Gemma).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.data.tokenizer import TextTokenizer
from tunesmith.engine.exporting.errors import ExportRefused

if TYPE_CHECKING:
    from gguf import GGUFWriter

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ENDS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
# Name of the rule in GGUF, by the expression that splits texts.
SPLITS = {
    rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}|{_ENDS}": "qwen2",
    rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}|{_ENDS}": "llama-bpe",
    rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": "tekken",
}
NEAREST = "gpt-2"  # what an unknown rule is written as where the user allows drift
_BYTE_PRIVATE = "\u2581"  # SentencePiece's mark of a space


@dataclass(frozen=True)
class Vocabulary:
    """What goes into the file."""

    model: str  # gpt2 (bytes) or llama (SentencePiece)
    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    scores: list[float]
    adds_space: bool
    unknown_rule: str = ""  # why `pre` is only the nearest


def read_vocabulary(tokenizer: TextTokenizer, rows: int, *, allow_nearest: bool) -> Vocabulary:
    """The tokenizer of a model with so many rows in its table.

    Raises:
        ExportRefused: GGUF has no name for how it works, and the nearest is not allowed.
    """
    import orjson

    content: dict[str, Any] = orjson.loads(tokenizer.core.to_str())
    model = content["model"]
    if model["type"] != "BPE":
        raise _unknown(f"its kind is {model['type']}, and only BPE can be written")
    added = {token["id"]: token for token in content["added_tokens"]}
    by_id = {number: token for token, number in model["vocab"].items()}
    if not model["merges"]:
        raise _unknown("it has no merges")
    merges = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"]]
    tokens, kinds = _tokens(by_id, added, rows, model)
    if model.get("byte_fallback"):
        return Vocabulary(
            model="llama",
            pre="default",
            tokens=tokens,
            kinds=kinds,
            merges=[],
            scores=_scores(tokens, kinds, merges),
            adds_space=_adds_space(content),
        )
    pre, why = _rule(content)
    if why and not allow_nearest:
        raise _unknown(why)
    joined = [f"{left} {right}" for left, right in merges]
    return Vocabulary("gpt2", pre, tokens, kinds, joined, [], False, why)


def write_vocabulary(
    writer: GGUFWriter,
    vocabulary: Vocabulary,
    tokenizer: TextTokenizer,
    *,
    stop_ids: list[int],
    chat_template: str | None,
    begins_with_bos: bool,
) -> None:
    """Tokens, special tokens and the chat template."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.adds_space)
    _write_specials(writer, tokenizer, stop_ids)
    writer.add_add_bos_token(begins_with_bos)
    writer.add_add_eos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _write_specials(writer: GGUFWriter, tokenizer: TextTokenizer, stop_ids: list[int]) -> None:
    """Readers stop at the end of text and at the end of a turn: both are named."""
    eos = tokenizer.eos_id if tokenizer.eos_id is not None else next(iter(stop_ids), None)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    if eos is not None:
        writer.add_eos_token_id(eos)
    turn = next((number for number in stop_ids if number != eos), None)
    if turn is not None:
        writer.add_eot_token_id(turn)
    if tokenizer.pad_id is not None:
        writer.add_pad_token_id(tokenizer.pad_id)
    unknown = tokenizer.special("unk_token")
    number = None if unknown is None else tokenizer.token_id(unknown)
    if number is not None:
        writer.add_unk_token_id(number)


def _tokens(
    by_id: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], rows: int, model: Any
) -> tuple[list[str], list[int]]:
    """A token and its kind for each row of the table; rows without a token get a name."""
    from gguf import TokenType

    tokens: list[str] = []
    kinds: list[int] = []
    for number in range(rows):
        if number in added:
            tokens.append(added[number]["content"])
            special = added[number].get("special")
            kinds.append(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        elif number in by_id:
            tokens.append(by_id[number])
            kinds.append(_kind(by_id[number], model))
        else:
            tokens.append(f"[PAD{number}]")
            kinds.append(TokenType.UNUSED)
    return tokens, [int(kind) for kind in kinds]


def _kind(token: str, model: Any) -> int:
    from gguf import TokenType

    is_byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    if is_byte and model.get("byte_fallback"):
        return TokenType.BYTE
    return TokenType.UNKNOWN if token == model.get("unk_token") else TokenType.NORMAL


def _scores(tokens: list[str], kinds: list[int], merges: list[list[str]]) -> list[float]:
    """Readers join the pair with the best score first: so the earlier merge has the better one."""
    from gguf import TokenType

    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    last = len(merges)
    return [
        -float(ranks.get(token, last)) if kind == TokenType.NORMAL else 0.0
        for token, kind in zip(tokens, kinds, strict=True)
    ]


def _adds_space(content: Mapping[str, Any]) -> bool:
    """Whether a text begins with a space that nobody wrote."""
    for part in _parts(content.get("normalizer"), "normalizers"):
        if part["type"] == "Prepend":
            return part["prepend"] == _BYTE_PRIVATE
    for part in _parts(content.get("pre_tokenizer"), "pretokenizers"):
        if part["type"] == "Metaspace":
            return part.get("prepend_scheme", "always") != "never"
    return False


def _rule(content: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the rule that splits texts, and why it is only the nearest."""
    parts = _parts(content.get("pre_tokenizer"), "pretokenizers")
    kinds = [part["type"] for part in parts]
    if not parts or parts[-1]["type"] != "ByteLevel":
        return NEAREST, f"it splits texts by {' and '.join(kinds) or 'nothing'}"
    last = parts[-1]
    if last.get("add_prefix_space"):
        return NEAREST, "it puts a space before every text"
    if kinds == ["ByteLevel"] and last.get("use_regex", True):
        return "gpt-2", ""
    if kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"]:
        return "smollm", ""
    if kinds == ["Split", "ByteLevel"] and not last.get("use_regex", True):
        pattern = parts[0]["pattern"].get("Regex", "")
        if pattern in SPLITS and parts[0].get("behavior") == "Isolated":
            return SPLITS[pattern], ""
        return NEAREST, f"GGUF has no name for the expression that splits its texts: {pattern}"
    return NEAREST, f"it splits texts by {' and '.join(kinds)}"


def _parts(part: Any, name: str) -> list[dict[str, Any]]:
    """The members of a sequence, or the one part alone."""
    if part is None:
        return []
    return list(part[name]) if part["type"] == "Sequence" else [part]


def _unknown(why: str) -> ExportRefused:
    return ExportRefused(
        f"This tokenizer cannot be written as GGUF: {why}.",
        hint="`--format merged` keeps the tokenizer as it is. With --allow-drift texts are split "
        f"as by {NEAREST}, and the certificate says how many of them come out otherwise.",
        code="gguf_tokenizer_unknown",
    )

"""What one token stands for, in bytes: a character may be cut between tokens."""

from __future__ import annotations

import re
from functools import lru_cache

from tunesmith.data.tokenizer import TextTokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: TextTokenizer, token: int) -> bytes:
    """The bytes that a token adds to a text; special tokens are their names."""
    from tokenizers import decoders

    name = tokenizer.core.id_to_token(token)
    if name is None:  # the model has more rows than the vocabulary has tokens
        return b""
    if name in tokenizer.added_tokens:
        return name.encode()
    if isinstance(tokenizer.core.decoder, decoders.ByteLevel):
        table = _byte_of()
        if all(char in table for char in name):
            return bytes(table[char] for char in name)
    byte = _BYTE.fullmatch(name)
    if byte is not None:
        return bytes([int(byte[1], 16)])
    return name.replace("\u2581", " ").encode()


def text_bytes(tokenizer: TextTokenizer, token: int) -> bytes:
    """The bytes of a token that stands for text; none of tokens with a meaning of their own."""
    name = tokenizer.core.id_to_token(token)
    if name is None or name in tokenizer.added_tokens or name in tokenizer.special_tokens:
        return b""
    return token_bytes(tokenizer, token)


@lru_cache(maxsize=1)
def _byte_of() -> dict[str, int]:
    """Byte-level vocabularies write each byte as one printable character; this leads back."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + number): byte for number, byte in enumerate(others)}

"""How much text each token stands for: what a loss per token is divided by for bits per byte.

Exact where decoding joins the tokens' own texts (every tokenizer trained here). A checkpoint's
tokenizer may put a space before the very first token of a text and not give it back: that one
byte is counted.
"""

import json
from typing import Any

import numpy as np
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wordmill.tokens.rows import Ints
from wordmill.tokens.tokenizer import num_ids

_BYTE_TOKEN_CHARS = len("<0x00>")


def bytes_of_ids(tokenizer: PreTrainedTokenizerFast) -> Ints:
    """The UTF-8 bytes of text that each id stands for, shape (V,).

    Special tokens, the unknown one among them, and ids without a token stand for none.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    sizes = np.zeros(num_ids(tokenizer), dtype=np.int64)
    decoding = _Decoding(described["decoder"])
    for token, number in tokenizer.get_vocab().items():
        sizes[number] = decoding.num_bytes(token)
    for token in described["added_tokens"]:  # written as they are
        sizes[token["id"]] = 0 if token["special"] else len(token["content"].encode())
    return sizes


class _Decoding:
    """What a decoder makes of one token.

    Args:
        described: the decoder as tokenizer.json has it; None joins tokens by spaces.
    """

    def __init__(self, described: dict[str, Any] | None) -> None:
        steps = _steps(described)
        self._kinds = {step["type"] for step in steps}
        self._space = next((s["replacement"] for s in steps if s["type"] == "Metaspace"), None)
        self._replaced = [
            (step["pattern"]["String"], step["content"])
            for step in steps
            if step["type"] == "Replace" and "String" in step["pattern"]
        ]
        self._prefix = next((s["prefix"] for s in steps if s["type"] == "WordPiece"), None)
        self._suffix = next((s["suffix"] for s in steps if s["type"] == "BPEDecoder"), None)
        self._letters = frozenset(pre_tokenizers.ByteLevel.alphabet())

    def num_bytes(self, token: str) -> int:
        if "ByteLevel" in self._kinds and self._letters.issuperset(token):
            return len(token)  # a letter a byte
        if "ByteFallback" in self._kinds and _is_byte(token):
            return 1
        return len(self._text(token).encode())

    def _text(self, token: str) -> str:
        if not self._kinds:
            return f"{token} "
        if self._space:
            token = token.replace(self._space, " ")
        for pattern, content in self._replaced:
            token = token.replace(pattern, content)
        if self._prefix:
            is_inside = token.startswith(self._prefix)
            token = token.removeprefix(self._prefix) if is_inside else f" {token}"
        return token.replace(self._suffix, " ") if self._suffix else token


def _steps(described: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A decoder's steps, one after another."""
    if described is None:
        return []
    if described["type"] == "Sequence":
        return [step for inner in described["decoders"] for step in _steps(inner)]
    return [described]


def _is_byte(token: str) -> bool:
    return token.startswith("<0x") and token.endswith(">") and len(token) == _BYTE_TOKEN_CHARS

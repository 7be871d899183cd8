"""Tokens as pieces of text that a person can read.

A byte-level tokenizer may split a character, a Chinese one as a rule: the tokens of one character
are one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

_BROKEN = "\ufffd"  # what a part of a character is decoded to
_MAX_TOKENS_A_CHARACTER = 4


class Pieces(NamedTuple):
    """A text in parts."""

    texts: list[str]
    """They join to the text."""
    of_token: NDArray[np.int64]
    """The piece that each token belongs to, shape (tokens,)."""


def encoded(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[Encoding]:
    """Ids as `encode_batch` gives them, and the characters that each token stands for."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    return backend.encode_batch(list(texts), add_special_tokens=False)


def text_pieces(text: str, encoding: Encoding) -> Pieces:
    """The pieces of an encoded text; characters of no token go with the token behind them."""
    ends: list[int] = []
    of_token: list[int] = []
    for start, end in encoding.offsets:
        if ends and start < ends[-1]:  # another token of the same character
            ends[-1] = max(ends[-1], end)
        else:
            ends.append(end)
        of_token.append(len(ends) - 1)
    if ends:
        ends[-1] = len(text)
    starts = [0, *ends][: len(ends)]
    texts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return Pieces(texts, np.array(of_token, dtype=np.int64))


def id_pieces(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> Pieces:
    """The pieces of what ids are decoded to."""
    texts: list[str] = []
    of_token: list[int] = []
    before, first = "", 0
    for place in range(len(ids)):
        of_token.append(len(texts))
        now = _decoded(tokenizer, ids[: place + 1])
        is_whole = not now.endswith(_BROKEN) or place - first + 1 == _MAX_TOKENS_A_CHARACTER
        if is_whole or place == len(ids) - 1:
            texts.append(now[len(before) :])
            before, first = now, place + 1
    return Pieces(texts, np.array(of_token, dtype=np.int64))


def _decoded(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> str:
    found = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    assert isinstance(found, str)
    return found

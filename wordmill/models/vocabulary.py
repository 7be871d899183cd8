"""What a model needs to know of its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wordmill.tokens.tokenizer import end_id, num_ids, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Vocabulary(NamedTuple):
    """The ids of a tokenizer."""

    size: int
    """V."""
    end_id: int
    """Opens and closes every sequence; a decoder of an encoder-decoder starts from it."""
    pad_id: int
    """Fills the ends of shorter sequences."""


def vocabulary_of(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    """The ids of `tokenizer`.

    Raises:
        DataError: it has no end or padding token.
    """
    return Vocabulary(num_ids(tokenizer), end_id(tokenizer), pad_id(tokenizer))

"""Texts to rows of ids. An encoder writes the end token after each row, between it and the next.

`PlainEncoder` is the tokenizer's own way, for every kind; wordmill/tokens/fast.py has a faster
one that gives the same ids. The ids of a row run in the tokenizer's direction.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from transformers import PreTrainedTokenizerFast

from wordmill.tokens.rows import Rows
from wordmill.tokens.store import ids_type
from wordmill.tokens.tokenizer import encode_batch, end_id, is_backward, num_ids


class Encoder(Protocol):
    """Makes ids from texts; may be used by many threads at once."""

    name: str
    end_id: int
    is_backward: bool
    """Whether a row begins with its text's last token."""

    def encode(self, texts: Sequence[str]) -> Rows:
        """A row for each text; its `ids` are the rows with an end token after each."""
        ...


class PlainEncoder:
    """Encodes with the tokenizer's own code."""

    name = "tokenizers"

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._type = ids_type(num_ids(tokenizer))
        self.end_id = end_id(tokenizer)
        self.is_backward = is_backward(tokenizer)

    def encode(self, texts: Sequence[str]) -> Rows:
        """A row for each text; its `ids` are the rows with an end token after each."""
        flat: list[int] = []
        ends: list[int] = []
        for ids in encode_batch(self._tokenizer, texts):
            flat.extend(ids)
            ends.append(len(flat))
            flat.append(self.end_id)
        return rows_between(np.array(flat, dtype=self._type), np.array(ends, dtype=np.int64))


def rows_between(ids: np.ndarray, ends: np.ndarray) -> Rows:
    """The rows of a flat array in which end tokens stand at `ends`, one after each row."""
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1] + 1))[: len(ends)]
    return Rows(ids, starts, ends - starts)

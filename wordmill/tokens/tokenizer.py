"""What every tokenizer is to the rest: its ends, size and fingerprint, and which way it writes.

A backward tokenizer gives the ids of a text in reverse order, so that a model learns to write a
text from its end. Every text becomes ids by `encode_batch` (or an encoder that agrees with it)
and comes back by `texts_of_ids`; what lies between need not know the direction.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, TypeVar

from transformers import PreTrainedTokenizerFast

from wordmill.errors import DataError

END = "<|endoftext|>"
"""Stands between documents, before a prompt and after an answer."""
PAD = "<|pad|>"
UNKNOWN = "<|unk|>"
"""What a word or a character outside the vocabulary becomes."""

Direction = Literal["forward", "backward"]

Item = TypeVar("Item")

_DIRECTION = "direction"  # of what is saved with a tokenizer, where it is backward


def end_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that opens and closes every sequence.

    Raises:
        DataError: the tokenizer has none.
    """
    return _special_id(tokenizer.eos_token_id, "end")


def pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that fills the ends of shorter sequences.

    Raises:
        DataError: the tokenizer has none.
    """
    return _special_id(tokenizer.pad_token_id, "padding")


def num_ids(tokenizer: PreTrainedTokenizerFast) -> int:
    """V, one more than the highest id: a checkpoint's vocabulary may have gaps."""
    return max(tokenizer.get_vocab().values()) + 1


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """A hash of all that decides how text becomes ids: equal ones give equal ids."""
    described = tokenizer.backend_tokenizer.to_str()
    if is_backward(tokenizer):
        described += "\nbackward"
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def set_direction(tokenizer: PreTrainedTokenizerFast, direction: Direction) -> None:
    """Say which way the ids of a text run; it is saved with the tokenizer."""
    tokenizer.init_kwargs.pop(_DIRECTION, None)
    if direction == "backward":  # the files of a forward tokenizer are what they always were
        tokenizer.init_kwargs[_DIRECTION] = direction


def is_backward(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether a text's last token comes first."""
    return tokenizer.init_kwargs.get(_DIRECTION) == "backward"


def encode_batch(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text in the tokenizer's direction, on all cores.

    A special token written in a text is plain text.
    """
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    rows = [encoding.ids for encoding in encodings]
    return [row[::-1] for row in rows] if is_backward(tokenizer) else rows


def texts_of_ids(tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sequence[int]]) -> list[str]:
    """The text of each row of ids, which run in the tokenizer's direction; no special tokens."""
    step = -1 if is_backward(tokenizer) else 1
    in_reading_order = [list(row[::step]) for row in rows]
    return tokenizer.batch_decode(in_reading_order, skip_special_tokens=True)


def _special_id(found: object, role: str) -> int:
    if not isinstance(found, int):
        raise DataError(f"the tokenizer has no {role} token")
    return found


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one perhaps shorter (Python 3.12 has it)."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch

"""What every tokenizer is to the rest: its end and padding tokens, its size, its fingerprint."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from transformers import PreTrainedTokenizerFast

from wordmill.errors import DataError

END = "<|endoftext|>"
"""Stands between documents, before a prompt and after an answer."""
PAD = "<|pad|>"
UNKNOWN = "<|unk|>"
"""What a word or a character outside the vocabulary becomes."""

Item = TypeVar("Item")


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
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:16]


def encode_batch(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, on all cores; a special token written in a text is plain text."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def _special_id(found: object, role: str) -> int:
    if not isinstance(found, int):
        raise DataError(f"the tokenizer has no {role} token")
    return found


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one perhaps shorter (Python 3.12 has it)."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch

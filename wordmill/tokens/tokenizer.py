"""Tokenizers: trained here, wrapped for transformers, known by a fingerprint."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from wordmill.errors import DataError

END = "<|endoftext|>"
"""Stands between documents, before a prompt and after an answer."""
PAD = "<|pad|>"

_TEXTS_A_BATCH = 1000

Item = TypeVar("Item")


def train_byte_bpe(
    texts: Iterable[str], *, vocab_size: int, min_frequency: int, context_tokens: int
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE (https://arxiv.org/abs/1909.03341): no text is unknown to it.

    Args:
        texts: what to learn merges from.
        vocab_size: entries in all, the 256 bytes and two special tokens among them.
        min_frequency: how often a pair must occur to be merged.
        context_tokens: the longest sequence of the models that use it.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(batched(texts, _TEXTS_A_BATCH), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
    )


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


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """A hash of all that decides how text becomes ids: equal ones give equal ids."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:16]


def encode_batch(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, on all cores, without special tokens."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
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

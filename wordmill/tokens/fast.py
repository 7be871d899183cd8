r"""The same ids as the tokenizer's own, several times faster: byte-level BPE through tiktoken.

tiktoken merges the neighbours that make the token of the lowest rank, tokenizers the neighbours
of the lowest merge; the text is cut into the same pieces by the same pattern. Why the ids are
the same: training made each token by one merge, of two parts that are what its bytes had been
merged into so far. Inside a longer word those bytes are merged in the same way as alone, for a
merge over their border would have kept the token from appearing. So whenever the bytes of a
token are two neighbours, with all lower merges done, they are the two parts of its merge, and
"lowest joined token" and "lowest merge" choose alike.

A checkpoint's vocabulary may be made otherwise, so the claim is checked before it is used: on
every entry of the vocabulary and on texts of the corpus. Anything else than such a BPE, or any
difference, leaves the tokenizer's own code at work. tiktoken releases the GIL: threads do.
"""

import json
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from wordmill.tokens.encoding import Encoder, PlainEncoder, rows_between
from wordmill.tokens.learning import GPT2_PIECES
from wordmill.tokens.rows import Rows
from wordmill.tokens.store import Ids, ids_type
from wordmill.tokens.tokenizer import end_id, is_backward, num_ids

if TYPE_CHECKING:
    import tiktoken

# No suffix of it is a prefix of it: the first place where it is found after a text is its own.
_BETWEEN = "\x00<|between texts|>"
# From about a million on, the pattern's backtracking overflows and tiktoken panics.
_TOO_MUCH_SPACE = 250_000
_MUCH_SPACE = re.compile(rf"\s{{{_TOO_MUCH_SPACE}}}")
_NOTHING = frozenset[str]()

log = logging.getLogger(__name__)


class _OtherKindError(Exception):
    """This tokenizer is not one that tiktoken can do; says why."""


class TiktokenEncoder:
    """Encodes with tiktoken, all texts of a call as one."""

    name = "tiktoken"

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        described = json.loads(tokenizer.backend_tokenizer.to_str())
        ranks, ids = _ranks(described)
        self.end_id = end_id(tokenizer)
        self.is_backward = is_backward(tokenizer)
        self._plain = PlainEncoder(tokenizer)
        self._id_of_rank = np.array([*ids, self.end_id], dtype=ids_type(num_ids(tokenizer)))
        self._encoding = _encoding(_pattern(described), ranks)

    def encode(self, texts: Sequence[str]) -> Rows:
        """A row for each text; its `ids` are the rows with an end token after each."""
        if any(len(text) > _TOO_MUCH_SPACE and _MUCH_SPACE.search(text) for text in texts):
            return self._plain.encode(texts)
        ids = self._ids(_BETWEEN.join(texts) + _BETWEEN if texts else "", {_BETWEEN})
        ends = np.flatnonzero(ids == self.end_id)
        if len(ends) != len(texts):  # a text has the mark in it
            apart = [self._ids(text, _NOTHING) for text in texts]
            end = np.array([self.end_id], dtype=ids.dtype)
            ids = np.concatenate([part for ids in apart for part in (ids, end)])
            ends = np.cumsum([len(ids) + 1 for ids in apart]) - 1
        rows = rows_between(ids, ends)
        return rows.reversed() if self.is_backward else rows

    def _ids(self, text: str, allowed: Any) -> Ids:
        found = self._encoding.encode_to_numpy(text, allowed_special=allowed, disallowed_special=())
        return self._id_of_rank[found]


def best_encoder(tokenizer: PreTrainedTokenizerFast, sample: Sequence[str]) -> Encoder:
    """The fastest encoder that gives the tokenizer's own ids.

    Args:
        tokenizer: of any kind.
        sample: texts of the corpus to try it on.
    """
    plain = PlainEncoder(tokenizer)
    try:
        fast = TiktokenEncoder(tokenizer)
        for texts in (_entries(tokenizer), sample):
            if not np.array_equal(fast.encode(texts).ids, plain.encode(texts).ids):
                raise _OtherKindError("tiktoken gives other ids")
    except (_OtherKindError, ImportError, ValueError) as reason:
        log.info("encoding with the tokenizer's own code: %s", reason)
        return plain
    return fast


def _encoding(pattern: str, ranks: dict[bytes, int]) -> "tiktoken.Encoding":
    # Here and not above: what only trains and generates runs without tiktoken.
    import tiktoken

    return tiktoken.Encoding(
        "wordmill",
        pat_str=pattern,
        mergeable_ranks=ranks,
        special_tokens={_BETWEEN: len(ranks)},
    )


def _pattern(described: dict[str, Any]) -> str:
    """The pattern whose matches are the pieces that are merged within."""
    match described["pre_tokenizer"]:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return GPT2_PIECES
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": behavior,
                    "invert": inv,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        } if (behavior, inv) in (("Isolated", False), ("Removed", True)):
            return pattern
        case _:
            raise _OtherKindError("its text is split in another way than a byte-level BPE's")


def _ranks(described: dict[str, Any]) -> tuple[dict[bytes, int], list[int]]:
    """The rank of each token in the order of merging, and the id of each rank."""
    model = described["model"]
    if model["type"] != "BPE":
        raise _OtherKindError(f"it is of type {model['type']}, not BPE")
    if described["normalizer"] is not None:
        raise _OtherKindError("it changes text before it splits it")
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if any(model[key] for key in odd):
        raise _OtherKindError(f"one of {', '.join(odd)} is set")
    if any(not token["special"] for token in described["added_tokens"]):
        raise _OtherKindError("it has words that are found before text is split")
    byte_of = _byte_of_letter()
    vocabulary = model["vocab"]
    names = [*byte_of, *("".join(merge) for merge in model["merges"])]
    if missing := [name for name in names if name not in vocabulary]:
        raise _OtherKindError(f"{len(missing)} tokens have no id")
    ranks = {bytes(byte_of[c] for c in name): rank for rank, name in enumerate(names)}
    if len(ranks) < len(names):
        raise _OtherKindError("a token is made by two merges")
    return ranks, [vocabulary[name] for name in names]


def _byte_of_letter() -> dict[str, int]:
    """The byte that each letter of the byte-level alphabet stands for, from 0 on.

    Printable bytes stand for themselves, the others for the letters from 256 on, in order.
    """
    letters = set(pre_tokenizers.ByteLevel.alphabet())
    others = iter(sorted(letter for letter in letters if ord(letter) > 255))
    return {chr(b) if chr(b) in letters else next(others): b for b in range(256)}


def _entries(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The text of each token that is text by itself."""
    backend = tokenizer.backend_tokenizer
    ids = backend.get_vocab(with_added_tokens=False).values()
    texts = [backend.decode([number]) for number in ids]
    return [text for text in texts if "�" not in text]

"""How well a tokenizer fits the text: bytes a token by language, what is unknown, what is odd."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerFast

from wordmill.tokens.rows import Ints
from wordmill.tokens.store import Ids

_NUM_LONGEST = 10
_UNSTATED = "und"  # ISO 639-2 for a language that nobody has said


class Quality:
    """Adds up what the texts of all splits become; end tokens and cues are left out.

    Args:
        tokenizer: whose quality it is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._unknown_id = tokenizer.unk_token_id
        self._tokens: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._num_ids = self._num_unknown = 0

    def add(self, languages: pa.ChunkedArray, texts: pa.ChunkedArray, num_tokens: Ints) -> None:
        """Take texts with their languages and numbers of tokens."""
        coded = languages.combine_chunks().dictionary_encode()
        codes, names = coded.indices.to_numpy(zero_copy_only=False), coded.dictionary.to_pylist()
        for counter, amounts in ((self._tokens, num_tokens), (self._bytes, num_bytes(texts))):
            sums = np.bincount(codes, weights=amounts, minlength=len(names))
            counter.update({n or _UNSTATED: int(s) for n, s in zip(names, sums, strict=True)})

    def add_ids(self, ids: Ids) -> None:
        """Take ids that are written, to count the unknown among them."""
        self._num_ids += len(ids)
        if isinstance(self._unknown_id, int):
            self._num_unknown += int((ids == self._unknown_id).sum())

    def figures(self) -> dict[str, Any]:
        """Numbers for the report."""
        return {
            "unknown_rate": round(self._num_unknown / max(self._num_ids, 1), 6),
            "languages": {
                name: {"tokens": tokens, "bytes_per_token": ratio(self._bytes[name], tokens)}
                for name, tokens in sorted(self._tokens.items())
            },
        }

    def longest_tokens(self) -> list[dict[str, Any]]:
        """The longest entries, in bytes: a glance shows what junk the text has."""
        backend = self._tokenizer.backend_tokenizer
        special = {token.content for token in backend.get_added_tokens_decoder().values()}
        ids = (number for name, number in backend.get_vocab().items() if name not in special)
        texts = [(backend.decode([number]), number) for number in ids]
        whole = [(text, number) for text, number in texts if "�" not in text]
        whole.sort(key=lambda found: (-len(found[0].encode()), found[1]))
        return [
            {"id": number, "bytes": len(text.encode()), "text": text}
            for text, number in whole[:_NUM_LONGEST]
        ]


def num_bytes(texts: pa.ChunkedArray) -> Ints:
    """The length of each text in UTF-8, shape (texts,)."""
    length: Any = pc.binary_length  # pyright: ignore[reportAttributeAccessIssue]  # made on import
    return length(texts).to_numpy().astype(np.int64)


def ratio(num_bytes: int, num_tokens: int) -> float:
    """Bytes a token, rounded for a table; 0 where there is no token."""
    return round(num_bytes / num_tokens, 3) if num_tokens else 0.0

"""Token files: flat arrays of ids that training maps into memory.

A folder of token files holds `NAME.bin` (ids end to end, 16-bit where the vocabulary allows),
for pairs also `NAME.spans.bin` (int64 rows of start, target start, end), and `tokens.json`
with the type of the ids and the fingerprint of the tokenizer that made them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.errors import DataError

_DESCRIPTION = "tokens.json"
_SPAN_FIELDS = 3

Ids = NDArray[np.uint16] | NDArray[np.uint32]


class Span(NamedTuple):
    """Where a pair's tokens lie in the flat array: prompt, then target, end exclusive."""

    start: int
    target_start: int
    end: int


class TokenWriter:
    """Appends sequences to one named token file."""

    def __init__(self, folder: Path, name: str, *, vocab_size: int) -> None:
        self._dtype = np.dtype(ids_type(vocab_size))
        self._ids = (folder / f"{name}.bin").open("wb")
        self._spans_path = folder / f"{name}.spans.bin"
        self._spans: list[Span] = []
        self.num_tokens = 0

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()
        if self._spans:
            self._spans_path.write_bytes(np.array(self._spans, dtype=np.int64).tobytes())

    def add(self, ids: Sequence[int]) -> None:
        """Append a part of a running text."""
        self._ids.write(np.asarray(ids, dtype=self._dtype).tobytes())
        self.num_tokens += len(ids)

    def add_pair(self, prompt: Sequence[int], target: Sequence[int]) -> None:
        """Append a prompt and its target, and remember where they lie."""
        start = self.num_tokens
        target_start = start + len(prompt)
        self.add([*prompt, *target])
        self._spans.append(Span(start, target_start, target_start + len(target)))


class TokenFolder:
    """Reads what `TokenWriter` wrote.

    Raises:
        DataError: the folder was made with another tokenizer than `tokenizer_fingerprint`.
    """

    def __init__(self, folder: Path, *, tokenizer_fingerprint: str) -> None:
        self._folder = folder
        description = json.loads((folder / _DESCRIPTION).read_text())
        self._dtype = np.dtype(description["dtype"])
        if description["tokenizer"] != tokenizer_fingerprint:
            raise DataError(
                f"{folder}: its tokens come from tokenizer {description['tokenizer']}, the model"
                f" has {tokenizer_fingerprint}; tokenize again"
            )

    def ids(self, name: str) -> Ids:
        """The ids of a token file, mapped into memory, shape (tokens,)."""
        path = self._folder / f"{name}.bin"
        if path.stat().st_size == 0:
            return np.empty(0, dtype=self._dtype)
        return np.memmap(path, dtype=self._dtype, mode="r")

    def spans(self, name: str) -> NDArray[np.int64]:
        """Where each pair lies, shape (pairs, 3): start, target start, end."""
        path = self._folder / f"{name}.spans.bin"
        flat = np.fromfile(path, dtype=np.int64) if path.exists() else np.empty(0, dtype=np.int64)
        return flat.reshape(-1, _SPAN_FIELDS)


def ids_type(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds every id."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def describe(folder: Path, *, vocab_size: int, tokenizer_fingerprint: str) -> None:
    """Write down how the token files of `folder` are to be read."""
    description: dict[str, Any] = {
        "dtype": np.dtype(ids_type(vocab_size)).name,
        "tokenizer": tokenizer_fingerprint,
    }
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def running_text(sequences: Iterable[Sequence[int]], *, end_id: int) -> NDArray[np.int64]:
    """Sequences end to end, with `end_id` before, between and after them."""
    parts: list[int] = [end_id]
    for ids in sequences:
        parts.extend(ids)
        parts.append(end_id)
    return np.array(parts, dtype=np.int64)

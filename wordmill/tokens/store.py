"""Token files: flat arrays of ids that training maps into memory.

A folder of token files holds `NAME.bin` (ids end to end, 16-bit where the vocabulary allows),
`NAME.records.bin` (the 128-bit id of the record that each sequence came from, in their order),
for pairs also `NAME.spans.bin` (int64 rows of start, target start, end), and `tokens.json`
with the type of the ids and the fingerprint of the tokenizer that made them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wordmill.errors import DataError

_DESCRIPTION = "tokens.json"
_SPAN_FIELDS = 3
_RECORD_BYTES = 16
_CHUNK_TOKENS = 1 << 24  # looked through at once for end tokens

Ids = NDArray[np.uint16 | np.uint32]


class TokenWriter:
    """Appends to one named token file as sequences come; it holds none of them."""

    def __init__(self, folder: Path, name: str, *, vocab_size: int) -> None:
        self._dtype = np.dtype(ids_type(vocab_size))
        self._ids = (folder / f"{name}.bin").open("wb")
        self._records = _records_path(folder, name).open("wb")
        self._spans_path = folder / f"{name}.spans.bin"
        self._spans: BinaryIO | None = None
        self.num_tokens = 0

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()
        self._records.close()
        if self._spans:
            self._spans.close()

    def add(self, ids: Ids) -> None:
        """Append a part of a running text."""
        self._ids.write(ids.astype(self._dtype, copy=False).tobytes())
        self.num_tokens += len(ids)

    def add_record_ids(self, ids: Iterable[str]) -> None:
        """Say which records the sequences added last came from, one for each, in their order.

        Args:
            ids: hashes of 32 hexadecimal digits, as wordmill/data/records.py makes them.
        """
        self._records.write(bytes.fromhex("".join(ids)))

    def add_pairs(
        self, ids: Ids, *, prompt_lengths: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> None:
        """Append pairs, and remember where they lie.

        Args:
            ids: prompt and target of each pair, end to end.
            prompt_lengths: tokens of each prompt, shape (pairs,).
            lengths: tokens of each prompt and its target together, shape (pairs,).
        """
        starts = self.num_tokens + np.cumsum(lengths) - lengths
        spans = np.stack([starts, starts + prompt_lengths, starts + lengths], axis=1)
        self._spans = self._spans or self._spans_path.open("wb")
        self._spans.write(spans.astype(np.int64).tobytes())
        self.add(ids)


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

    def record_ids(self, name: str, positions: Sequence[tuple[int, int]]) -> list[str]:
        """The records that ranges of tokens came from, each once, in the order of the ranges.

        An end token belongs to the document that it closes, the very first to the one it opens.

        Args:
            name: of the token file.
            positions: (start, stop) of each range; what lies past the end of the file is nobody's.
        """
        ids = self.ids(name)
        ranges = [(start, min(stop, len(ids))) for start, stop in positions]
        ends = np.array([(a, b - 1) for a, b in ranges if a < b], dtype=np.int64).reshape(-1, 2)
        found: dict[str, None] = {}
        with _records_path(self._folder, name).open("rb") as file:
            for first, last in self._sequences_at(name, ids, ends).tolist():
                file.seek(first * _RECORD_BYTES)
                some = file.read((last + 1 - first) * _RECORD_BYTES).hex(" ", _RECORD_BYTES)
                found |= dict.fromkeys(some.split())
        return list(found)

    def _sequences_at(self, name: str, ids: Ids, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the sequence that each place lies in, in the shape of `places`."""
        spans = self.spans(name)
        if len(spans):
            return np.searchsorted(spans[:, 0], places, side="right") - 1
        return np.maximum(_ends_before(ids, places) - 1, 0)


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


def _records_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.records.bin"


def _ends_before(ids: Ids, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many end tokens stand before each place of a running text, which opens with one."""
    counts, total = np.zeros_like(places), 0
    for start in range(0, int(places.max(initial=0)), _CHUNK_TOKENS):
        ends = start + np.flatnonzero(ids[start : start + _CHUNK_TOKENS] == ids[0])
        is_here = (places > start) & (places <= start + _CHUNK_TOKENS)
        counts[is_here] = total + np.searchsorted(ends, places[is_here])
        total += len(ends)
    return counts


def running_text(sequences: Iterable[Sequence[int]], *, end_id: int) -> NDArray[np.int64]:
    """Sequences end to end, with `end_id` before, between and after them."""
    parts: list[int] = [end_id]
    for ids in sequences:
        parts.extend(ids)
        parts.append(end_id)
    return np.array(parts, dtype=np.int64)

"""Training records that share a long run of words with held-out ones.

Held-out runs lie on disk: a table of bits of fixed size says which runs are not held out for
sure, and only the few that may be are compared exactly, one part of all hashes at a time.
Memory hardly grows with the text: by a 64th of what may have leaked.
Source: https://arxiv.org/abs/2005.14165, appendix C, but whole sentences are cut where GPT-3
cut 200 characters on both sides.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.cleaning.character_table import Hashes
from wordmill.cleaning.characters import Bools, Characters, Counts, ngrams

# Where a sentence ends, with the space after it; a blank line ends one too.
_SENTENCE_END = re.compile(
    r"(?<![.!?])[.!?]++[\"'”’)\]]*+\s+|[。！？]++[”’」』）]*+\s*+|\n[^\S\n]*\n\s*+"
)
_LEAST_WORDS = 8
_NUM_PARTS = 64
_PART_BITS = np.uint64(64 - 6)
_TABLE_BITS = 27  # 16 MB: six million runs leave it 95% empty
_BIT_SHIFT = np.uint64(64 - _TABLE_BITS)


class Runs(NamedTuple):
    """Runs of words, and texts that are too short for one."""

    text_of: Counts
    """The text that each stands in."""
    hashes: Hashes


def runs_of(characters: Characters, *, ngram_words: int) -> Runs:
    """What is compared: runs of words, punctuation left out; of shorter texts the whole text.

    Args:
        characters: of the texts.
        ngram_words: words of a run. Texts of less than 8 words, or less than a run if that is
            shorter, are too common to tell anything and have none (GPT-3's least length).
    """
    words = characters.words.only(~characters.words.is_symbol)
    runs = ngrams(words, ngram_words)
    text_of, hashes = [words.text_of[runs.first]], [runs.hashes]
    for size in range(min(_LEAST_WORDS, ngram_words), ngram_words):
        whole = ngrams(words, size)
        chosen = words.text_of[whole.first]
        is_whole = words.counts[chosen] == size
        text_of.append(chosen[is_whole])
        hashes.append(whole.hashes[is_whole])
    return Runs(np.concatenate(text_of), np.concatenate(hashes))


def may_be_held_out(table: Path, hashes: Hashes) -> Bools:
    """Which runs may be held out; those it denies are not, shape (runs,)."""
    places = hashes >> _BIT_SHIFT
    bits = _table(table, table.stat().st_mtime_ns)[places >> np.uint64(3)]
    return (bits >> (places & np.uint64(7)).astype(np.uint8)) & 1 == 1


class HeldOutRuns:
    """Collects held-out runs first, then training runs that may be among them.

    Args:
        folder: where they lie; made here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.table = folder / "bits"
        self._bits = np.zeros(1 << (_TABLE_BITS - 3), dtype=np.uint8)
        self._held_out = [folder / f"held_out.{part}" for part in range(_NUM_PARTS)]
        self._training = [folder / f"training.{part}" for part in range(_NUM_PARTS)]
        self._open_held_out = [path.open("wb") for path in self._held_out]
        self._open_training = [path.open("wb") for path in self._training]

    def __enter__(self) -> "HeldOutRuns":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*self._open_held_out, *self._open_training):
            file.close()

    def add_held_out(self, hashes: Hashes) -> None:
        """Take runs of held-out text."""
        places = hashes >> _BIT_SHIFT
        values = np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))
        np.bitwise_or.at(self._bits, places >> np.uint64(3), values)
        _write_parts(self._open_held_out, hashes, hashes[:, None])

    def close_held_out(self) -> None:
        """Make `table` ready: all held-out text was seen."""
        self.table.write_bytes(self._bits.tobytes())
        del self._bits
        for file in self._open_held_out:
            file.close()

    def add_training(self, hashes: Hashes, rows: NDArray[np.int64]) -> None:
        """Take runs that may be held out, with the row that each stands in."""
        _write_parts(
            self._open_training, hashes, np.stack((hashes, rows.astype(np.uint64)), axis=1)
        )

    def leaks(self) -> "Leaks":
        """What training rows share with held-out ones."""
        rows, leaked = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for file in self._open_training:
            file.close()
        for held_out, training in zip(self._held_out, self._training, strict=True):
            found = np.fromfile(training, dtype=np.uint64).reshape(-1, 2)
            if len(found):
                is_held_out = np.isin(found[:, 0], np.fromfile(held_out, dtype=np.uint64))
                rows.append(np.unique(found[is_held_out, 1]))
                leaked.append(np.unique(found[is_held_out, 0]))
        return Leaks(np.unique(np.concatenate(rows)).astype(np.int64), np.concatenate(leaked))


class Leaks(NamedTuple):
    """What training rows share with held-out ones."""

    rows: NDArray[np.int64]
    """The rows that hold a held-out run, sorted."""
    runs: Hashes
    """The runs."""


def without_leaks(text: str, runs: Hashes, *, ngram_words: int) -> str:
    """Cut the sentences that hold one of the runs out of a text."""
    characters = Characters([text])
    words = characters.words.only(~characters.words.is_symbol)
    if len(words.starts) < ngram_words:
        return ""  # it was compared as a whole
    found = ngrams(words, ngram_words)
    leaked = found.first[np.isin(found.hashes, runs)]
    borders = np.array([0, *(m.end() for m in _SENTENCE_END.finditer(text)), len(text)])
    last = leaked + ngram_words - 1
    first_sentence = np.searchsorted(borders, words.starts[leaked], side="right") - 1
    last_sentence = np.searchsorted(borders, words.starts[last], side="right") - 1
    is_cut = np.zeros(len(borders), dtype=np.bool_)
    for start, stop in zip(first_sentence, last_sentence, strict=True):
        is_cut[start : stop + 1] = True
    pieces = zip(borders[:-1], borders[1:], is_cut[:-1], strict=True)
    return "".join(text[start:stop] for start, stop, cut in pieces if not cut).strip()


def _write_parts(files: Sequence[BinaryIO], hashes: Hashes, rows: Hashes) -> None:
    parts = hashes >> _PART_BITS
    order = np.argsort(parts, kind="stable")
    borders = np.searchsorted(parts[order], np.arange(_NUM_PARTS + 1))
    for file, start, stop in zip(files, borders[:-1], borders[1:], strict=True):
        if stop > start:
            file.write(rows[order[start:stop]].tobytes())


@lru_cache(maxsize=1)
def _table(path: Path, _: int) -> NDArray[np.uint8]:
    return np.memmap(path, dtype=np.uint8, mode="r")

"""A batch of texts as arrays: code points, their classes, words and lines.

Rules over text are sums over these arrays, so that a batch costs a few passes of numpy and no
Python object for each word. A word is a run of letters and digits with the marks that hold it
together (don't, 3.14, os.path), a single Han character, or a run of one symbol. Words carry a
64-bit hash of their lower-cased characters that is the same in every process. About 60 bytes of
memory a character while a batch is worked on.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.cleaning.character_table import (
    DIGIT,
    HAN,
    LAST_CODE,
    LETTER,
    POSITIONS,
    SPACE,
    STEP,
    SYMBOL,
    Hashes,
    character_table,
    mixed,
)

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]

_FIRST_EASTERN = 0x1100  # Hangul, then kana and Han
_APOSTROPHES = (0x27, 0x2019)


class Characters:
    """The code points of a batch of texts, end to end.

    Args:
        texts: the batch.
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        joined = "".join(texts).encode("utf-32-le", "surrogatepass")
        self.codes: NDArray[np.uint32] = np.frombuffer(joined, dtype=np.uint32)
        """Code points, shape (characters,)."""
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        self.starts: Counts = np.concatenate(([0], np.cumsum(lengths)))
        """Where each text starts, and the end of the last, shape (texts + 1,)."""
        table = character_table()
        self._clipped = np.minimum(self.codes, LAST_CODE)
        self.is_upper: Bools = table.is_upper[self._clipped]
        self.classes: NDArray[np.uint8] = table.classes[self._clipped]
        """Bits of what each character is, shape (characters,)."""

    @cached_property
    def is_seen(self) -> Bools:
        """Which characters are more than space, shape (characters,)."""
        return (self.classes & SPACE) == 0

    @cached_property
    def is_western(self) -> bool:
        """Whether no character stands beyond the scripts of Europe and its neighbours."""
        return int(self.codes.max(initial=0)) < _FIRST_EASTERN

    @property
    def lengths(self) -> Counts:
        """Characters of each text, shape (texts,)."""
        return np.diff(self.starts)

    def count(self, chosen: Bools) -> Counts:
        """How many characters of each text are chosen, shape (texts,)."""
        return sums(chosen, self.starts)

    def count_class(self, bits: int) -> Counts:
        """How many characters of each text are of one of the classes, shape (texts,)."""
        return self.count((self.classes & bits) != 0)

    @cached_property
    def words(self) -> "Words":
        """The words of all texts."""
        classes = self.classes
        is_inside = (classes & (LETTER | DIGIT)) != 0
        is_inside |= self._is_inner_mark(is_inside)
        is_han = (classes & HAN) != 0
        is_word = is_inside | ((classes & (SYMBOL | HAN)) != 0)
        goes_on = np.zeros_like(is_word)
        same = is_inside[1:] & is_inside[:-1] & ~is_han[1:] & ~is_han[:-1]
        same |= ~is_inside[1:] & ~is_inside[:-1] & (self.codes[1:] == self.codes[:-1])
        goes_on[1:] = same & is_word[1:]
        goes_on[self.starts[:-1][self.lengths > 0]] = False
        starts = np.flatnonzero(is_word & ~goes_on)
        return Words(self, starts, is_word, is_symbol=~is_inside[starts])

    def _is_inner_mark(self, is_inside: Bools) -> Bools:
        """Marks that hold a word together: don't, 3.14, os.path, snake_case, 1,000."""
        mark, classes = self.codes[1:-1], self.classes
        is_letter, is_digit = (classes & LETTER) != 0, (classes & DIGIT) != 0
        inner = np.isin(mark, _APOSTROPHES) & is_letter[:-2] & is_letter[2:]
        inner |= mark == ord("_")
        inner |= (mark == ord(",")) & is_digit[:-2] & is_digit[2:]
        # A sentence may end without a space after it: `end.Start` is two words.
        inner |= (mark == ord(".")) & ~(self.is_upper[2:] & ~self.is_upper[:-2])
        may_hold = is_inside & ((classes & HAN) == 0)
        found = np.zeros_like(is_inside)
        found[1:-1] = inner & may_hold[:-2] & may_hold[2:]
        borders = self.starts[1:-1]  # no mark reaches into another text
        found[borders[borders < len(found)]] = False
        found[borders[borders > 0] - 1] = False
        return found

    @cached_property
    def lines(self) -> "Spans":
        """The lines of all texts that hold more than space."""
        return self._spans(self.codes == 0x0A)

    @cached_property
    def paragraphs(self) -> "Spans":
        """The parts of all texts that blank lines divide."""
        is_end = self.codes == 0x0A
        twice = np.zeros_like(is_end)
        twice[1:] = is_end[1:] & is_end[:-1]
        twice[:-1] |= twice[1:]
        return self._spans(twice)

    def _spans(self, is_border: Bools) -> "Spans":
        starts_span = np.zeros_like(is_border)
        starts_span[1:] = is_border[:-1] & ~is_border[1:]
        first = self.starts[:-1][self.lengths > 0]
        starts_span[first] = ~is_border[first]
        starts = np.flatnonzero(starts_span)
        text_of = np.searchsorted(self.starts, starts, side="right") - 1
        borders = np.flatnonzero(is_border)
        ends = np.append(borders, len(self.codes))[np.searchsorted(borders, starts)]
        ends = np.minimum(ends, self.starts[text_of + 1])
        is_blank = sums(self.is_seen, starts, ends) == 0
        starts, ends, text_of = starts[~is_blank], ends[~is_blank], text_of[~is_blank]
        hashes = self.hashes(starts, ends, self.is_seen)
        return Spans(starts, ends, text_of, hashes, sums_of_texts(text_of, len(self.lengths)))

    @cached_property
    def _values(self) -> Hashes:
        return character_table().values[self._clipped]

    def hashes(self, starts: Counts, ends: Counts, chosen: Bools) -> Hashes:
        """A hash of the chosen characters of each span; there are none between spans."""
        if len(starts) == 0:
            return np.empty(0, dtype=np.uint64)
        tables, size = character_table(), len(self.codes)
        position = np.arange(size, dtype=np.int32)
        gaps = np.diff(starts, append=size)
        position[starts[0] :] -= np.repeat(starts.astype(np.int32), gaps)
        values = tables.positions[position & (POSITIONS - 1)]
        values *= self._values
        values *= chosen
        return mixed(np.add.reduceat(values, starts) + (ends - starts).astype(np.uint64))


class Spans(NamedTuple):
    """Lines or paragraphs of a batch."""

    starts: Counts
    ends: Counts
    text_of: Counts
    """Which text each belongs to."""
    hashes: Hashes
    first_of: Counts
    """Where each text's spans start, and the end of the last text's, shape (texts + 1,)."""


class Words:
    """The words of a batch of texts.

    Args:
        characters: of the batch.
        starts: where each word starts.
        is_word: which characters belong to words.
        is_symbol: which words are symbols, shape (words,).
    """

    def __init__(
        self, characters: Characters, starts: Counts, is_word: Bools, *, is_symbol: Bools
    ) -> None:
        self._characters, self._is_word = characters, is_word
        self.starts, self.is_symbol = starts, is_symbol
        self.first_of: Counts = np.searchsorted(starts, characters.starts)
        """Where each text's words start, and the end of the last text's, shape (texts + 1,)."""

    @property
    def counts(self) -> Counts:
        """Words of each text, shape (texts,)."""
        return np.diff(self.first_of)

    @cached_property
    def text_of(self) -> Counts:
        """Which text each word belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def lengths(self) -> Counts:
        """Characters of each word."""
        if len(self.starts) == 0:
            return np.empty(0, dtype=np.int64)
        return np.add.reduceat(self._is_word, self.starts, dtype=np.int64)

    @cached_property
    def has_letter(self) -> Bools:
        """Which words hold a letter, shape (words,)."""
        if len(self.starts) == 0:
            return np.empty(0, dtype=np.bool_)
        is_letter = (self._characters.classes & LETTER) != 0
        return np.logical_or.reduceat(is_letter, self.starts)

    @cached_property
    def hashes(self) -> Hashes:
        """A hash of each word's lower-cased characters."""
        return self._characters.hashes(self.starts, self.starts + self.lengths, self._is_word)

    def only(self, chosen: Bools) -> "Words":
        """A part of the words, of the same texts; `chosen` has shape (words,)."""
        part = Words(
            self._characters, self.starts[chosen], self._is_word, is_symbol=self.is_symbol[chosen]
        )
        part.lengths, part.hashes = self.lengths[chosen], self.hashes[chosen]
        return part


class NGrams(NamedTuple):
    """Runs of words inside one text each."""

    first: Counts
    """The word that each starts with."""
    hashes: Hashes


def ngrams(words: Words, size: int) -> NGrams:
    """All runs of `size` words that do not leave their text."""
    num = len(words.starts) - size + 1
    if num < 1:
        return NGrams(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64))
    inside = words.text_of[:num] == words.text_of[size - 1 :]
    hashes = np.zeros(num, dtype=np.uint64)
    for place in range(size):
        hashes = hashes * STEP + words.hashes[place : place + num]
    return NGrams(np.flatnonzero(inside), mixed(hashes[inside]))


def counted_before(chosen: Bools | Counts) -> NDArray[np.int32]:
    """How many, or how much, before each place and before the end, shape (places + 1,)."""
    total = np.zeros(len(chosen) + 1, dtype=np.int32)  # a batch has far less than 2^31
    np.cumsum(chosen, out=total[1:])
    return total


def sums(chosen: Bools | Counts, starts: Counts, ends: Counts | None = None) -> Counts:
    """How many, or how much, between each start and end; ends are the next starts if not given."""
    total = counted_before(chosen)
    if ends is None:
        starts, ends = starts[:-1], starts[1:]
    return (total[ends] - total[starts]).astype(np.int64)


def sums_of_texts(text_of: Counts, num_texts: int) -> Counts:
    """Where each text's items start in a list sorted by text, shape (texts + 1,)."""
    return np.searchsorted(text_of, np.arange(num_texts + 1))


def places_of(starts: Counts, ends: Counts) -> Counts:
    """The places from each start to its end, spans one after another."""
    lengths = ends - starts
    offsets = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    return offsets + np.arange(len(offsets))

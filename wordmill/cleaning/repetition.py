"""Documents that say the same again and again: Gopher's repetition rules over a whole batch.

Runs of words are compared as hashes. A run of n words can only repeat where its first n - 1
words do, so each longer run is looked for among the repeats of the shorter one: in ordinary
text the work ends after runs of two and three words.
Source: https://arxiv.org/abs/2112.11446, appendix A1.1. Deviation: a run that stands once does
not count as the most frequent one.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.cleaning.character_table import STEP, Hashes, mixed
from wordmill.cleaning.characters import Bools, Characters, Counts, Spans, Words, sums
from wordmill.cleaning.quality import Verdict, repeats
from wordmill.params.clean import GopherRepetitionParams

_TOP_SIZES = (2, 3, 4)
_DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)


def repetition_verdicts(
    characters: Characters, words: Words, params: GopherRepetitionParams
) -> Iterator[Verdict]:
    """Gopher's limits on repeated paragraphs, lines and runs of words, in their order.

    Args:
        characters: of the batch.
        words: of the batch, as `web_words` counts them; texts without any pass.
        params: the thresholds.
    """
    num_chars = np.maximum(characters.lengths, 1)
    count, chars = _repeated(characters.lines)
    yield "gopher_duplicate_lines", count > params.max_duplicate_lines * _num(characters.lines)
    yield "gopher_duplicate_line_chars", chars > params.max_duplicate_line_chars * num_chars

    # A paragraph that stands twice is made of lines that do: few texts have any.
    places = np.flatnonzero(count)
    part = Characters([characters.texts[place] for place in places])
    count, chars = _repeated(part.paragraphs)
    is_over = count > params.max_duplicate_paragraphs * _num(part.paragraphs)
    yield "gopher_duplicate_paragraphs", _at(places, is_over, num_chars)
    is_over = chars > params.max_duplicate_paragraph_chars * num_chars[places]
    yield "gopher_duplicate_paragraph_chars", _at(places, is_over, num_chars)

    runs = _Runs.of_words(words)
    limits = (*params.max_top_ngram_chars, *params.max_duplicate_ngram_chars)
    for size, limit in zip((*_TOP_SIZES, *_DUPLICATE_SIZES), limits, strict=True):
        runs = runs.longer(size)
        if size in _TOP_SIZES:
            yield f"gopher_top_{size}_gram", runs.top_chars() > limit * num_chars
        else:
            is_over = runs.duplicate_chars(limit * num_chars) > limit * num_chars
            yield f"gopher_duplicate_{size}_grams", is_over


def _num(spans: Spans) -> Counts:
    return np.diff(spans.first_of)


def _repeated(spans: Spans) -> tuple[Counts, Counts]:
    """Spans of each text that stood there before, and their characters."""
    again = repeats(spans.hashes, spans.text_of)
    chars = np.where(again, spans.ends - spans.starts, 0)
    return sums(again, spans.first_of), sums(chars, spans.first_of)


def _at(places: Counts, chosen: Bools, like: Counts) -> Bools:
    found = np.zeros(len(like), dtype=np.bool_)
    found[places] = chosen
    return found


class _Runs(NamedTuple):
    """Runs of `size` words that stand more than once in their text."""

    words: Words
    size: int
    first: Counts
    """The word that each starts with, ascending."""
    keys: Hashes
    """Equal for equal runs of the same text."""

    @classmethod
    def of_words(cls, words: Words) -> "_Runs":
        """Runs of one word, those that stand once included."""
        texts = mixed(words.text_of.astype(np.uint64))
        return cls(words, 1, np.arange(len(words.starts)), words.hashes ^ texts)

    def longer(self, size: int) -> "_Runs":
        """The runs of `size` words, one more than these, that stand more than once."""
        ends = self.first + size - 1
        text_of = self.words.text_of
        fits = ends < len(text_of)
        first, keys, ends = self.first[fits], self.keys[fits], ends[fits]
        inside = text_of[ends] == text_of[first]
        first, keys, ends = first[inside], keys[inside], ends[inside]
        keys = keys * STEP + self.words.hashes[ends]
        again = _stands_twice(keys)
        return self._replace(size=size, first=first[again], keys=keys[again])

    def top_chars(self) -> Counts:
        """Characters in the most frequent run of each text, spaces between words counted."""
        num_texts = len(self.words.counts)
        top = np.zeros(num_texts, dtype=np.int64)
        if len(self.first) == 0:
            return top
        order = np.argsort(self.keys, kind="stable")
        begins = np.flatnonzero(np.diff(self.keys[order], prepend=~self.keys[order[:1]]))
        counts = np.diff(begins, append=len(order))
        earliest = self.first[order[begins]]
        text_of = self.words.text_of[earliest]
        # The last one written wins: the most frequent, among equals the first met.
        ranked = np.lexsort((-earliest, counts, text_of))
        chars = counts * (self._chars(earliest) + self.size - 1)
        top[text_of[ranked]] = chars[ranked]
        return top

    def duplicate_chars(self, enough: NDArray[np.float64]) -> Counts:
        """Characters in runs seen before, a run that overlaps a counted one left out.

        Args:
            enough: a text whose bound stays below is not counted exactly, shape (texts,).
        """
        num_texts = len(self.words.counts)
        found = np.zeros(num_texts, dtype=np.int64)
        if len(self.first) == 0:
            return found
        text_of = self.words.text_of[self.first]
        again = repeats(self.keys, text_of)
        covered = inside_any(self.first[again], self.size, len(self.words.starts))
        bound = sums(np.where(covered, self.words.lengths, 0), self.words.first_of)
        chars = self._chars(self.first)
        first_of = np.searchsorted(text_of, np.arange(num_texts + 1))
        for text in np.flatnonzero(bound > enough):
            part = slice(first_of[text], first_of[text + 1])
            found[text] = _greedy(self.first[part], self.keys[part], chars[part], self.size)
        return found

    def _chars(self, first: Counts) -> Counts:
        total = np.concatenate(([0], np.cumsum(self.words.lengths)))
        return total[first + self.size] - total[first]


def _greedy(first: Counts, keys: Hashes, chars: Counts, size: int) -> int:
    seen: set[int] = set()
    free_from = total = 0
    for start, key, length in zip(first.tolist(), keys.tolist(), chars.tolist(), strict=True):
        if start < free_from:
            continue
        if key in seen:
            total += length
            free_from = start + size
        else:
            seen.add(key)
    return total


def inside_any(starts: Counts, length: int, size: int) -> Bools:
    """Which places lie at most `length` after one of the starts."""
    steps = np.zeros(size + 1, dtype=np.int32)
    steps[starts] += 1
    steps[starts + length] -= 1
    return np.cumsum(steps[:size]) > 0


def _stands_twice(keys: Hashes) -> Bools:
    """Which keys are not alone, shape (keys,); most of the others are told apart by few bits."""
    few_bits = keys >> np.uint64(64 - max(8, len(keys).bit_length() + 2))
    again = np.bincount(few_bits.astype(np.int64))[few_bits.astype(np.int64)] > 1
    places = np.flatnonzero(again)
    order = places[np.argsort(keys[places])]
    same = keys[order][1:] == keys[order][:-1]
    again[places] = False
    again[order[1:][same]] = True
    again[order[:-1][same]] = True
    return again

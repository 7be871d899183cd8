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

from wordmill.cleaning.characters import (
    Bools,
    Characters,
    Counts,
    Hashes,
    Spans,
    Words,
    mixed,
    sums,
)
from wordmill.cleaning.quality import Verdict, repeats
from wordmill.params.clean import GopherRepetitionParams

_TOP_SIZES = (2, 3, 4)
_DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
_STEP = np.uint64(0x9E3779B97F4A7C15)


def repetition_verdicts(
    characters: Characters, params: GopherRepetitionParams
) -> Iterator[Verdict]:
    """Gopher's limits on repeated paragraphs, lines and runs of words, in their order."""
    num_chars = np.maximum(characters.lengths, 1)
    for what, spans, max_count, max_chars in (
        (
            "paragraphs",
            characters.paragraphs,
            params.max_duplicate_paragraphs,
            params.max_duplicate_paragraph_chars,
        ),
        (
            "lines",
            characters.lines,
            params.max_duplicate_lines,
            params.max_duplicate_line_chars,
        ),
    ):
        count, chars = _repeated_spans(spans)
        yield f"gopher_duplicate_{what}", count > max_count * np.diff(spans.first_of)
        yield f"gopher_duplicate_{what[:-1]}_chars", chars > max_chars * num_chars

    runs = _Runs.of_words(characters.words)
    limits = (*params.max_top_ngram_chars, *params.max_duplicate_ngram_chars)
    for size, limit in zip((*_TOP_SIZES, *_DUPLICATE_SIZES), limits, strict=True):
        runs = runs.longer(size)
        if size in _TOP_SIZES:
            yield f"gopher_top_{size}_gram", runs.top_chars() > limit * num_chars
        else:
            is_over = runs.duplicate_chars(limit * num_chars) > limit * num_chars
            yield f"gopher_duplicate_{size}_grams", is_over


def _repeated_spans(spans: Spans) -> tuple[Counts, Counts]:
    again = repeats(spans.hashes, spans.text_of)
    chars = np.where(again, spans.ends - spans.starts, 0)
    return sums(again, spans.first_of), sums(chars, spans.first_of)


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
        keys = keys * _STEP + self.words.hashes[ends]
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
        chars = self._chars(self.first)
        text_of = self.words.text_of[self.first]
        bound = np.bincount(text_of, weights=chars, minlength=num_texts)
        for text in np.flatnonzero(bound > enough):
            chosen = text_of == text
            found[text] = _greedy(self.first[chosen], self.keys[chosen], chars[chosen], self.size)
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


def _stands_twice(keys: Hashes) -> Bools:
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    again = np.zeros(len(keys), dtype=np.bool_)
    again[order[1:][same]] = True
    again[order[:-1][same]] = True
    return again

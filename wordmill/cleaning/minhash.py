"""Near duplicates: which texts could be one another's, and how alike two texts are.

A text's shingles are its runs of a few words. Its signature is the least value of each of many
hash functions over them (MinHash, https://doi.org/10.1109/SEQUEN.1997.666900); texts that agree
on all rows of one band are candidates. At Jaccard s the chance of that is
1 - (1 - s^rows)^bands: 99.8% at 0.8 with 20 bands of 6 rows. Candidates are then compared by
the Jaccard of their shingles, so nothing is dropped by chance.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordmill.cleaning.character_table import Hashes, mixed, seeded
from wordmill.cleaning.characters import Characters, Counts, ngrams
from wordmill.params.clean import NearDuplicateParams


class Sketches(NamedTuple):
    """What near duplicates of a batch of texts are found by."""

    bands: Hashes
    """A value for each band, shape (texts, bands)."""
    shingles: NDArray[np.uint32]
    """The different shingles of each text, sorted, texts end to end."""
    first_of: Counts
    """Where each text's shingles start, and the end of the last, shape (texts + 1,)."""


def sketches(characters: Characters, salts: Hashes, params: NearDuplicateParams) -> Sketches:
    """Sketch each text; one without a word has no shingles.

    Args:
        characters: of the batch.
        salts: texts with different ones are never alike, shape (texts,).
        params: of near duplicates.
    """
    words = characters.words.only(~characters.words.is_symbol)
    size = params.ngram_words
    runs = ngrams(words, size)
    # A text shorter than a shingle is one shingle: the sum of its words.
    short = np.flatnonzero((words.counts > 0) & (words.counts < size))
    sums = np.empty(len(short), dtype=np.uint64)
    for place, text in enumerate(short):
        sums[place] = words.hashes[words.first_of[text] : words.first_of[text + 1]].sum()
    text_of = np.concatenate((words.text_of[runs.first], short))
    hashes = np.concatenate((runs.hashes, mixed(sums)))
    order = np.argsort(text_of, kind="stable")
    text_of, hashes = text_of[order], mixed(hashes[order] ^ salts[text_of[order]])
    first_of = np.searchsorted(text_of, np.arange(len(salts) + 1))
    bands = _bands(hashes, first_of, params)
    return Sketches(bands, *_distinct(hashes, text_of, len(salts)))


def jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Shared shingles by all shingles of two texts, 0 to 1; both sorted and distinct."""
    both = np.concatenate((one, other))
    both.sort()
    shared = int((both[1:] == both[:-1]).sum())
    return shared / max(len(both) - shared, 1)


def _bands(hashes: Hashes, first_of: Counts, params: NearDuplicateParams) -> Hashes:
    has_any = np.flatnonzero(np.diff(first_of))
    bands = np.zeros((len(first_of) - 1, params.num_bands), dtype=np.uint64)
    if len(has_any) == 0:
        return bands
    starts = first_of[has_any]
    flips = seeded(params.num_bands * params.rows_a_band, seed=3)
    factors = seeded(len(flips), seed=4) | np.uint64(1)
    scratch = np.empty_like(hashes)
    for place, (flip, factor) in enumerate(zip(flips, factors, strict=True)):
        np.bitwise_xor(hashes, flip, out=scratch)
        np.multiply(scratch, factor, out=scratch)
        least = np.minimum.reduceat(scratch, starts)
        band = place // params.rows_a_band
        bands[has_any, band] = mixed(bands[has_any, band] + least)
    return bands


def _distinct(hashes: Hashes, text_of: Counts, num_texts: int) -> tuple[NDArray[np.uint32], Counts]:
    # Text and shingle in one number: one sort orders both. 32 bits of a shingle are enough
    # inside two texts: of a thousand shingles each one pair in 4,000 collides.
    keys = (text_of.astype(np.uint64) << np.uint64(32)) | (hashes >> np.uint64(32))
    keys.sort()  # ten times as fast as np.unique here
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys
    first_of = np.searchsorted(keys >> np.uint64(32), np.arange(num_texts + 1))
    return keys.astype(np.uint32), first_of

"""What answers are like whatever was wanted: their length, their variety, their repetitions.

Words are lower-cased runs of letters and digits and single Chinese characters; punctuation is
left out (wordmill/cleaning/characters.py).
"""

from collections.abc import Sequence

import numpy as np

from wordmill.cleaning.characters import Characters, Words, ngrams
from wordmill.metrics.ngrams import Ints
from wordmill.metrics.score import Statistics, ratio

_REPEATED_SIZE = 4


def diversity_statistics(
    predictions: Sequence[str], references: Sequence[str]
) -> dict[str, Statistics]:
    """Length ratio, distinct-1, distinct-2 and repetition of answers.

    `length_ratio` is predicted words / wanted words of the set: 1 is as long as wanted, neither
    direction is better. `distinct1` and `distinct2`, 0 to 1, higher is more varied: different
    words or pairs of words / all of an answer, then the mean over answers that have any; unlike
    Li et al. 2016 (https://aclanthology.org/N16-1014), who count over the whole set, which
    makes it fall with the size of the set. `repetition`, 0 to 1, lower is better: the share of
    4-grams that their answer has had already, over all 4-grams of the set (Welleck et al. 2020,
    https://arxiv.org/abs/1908.04319). Each is 0 where there is nothing to count.

    Args:
        predictions: what a system wrote.
        references: what was wanted, one each.
    """
    words, wanted = (words_of(texts) for texts in (predictions, references))
    lengths = np.stack((words.counts, wanted.counts), axis=1).astype(np.float64)
    found = {
        "length_ratio": Statistics(values=lengths, final=ratio, signature="length_ratio|words")
    }
    for size in (1, 2):
        different, total = distinct(words, size)
        has_any = (total > 0).astype(np.float64)
        shares = np.stack((different / np.maximum(total, 1), has_any), axis=1)
        name = f"distinct{size}"
        found[name] = Statistics(values=shares, final=ratio, signature=f"{name}|mean")
    different, total = distinct(words, _REPEATED_SIZE)
    found["repetition"] = Statistics(
        values=np.stack((total - different, total), axis=1).astype(np.float64),
        final=ratio,
        signature=f"repetition|n:{_REPEATED_SIZE}",
        is_lower_better=True,
    )
    return found


def words_of(texts: Sequence[str]) -> Words:
    """The words of texts, punctuation left out."""
    characters = Characters(list(texts))
    words = characters.words
    del characters.words  # each holds the other, and their arrays would wait for the collector
    return words.only(~words.is_symbol)


def distinct(words: Words, size: int) -> tuple[Ints, Ints]:
    """Different n-grams of each text, and all of them, shape (N,) each."""
    runs = ngrams(words, size)
    text_of, num_texts = words.text_of[runs.first], len(words.counts)
    order = np.lexsort((runs.hashes, text_of))
    text_of, hashes = text_of[order], runs.hashes[order]
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (text_of[1:] != text_of[:-1]) | (hashes[1:] != hashes[:-1])
    different = np.bincount(text_of[is_new], minlength=num_texts)
    return different, np.bincount(text_of, minlength=num_texts)

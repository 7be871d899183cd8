"""How much of what systems write is their own, and how much stands in the training text.

What was generated is small and is kept, as sorted hashes; the training text is large and goes
by once. Memory is 17 bytes a generated n-gram and a batch of training text, whatever the corpus.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from wordmill.cleaning.character_table import Hashes
from wordmill.cleaning.characters import Bools, Counts, ngrams
from wordmill.metrics.diversity import words_of
from wordmill.metrics.score import Floats, Statistics

K = TypeVar("K")

_SIZE = 8
_BATCH_CHARACTERS = 1 << 20
# A table of bits tells of most training n-grams that they were not generated.
_TABLE_BITS = 24
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)


def novelty_statistics(
    predictions: dict[K, Sequence[str]], training: Iterable[str]
) -> dict[K, Statistics]:
    """Novelty of each system's answers, 0 to 1, higher is more of the system's own.

    1 - generated 8-grams that stand in the training text / all generated 8-grams, over the set.
    Words are lower-cased, Chinese characters are words, punctuation is left out. Shorter copies
    are left out: an answer of less than 8 words counts for nothing, and a set of such is 1.
    Equal 64-bit hashes are taken for equal n-grams. After McCoy et al. 2023
    (https://arxiv.org/abs/2111.09509).

    Args:
        predictions: what each system wrote, by whatever names it.
        training: the texts learnt from; read once.
    """
    runs = {system: _runs(texts) for system, texts in predictions.items()}
    generated = np.unique(np.concatenate([np.empty(0, np.uint64), *(r[1] for r in runs.values())]))
    known = generated[_stand_in(generated, training)]
    found: dict[K, Statistics] = {}
    for system, (text_of, hashes) in runs.items():
        num_texts = len(predictions[system])
        copied = np.bincount(text_of[np.isin(hashes, known)], minlength=num_texts)
        total = np.bincount(text_of, minlength=num_texts)
        found[system] = Statistics(
            values=np.stack((copied, total), axis=1).astype(np.float64),
            final=_novelty,
            signature=f"novelty|n:{_SIZE}|words",
        )
    return found


def _novelty(sums: Floats) -> Floats:
    return 1 - sums[:, 0] / np.maximum(sums[:, 1], 1)


def _runs(texts: Sequence[str]) -> tuple[Counts, Hashes]:
    """The text that each 8-gram stands in, and its hash."""
    words = words_of(texts)
    runs = ngrams(words, _SIZE)
    return words.text_of[runs.first], runs.hashes


def _stand_in(generated: Hashes, training: Iterable[str]) -> Bools:
    """Which of the sorted hashes are n-grams of the training text."""
    is_known = np.zeros(len(generated), dtype=np.bool_)
    if len(generated) == 0:
        return is_known
    may_be_known = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
    may_be_known[generated >> _TABLE_SHIFT] = True
    for texts in _batches(training):
        hashes = ngrams(words_of(texts), _SIZE).hashes
        hashes = hashes[may_be_known[hashes >> _TABLE_SHIFT]]
        places = np.minimum(np.searchsorted(generated, hashes), len(generated) - 1)
        is_known[places[generated[places] == hashes]] = True
    return is_known


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    num_characters = 0
    for text in texts:
        batch.append(text)
        num_characters += len(text)
        if num_characters >= _BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    yield batch

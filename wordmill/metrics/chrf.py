"""chrF++, to sacrebleu's numbers: its words, its average over orders, its signature."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import sacrebleu

from wordmill.metrics.ngrams import character_tokens, shared_ngrams, word_tokens
from wordmill.metrics.score import Floats, Statistics

_CHARACTER_ORDER, _WORD_ORDER = 6, 2
_RECALL_WEIGHT = 2.0**2  # beta^2


def chrf_statistics(predictions: Sequence[str], references: Sequence[str]) -> Statistics:
    """chrF++, 0 to 100, higher is better.

    100 * 5PR / (4P + R): precision and recall of n-grams of characters (1 to 6, spaces left
    out) and words (1 and 2), counted over the set for each order and averaged over the orders
    that both sides have. Needs no tokenizer, so that it serves Chinese too. Popovic 2017
    (https://aclanthology.org/W17-4770), without its smoothing, as sacrebleu.

    Args:
        predictions: what a system wrote.
        references: what was wanted, one each.
    """
    metric = _metric()
    sides = (predictions, references)
    characters = (character_tokens(["".join(text.split()) for text in side]) for side in sides)
    words = word_tokens(*([_words(text) for text in side] for side in sides))
    counts = np.concatenate(
        (
            shared_ngrams(*characters, max_order=_CHARACTER_ORDER),
            shared_ngrams(*words, max_order=_WORD_ORDER),
        ),
        axis=1,
    ).astype(np.float64)  # (N, orders, 3)
    counts[:, :, 0] *= counts[:, :, 1] > 0  # what has no reference is not counted against it
    return Statistics(
        values=counts.reshape(len(counts), 3 * counts.shape[1]),
        final=chrf_of,
        signature=f"chrF2++|{metric.get_signature()}",
    )


def chrf_of(sums: Floats) -> Floats:
    """chrF++ of summed statistics.

    Args:
        sums: for each order its n-grams predicted, wanted and shared, shape (S, 24).
    """
    predicted, wanted, shared = np.moveaxis(sums.reshape(len(sums), sums.shape[1] // 3, 3), 2, 0)
    is_counted = (predicted > 0) & (wanted > 0)
    num_orders = np.maximum(is_counted.sum(axis=1), 1)
    precision, recall = (
        np.where(is_counted, shared / np.maximum(total, 1), 0).sum(axis=1) / num_orders
        for total in (predicted, wanted)
    )
    both = _RECALL_WEIGHT * precision + recall
    score = (1 + _RECALL_WEIGHT) * precision * recall
    return 100 * np.divide(score, both, out=np.zeros_like(both), where=both > 0)


def _words(text: str) -> list[str]:
    return [part for word in text.split() for part in _parts(word)]


@lru_cache(maxsize=1 << 16)
def _parts(word: str) -> list[str]:
    """A word and the punctuation mark that it ends or begins with."""
    return _metric()._remove_punctuation(word)


@lru_cache(maxsize=1)
def _metric() -> sacrebleu.CHRF:
    metric = sacrebleu.CHRF(char_order=_CHARACTER_ORDER, word_order=_WORD_ORDER)
    metric.num_refs = 1
    return metric

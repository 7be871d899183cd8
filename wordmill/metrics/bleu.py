"""BLEU, to sacrebleu's numbers: its tokenizers, its smoothing, its signature."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import sacrebleu

from wordmill.metrics.ngrams import shared_ngrams, word_tokens
from wordmill.metrics.score import Floats, Statistics

_MAX_ORDER = 4


def bleu_statistics(
    predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> Statistics:
    """BLEU, 0 to 100, higher is better.

    100 * BP * (p1 p2 p3 p4)^(1/4): p of order n is the share of predicted n-grams that stand in
    the example's reference (each as often as there at most), counted over the set; BP is
    exp(1 - wanted tokens / predicted tokens) where that is below 1. Zero counts are smoothed by
    halves (sacrebleu's `exp`); where no word is right, or no answer has 4 tokens, it is 0.
    Meaning and answers worded otherwise are left out. Papineni et al. 2002
    (https://aclanthology.org/P02-1040), Post 2018 (https://aclanthology.org/W18-6319).

    Args:
        predictions: what a system wrote.
        references: what was wanted, one each.
        is_chinese: whether Chinese characters are tokens (`zh`, else `13a`).
    """
    metric = _metric("zh" if is_chinese else "13a")
    predicted, wanted = word_tokens(
        *(
            [metric._preprocess_segment(text).split() for text in side]
            for side in (predictions, references)
        )
    )
    shared = shared_ngrams(predicted, wanted, max_order=_MAX_ORDER)
    lengths = (predicted.lengths[:, None], wanted.lengths[:, None])
    values = np.concatenate((*lengths, shared[:, :, 2], shared[:, :, 0]), axis=1)
    return Statistics(
        values=values.astype(np.float64),
        final=bleu_of,
        signature=f"BLEU|{metric.get_signature()}",
    )


def bleu_of(sums: Floats) -> Floats:
    """BLEU of summed statistics.

    Args:
        sums: tokens predicted and wanted, right n-grams of orders 1 to 4, predicted n-grams of
            orders 1 to 4, shape (S, 10).
    """
    predicted, wanted = sums[:, 0], sums[:, 1]
    right, total = sums[:, 2 : 2 + _MAX_ORDER], sums[:, 2 + _MAX_ORDER :]
    is_scored = (right.max(axis=1) > 0) & (total.min(axis=1) > 0)
    halvings = np.cumsum(right == 0, axis=1)
    count = np.where(right > 0, right, 0.5**halvings)
    precisions = np.where(is_scored[:, None], 100 * count / np.maximum(total, 1), 1)
    brevity = np.minimum(0, 1 - wanted / np.maximum(predicted, 1))
    return is_scored * np.exp(brevity + np.log(precisions).mean(axis=1))


@lru_cache(maxsize=2)
def _metric(tokenizer: str) -> sacrebleu.BLEU:
    metric = sacrebleu.BLEU(tokenize=tokenizer)
    metric.num_refs = 1
    return metric

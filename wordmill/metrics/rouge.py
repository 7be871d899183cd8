"""ROUGE, to the last bit of rouge-score's numbers, without its tables and random samples.

What rouge-score's aggregator gives is the mean of random resamples; here it is the mean.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from wordmill.metrics.ngrams import shared_ngrams, word_tokens
from wordmill.metrics.score import Floats, Statistics, mean_statistics
from wordmill.metrics.subsequences import common_length, common_places, places_of

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

_WORD = re.compile(r"[a-z0-9]+")
_WORD_OR_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W\u3400-\u9fff\uf900-\ufaff]+")
_LATIN = re.compile(r"[a-z]")
_AS = "as:rouge-score-0.1.2"

Words = list[str]


def rouge_statistics(
    predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> dict[str, Statistics]:
    """ROUGE-1, 2, L and Lsum: F1, 0 to 100, higher is better, means over examples.

    Of precision P (share of the predicted that is wanted) and recall R, 100 * 2PR / (P + R):
    `rouge1` and `rouge2` count shared words and pairs of words, `rougeL` the words of the
    longest common subsequence, `rougeLsum` those of the union of such over lines. Lower-cased
    words of a-z and 0-9 alone, no stemming, as rouge-score finds them; it knows no other letters,
    so that where Chinese is wanted characters are words (`tok:han`), and where most letters of
    what is wanted are others than a-z, words of any letters (`tok:letters`). A side without words
    has 0. Lin 2004 (https://aclanthology.org/W04-1013).

    Args:
        predictions: what a system wrote.
        references: what was wanted, one each.
        is_chinese: whether Chinese characters are words.
    """
    found = {True: "letters", False: "default"}
    kinds = dict.fromkeys(found[_is_of_other_letters(text)] for text in references)
    told = "han" if is_chinese else "+".join(sorted(kinds)) or "default"
    settings = f"f1|stem:no|tok:{told}|mean|{_AS}"
    values = rouge_values(predictions, references, is_chinese=is_chinese)
    return {
        kind: mean_statistics(100 * of_examples, f"{kind}:{settings}")
        for kind, of_examples in values.items()
    }


def rouge_values(
    predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> dict[str, Floats]:
    """F1 of each example, 0 to 1, shape (N,), by kind."""
    finders = [
        all_words if is_chinese or _is_of_other_letters(text) else default_words
        for text in references
    ]
    predicted = [words_of(text) for words_of, text in zip(finders, predictions, strict=True)]
    wanted = [words_of(text) for words_of, text in zip(finders, references, strict=True)]
    tokens = word_tokens(predicted, wanted)
    shared = shared_ngrams(*tokens, max_order=2).astype(np.float64)
    lengths = [side.lengths.astype(np.float64) for side in tokens]
    common = np.array([common_length(w, p) for p, w in zip(predicted, wanted, strict=True)])
    summed = common.copy()
    for place, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        if "\n" in prediction or "\n" in reference:  # else it is the same
            summed[place] = _summed_length(prediction, reference, finders[place])
    return {
        "rouge1": _f1(shared[:, 0, 2], shared[:, 0, 0], shared[:, 0, 1]),
        "rouge2": _f1(shared[:, 1, 2], shared[:, 1, 0], shared[:, 1, 1]),
        "rougeL": _f1(common, *lengths),
        "rougeLsum": _f1(summed, *lengths),
    }


def default_words(text: str) -> Words:
    """Words as rouge-score finds them."""
    return _WORD.findall(text.lower())


def all_words(text: str) -> Words:
    """Chinese characters one by one, words of any other letters whole."""
    return _WORD_OR_HAN.findall(text.lower())


def _is_of_other_letters(text: str) -> bool:
    """Whether most letters are others than a-z, as rouge-score knows them."""
    if text.isascii():
        return False
    num_letters = sum(map(str.isalpha, text))
    return 2 * len(_LATIN.findall(text.lower())) < num_letters


def _summed_length(prediction: str, reference: str, words_of: Callable[[str], Words]) -> int:
    """Words of each wanted line that stand in its subsequence with any predicted line.

    A word counts as often as it does in the prediction at most, as in ROUGE 1.5.5.
    """
    predicted = [words_of(line) for line in prediction.split("\n")]
    left = Counter(word for line in predicted for word in line)
    num_found = 0
    for line in reference.split("\n"):
        words = words_of(line)
        places = places_of(words)
        union = {place for other in predicted for place in common_places(words, places, other)}
        for word, count in Counter(words[place] for place in union).items():
            num_found += min(count, left[word])
            left[word] -= min(count, left[word])
    return num_found


def _f1(shared: Floats, predicted: Floats, wanted: Floats) -> Floats:
    # In rouge-score's order of operations, so that every bit is the same.
    precision, recall = shared / np.maximum(predicted, 1), shared / np.maximum(wanted, 1)
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)

"""Short answers: right to the letter, or how much of the right one they share."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

from wordmill.metrics.score import Statistics, mean_statistics

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CMRC_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHARACTER_OR_WORD = re.compile(r"[\u4e00-\u9fa5]|[^\s\u4e00-\u9fa5]+")


def answer_statistics(
    predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> dict[str, Statistics]:
    """Exact match and F1 of answers, 0 to 100, higher is better, means over examples.

    Of P and R, the shares of the predicted and of the wanted words that both have, F1 is
    100 * 2PR / (P + R). Left out are, as in SQuAD (https://aclanthology.org/D16-1264), case,
    ASCII punctuation and articles. Chinese is scored as CMRC 2018 does
    (https://aclanthology.org/D19-1600): characters are words, its list of punctuation is left
    out, and what both have is their longest common run; unlike there, words of other scripts
    end at spaces alone. An answer without words has 100 where none is wanted, else 0.

    Args:
        predictions: what a system wrote.
        references: the right answers, one each.
        is_chinese: whether the rules are CMRC's.
    """
    f1_of = _chinese_f1 if is_chinese else _english_f1
    normalize = _chinese_text if is_chinese else _english_text
    pairs = [
        (normalize(prediction), normalize(reference))
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    rules = "cmrc" if is_chinese else "squad"
    found = {
        "exact_match": [float(prediction == reference) for prediction, reference in pairs],
        "f1": [f1_of(prediction, reference) for prediction, reference in pairs],
    }
    return {
        name: mean_statistics(
            100 * np.array(values, dtype=np.float64), f"{name}|rules:{rules}|mean"
        )
        for name, values in found.items()
    }


def _english_text(text: str) -> str:
    plain = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", plain).split())


def _chinese_text(text: str) -> str:
    return text.lower().strip().translate(_CMRC_PUNCTUATION)


def _english_f1(prediction: str, reference: str) -> float:
    predicted, wanted = prediction.split(), reference.split()
    shared = (Counter(predicted) & Counter(wanted)).total()
    return _f1(shared, len(predicted), len(wanted))


def _chinese_f1(prediction: str, reference: str) -> float:
    predicted, wanted = (_CHARACTER_OR_WORD.findall(text) for text in (prediction, reference))
    return _f1(_longest_run(predicted, wanted), len(predicted), len(wanted))


def _f1(shared: int, num_predicted: int, num_wanted: int) -> float:
    if num_predicted == num_wanted == 0:
        return 1.0
    if shared == 0:
        return 0.0
    precision, recall = shared / num_predicted, shared / num_wanted
    return 2 * precision * recall / (precision + recall)


def _longest_run(one: list[str], other: list[str]) -> int:
    """Length of the longest list of words that stands in both without a gap."""
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size

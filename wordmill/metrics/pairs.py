"""Which scores a task's answers have, and which of them stands for the task."""

import re
from collections.abc import Sequence

from wordmill.errors import DataError
from wordmill.metrics.adapters import reported
from wordmill.metrics.answers import answer_statistics
from wordmill.metrics.classification import label_statistics
from wordmill.metrics.diversity import diversity_statistics
from wordmill.metrics.score import Floats, Statistics
from wordmill.tasks import PairTask

PRIMARY: dict[str, str] = {
    "documents": "bits_per_byte",
    "summarize": "rougeL",
    "translate": "bleu",
    "answer": "f1",
    "dialogue": "chrf",
    "classify": "macro_f1",
}
"""The score that stands for documents and for each task, by its name."""

# What an example is sorted by where its task's own score says little of one example: BLEU is 0
# without four right words in a row, macro F1 is of sets.
_OF_ONE_EXAMPLE = {"bleu": "chrf", "macro_f1": "accuracy"}
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def pair_statistics(
    task: PairTask,
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    language: str | None = None,
) -> dict[str, Statistics]:
    """Every score of a system's answers to a task, the primary one first.

    `classify` has accuracy and macro scores; other tasks BLEU, chrF++, ROUGE and what the
    answers are like, `answer` exact match and F1 too. An empty set has statistics of no rows.

    Args:
        task: of all the pairs.
        predictions: what a system wrote, or the labels it chose.
        references: what was wanted, one each.
        labels: of `classify`, all that could be chosen; those of `references` if not given.
        language: ISO 639-1 code of what was wanted, `zh` is scored by character; if not given,
            so is what has more Chinese characters than other letters.

    Raises:
        DataError: there are more or fewer predictions than references, or a wanted label is
            not among `labels`.
    """
    if len(predictions) != len(references):
        raise DataError(
            f"{task}: {len(predictions)} predictions for {len(references)} references;"
            " give one for each"
        )
    if task == "classify":
        found = label_statistics(
            predictions, references, labels=references if labels is None else labels
        )
    else:
        is_chinese = language == "zh" if language else is_mostly_han(references)
        found = _text_statistics(task, predictions, references, is_chinese=is_chinese)
    primary = PRIMARY[task]
    return {primary: found[primary]} | found


def example_values(task: PairTask, statistics: dict[str, Statistics]) -> Floats:
    """What the examples of a task are sorted by, higher is better, shape (N,).

    The primary score of each alone; chrF++ for `translate` and accuracy for `classify`, whose
    own say little of one example.

    Args:
        task: of all the pairs.
        statistics: as `pair_statistics` gives them.
    """
    primary = PRIMARY[task]
    return statistics[_OF_ONE_EXAMPLE.get(primary, primary)].of_examples()


def is_mostly_han(texts: Sequence[str]) -> bool:
    """Whether more than half of the letters are Chinese characters."""
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    return sum(len(_HAN.findall(text)) for text in texts) * 2 > letters


def _text_statistics(
    task: PairTask, predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> dict[str, Statistics]:
    texts = {"predictions": list(predictions), "references": list(references)}
    found = reported("bleu", **texts, is_chinese=is_chinese)
    found |= reported("chrf", **texts)
    found |= reported("rouge", **texts, is_chinese=is_chinese)
    if task == "answer":
        found |= answer_statistics(predictions, references, is_chinese=is_chinese)
    return found | diversity_statistics(predictions, references)

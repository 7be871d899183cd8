"""Which scores a task's answers have, and which of them stands for the task."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from wordmill.errors import DataError
from wordmill.metrics.adapters import reported
from wordmill.metrics.answers import answer_statistics
from wordmill.metrics.classification import label_statistics
from wordmill.metrics.diversity import diversity_statistics
from wordmill.metrics.score import Floats, Statistics
from wordmill.tasks import Task

PRIMARY: dict[str, str] = {
    "documents": "bits_per_byte",
    "write": "chrf",
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
Bools = NDArray[np.bool_]
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def pair_statistics(
    task: Task,
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
) -> dict[str, Statistics]:
    """Every score of a system's answers to a task, the primary one first.

    `classify` has accuracy and macro scores; other tasks BLEU, chrF++, ROUGE and what the
    answers are like, `answer` exact match and F1 too, `write` chrF++ alone beside the latter. An
    empty set has statistics of no rows.

    Args:
        task: of all the pairs.
        predictions: what a system wrote, or the labels it chose.
        references: what was wanted, one each.
        labels: of `classify`, all that could be chosen; those of `references` if not given.
        languages: ISO 639-1 codes of what was wanted, one each; `zh` is scored by character. Where
            a code is empty, or none is given, so is what has more Chinese characters than other
            letters. Signatures of a set of both kinds name both ways.

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
        found = _by_kind(task, predictions, references, _is_chinese(references, languages))
    primary = PRIMARY[task]
    return {primary: found[primary]} | found


def example_metric(task: Task) -> str:
    """The score that the examples of a task are sorted by, by its name."""
    primary = PRIMARY[task]
    return _OF_ONE_EXAMPLE.get(primary, primary)


def example_values(task: Task, statistics: dict[str, Statistics]) -> Floats:
    """What the examples of a task are sorted by, higher is better, shape (N,).

    The primary score of each alone; chrF++ for `translate` and accuracy for `classify`, whose
    own say little of one example.

    Args:
        task: of all the pairs.
        statistics: as `pair_statistics` gives them.
    """
    return statistics[example_metric(task)].of_examples()


def is_mostly_han(texts: Sequence[str]) -> bool:
    """Whether more than half of the letters are Chinese characters."""
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    return sum(len(_HAN.findall(text)) for text in texts) * 2 > letters


def _is_chinese(references: Sequence[str], languages: Sequence[str] | None) -> Bools:
    """Whether each reference is scored by character, shape (N,)."""
    if languages is None or not any(languages):
        return np.full(len(references), is_mostly_han(references))
    return np.array(
        [
            language == "zh" if language else is_mostly_han([text])
            for language, text in zip(languages, references, strict=True)
        ],
        dtype=np.bool_,
    )


def _by_kind(
    task: Task, predictions: Sequence[str], references: Sequence[str], is_chinese: Bools
) -> dict[str, Statistics]:
    """Statistics of texts that are Chinese or not, each in its own way, rows in their order."""
    kinds = np.unique(is_chinese)
    if len(kinds) < 2:
        return _text_statistics(task, predictions, references, is_chinese=bool(is_chinese.any()))
    order = np.argsort(is_chinese, kind="stable")
    halves = [
        _text_statistics(
            task,
            list(compress(predictions, is_chinese == kind)),
            list(compress(references, is_chinese == kind)),
            is_chinese=bool(kind),
        )
        for kind in kinds
    ]
    return {name: _joined([half[name] for half in halves], np.argsort(order)) for name in halves[0]}


def _joined(halves: Sequence[Statistics], places: NDArray[np.int64]) -> Statistics:
    signatures = dict.fromkeys(half.signature for half in halves)
    values = np.concatenate([half.values for half in halves])[places]
    return replace(halves[0], values=values, signature=" + ".join(signatures))


def _text_statistics(
    task: Task, predictions: Sequence[str], references: Sequence[str], *, is_chinese: bool
) -> dict[str, Statistics]:
    texts = {"predictions": list(predictions), "references": list(references)}
    if task == "write":
        return reported("chrf", **texts) | diversity_statistics(predictions, references)
    found = reported("bleu", **texts, is_chinese=is_chinese)
    found |= reported("chrf", **texts)
    found |= reported("rouge", **texts, is_chinese=is_chinese)
    if task == "answer":
        found |= answer_statistics(predictions, references, is_chinese=is_chinese)
    return found | diversity_statistics(predictions, references)

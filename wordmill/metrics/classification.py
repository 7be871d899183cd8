"""Labels that were chosen against those that were wanted."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from wordmill.errors import DataError
from wordmill.metrics.score import Final, Floats, Statistics


def label_statistics(
    predictions: Sequence[str], references: Sequence[str], *, labels: Sequence[str]
) -> dict[str, Statistics]:
    """Accuracy and macro precision, recall and F1, 0 to 100, higher is better.

    Accuracy is the share of right labels. Of a label, precision is the share of its predictions
    that are right and recall the share of its examples that are found, each 0 where there are
    none; F1 is 2PR / (P + R). `macro_*` is the mean over labels, however rare; a label that a
    set (or resample) neither wants nor predicts is left out of it, as scikit-learn does
    (https://scikit-learn.org/stable/modules/model_evaluation.html). A prediction that is no
    label is wrong and no label's. How sure a prediction was is left out.

    Args:
        predictions: the labels chosen.
        references: the labels wanted.
        labels: all that could be chosen.

    Raises:
        DataError: a wanted label is not in `labels`.
    """
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    unknown = sorted(set(references) - places.keys())
    if unknown:
        raise DataError(f"classify: {unknown[0]!r} is wanted but is not one of {list(places)}")
    values = np.zeros((len(references), len(places), 3))  # right, predicted, wanted
    for row, (predicted, wanted) in enumerate(zip(predictions, references, strict=True)):
        values[row, places[wanted], 2] = 1
        if predicted in places:
            values[row, places[predicted], 1] = 1
            values[row, places[predicted], 0] = predicted == wanted
    return {
        name: Statistics(
            values=values.reshape(len(references), 3 * len(places)),
            final=final,
            signature=f"{name}|labels:{','.join(sorted(places))}",
        )
        for name, final in _FINALS.items()
    }


def _counts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Right, predicted and wanted of each label, shape (S, labels)."""
    right, predicted, wanted = np.moveaxis(sums.reshape(len(sums), sums.shape[1] // 3, 3), 2, 0)
    return right, predicted, wanted


def _accuracy(sums: Floats) -> Floats:
    right, _, wanted = _counts(sums)
    return 100 * right.sum(axis=1) / np.maximum(wanted.sum(axis=1), 1)


def _macro(sums: Floats, *, of_predicted: int, of_wanted: int) -> Floats:
    """Precision, recall, or with both F1: 2PR / (P + R) is 2 * right / (predicted + wanted)."""
    right, predicted, wanted = _counts(sums)
    total = of_predicted * predicted + of_wanted * wanted
    shares = (of_predicted + of_wanted) * right / np.maximum(total, 1)
    num_labels = np.maximum(((predicted + wanted) > 0).sum(axis=1), 1)
    return 100 * shares.sum(axis=1) / num_labels


_FINALS: dict[str, Final] = {
    "accuracy": _accuracy,
    "macro_precision": partial(_macro, of_predicted=1, of_wanted=0),
    "macro_recall": partial(_macro, of_predicted=0, of_wanted=1),
    "macro_f1": partial(_macro, of_predicted=1, of_wanted=1),
}

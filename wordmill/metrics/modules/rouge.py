"""ROUGE for `evaluate`: rouge-score's numbers, with what each example adds to them."""

import datasets
import evaluate

from wordmill.metrics.rouge import rouge_statistics


class Rouge(evaluate.Metric):
    """ROUGE-1, 2, L and Lsum, F1, 0 to 100, means over examples of one reference each."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=rouge_statistics.__doc__,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references, is_chinese=False):
        found = rouge_statistics(predictions, references, is_chinese=is_chinese)
        return {kind: one.value() for kind, one in found.items()} | {"statistics": found}

"""BLEU for `evaluate`: sacrebleu's number, with what each example adds to it."""

import datasets
import evaluate

from wordmill.metrics.bleu import bleu_statistics


class Bleu(evaluate.Metric):
    """Corpus BLEU, 0 to 100, of one reference each."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=bleu_statistics.__doc__,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references, is_chinese=False):
        found = bleu_statistics(predictions, references, is_chinese=is_chinese)
        return {"bleu": found.value(), "statistics": {"bleu": found}}

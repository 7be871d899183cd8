"""chrF++ for `evaluate`: sacrebleu's number, with what each example adds to it."""

import datasets
import evaluate

from wordmill.metrics.chrf import chrf_statistics


class Chrf(evaluate.Metric):
    """Corpus chrF++, 0 to 100, of one reference each."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=chrf_statistics.__doc__,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        found = chrf_statistics(predictions, references)
        return {"chrf": found.value(), "statistics": {"chrf": found}}

"""chrF as sacrebleu computes it."""

import datasets
import evaluate
import sacrebleu

_DESCRIPTION = "Corpus chrF (https://aclanthology.org/W15-3049), 0 to 100, higher is better."


class Chrf(evaluate.Metric):
    """Corpus chrF with sacrebleu's signature and the statistics of each example."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        self._metric = sacrebleu.CHRF()
        score = self._metric.corpus_score(predictions, [references])
        return {
            "score": score.score,
            "signature": str(self._metric.get_signature()),
            "statistics": self._metric._extract_corpus_statistics(predictions, [references]),
        }

    def score_of(self, statistics):
        """The score of a set, from the sum of its examples' statistics."""
        return self._metric._compute_score_from_stats(statistics).score

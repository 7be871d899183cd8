"""BLEU as sacrebleu computes it."""

import datasets
import evaluate
import sacrebleu

_DESCRIPTION = "Corpus BLEU (https://aclanthology.org/W18-6319), 0 to 100, higher is better."


class Bleu(evaluate.Metric):
    """Corpus BLEU with sacrebleu's signature and its bootstrap."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references, tokenize="13a", samples=1000):
        metric = sacrebleu.BLEU(tokenize=tokenize)
        score = metric.corpus_score(predictions, [references], n_bootstrap=samples)
        return {
            "score": score.score,
            "mean": score._mean,
            "half_width": score._ci,
            "signature": str(metric.get_signature()),
        }

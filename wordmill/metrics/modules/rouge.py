"""ROUGE as rouge-score computes it, one value an example.

Its aggregator draws random samples; the mean is taken by whoever asks, and is exact.
"""

import re

import datasets
import evaluate
from rouge_score import rouge_scorer

_DESCRIPTION = "ROUGE F1 (https://aclanthology.org/W04-1013), 0 to 1, higher is better."
_KINDS = ["rouge1", "rouge2", "rougeL"]
_WORD_OR_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W\u3400-\u9fff\uf900-\ufaff]+")


class HanTokenizer:
    """Chinese characters one by one, other words whole; rouge-score's own drops the former."""

    def tokenize(self, text):
        """Split a text."""
        return _WORD_OR_HAN.findall(text.lower())


class Rouge(evaluate.Metric):
    """ROUGE-1, ROUGE-2 and ROUGE-L of each example."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references, is_chinese=False):
        tokenizer = HanTokenizer() if is_chinese else None
        scorer = rouge_scorer.RougeScorer(_KINDS, use_stemmer=False, tokenizer=tokenizer)
        scored = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
        return {kind: [one[kind].fmeasure for one in scored] for kind in _KINDS}

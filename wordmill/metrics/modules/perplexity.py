"""Perplexity for `evaluate`, of documents that a model has scored already."""

import datasets
import evaluate
import numpy as np

from wordmill.metrics.perplexity import document_statistics

_INPUTS = ("nll", "num_tokens", "num_words", "num_bytes")


class Perplexity(evaluate.Metric):
    """Perplexity by token and by word, and bits per byte."""

    def _info(self):
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=document_statistics.__doc__,
            citation="",
            features=datasets.Features(dict.fromkeys(_INPUTS, number)),
        )

    def _compute(self, nll, num_tokens, num_words, num_bytes, tokenizer="", signature=""):
        found = document_statistics(
            np.asarray(nll),
            num_tokens=np.asarray(num_tokens),
            num_words=np.asarray(num_words),
            num_bytes=np.asarray(num_bytes),
            tokenizer=tokenizer,
            signature=signature,
        )
        return {name: one.value() for name, one in found.items()} | {"statistics": found}

"""What each metric is called, which way it points and what it says: one table for every report.

Metrics that are not in it are shown under their own name, higher taken as better.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from wordmill.report.record import Scored

Better = Literal["lower", "higher", "near one", "neither"]

_ARROWS: dict[Better, str] = {"lower": " ↓", "higher": " ↑", "near one": " → 1", "neither": ""}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric as people read it."""

    name: str
    better: Better
    says: str
    decimals: int = 2

    @property
    def title(self) -> str:
        """The name with an arrow to what is better."""
        return f"{self.name}{_ARROWS[self.better]}"

    def words(self, value: float) -> str:
        """A value with as many digits as it is worth."""
        decimals = 1 if self.decimals and abs(value) >= 1000 else self.decimals
        rounded = round(value, decimals) + 0.0  # + 0.0: no minus before a zero
        return f"{rounded:,.{decimals}f}".replace("-", "−")

    def distance(self, value: float) -> float:
        """How far a value is from what is wanted: smaller is better, whatever the metric."""
        away = {"lower": value, "higher": -value, "near one": abs(value - 1), "neither": 0.0}
        return away[self.better]


def _measure(name: str, better: Better, says: str, decimals: int = 2) -> Measure:
    return Measure(name=name, better=better, says=says, decimals=decimals)


MEASURES: dict[str, Measure] = {
    "perplexity": _measure(
        "perplexity",
        "lower",
        "how many tokens a system hesitates between; compares systems of one tokenizer",
    ),
    "word_perplexity": _measure(
        "perplexity by word", "lower", "the same for each word; compares any tokenizers"
    ),
    "bits_per_byte": _measure(
        "bits/byte", "lower", "bits that a byte of text costs; compares any tokenizers", 3
    ),
    "bleu": _measure("BLEU", "higher", "n-grams shared with what was wanted, 0 to 100"),
    "chrf": _measure(
        "chrF++", "higher", "n-grams of characters and words shared with what was wanted, 0 to 100"
    ),
    "rouge1": _measure("ROUGE-1", "higher", "words shared with what was wanted, F1"),
    "rouge2": _measure("ROUGE-2", "higher", "pairs of words shared with what was wanted, F1"),
    "rougeL": _measure("ROUGE-L", "higher", "the longest common sequence of words, F1"),
    "rougeLsum": _measure("ROUGE-Lsum", "higher", "ROUGE-L sentence by sentence, F1"),
    "exact_match": _measure("exact match", "higher", "answers that are the wanted one"),
    "f1": _measure("F1", "higher", "words shared with the wanted answer"),
    "accuracy": _measure("accuracy", "higher", "labels that are right"),
    "macro_precision": _measure(
        "precision", "higher", "mean over labels of how often one is right"
    ),
    "macro_recall": _measure("recall", "higher", "mean over labels of how much of each is found"),
    "macro_f1": _measure("macro F1", "higher", "mean over labels of their F1"),
    "length_ratio": _measure("length ratio", "near one", "length written / length wanted"),
    "distinct1": _measure(
        "distinct-1", "neither", "different words / words of an answer, the mean"
    ),
    "distinct2": _measure(
        "distinct-2", "neither", "different pairs of words / pairs of an answer, the mean"
    ),
    "repetition": _measure("repetition", "lower", "n-grams that an answer says again"),
    "novelty": _measure("novelty", "neither", "8-grams of answers, against the training text"),
}

_MAIN: dict[str, tuple[str, ...]] = {
    "documents": ("perplexity", "bits_per_byte"),
    "summarize": ("rouge1", "rouge2", "rougeL", "length_ratio"),
    "translate": ("bleu", "chrf", "length_ratio"),
    "answer": ("exact_match", "f1", "rougeL"),
    "dialogue": ("rougeL", "chrf", "distinct2", "repetition"),
    "classify": ("accuracy", "macro_f1"),
}
_NUM_MAIN = 4

SYSTEMS: dict[str, str] = {
    "unigram": "word frequencies: the least to beat",
    "n-gram": "5-grams or the like, smoothed by Kneser and Ney's method",
    "lead": "the first sentence of the source",
    "retrieval": "the answer to the most similar training source",
    "lstm": "an LSTM with attention, what Transformers replaced",
    "pretrained": "this run's model before finetuning",
    "finetuned": "this run's model",
    "champion": "the model that serves now",
}
BASELINES = frozenset({"unigram", "n-gram", "lead", "retrieval", "lstm"})
OURS = "finetuned"


def measure(metric: str) -> Measure:
    """The metric's entry, or one made from its name."""
    return MEASURES.get(metric) or _measure(metric.replace("_", " "), "higher", "")


def metrics_of(scores: Scored) -> list[str]:
    """All metrics that any system has, in the table's order; others after them as they come."""
    found = list(dict.fromkeys(metric for system in scores.values() for metric in system))
    order = {metric: place for place, metric in enumerate(MEASURES)}
    return sorted(found, key=lambda metric: order.get(metric, len(order)))


def main_metrics(kind: str, scores: Scored, *, primary: str | None = None) -> list[str]:
    """The few metrics of a kind that are worth a terminal's width, the primary one among them."""
    there = metrics_of(scores)
    chosen = [metric for metric in _MAIN.get(kind, ()) if metric in there] or there[:_NUM_MAIN]
    if primary in there and primary not in chosen:
        return [primary, *chosen]
    return chosen


def best_of(scores: Scored, metric: str) -> list[str]:
    """The systems with the best value, all that tie; none where every system has the same."""
    how = measure(metric)
    found = {name: how.distance(v) for name, v in values_of(scores, metric)}
    if len(found) < 2 or how.better == "neither":
        return []
    least = min(found.values())
    if least == max(found.values()):
        return []
    return [system for system, distance in found.items() if distance == least]


def values_of(scores: Scored, metric: str) -> Iterable[tuple[str, float]]:
    """System and value, of those systems that have one."""
    return [(name, s[metric]["value"]) for name, s in scores.items() if is_scored(s, metric)]


def is_scored(found: dict[str, dict[str, Any]], metric: str) -> bool:
    """Whether a system has a finite value of a metric, and a finite interval around it."""
    ends = [found.get(metric, {}).get(end) for end in ("value", "low", "high")]
    return all(end is not None and math.isfinite(end) for end in ends)

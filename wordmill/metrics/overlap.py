"""How much of the wanted text stands in the generated one: BLEU, ROUGE and chrF.

The metrics are `evaluate` modules of this tree, loaded by path: nothing comes from a hub. All
are 0 to 100, higher is better, and say what they are in their signature.
"""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import evaluate
import numpy as np

from wordmill.metrics.score import Score, bootstrap_ratios, interval

_MODULES = Path(__file__).parent / "modules"
_HAN = re.compile(r"[\u3400-\u9fff]")


def overlap_scores(
    predictions: list[str], references: list[str], *, samples: int, seed: int
) -> dict[str, Score]:
    """Score predictions against one reference each.

    Args:
        predictions: what a system wrote.
        references: what was wanted.
        samples: resamples behind each interval.
        seed: of the resampling.
    """
    is_chinese = _mostly_han(references)
    texts = {"predictions": predictions, "references": references}
    bleu_tokenizer = "zh" if is_chinese else "13a"
    scores = {
        "bleu": _corpus_score(_module("bleu"), samples, seed, **texts, tokenize=bleu_tokenizer),
        "chrf": _corpus_score(_module("chrf"), samples, seed, **texts),
    }
    rouge = _module("rouge").compute(**texts, is_chinese=is_chinese)
    settings = (
        f"stem:no|tok:{'han' if is_chinese else 'default'}|mean|version:{version('rouge-score')}"
    )
    for kind, values in rouge.items():
        scores[kind] = _mean_score(100 * np.array(values), f"{kind}:f1|{settings}", samples, seed)
    return scores


def _module(name: str) -> Any:
    return evaluate.load(str(_MODULES / f"{name}.py"), keep_in_memory=True)


def _corpus_score(metric: Any, samples: int, seed: int, **arguments: Any) -> Score:
    """A score of the whole set, with a percentile bootstrap over its examples.

    sacrebleu's own bootstrap fails where some resamples score zero (it mixes types).
    """
    found = metric.compute(**arguments)
    statistics = np.array(found["statistics"])  # (examples, statistics)
    count = len(statistics)
    generator = np.random.default_rng(seed)
    sums = (statistics[generator.integers(0, count, count)].sum(axis=0) for _ in range(samples))
    low, high = interval(np.array([metric.score_of(total.tolist()) for total in sums]))
    return Score(
        value=float(found["score"]),
        low=low,
        high=high,
        count=count,
        signature=found["signature"],
    )


def _mean_score(values: Any, signature: str, samples: int, seed: int) -> Score:
    means = bootstrap_ratios(values, np.ones_like(values), samples=samples, seed=seed)
    low, high = interval(means)
    return Score(
        value=float(values.mean()), low=low, high=high, count=len(values), signature=signature
    )


def _mostly_han(texts: list[str]) -> bool:
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    return sum(len(_HAN.findall(text)) for text in texts) * 2 > letters

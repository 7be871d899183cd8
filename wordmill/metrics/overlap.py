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
        seed: of the resampling of ROUGE; sacrebleu resamples with its own.
    """
    is_chinese = _mostly_han(references)
    bleu = _module("bleu").compute(
        predictions=predictions,
        references=references,
        tokenize="zh" if is_chinese else "13a",
        samples=samples,
    )
    chrf = _module("chrf").compute(predictions=predictions, references=references, samples=samples)
    rouge = _module("rouge").compute(
        predictions=predictions, references=references, is_chinese=is_chinese
    )
    count = len(predictions)
    scores = {"bleu": _from_sacrebleu(bleu, count), "chrf": _from_sacrebleu(chrf, count)}
    settings = (
        f"stem:no|tok:{'han' if is_chinese else 'default'}|mean|version:{version('rouge-score')}"
    )
    for kind, values in rouge.items():
        scores[kind] = _mean_score(100 * np.array(values), f"{kind}:f1|{settings}", samples, seed)
    return scores


def _module(name: str) -> Any:
    return evaluate.load(str(_MODULES / f"{name}.py"), keep_in_memory=True)


def _from_sacrebleu(found: dict[str, Any], count: int) -> Score:
    return Score(
        value=float(found["score"]),
        low=float(found["mean"] - found["half_width"]),
        high=float(found["mean"] + found["half_width"]),
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

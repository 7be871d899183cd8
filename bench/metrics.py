"""How fast are tests of a difference, and ROUGE, against sacrebleu's and rouge-score's?

    python bench/metrics.py [--data FOLDER] [--sentences 1000] [--repeats 3]

Two systems that differ a little from what is wanted, scored by BLEU and chrF++, by both tests:
sacrebleu.significance.PairedTest against wordmill/metrics/significance.py, in turn, medians of
CPU seconds of all threads, which other work moves less than the clock. A time holds all: n-grams
of both systems, scores, resamples. `tests alone` compares what is left without the n-grams, which
are timed apart. The wanted sentences are made up, or the English test set of Multi30K where
FOLDER has it. Then how often each test calls equal systems different.
"""

import argparse
import gzip
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
from rouge_score import rouge_scorer
from sacrebleu.significance import PairedTest
from tables import table

from wordmill.metrics import chrf
from wordmill.metrics.bleu import bleu_statistics
from wordmill.metrics.chrf import chrf_statistics
from wordmill.metrics.rouge import KINDS, rouge_values
from wordmill.metrics.score import Statistics, mean_statistics, resampled
from wordmill.metrics.significance import compare

SAMPLES = (1_000, 10_000)
SACREBLEUS_SEED = 12345
EQUAL_SETS = 4_000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of test_2016_flickr.en.gz")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    wanted = sentences(asked.data, asked.sentences)
    systems = [noisy(wanted, share=share, seed=seed) for seed, share in enumerate((0.2, 0.21))]
    for rows in (test_rows, rouge_rows, null_rows):
        print(table(rows(wanted, systems, asked.repeats)) + "\n", flush=True)


def sentences(folder: Path | None, count: int) -> list[str]:
    """What is wanted."""
    if folder:
        with gzip.open(folder / "test_2016_flickr.en.gz", "rt", encoding="utf-8") as file:
            return [line.rstrip("\n") for line in file][:count]
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 9))) for _ in range(3000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [
        " ".join(draw.choices(words, weights, k=draw.randint(6, 20))) + "." for _ in range(count)
    ]


def noisy(wanted: list[str], *, share: float, seed: int) -> list[str]:
    """Each word another one's with some chance."""
    draw = random.Random(seed)
    words = [word for text in wanted for word in text.split()]
    return [
        " ".join(draw.choice(words) if draw.random() < share else word for word in text.split())
        for text in wanted
    ]


def test_rows(wanted: list[str], systems: list[list[str]], repeats: int) -> Iterator[list[str]]:
    """A row for each number of samples."""
    yield [
        "samples",
        "sacrebleu: bootstrap",
        "randomization",
        "of these n-grams",
        "ours: both",
        "of these n-grams",
        "times as fast",
        "tests alone",
        "largest difference of a score",
    ]
    for samples in SAMPLES:
        runs: dict[str, Callable[[], Any]] = {
            "bs": lambda n=samples: sacrebleus("bs", wanted, systems, n),
            "ar": lambda n=samples: sacrebleus("ar", wanted, systems, n),
            "their n-grams": lambda: [
                metric._extract_corpus_statistics(system, [wanted])
                for metric in metrics().values()
                for system in systems
            ],
            "ours": lambda n=samples: ours(wanted, systems, n),
            "our n-grams": lambda: [sums(system, wanted) for system in systems],
        }
        took, found = in_turn(runs, repeats)
        theirs = took["bs"] + took["ar"]
        alone = (theirs - 2 * took["their n-grams"]) / (took["ours"] - took["our n-grams"])
        worst = max(
            abs(score.score - found["ours"][1][place][name].value())
            for name, both in found["bs"].items()
            for place, score in enumerate(both)
        )
        seconds = [f"{took[name]:.3f}" for name in runs]
        yield [
            f"{samples:,}",
            *seconds,
            f"{theirs / took['ours']:.1f}",
            f"{alone:.0f}",
            f"{worst:.0e}",
        ]


def metrics() -> dict[str, Any]:
    """sacrebleu's, with nothing remembered of sentences seen, nor by ours."""
    found = {"BLEU": sacrebleu.BLEU(), "chrF2++": sacrebleu.CHRF(word_order=2)}
    tokenizer = found["BLEU"].tokenizer
    type(tokenizer).__call__.cache_clear()
    type(tokenizer._post_tokenizer).__call__.cache_clear()
    chrf._parts.cache_clear()
    return found


def sacrebleus(kind: str, wanted: list[str], systems: list[list[str]], samples: int) -> Any:
    """Its scores and p of the second system against the first."""
    named = [(str(place), system) for place, system in enumerate(systems)]
    test = PairedTest(named, metrics(), [wanted], test_type=kind, n_samples=samples)
    found = test()[1]
    return {name: found[name] for name in ("BLEU", "chrF2++")}


def ours(wanted: list[str], systems: list[list[str]], samples: int) -> Any:
    """Both tests, and the statistics."""
    metrics()  # forgets
    found = [sums(system, wanted) for system in systems]
    return compare(*found, samples=samples, seed=SACREBLEUS_SEED), found


def sums(system: list[str], wanted: list[str]) -> dict[str, Statistics]:
    """Statistics of a system."""
    return {
        "BLEU": bleu_statistics(system, wanted, is_chinese=False),
        "chrF2++": chrf_statistics(system, wanted),
    }


def rouge_rows(wanted: list[str], systems: list[list[str]], repeats: int) -> Iterator[list[str]]:
    """A row for texts of one line, one of five."""
    yield ["lines a text", "rouge-score", "ours", "times as fast", "unequal values"]
    scorer = rouge_scorer.RougeScorer(list(KINDS))
    for lines in (1, 5):
        predictions, references = (
            ["\n".join(side[i : i + lines]) for i in range(0, len(side), lines)]
            for side in (systems[0], wanted)
        )
        pairs = list(zip(references, predictions, strict=True))
        runs: dict[str, Callable[[], Any]] = {
            "theirs": lambda pairs=pairs: [scorer.score(*pair) for pair in pairs],
            "ours": lambda p=predictions, r=references: rouge_values(p, r, is_chinese=False),
        }
        took, found = in_turn(runs, repeats)
        num_unequal = sum(
            theirs[kind].fmeasure != found["ours"][kind][place]
            for place, theirs in enumerate(found["theirs"])
            for kind in KINDS
        )
        seconds = [f"{took[name]:.3f}" for name in runs]
        yield [str(lines), *seconds, f"{took['theirs'] / took['ours']:.1f}", str(num_unequal)]


def null_rows(*_: object) -> Iterator[list[str]]:
    """How often p < 0.05 between systems that are equal: means of normal values."""
    yield ["test of equal systems", "p < 0.05", "p < 0.01"]
    draw = np.random.default_rng(0)
    p: dict[str, list[float]] = {"sacrebleu's bootstrap": [], "bootstrap": [], "randomization": []}
    for seed in range(EQUAL_SETS):
        one, other = ({"mean": mean_statistics(draw.normal(size=100), "mean")} for _ in range(2))
        found = compare(one, other, samples=300, seed=seed)["mean"]
        p["bootstrap"].append(found.p_bootstrap)
        p["randomization"].append(found.p_randomization)
        a, b = (resampled([x["mean"]], samples=300, seed=seed)[0] for x in (one, other))
        apart = np.abs(a - b)  # sacrebleu/significance.py, _paired_bs_test
        p["sacrebleu's bootstrap"].append(
            (1 + (apart - apart.mean() > abs(found.value)).sum()) / 301
        )
    for name, values in p.items():
        yield [name, *(f"{(np.array(values) < level).mean():.1%}" for level in (0.05, 0.01))]


def in_turn(
    runs: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Median CPU seconds of each, there and back, and what each found."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Any] = {}
    for number in range(repeats):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            started_at = time.process_time()
            found[name] = runs[name]()
            times[name].append(time.process_time() - started_at)
    return {name: statistics.median(one) for name, one in times.items()}, found


if __name__ == "__main__":
    main()

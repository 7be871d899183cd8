"""How often does the gate err? By simulation on predictions of real systems.

    python bench/gate.py PREDICTIONS.jsonl [--task translate] [--a finetuned] [--b retrieval]
        [--trials 1000] [--size N]

Champion and challenger are mixtures of two real systems a and b, and each trial draws a held-out
set anew from the examples of the file, with replacement, and asks the gate's primary rule as
params.yaml has it.

Equal: each answer of a pair goes to one of the two by the toss of a coin, so that both are the
same system by construction, though they differ in every answer. Every promotion is an error.

Better by `--gain`: the challenger's share of a's answers is such that its score on all examples
is higher by as much. The set is as large as the gate itself says it has to be for a gain of that
size to be seen in 80% of cases.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tables import table

from wordmill.gate.evidence import Evidence
from wordmill.gate.rules import detectable, findings
from wordmill.metrics.pairs import PRIMARY, pair_statistics
from wordmill.metrics.score import Statistics
from wordmill.metrics.significance import compare
from wordmill.params.everything import Params
from wordmill.params.gate import GateParams
from wordmill.params.section import parse_params, read_params

PARAMS = Path("params.yaml")
SAMPLES = 1000
STEPS = 40


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--task", default="translate")
    parser.add_argument("--a", default="finetuned", help="the better system")
    parser.add_argument("--b", default="retrieval", help="the other one")
    parser.add_argument("--gain", type=float, default=1.0)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--size", type=int, help="examples of a set; all of the file")
    asked = parser.parse_args()
    print(table(rows(asked)), flush=True)


def rows(asked: argparse.Namespace) -> Iterator[list[str]]:
    """The table."""
    rules = parse_params(Params, read_params(PARAMS), file=PARAMS).registry.gate
    a, b = (read(asked.predictions, asked.task, name) for name in (asked.a, asked.b))
    metric = PRIMARY[asked.task]
    size = asked.size or len(a.values)
    yield ["systems", "metric", "true gain", "set size", "trials", "promoted", "rejected"]

    def tried(what: str, pair: tuple[Statistics, Statistics], gain: float, size: int) -> list[str]:
        said = decisions(pair, f"{asked.task}/{metric}", rules, size=size, trials=asked.trials)
        shares = [f"{said.count(word) / len(said):.1%}" for word in ("PROMOTE", "REJECT")]
        return [what, metric, f"{gain:.2f}", f"{size:,}", f"{asked.trials:,}", *shares]

    yield tried("equal, every answer another", equal(a, b), 0.0, size)
    makers = {"every answer another": opposed, "a share of answers another": replaced}
    for what, maker in makers.items():
        pair = with_gain(a, b, asked.gain, maker)
        gain = pair[0].value() - pair[1].value()
        yield tried(f"better, {what}", pair, gain, needed(pair, asked.gain, rules))


def read(path: Path, task: str, system: str) -> Statistics:
    """What the primary score of a system is made of."""
    found: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if (row["task"], row["system"]) == (task, system):
                found.append(row)
    said, wanted = ([row[name] for row in found] for name in ("prediction", "target"))
    return pair_statistics(task, said, wanted)[PRIMARY[task]]  # type: ignore[arg-type]


def equal(a: Statistics, b: Statistics) -> tuple[Statistics, Statistics]:
    """Two systems of one distribution: a trial draws the coin with the examples."""
    both = np.concatenate([a.values, b.values])
    other = np.concatenate([b.values, a.values])
    return with_values(a, both), with_values(a, other)


def opposed(a: Statistics, b: Statistics, share: float) -> tuple[Statistics, Statistics]:
    """The first has a's answer where the second has b's: for `share` of the examples."""
    is_a = (np.random.default_rng(1).permutation(len(a.values)) < share * len(a.values))[:, None]
    one, other = np.where(is_a, a.values, b.values), np.where(is_a, b.values, a.values)
    return with_values(a, one), with_values(a, other)


def replaced(a: Statistics, b: Statistics, share: float) -> tuple[Statistics, Statistics]:
    """The first is a; the second has b's answers for `share` of the examples."""
    is_b = (np.random.default_rng(1).permutation(len(a.values)) < share * len(a.values))[:, None]
    return a, with_values(a, np.where(is_b, b.values, a.values))


def with_gain(a: Statistics, b: Statistics, gain: float, maker: Any) -> Any:
    """The pair whose scores on all examples lie `gain` apart, by bisection of the share."""
    low, high = (0.5, 1.0) if maker is opposed else (0.0, 1.0)
    for _ in range(STEPS):
        share = (low + high) / 2
        one, other = maker(a, b, share)
        low, high = (low, share) if one.value() - other.value() > gain else (share, high)
    return maker(a, b, high)


def needed(pair: tuple[Statistics, Statistics], gain: float, rules: GateParams) -> int:
    """The size of a set on which the gate says that it can show the gain."""
    name = "score"
    found = compare({name: pair[0]}, {name: pair[1]}, samples=SAMPLES, seed=1)[name]
    return math.ceil(len(pair[0].values) * (detectable(found, rules) / gain) ** 2)


def decisions(
    pair: tuple[Statistics, Statistics], name: str, rules: GateParams, *, size: int, trials: int
) -> list[str]:
    """What the primary rule says of each of so many sets."""
    kind, _, metric = name.partition("/")
    draw = np.random.default_rng(0)
    found: list[str] = []
    for trial in range(trials):
        chosen = draw.integers(len(pair[0].values), size=size)
        one, other = ({metric: of.only(chosen)} for of in pair)
        test = compare(one, other, samples=SAMPLES, seed=trial)[metric]
        seen = Evidence(scores={kind: {}}, primary={kind: metric}, differences={name: test})
        (said,) = (f for f in findings(seen, rules) if f["rule"] == "primary")
        found.append(said["decision"])
    return found


def with_values(like: Statistics, values: Any) -> Statistics:
    """Statistics of the same score."""
    return Statistics(
        values=values,
        final=like.final,
        signature=like.signature,
        is_lower_better=like.is_lower_better,
    )


if __name__ == "__main__":
    main()

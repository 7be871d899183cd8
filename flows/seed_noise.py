"""What another seed alone changes in a score: measured once, asked for by the gate."""

import statistics
from pathlib import Path
from typing import Any

from flows.gate import SEED_NOISE
from flows.located_result import located_results
from wordmill.comparing.result import Result
from wordmill.errors import ParamsError
from wordmill.evaluation.comparison import FINAL
from wordmill.files import replaced_file, write_json

_LEAST_SEEDS = 3
_SEED = "seed"


def seed_noise(grid: str, *, out: Path = SEED_NOISE) -> str:
    """Write the standard deviation of each primary score over the seeds of one recipe.

    Args:
        grid: the name of an experiment whose runs differ in the seed alone.
        out: the file that the gate reads.

    Raises:
        ParamsError: there are too few runs, or they differ in more than the seed.
    """
    results = located_results([grid])
    if len(results) < _LEAST_SEEDS:
        raise ParamsError(
            f"{grid}: {len(results)} finished run(s); at least {_LEAST_SEEDS} are needed:"
            f" `wordmill experiment --seeds 5`"
        )
    _check_alike(grid, results)
    values = {
        f"{kind}/{metric}": [one.scored(kind)[FINAL][metric]["value"] for one in results]
        for kind, metric in results[0].record["primary"].items()
    }
    deviations = {name: statistics.stdev(found) for name, found in values.items()}
    made: dict[str, Any] = {"grid": grid, "deviations": deviations, "values": values}
    with replaced_file(out) as partial:
        write_json(partial, made)
    told = "\n".join(
        f"  {name}: mean {statistics.fmean(values[name]):.3f}, standard deviation {one:.3f}"
        for name, one in deviations.items()
    )
    return (
        f"{out}: over {len(results)} seeds\n{told}\n"
        "registry.gate.min_seed_deviations asks for a gain beyond that; commit the file."
    )


def _check_alike(grid: str, results: list[Result]) -> None:
    """See that one recipe was run, on one set."""
    first = results[0]
    for other in results[1:]:
        keys = first.params.keys() | other.params.keys()
        differing = sorted(k for k in keys if first.params.get(k) != other.params.get(k))
        if unlike := [key for key in differing if key != _SEED]:
            raise ParamsError(
                f"{grid}: {first.name} and {other.name} differ in {', '.join(unlike)}; the seed"
                " alone may differ: `wordmill experiment --seeds 5` without -S"
            )
        sets = [
            {k: r.record["identity"].get(k) for k in r.record["primary"]} for r in (first, other)
        ]
        if sets[0] != sets[1]:
            raise ParamsError(f"{grid}: {first.name} and {other.name} have other held-out sets")

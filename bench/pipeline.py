"""How fast is it told that nothing has to run, against DVC?

    python bench/pipeline.py PROJECT [--rounds 5]

PROJECT is a folder whose stages have run and where nothing has changed since. Two questions: the
command (`wordmill explain` against a `dvc repro` that does nothing), and the look alone in a
process that has imported all it needs (flows/plan.py against `dvc.repo.Repo().reproduce()`).
Rounds go A B B A; the table has medians of seconds and of the ratio within a round. The time of
the processor stands beside that of the clock: on a busy machine it is the steadier one.
"""

import argparse
import contextlib
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tables import table

ROOT = Path(__file__).parents[1]
IN_PLACE = "in one process"
AS_COMMAND = "as a command"


class Took(NamedTuple):
    """Seconds of the clock and of the processor."""

    clock: float
    processor: float


Way = Callable[[], Took]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(asked.project)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    pairs = {AS_COMMAND: (explain, dvc_repro), IN_PLACE: (look, dvc_reproduce)}
    print(table(rows({name: rounds(*ways, num=asked.rounds) for name, ways in pairs.items()})))


def explain() -> Took:
    """`wordmill explain`."""
    return command(sys.executable, "-m", "flows.cli", "explain")


def dvc_repro() -> Took:
    """`dvc repro`."""
    return command("dvc", "repro")


def command(*words: str) -> Took:
    """Run a command that has to find nothing to do."""
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    after = os.times()
    if "Running stage" in done.stdout or "runs because" in done.stdout:
        sys.exit(f"something has changed in this project:\n{done.stdout}")
    used = after.children_user + after.children_system
    return Took(time.perf_counter() - started, used - before.children_user - before.children_system)


def look() -> Took:
    """The plan, in this process."""
    from flows.plan import plan

    return timed(plan)


def dvc_reproduce() -> Took:
    """DVC, in this process."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)

    def reproduce() -> None:
        with Repo() as repo:
            repo.reproduce()

    return timed(reproduce)


def timed(work: Callable[[], object]) -> Took:
    """Do it once."""
    started, used = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(None):
        work()
    return Took(time.perf_counter() - started, time.process_time() - used)


def rounds(ours: Way, dvcs: Way, *, num: int) -> list[tuple[Took, Took]]:
    """What both take, by turns; the first round warms up and is not counted."""
    found: list[tuple[Took, Took]] = []
    for i in range(num + 1):
        if i % 2 == 0:
            first = ours()
            found.append((first, dvcs()))
        else:
            second = dvcs()
            found.append((ours(), second))
    return found[1:]


def rows(found: dict[str, list[tuple[Took, Took]]]) -> Iterator[list[str]]:
    """The rows of the table."""
    yield ["nothing to do", "wordmill, s", "DVC, s", "ratio", "processor, s", "DVC, s", "ratio"]
    for name, took in found.items():
        row = [name]
        for kind in ("clock", "processor"):
            ours = [getattr(pair[0], kind) for pair in took]
            dvcs = [getattr(pair[1], kind) for pair in took]
            ratios = [a / b for a, b in zip(ours, dvcs, strict=True)]
            row += [f"{statistics.median(figures):.3f}" for figures in (ours, dvcs, ratios)]
        yield row


if __name__ == "__main__":
    main()

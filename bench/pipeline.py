"""What does the orchestration cost? Each question against its peer, in the same run.

    python bench/pipeline.py nothing PROJECT   told that nothing has to run, against DVC
    python bench/pipeline.py flow              six trivial stages, against `dvc repro`
    python bench/pipeline.py metrics           metrics on their way to MLflow, against single calls

PROJECT is a folder whose stages have run and where nothing has changed since. `flow` makes a
project of its own (bench/trivial_flow.py) and starts a Prefect server for it; "in one process" has
all imported that either side needs, "as a command" has not: Prefect and MLflow take seconds to
import. Between the two: the flow without its imports, against `dvc repro` as it is typed; of other
rounds. `metrics` writes to an embedded SQLite store. Rounds go A B B A; tables have medians of
seconds and of the ratio within a round. The time of the processor, children's too, stands beside
that of the clock: on a busy machine it is the steadier one.
"""

import argparse
import contextlib
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trivial_flow
from tables import table

ROOT = Path(__file__).parents[1]
IN_PLACE = "in one process"
NUM_SINGLE, NUM_BATCHED = 100, 5000
AS_COMMAND = "as a command"
CROSSED = "the flow, against the command"


class Took(NamedTuple):
    """Seconds of the clock and of the processor."""

    clock: float
    processor: float


Way = Callable[[], Took]


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    questions = parser.add_subparsers(required=True)
    for name, ask in (("nothing", nothing), ("flow", flow), ("metrics", metrics)):
        question = questions.add_parser(name)
        question.set_defaults(ask=ask)
        question.add_argument("--rounds", type=int, default=5)
        if name == "nothing":
            question.add_argument("project", type=Path)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    print(table(asked.ask(asked)))


def nothing(asked: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of: nothing to do."""
    os.chdir(asked.project)
    pairs = {AS_COMMAND: (explain, dvc_repro), IN_PLACE: (look, dvc_reproduce)}
    return rows(
        "nothing to do", {name: rounds(*ways, num=asked.rounds) for name, ways in pairs.items()}
    )


def flow(asked: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of: six trivial stages."""
    with tempfile.TemporaryDirectory() as place:
        project = Path(place) / "project"
        trivial_flow.make(project)
        os.chdir(project)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        with prefect_server(Path(place)):
            words = [sys.executable, str(Path(trivial_flow.__file__))]
            done = subprocess.run([*words, str(asked.rounds)], stdout=subprocess.PIPE, check=True)
            turns = json.loads(done.stdout.splitlines()[-1])
            in_place = [(Took(*ours), Took(*dvcs)) for ours, dvcs in turns]

            def as_command(*command: str) -> Way:
                def run() -> Took:
                    trivial_flow.new_text(project)
                    return command_took(*command)

                return run

            commands = rounds(as_command(*words), as_command("dvc", "repro"), num=asked.rounds)
        os.chdir(ROOT)
    crossed = [(ours, dvcs) for (ours, _), (_, dvcs) in zip(in_place, commands, strict=True)]
    found = {IN_PLACE: in_place, CROSSED: crossed, AS_COMMAND: commands}
    return rows("six stages", found, is_overhead=True)


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[None]:
    """Serve Prefect's API; flows started in the block use it."""
    from flows import workspace
    from flows.ui import await_pages, server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "ERROR"}
    os.environ.update(quiet, PREFECT_HOME=str(home / "prefect"))
    workspace.enter()
    page = f"http://127.0.0.1:{port}"
    with server("prefect", port) as running:
        await_pages({"prefect": page}, {"prefect": running})
        os.environ["PREFECT_API_URL"] = f"{page}/api"
        yield


def metrics(asked: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of: metrics to MLflow, a second."""
    from mlflow import MlflowClient

    from stages.tracking import MlflowRun

    with tempfile.TemporaryDirectory() as place:
        client = MlflowClient(f"sqlite:///{place}/mlflow.db")
        experiment = client.create_experiment("bench", artifact_location=Path(place).as_uri())

        def batched() -> Took:
            run = MlflowRun(client, client.create_run(experiment).info.run_id)

            def log() -> None:
                for step in range(NUM_BATCHED):
                    run.log({"loss": 1.0 / (step + 1)}, step)
                run.flush()

            return per_metric(timed(log), NUM_BATCHED)

        def single() -> Took:
            run_id = client.create_run(experiment).info.run_id

            def log() -> None:
                for step in range(NUM_SINGLE):
                    client.log_metric(run_id, "loss", 1.0 / (step + 1), step=step)

            return per_metric(timed(log), NUM_SINGLE)

        found = rounds(batched, single, num=asked.rounds)
    yield ["metrics", "stages/tracking.py, 1/s", "log_metric, 1/s", "times, clock", "processor"]
    rates = [
        statistics.median(1 / took.clock for took in side) for side in zip(*found, strict=True)
    ]
    times = [
        statistics.median(getattr(b, kind) / getattr(a, kind) for a, b in found)
        for kind in ("clock", "processor")
    ]
    yield ["embedded SQLite", *(f"{rate:,.0f}" for rate in rates), *(f"{t:.0f}" for t in times)]


def per_metric(took: Took, count: int) -> Took:
    """The share of one."""
    return Took(took.clock / count, took.processor / count)


def explain() -> Took:
    """`wordmill explain`."""
    return command(sys.executable, "-m", "flows.cli", "explain")


def dvc_repro() -> Took:
    """`dvc repro`."""
    return command("dvc", "repro")


def command(*words: str) -> Took:
    """Run a command that has to find nothing to do."""
    return command_took(*words, is_idle=True)


def command_took(*words: str, is_idle: bool = False) -> Took:
    """Run a command."""
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    after = os.times()
    if is_idle and ("Running stage" in done.stdout or "runs because" in done.stdout):
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


def rows(
    what: str, found: dict[str, list[tuple[Took, Took]]], *, is_overhead: bool = False
) -> Iterator[list[str]]:
    """The rows of a table of seconds: the ratio, or what is on top of DVC."""
    how = "more" if is_overhead else "ratio"
    yield [what, "wordmill, s", "DVC, s", how, "processor, s", "DVC, s", how]
    for name, took in found.items():
        row = [name]
        for kind in ("clock", "processor"):
            ours = [getattr(pair[0], kind) for pair in took]
            dvcs = [getattr(pair[1], kind) for pair in took]
            held = [a - b if is_overhead else a / b for a, b in zip(ours, dvcs, strict=True)]
            row += [f"{statistics.median(figures):.3f}" for figures in (ours, dvcs, held)]
        yield row


if __name__ == "__main__":
    main()

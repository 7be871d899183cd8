"""Six trivial stages, as a project of their own, and one run of the flow over them.

    python bench/trivial_flow.py [ROUNDS]      in the project, as bench/pipeline.py starts it

The flow is the real one, but that nothing is registered: these stages make no model, and a real
one takes MLflow many seconds to take in and load back. With ROUNDS the flow and DVC take turns in
one process, and what they took is printed as JSON; without, the flow runs once.
"""

import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAGES = ("ingest", "clean", "tokenize", "pretrain", "finetune", "evaluate")
RAW = Path("data/raw/text.txt")
_RECORD = {"documents": {}, "pairs": {}, "primary": {}, "num_documents": 0, "num_pairs": {}}


def make(project: Path) -> None:
    """Make the project: each stage copies what the one before it made."""
    from ruamel.yaml import YAML

    before, stages = str(RAW.parent), {}
    for name in STAGES:
        out = f"data/{name}"
        command = f"mkdir -p {out} && cat {before}/*.txt > {out}/text.txt"
        if name == "evaluate":
            command += f" && cp scores.json {out}"
        stages[name] = {"cmd": command, "deps": [before], "params": ["seed"], "outs": [out]}
        before = out
    (project / RAW).parent.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", project)
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    YAML().dump({"stages": stages}, project / "dvc.yaml")
    (project / "scores.json").write_text(json.dumps(_RECORD))
    (project / ".gitignore").write_text("/data\n/.wordmill\n/mlflow.db\n/mlartifacts\n")
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "bench")):
        subprocess.run(["git", *words], cwd=project, check=True)


def prepared() -> Callable[[], None]:
    """Import all that the flow needs, and return what runs it in this folder."""
    from flows import workspace

    workspace.enter()
    from flows import retrain
    from flows.registry import Standing

    def not_registered(_registry: object, summary: "retrain.Summary", *_: object) -> None:
        summary.standing = Standing(
            version="0", alias="champion", is_new=True, champion="0", run_id=None
        )
        summary.is_promoted = True

    retrain._take_to_registry = not_registered

    def run() -> None:
        state = retrain.retrain(return_state=True)
        if state.name != "Promoted":
            sys.exit(f"the flow ended as {state.name}: {state.message}")

    return run


def by_turns(num_rounds: int) -> list[list[list[float]]]:
    """Rounds A B B A of the flow and of DVC alone, in this process, each on new text.

    The first round warms both up and is not counted. Returns seconds of the clock and of the
    processor, children included, of the flow and of DVC, by round.
    """
    run = prepared()
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)

    def reproduce() -> None:
        with Repo() as repo:
            repo.reproduce()

    found: list[list[list[float]]] = []
    for number in range(num_rounds + 1):
        ways = [run, reproduce]
        order = ways if number % 2 == 0 else ways[::-1]
        took = {way: _timed(way) for way in order}
        found.append([took[way] for way in ways])
    return found[1:]


def _timed(way: Callable[[], None]) -> list[float]:
    new_text(Path())
    started, used = time.perf_counter(), sum(os.times()[:4])
    with contextlib.redirect_stdout(io.StringIO()):
        way()
    return [time.perf_counter() - started, sum(os.times()[:4]) - used]


def new_text(project: Path) -> None:
    """Give all six stages something to do."""
    (project / RAW).write_text(f"{time.time_ns()}\n")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    if len(sys.argv) > 1:
        print(json.dumps(by_turns(int(sys.argv[1]))))
    else:
        prepared()()

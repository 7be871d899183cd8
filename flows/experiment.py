"""`wordmill experiment`: a grid of params, each combination in a workspace and process of its own.

What is done is remembered in `.wordmill/experiments/GRID`, so that the same command, started again
after any end, goes on where it was. An experiment is known by its params, the code and the data:
when one of these changes it is another one, and DVC's cache has what did not change of it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from flows import dag
from flows.experiment_record import Remembered, remember
from flows.experiment_running import (
    Planned,
    check_jobs,
    checked_name,
    dvc_cache,
    only_runner,
    planned,
    run_all,
)
from flows.experiment_space import EXPERIMENTS, Snapshot, make_workspace, snapshot
from flows.experiment_table import done_table, dry_table
from flows.grid import combinations, planned_keys, short_hash
from flows.search_axes import refuse_ranges
from flows.workspace import PARAMS
from wordmill.params.section import read_params

if TYPE_CHECKING:
    from flows.experiment_tracking import GridRuns


def experiment(
    asked: list[str],
    *,
    num_seeds: int | None,
    num_folds: int | None,
    jobs: int,
    name: str | None,
    is_dry: bool,
) -> int:
    """Run a grid, or what is left of it, and return the exit status.

    Args:
        asked: such as `pretrain.lr=1e-3,3e-4`.
        num_seeds: how many seeds from that of params.yaml on; None leaves it alone.
        num_folds: of cross-validation; None leaves the test set alone.
        jobs: experiments at once.
        name: of the grid; None makes one from what is asked.
        is_dry: only say what would run.

    Raises:
        ParamsError: what is asked is wrong, or there is no commit to stand on.
        TryAgainError: this grid is at work already, or MLflow does not answer.
    """
    check_jobs(jobs)
    refuse_ranges(asked)
    values = read_params(PARAMS)
    found = combinations(asked, num_seeds=num_seeds, num_folds=num_folds, values=values)
    known_by = [asked, num_seeds, *([num_folds] if num_folds else [])]
    name = checked_name(name or f"grid-{short_hash(known_by)[:6]}")
    taken = snapshot([one.values for one in found])

    def every() -> list[Planned]:
        return [
            planned(number, one, group_name=name, taken_key=taken.key)
            for number, one in enumerate(found, start=1)
        ]

    if is_dry:
        dvc_yaml, order = read_params(Path("dvc.yaml")), dag.stages_in_order()
        keys = [planned_keys(order, dag=dvc_yaml, values=one.values) for one in found]
        print(dry_table(name, [p.remembered for p in every()], keys))
        return 0
    with only_runner(EXPERIMENTS / name):
        results = _run(name, asked, every(), taken, jobs=jobs)
    print(done_table(name, results))
    return next((one.exit_status or 1 for one in results if one.status != "done"), 0)


def _run(
    name: str, asked: list[str], every: list[Planned], taken: Snapshot, *, jobs: int
) -> list[Remembered]:
    """Run what is left of a grid, and return what has become of all of it."""
    from flows.experiment_tracking import GridRuns  # 3 s, which mistakes need not wait for

    left = [one for one in every if one.remembered.status != "done"]
    runs = GridRuns(EXPERIMENTS / name, asked)
    _begin(left, runs, taken)
    print(f"{name}: {len(every)} experiments, {len(every) - len(left)} done before")
    try:
        run_all(_Grid(left, total=len(every)), jobs=min(jobs, max(1, len(left))))
    except BaseException:
        runs.end("KILLED")
        raise
    results = [one.remembered for one in every]
    runs.end("FINISHED" if all(one.status == "done" for one in results) else "FAILED")
    return results


def _begin(left: list[Planned], runs: "GridRuns", taken: Snapshot) -> None:
    """Give each experiment its MLflow run and its workspace."""
    for one in left:
        one.remembered.status = "begun"
        one.remembered.run_id = runs.run_of(one.remembered)
        remember(one.memory, one.remembered)
    cache = dvc_cache()
    for one in left:
        if not one.place.exists():
            make_workspace(one.place, one.one, taken, cache=cache)


class _Grid:
    """Gives out what is left of a grid, in order."""

    def __init__(self, left: list[Planned], *, total: int) -> None:
        self.total = total
        self._waiting = list(left)

    def next(self) -> Planned | None:
        return self._waiting.pop(0) if self._waiting else None

    def why_end(self, one: Planned) -> str:
        del one
        return ""

    def ended(self, one: Planned) -> None:
        del one
